import type { Address } from '@causeway/ip';
import { type BpfMap, type Btf, RingReader } from '@causeway/linux';
import { event, type RawEvent } from './maps/telemetry.ts';
import { type Reason, reasonOf } from './reasons.ts';

export type EventType = 'drop' | 'verdict' | 'trace';
/** What can be asked for: 'audit' are the verdicts `policy-audit` alone, limited in rate as drops are. */
export type MonitorType = EventType | 'audit';
export type PacketDirection = 'ingress' | 'egress' | 'transit';
export type Hook =
  | 'from_pod'
  | 'to_pod'
  | 'from_host'
  | 'from_network'
  | 'to_network'
  | 'from_overlay'
  | 'socket'
  | 'host_policy';

/** enum event_type, enum direction and enum hook of bpf/lib, by number. */
const TYPES: readonly EventType[] = ['drop', 'drop', 'verdict', 'trace', 'verdict'];
const DIRECTIONS: readonly PacketDirection[] = ['ingress', 'egress', 'transit'];
const HOOKS: readonly Hook[] = [
  'from_pod',
  'from_pod',
  'to_pod',
  'from_host',
  'from_network',
  'to_network',
  'from_overlay',
  'socket',
  'host_policy',
];

/** enum runtime_flag of bpf/lib/runtime.h */
export const MonitorFlag = { drop: 1, verdict: 2, trace: 4, audit: 8 } as const;

/** What the kernel tells of one packet. Addresses and ports are those it had when it was told of. */
export interface DatapathEvent {
  readonly type: EventType;
  readonly reason: Reason;
  readonly direction: PacketDirection;
  readonly hook: Hook;
  /** ns of CLOCK_MONOTONIC, as process.hrtime.bigint(). */
  readonly time: bigint;
  readonly source: Address;
  readonly destination: Address;
  /** 0 where the protocol has none; the identifier for ICMP echo. */
  readonly sourcePort: number;
  readonly destinationPort: number;
  /** IANA number. */
  readonly protocol: number;
  readonly tcpFlags: number;
  readonly icmpType: number;
  readonly fragment: boolean;
  readonly ifindex: number;
  /** Bytes of the frame. */
  readonly length: number;
  readonly sourceIdentity: number;
  readonly destinationIdentity: number;
  /** The rule that decided; 0: a default did. */
  readonly rule: number;
  /** The endpoint whose policy decided, or 0. */
  readonly endpoint: number;
  /** The service that the packet was translated for, or 0. */
  readonly service: number;
}

export function decodeEvent(record: Uint8Array): DatapathEvent {
  const raw: RawEvent = event.decode(record);
  return {
    type: TYPES[raw.type] ?? 'trace',
    reason: reasonOf(raw.reason),
    direction: DIRECTIONS[raw.direction] ?? 'transit',
    hook: HOOKS[raw.hook] ?? 'from_pod',
    time: raw.time,
    source: raw.saddr,
    destination: raw.daddr,
    sourcePort: raw.sport,
    destinationPort: raw.dport,
    protocol: raw.protocol,
    tcpFlags: raw.tcpFlags,
    icmpType: raw.icmpType,
    fragment: (raw.flags & 1) !== 0,
    ifindex: raw.ifindex,
    length: raw.length,
    sourceIdentity: raw.sourceIdentity,
    destinationIdentity: raw.destinationIdentity,
    rule: raw.rule,
    endpoint: raw.endpoint,
    service: raw.service,
  };
}

export function checkEvent(btf: Btf): void {
  btf.check('event', event.expected);
}

/** Follows the ring until disposed. A record that cannot be read is told and passed over. */
export function readEvents(
  map: BpfMap,
  onEvent: (event: DatapathEvent) => void,
  onError?: (error: unknown) => void,
): RingReader {
  return new RingReader({
    map,
    onRecord: (record) => {
      let decoded: DatapathEvent;
      try {
        decoded = decodeEvent(record);
      } catch (error) {
        onError?.(error);
        return;
      }
      onEvent(decoded);
    },
    ...(onError && { onError }),
  });
}
