import { Prefix } from '@causeway/ip';
import type { PlanRange } from '@causeway/ipam';
import * as z from 'zod';
import { isClusterName } from '../keys.ts';

/** Ranges that a cluster tells of itself at most: what nodes have is read from its store. */
const MAX_RANGES = 4096;

const clusterName = z
  .string()
  .refine((name) => isClusterName(name) && name !== 'default', 'must be the name of a cluster');
const prefix = z
  .string()
  .max(64)
  .refine((text) => Prefix.tryParse(text) !== undefined, 'must be a CIDR');

export const ROUTING_MODES = ['tunnel', 'native', 'hybrid'] as const;
export type RoutingMode = (typeof ROUTING_MODES)[number];

/** A range with its owner, as `PlanRange`. */
const range = z.strictObject({
  cidr: prefix,
  use: z.enum(['vpc', 'pods', 'services', 'nodes', 'vips']),
  /** Whose it is by the plan; absent for what the plan gives to no cluster. */
  cluster: z.string().max(63).exactOptional(),
  region: z.string().max(63).exactOptional(),
  vpc: z.string().max(63).exactOptional(),
  owner: z.string().min(1).max(512),
  level: z.enum(['plan', 'object']),
});

/** What a cluster says of itself when clusters join; unknown fields are a later version's and are ignored. */
export const clusterFacts = z.object({
  name: clusterName,
  id: z.int().min(1).max(511),
  maxConnectedClusters: z.union([z.literal(255), z.literal(511)]),
  version: z
    .string()
    .regex(/^\d+\.\d+\.\d+/, 'must be a version such as 1.2.3')
    .max(64),
  /** Of its nodes; empty where none has said so. */
  tunnelPorts: z.array(z.int().min(1).max(65_535)).max(64),
  routingModes: z.array(z.enum(ROUTING_MODES)).max(3),
  mtus: z.array(z.int().min(576).max(65_535)).max(64),
  ranges: z.array(range).max(MAX_RANGES),
});

export type ClusterFacts = z.infer<typeof clusterFacts>;
export type RangeFact = ClusterFacts['ranges'][number];

export function rangeFact({ cidr, use, scope, owner, level }: PlanRange): RangeFact {
  const { cluster, region, vpc } = scope;
  return {
    cidr,
    use,
    owner,
    level,
    ...(cluster === undefined ? {} : { cluster }),
    ...(region === undefined ? {} : { region }),
    ...(vpc === undefined ? {} : { vpc }),
  };
}

/** Back again; what `teller` says of other clusters' objects is not its to say, and left out. */
export function planRangesOf(facts: ClusterFacts, teller: string): PlanRange[] {
  return facts.ranges.map(({ cidr, use, owner, level, cluster, region, vpc }) => ({
    cidr: Prefix.parse(cidr),
    use,
    level,
    owner: `${owner} of ${teller}`,
    scope: {
      ...(level === 'object' ? { cluster: facts.name } : cluster === undefined ? {} : { cluster }),
      ...(region === undefined ? {} : { region }),
      ...(vpc === undefined ? {} : { vpc }),
    },
  }));
}

/** Annotations in a node's entry by which it says how it is set up; readers of other kinds ignore them. */
export const NODE_ANNOTATIONS = {
  tunnelPort: 'causeway.io/tunnel-port',
  routingMode: 'causeway.io/routing-mode',
  mtu: 'causeway.io/mtu',
  version: 'causeway.io/version',
} as const;
