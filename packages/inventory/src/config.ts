import { hostname } from 'node:os';
import { LOG_LEVELS } from '@causeway/daemon';
import {
  absolutePath,
  electionSettings,
  etcdSettings,
  maxConnectedClusters,
} from '@causeway/daemon/fields';
import { Prefix } from '@causeway/ip';
import { isClusterName } from '@causeway/mesh';
import { isDnsLabel } from '@causeway/resources';
import { z } from 'zod';
import { apiConfig } from './api/config.ts';
import { labelRule } from './core/rules-config.ts';
import { sourceConfig } from './sources/registry.ts';

const seconds = (least: number, most: number) => z.number().min(least).max(most);
const prefix = z
  .string()
  .refine((text) => Prefix.tryParse(text, { hostBits: 'clear' }) !== undefined, {
    error: 'must be a prefix such as 192.0.2.0/24 or 2001:db8::/32',
  })
  .transform((text) => Prefix.parse(text, { hostBits: 'clear' }));

/** The configuration file of `causeway inventory`. */
export const inventoryConfig = z
  .strictObject({
    /** The cluster that the inventory is in the mesh: its own name and number, which no other has. */
    cluster: z.strictObject({
      name: z.string().refine((name) => isClusterName(name) && name !== 'default', {
        error: 'must be 1 to 32 of a-z, 0-9 and inner "-", and not "default"',
      }),
      id: z.int().min(1, 'must be 1 to 511').max(511, 'must be 1 to 511'),
      maxConnectedClusters,
    }),
    /** What this instance is called where the leader is told. */
    name: z.string().min(1).max(253).default(hostname().toLowerCase()),
    /** The inventory's own etcd, which the clusters of the mesh read. */
    etcd: etcdSettings,
    runDir: absolutePath.default('/run/causeway'),
    election: electionSettings,
    sources: z.array(sourceConfig).max(64).default([]),
    /** For items and sources that name none. */
    namespace: z
      .string()
      .refine(isDnsLabel, { error: 'must be a namespace: a DNS label' })
      .default('default'),
    /** Label rules for all sources, behind their own. */
    labels: z.array(labelRule).max(256).default([]),
    /** Which labels make identities, as in Cilium's `--labels`, over its defaults. */
    identityLabels: z.array(z.string().min(1).max(512)).max(256).default([]),
    /** How much one list of a source may take away at once. */
    guard: z
      .strictObject({
        share: z.number().min(0).max(1).default(0.2),
        least: z.int().min(0).max(1_000_000).default(10),
        seconds: seconds(0, 31_536_000).default(300),
      })
      .prefault({}),
    addresses: z
      .strictObject({
        /** Only addresses inside these, if there are any. */
        allow: z.array(prefix).max(4096).default([]),
        /** Never these: pods and nodes of the clusters, routers. */
        deny: z.array(prefix).max(4096).default([]),
      })
      .prefault({}),
    identities: z
      .strictObject({
        /** An identity without addresses keeps its key so long. */
        lingerSeconds: seconds(0, 86_400).default(60),
        /** Its number is then given to no other labels for so long. */
        restSeconds: seconds(0, 604_800).default(3600),
      })
      .prefault({}),
    /** Readers are let in after so long at the first start, even if a source has not answered yet. */
    firstSyncSeconds: seconds(0, 86_400).default(300),
    /** How often the store is compared with what was written. */
    auditSeconds: seconds(1, 86_400).default(300),
    api: apiConfig.optional(),
    log: z.enum(LOG_LEVELS).default('info'),
  })
  .superRefine((config, context) => {
    const { cluster, sources } = config;
    if (cluster.id > cluster.maxConnectedClusters) {
      context.addIssue({
        code: 'custom',
        path: ['cluster', 'id'],
        message: `must be at most maxConnectedClusters, ${cluster.maxConnectedClusters}`,
        input: cluster.id,
      });
    }
    const seen = new Set<string>();
    sources.forEach(({ name }, index) => {
      if (seen.has(name)) {
        const message = 'must be unique among the sources';
        context.addIssue({
          code: 'custom',
          path: ['sources', index, 'name'],
          message,
          input: name,
        });
      }
      seen.add(name);
    });
  });

export type InventoryConfig = z.infer<typeof inventoryConfig>;
export type InventoryInput = z.input<typeof inventoryConfig>;
