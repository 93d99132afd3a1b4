import { optionalAddress, pad, raw, type StructValue, struct, u32 } from '../layout.ts';
import { declareMap } from '../map-declaration.ts';

/** enum egress_flag of bpf/lib/egress_gateway.h */
export const EgressFlag = { excluded: 1 } as const;

export const egressRoutes = declareMap({
  name: 'egress_routes',
  type: 'lpm_trie',
  maxEntries: 65_536,
  key: struct({ length: u32, pod: raw(16), destination: raw(16) }),
  value: struct({
    gateway: optionalAddress,
    address: optionalAddress,
    flags: u32,
    pad: pad(4, 4),
  }),
});
export type EgressKey = StructValue<typeof egressRoutes.key>;
export type EgressValue = StructValue<typeof egressRoutes.value>;
