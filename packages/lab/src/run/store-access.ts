import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { nodePaths } from '../host/names.ts';
import type { LabEtcd } from './etcd.ts';
import type { ClientFiles } from './store-guard.ts';

/** A machine's run directory as its own programs see it. */
const RUN = '/run/causeway';
/** Where a machine's programs look for one file for each peer, in Cilium's form. */
export const PEERS_DIRECTORY = `${RUN}/clustermesh`;

/** What a program's configuration says of its store. */
export interface StoreSettings {
  readonly endpoints: readonly string[];
  readonly tls?: { readonly caFile: string; readonly certFile: string; readonly keyFile: string };
}

/** Gives a machine what it takes to reach its own cluster's store; the section of its programs' configuration. */
export function giveStore(lab: string, place: string, etcd: LabEtcd): StoreSettings {
  const { endpoints, guard } = etcd;
  if (guard === undefined) return { endpoints };
  const { ca, cert, key } = give(lab, place, 'pki', guard.files(guard.own));
  return { endpoints, tls: { caFile: ca, certFile: cert, keyFile: key } };
}

/** Gives a machine a file for a peer, and the certificates that it names. `reader` is the machine's own cluster. */
export function givePeer(lab: string, place: string, reader: string, peer: LabEtcd): void {
  if (peer.guard === undefined) return;
  const files = peer.guard.files(`remote-${reader}`);
  const { ca, cert, key } = give(lab, place, `peers/${peer.cluster}`, files);
  const directory = join(nodePaths(lab, place).run, 'clustermesh');
  mkdirSync(directory, { recursive: true });
  const text = stringify({
    endpoints: peer.endpointsFor(reader),
    'trusted-ca-file': ca,
    'cert-file': cert,
    'key-file': key,
  });
  writeFileSync(join(directory, peer.cluster), text);
}

/** Copies the files onto the machine; their paths there. */
function give(lab: string, place: string, folder: string, files: ClientFiles): ClientFiles {
  const directory = join(nodePaths(lab, place).run, folder);
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const names = { ca: 'ca.crt', cert: 'tls.crt', key: 'tls.key' } as const;
  for (const part of ['ca', 'cert', 'key'] as const)
    copyFileSync(files[part], join(directory, names[part]));
  const seen = (name: string): string => `${RUN}/${folder}/${name}`;
  return { ca: seen(names.ca), cert: seen(names.cert), key: seen(names.key) };
}
