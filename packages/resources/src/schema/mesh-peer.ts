import * as z from 'zod';
import { closed, maybe, open, text } from './build.ts';
import { cidr, dnsSubdomain, metadata } from './common.ts';

/** The namespace of the Secrets that MeshPeers name. */
export const MESH_SECRETS_NAMESPACE = 'kube-system';

const endpoint = text((value) => {
  const url = URL.parse(value);
  if (url === null || !/^https?:$/.test(url.protocol) || url.hostname === '') return false;
  const { pathname, search, hash, username, password } = url;
  return value.length <= 2048 && `${pathname}${search}${hash}${username}${password}` === '/';
}, 'a URL of scheme, host and port only, such as https://192.0.2.1:2379');

// Cilium 1.19's rule for cluster names (clustermesh-kvstore.md, section 1.1); id 0, whose name `default` may be, takes
// part in no mesh.
const clusterName = z
  .string()
  .max(32, 'must be at most 32 characters')
  .regex(/^([a-z0-9][-a-z0-9]*)?[a-z0-9]$/, 'must be lower-case letters, digits and dashes')
  .refine((name) => name !== 'default', {
    error: 'must not be "default", which no cluster of a mesh is called',
  });

const hostName = z
  .string()
  .max(253)
  .regex(
    /^[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?$/,
    'must be a host name as a certificate has it, such as etcd.east.example',
  );

export const meshPeer = open({
  apiVersion: z.literal('causeway.io/v1'),
  kind: z.literal('MeshPeer'),
  metadata: metadata(clusterName, false),
  spec: closed({
    id: maybe(
      z
        .int()
        .min(1, 'must be 1 to 511')
        .max(511, 'must be 1 to 511')
        .meta({ description: 'The peer with another id in its own store is refused.' }),
    ),
    endpoints: z
      .array(endpoint)
      .min(1)
      .max(64)
      .meta({ description: "URLs of the peer's etcd, or of the proxies before it." }),
    secretName: maybe(
      dnsSubdomain.meta({
        description: 'Secret in kube-system with ca.crt, tls.crt and tls.key; none: no TLS.',
      }),
    ),
    serverName: maybe(
      hostName.meta({
        description: "The name in the server's certificate, where it is not the endpoint's host.",
      }),
    ),
    allowedCIDRs: maybe(
      z.array(cidr).min(1).max(256).meta({
        description:
          "What the peer may speak of: nothing outside is believed, and ranges within need not be its nodes' pod CIDRs. None: any single address but ours, and ranges of its nodes' pods.",
      }),
    ),
    suspended: maybe(
      z.boolean().meta({ description: 'Read no further; what is known ages as after a loss.' }),
    ),
  }),
  status: maybe(open({})),
}).meta({
  description: 'Another cluster of the mesh, named like it, and how its store is reached.',
});

export type MeshPeer = z.infer<typeof meshPeer>;
