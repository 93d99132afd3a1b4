import {
  address,
  be16,
  optionalAddress,
  pad,
  raw,
  type StructValue,
  struct,
  u8,
  u32,
} from '../layout.ts';
import { declareMap } from '../map-declaration.ts';

/** enum ipcache_flag of bpf/lib/ipcache.h */
export const IpcacheFlag = { protected: 1, noMasquerade: 2, node: 4 } as const;

const entry = struct({ identity: u32, flags: u32, tunnelEndpoint: optionalAddress });
export type IpcacheEntry = StructValue<typeof entry>;

export const ipcache = declareMap({
  name: 'ipcache',
  type: 'hash',
  maxEntries: 512_000,
  key: struct({ address }),
  value: entry,
});

/** A prefix as tries have it: IPv4 lengths are 96 more. */
export const triePrefix = struct({ length: u32, address: raw(16) });
export type TriePrefix = StructValue<typeof triePrefix>;

export const ipcacheCidr = declareMap({
  name: 'ipcache_cidr',
  type: 'lpm_trie',
  maxEntries: 65_536,
  key: triePrefix,
  value: entry,
});

export const protectedSockets = declareMap({
  name: 'protected',
  type: 'hash',
  maxEntries: 4_096,
  key: struct({ address, port: be16, protocol: u8, pad: pad(5) }),
  value: u32,
});

/** enum direction of bpf/lib/types.h, as far as a lifeline has one. */
export const LifelineDirection = { ingress: 0, egress: 1 } as const;

export const lifelines = declareMap({
  name: 'lifelines',
  type: 'hash',
  maxEntries: 4_096,
  key: struct({ peer: optionalAddress, port: be16, protocol: u8, direction: u8, pad: pad(4) }),
  value: u32,
});
