import { be16, pad, type StructValue, struct, u8, u32, u32Array, u64 } from '../layout.ts';
import { declareMap } from '../map-declaration.ts';

export const policy = declareMap({
  name: 'policy',
  type: 'hash',
  maxEntries: 262_144,
  key: struct({
    policyId: u32,
    identity: u32,
    direction: u8,
    protocol: u8,
    portBits: u8,
    pad: pad(1),
    port: be16,
    pad2: pad(2, 2),
  }),
  value: struct({ flags: u32, rule: u32, hits: u64 }),
});
export type PolicyKey = StructValue<typeof policy.key>;
export type PolicyValue = StructValue<typeof policy.value>;

/** enum policy_info_flag of bpf/lib/policy.h */
export const PolicyInfoFlag = {
  defaultDenyIngress: 1,
  defaultDenyEgress: 2,
  defaultAuditIngress: 4,
  defaultAuditEgress: 8,
} as const;

export const policyInfo = declareMap({
  name: 'policy_info',
  type: 'hash',
  maxEntries: 16_384,
  key: u32,
  value: struct({ revision: u32, flags: u32, portBits: u32Array(2) }),
});
