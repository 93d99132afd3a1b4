import { address, be16, type StructValue, struct, u8, u32, u64 } from '../layout.ts';
import { declareMap } from '../map-declaration.ts';

export const metric = struct({ packets: u64, bytes: u64 });

/** Key: reason * 4 + direction. */
export const metrics = declareMap({
  name: 'metrics',
  type: 'percpu_array',
  maxEntries: 1_024,
  key: u32,
  value: metric,
});

/** A ring buffer: `maxEntries` are bytes, a power of two and a multiple of the page size. */
export const events = declareMap({ name: 'events', type: 'ringbuf', maxEntries: 1 << 20 });

/** struct event of bpf/lib/events.h */
export const event = struct({
  time: u64,
  saddr: address,
  daddr: address,
  sport: be16,
  dport: be16,
  protocol: u8,
  type: u8,
  reason: u8,
  direction: u8,
  hook: u8,
  flags: u8,
  tcpFlags: u8,
  icmpType: u8,
  ifindex: u32,
  length: u32,
  sourceIdentity: u32,
  destinationIdentity: u32,
  rule: u32,
  endpoint: u32,
  service: u32,
});
export type RawEvent = StructValue<typeof event>;
