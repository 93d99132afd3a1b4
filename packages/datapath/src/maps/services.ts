import { SLOTS_PER_CHUNK } from '@causeway/loadbalancing';
import { address, be16, pad, raw, struct, u8, u16, u32, u32Array, u64 } from '../layout.ts';
import { declareMap } from '../map-declaration.ts';

/** enum service_algorithm of bpf/lib/services.h */
export const ServiceAlgorithm = { random: 0, maglev: 1 } as const;
/** enum service_flag */
export const ServiceFlag = {
  affinity: 1,
  external: 2,
  nodePort: 4,
  localExternal: 8,
  localInternal: 16,
  sourceRanges: 32,
  dsr: 64,
  address: 128,
} as const;
/** Bit of `service` in the keys of a service's local slots. */
export const SLOTS_LOCAL = 0x8000_0000;
/** enum backend_state */
export const BackendState = { active: 0, terminating: 1 } as const;

export const services = declareMap({
  name: 'services',
  type: 'hash',
  maxEntries: 65_536,
  key: struct({ address, port: be16, protocol: u8, pad: pad(5) }),
  value: struct({
    id: u32,
    generation: u16,
    algorithm: u8,
    flags: u8,
    slots: u32,
    affinityTicks: u32,
    backends: u32,
    localSlots: u32,
  }),
});

export const sourceRanges = declareMap({
  name: 'source_ranges',
  type: 'lpm_trie',
  maxEntries: 65_536,
  key: struct({ length: u32, service: u32, address: raw(16) }),
  value: u32,
});

export const slots = declareMap({
  name: 'lb_slots',
  type: 'hash',
  maxEntries: 131_072,
  key: struct({ service: u32, generation: u16, chunk: u16 }),
  value: struct({ backend: u32Array(SLOTS_PER_CHUNK) }),
});

export const backends = declareMap({
  name: 'backends',
  type: 'hash',
  maxEntries: 262_144,
  key: u32,
  value: struct({ address, port: be16, protocol: u8, state: u8, pad: pad(4, 4) }),
});

export const reverseNat = declareMap({
  name: 'rev_nat',
  type: 'hash',
  maxEntries: 65_536,
  key: u32,
  value: struct({ address, port: be16, pad: pad(6) }),
});

/** enum stage of bpf/lib/stages.h: programs by their places. */
export const stages = declareMap({
  name: 'stages',
  type: 'prog_array',
  maxEntries: 5,
  key: u32,
  value: u32,
});

/** struct scratch of bpf/lib/way.h: room for one packet, of no meaning between packets. */
export const scratch = declareMap({
  name: 'scratch',
  type: 'percpu_array',
  maxEntries: 1,
  key: u32,
  value: struct({ way: raw(88, 8), target: raw(32, 8) }),
});

export const affinity = declareMap({
  name: 'affinity',
  type: 'lru_hash',
  maxEntries: 65_536,
  key: struct({ client: raw(16, 8), service: u32, kind: u8, pad: pad(3) }),
  value: struct({ backend: u32, lastUsed: u32 }),
});

export const socketReverseNat = declareMap({
  name: 'sock_rev_nat',
  type: 'lru_hash',
  maxEntries: 65_536,
  key: struct({ cookie: u64, backend: address, port: be16, pad: pad(6) }),
  value: struct({ address, port: be16, pad: pad(2, 2), service: u32 }),
});
