import { createHash } from 'node:crypto';
import * as YAML from 'yaml';
import { z } from 'zod';
import { isClusterName } from '../keys.ts';
import type { BadPeer, PeerSpec } from './types.ts';

/** etcd's client configuration, as far as it is ours to obey (section 4.1). Other fields are ignored, as etcd does. */
const clientConfig = z.object({
  endpoints: z
    .array(
      z.string().refine(isEndpoint, {
        error: 'must be an http or https URL of host and port only, such as https://192.0.2.1:2379',
      }),
    )
    .min(1, 'must name at least one endpoint')
    .max(64),
  'trusted-ca-file': z.string().optional(),
  'cert-file': z.string().optional(),
  'key-file': z.string().optional(),
  'insecure-transport': z.boolean().optional(),
  'insecure-skip-tls-verify': z
    .literal(false, {
      error:
        'is not taken: whoever stands in the way could give our pods any identity; give trusted-ca-file',
    })
    .optional(),
});

/**
 * One file of the directory of peers: its name is the peer's. Undefined for a file that describes none. A file
 * that is not understood is no reason to leave the peer.
 */
export function parsePeerFile(name: string, text: string): PeerSpec | BadPeer | undefined {
  if (!text.includes('endpoints:')) return undefined;
  const bad = (reason: string): BadPeer => ({ name, source: 'file', reason });
  if (!isClusterName(name)) return bad(`the file's name ${name} is no cluster name`);
  let parsed: unknown;
  try {
    parsed = YAML.parse(text, { maxAliasCount: 10, schema: 'core' });
  } catch (error) {
    return bad(`not YAML: ${error instanceof Error ? error.message : String(error)}`);
  }
  const checked = clientConfig.safeParse(parsed);
  if (!checked.success) {
    const lines = checked.error.issues.map(
      ({ path, message }) => `${path.join('.') || 'the file'} ${message}`,
    );
    return bad(lines.join('; '));
  }
  const config = checked.data;
  const { endpoints } = config;
  const [caFile, certFile, keyFile] = [
    config['trusted-ca-file'],
    config['cert-file'],
    config['key-file'],
  ];
  if ((certFile === undefined) !== (keyFile === undefined)) {
    return bad('cert-file and key-file are given both or not at all');
  }
  const plain = endpoints.find((each) => each.startsWith('http:'));
  if (plain !== undefined && (caFile !== undefined || certFile !== undefined)) {
    return bad(`endpoints ${plain} would be spoken to without the TLS that the file describes`);
  }
  return {
    name,
    source: 'file',
    endpoints,
    tls: {
      ...(caFile === undefined ? {} : { caFile }),
      ...(certFile === undefined ? {} : { certFile }),
      ...(keyFile === undefined ? {} : { keyFile }),
    },
    id: undefined,
    suspended: false,
    stamp: `file ${createHash('sha256').update(text).digest('hex')}`,
  };
}

function isEndpoint(text: string): boolean {
  const url = URL.parse(text);
  if (url === null || !/^https?:$/.test(url.protocol) || url.hostname === '') return false;
  const { pathname, search, hash, username, password } = url;
  return `${pathname}${search}${hash}${username}${password}` === '/';
}
