import { z } from 'zod';

/** Fields that several programs' configuration files have: the same words, checked and refused in the same way. */

export const absolutePath = z.string().regex(/^\/[^\0]*$/, 'must be an absolute path');

/** Where the cluster's etcd is; `connectKv` takes it as it stands. */
export const etcdSettings = z
  .strictObject({
    endpoints: z
      .array(
        z.url({
          protocol: /^https?$/,
          error: 'must be an http or https URL such as http://127.0.0.1:2379',
        }),
      )
      .min(1)
      .max(64)
      .default(['http://127.0.0.1:2379']),
    tls: z
      .strictObject({
        caFile: absolutePath,
        certFile: absolutePath.exactOptional(),
        keyFile: absolutePath.exactOptional(),
      })
      .exactOptional(),
  })
  .prefault({});

/** Of a mesh: one value for all of its clusters; divides the identity's bits. */
export const maxConnectedClusters = z.union([z.literal(255), z.literal(511)]).default(255);

/** For programs of which one leads: after so long a leader that is gone without a word is replaced. */
export const electionSettings = z
  .strictObject({ ttlSeconds: z.int().min(1).max(300).default(10) })
  .prefault({});
