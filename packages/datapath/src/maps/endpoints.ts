import {
  address,
  mac,
  optionalAddress,
  pad,
  type StructValue,
  struct,
  u16,
  u32,
} from '../layout.ts';
import { declareMap } from '../map-declaration.ts';

/** enum endpoint_flag of bpf/lib/endpoints.h */
export const EndpointFlag = {
  ingressEnforced: 1,
  egressEnforced: 2,
  auditIngress: 4,
  auditEgress: 8,
  host: 16,
  protected: 32,
} as const;

export const endpoints = declareMap({
  name: 'endpoints',
  type: 'hash',
  maxEntries: 16_384,
  key: struct({ address }),
  value: struct({
    ifindex: u32,
    id: u32,
    identity: u32,
    policyId: u32,
    policyRevision: u32,
    mac,
    hostMac: mac,
    flags: u32,
  }),
});
export type EndpointValue = StructValue<typeof endpoints.value>;

/** enum device_flag of bpf/lib/devices.h */
export const DeviceFlag = { pod: 1, network: 2 } as const;

export const devices = declareMap({
  name: 'devices',
  type: 'hash',
  maxEntries: 16_384,
  key: u32,
  value: struct({
    ipv4: optionalAddress,
    ipv6: optionalAddress,
    mac,
    pad: pad(2, u16.align),
    flags: u32,
    pad2: pad(4, u32.align),
  }),
});
