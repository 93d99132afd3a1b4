import { z } from 'zod';

/**
 * How a router of a lab learns its routes. `static` routers are told every prefix by the plan; the others run
 * a real daemon from Debian's packages with a configuration made out of what stands here.
 */

const asn = z.int().min(1).max(4294967295);
const prefixText = z
  .string()
  .regex(
    /^(default|[0-9a-fA-F:.]+\/[0-9]{1,3})$/,
    'must be "default" or a prefix such as 10.1.0.0/16',
  );

/**
 * Sessions with a rack's nodes, taken from the rack's whole prefix: nodes come and go without a change
 * to the router.
 */
const nodes = z.strictObject({
  rack: z.string(),
  /** The nodes' AS; `external` takes any but the router's own, `internal` the router's own. */
  asn: z.union([asn, z.enum(['external', 'internal'])]).default('external'),
  /** What nodes are told: nothing, the default route, or everything. */
  advertise: z.enum(['none', 'default', 'all']).default('default'),
  /** Only prefixes inside these are taken from nodes; left out, everything but a default route. */
  accept: z.array(prefixText).max(64).default([]),
  /** The nodes are this router's route reflector clients (takes `asn: internal`). */
  reflect: z.boolean().default(false),
  /** Sessions at one time, for each family. */
  limit: z.int().min(1).max(5000).default(256),
});

export const ROUTING_TYPES = ['static', 'bird', 'frr', 'gobgp'] as const;
export const ROUTING_DAEMONS = ['bird', 'frr', 'gobgp'] as const;

const bgp = z.strictObject({
  type: z.enum(ROUTING_DAEMONS),
  asn,
  /** The router's first IPv4 address if left out. */
  routerId: z.ipv4().optional(),
  /** Announced by this router itself, besides the prefixes of its racks. */
  originate: z.array(prefixText).max(1000).default([]),
  /** Routers that it has sessions with; left out, every router at the other end of a link that runs a daemon. */
  neighbors: z.array(z.string()).max(64).optional(),
  nodes: z.array(nodes).max(64).default([]),
  /** Equal paths used side by side; 1 is none. */
  multipath: z.int().min(1).max(64).default(16),
  /** On every session of bird and frr; gobgp has no BFD and falls back to its hold time. */
  bfd: z
    .strictObject({
      enabled: z.boolean().default(true),
      intervalMs: z.int().min(50).max(10_000).default(300),
      multiplier: z.int().min(2).max(50).default(3),
    })
    .prefault({}),
  holdSeconds: z.int().min(3).max(180).default(9),
});

export const routing = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('static') }),
  bgp,
]);

export type BgpRouting = z.infer<typeof bgp>;
