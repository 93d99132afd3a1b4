import { posix } from 'node:path';
import * as YAML from 'yaml';
import type { StoreOffer } from '../join/token.ts';

/** Where Cilium's agents have what its Secret `cilium-clustermesh` holds. */
export const CILIUM_DIRECTORY = '/var/lib/cilium/clustermesh';

/**
 * What a cluster gives to one that runs Cilium, by file name: its etcd client configuration under the giver's own name
 * and the PEM files that it names, as Cilium's Helm chart (1.17 to 1.19) calls them. The same names are keys of the
 * Secret. `at` is where the reader will have them.
 */
export function ciliumFiles(
  own: string,
  { endpoints, ca, certificate, key }: Omit<StoreOffer, 'serverName'>,
  at = CILIUM_DIRECTORY,
): ReadonlyMap<string, string> {
  const pem = (kind: string): string => `${own}.etcd-client${kind}`;
  const config = YAML.stringify({
    endpoints: [...endpoints],
    'trusted-ca-file': posix.join(at, pem('-ca.crt')),
    'key-file': posix.join(at, pem('.key')),
    'cert-file': posix.join(at, pem('.crt')),
  });
  return new Map([
    [own, config],
    [pem('-ca.crt'), ca],
    [pem('.crt'), certificate],
    [pem('.key'), key],
  ]);
}
