import { address, be16, be32, pad, type StructValue, struct, u8, u32 } from '../layout.ts';
import { declareMap } from '../map-declaration.ts';
import { triePrefix } from './ipcache.ts';

/** enum ct_flag of bpf/lib/conntrack.h */
export const ConntrackFlag = {
  originB: 1,
  seenReply: 2,
  finForward: 4,
  finReply: 8,
  reset: 16,
  service: 32,
  hairpin: 64,
  masquerade: 128,
  local: 256,
  midstream: 512,
  external: 1024,
  dsr: 2048,
  virtual: 4096,
  egress: 8192,
} as const;

const flow = struct({
  addrA: address,
  addrB: address,
  portA: be16,
  portB: be16,
  protocol: u8,
  scope: u8,
  pad: pad(2, 2),
});

export const conntrack = declareMap({
  name: 'conntrack',
  type: 'lru_hash',
  maxEntries: 262_144,
  key: flow,
  value: struct({
    expires: u32,
    flags: u32,
    service: u32,
    backend: u32,
    sourceIdentity: u32,
    epoch: u32,
    egressRevision: u32,
    ingressRevision: u32,
    egressRule: u32,
    ingressRule: u32,
  }),
});
export type ConntrackKey = StructValue<typeof conntrack.key>;

/** The addresses that clients called, of services that have many: NodePorts. */
export const virtuals = declareMap({
  name: 'virtuals',
  type: 'lru_hash',
  maxEntries: 65_536,
  key: flow,
  value: struct({ address }),
});

/** enum nat_direction of bpf/lib/nat.h */
export const NatDirection = { out: 0, in: 1 } as const;

export const nat = declareMap({
  name: 'nat',
  type: 'lru_hash',
  maxEntries: 131_072,
  key: struct({
    saddr: address,
    daddr: address,
    sport: be16,
    dport: be16,
    protocol: u8,
    direction: u8,
    pad: pad(2, 2),
  }),
  value: struct({ address, port: be16, pad: pad(2, 2), lastUsed: u32 }),
});

export const natExceptions = declareMap({
  name: 'nat_exceptions',
  type: 'lpm_trie',
  maxEntries: 131_072,
  key: triePrefix,
  value: u32,
});

export const fragments = declareMap({
  name: 'fragments',
  type: 'lru_hash',
  maxEntries: 8_192,
  key: struct({ saddr: address, daddr: address, id: be32, protocol: u8, pad: pad(3) }),
  value: struct({ sport: be16, dport: be16 }),
});

export const runtime = declareMap({
  name: 'runtime',
  type: 'array',
  maxEntries: 1,
  key: u32,
  value: struct({ flags: u32, dropEventsPerSecond: u32, epoch: u32, layout: u32 }),
});
export type Runtime = StructValue<typeof runtime.value>;

/** enum runtime_flag of bpf/lib/runtime.h, those that are not about monitoring. */
export const UseFlag = { external: 256, nodePorts: 512, egress: 1024 } as const;

/** Of the same flags: rows of the ipcache say themselves what is a node. Versions that do not write that drop it. */
export const NODES_FLAGGED = 65_536;

/**
 * Grows when a map's meaning changes while its sizes do not: maps of another number are not taken over. What an earlier
 * version can pass over is no such change, or it could not come back without losing all connections.
 */
export const LAYOUT_VERSION = 1;

export const eventBudget = declareMap({
  name: 'event_budget',
  type: 'percpu_array',
  maxEntries: 1,
  key: u32,
  value: struct({ tick: u32, used: u32 }),
});
