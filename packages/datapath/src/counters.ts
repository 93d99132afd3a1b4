import type { PacketDirection } from './events.ts';
import { metric, type metrics } from './maps/telemetry.ts';
import { type ReasonKind, reasonOf } from './reasons.ts';
import type { MapOf } from './typed-map.ts';

export interface CounterRow {
  readonly reason: string;
  readonly kind: ReasonKind;
  readonly direction: PacketDirection;
  readonly packets: bigint;
  readonly bytes: bigint;
}

const DIRECTIONS: readonly PacketDirection[] = ['ingress', 'egress', 'transit'];
const DIRECTION_COUNT = 4;

/** Counters by reason and direction, added up over CPUs; those at zero are left out. */
export function* readCounters(map: MapOf<typeof metrics>): IterableIterator<CounterRow> {
  for (const [key, stored] of map.map.entries(256)) {
    const index = map.declaration.key.decode(key);
    let packets = 0n;
    let bytes = 0n;
    for (const cpu of map.map.perCpu(stored)) {
      const value = metric.decode(cpu);
      packets += value.packets;
      bytes += value.bytes;
    }
    const direction = DIRECTIONS[index % DIRECTION_COUNT];
    if (packets === 0n || direction === undefined) continue;
    const { name, kind } = reasonOf(Math.floor(index / DIRECTION_COUNT));
    yield { reason: name, kind, direction, packets, bytes };
  }
}
