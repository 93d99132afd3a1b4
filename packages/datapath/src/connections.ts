import type { Address } from '@causeway/ip';
import { secondsOf, tickAt } from './config.ts';
import {
  ConntrackFlag,
  type ConntrackKey,
  type conntrack,
  NatDirection,
  type nat,
} from './maps/conntrack.ts';
import type { MapOf } from './typed-map.ts';

/** A connection as a person reads it: from its origin's side. */
export interface Connection {
  readonly protocol: number;
  readonly source: Address;
  readonly sourcePort: number;
  readonly destination: Address;
  readonly destinationPort: number;
  readonly sourceIdentity: number;
  readonly state: 'new' | 'established' | 'closed';
  readonly expiresInSeconds: number;
  /** The service that it came through, 0: none. */
  readonly service: number;
  /** Of an entry towards a virtual address: the backend chosen. */
  readonly backend: number;
  readonly masqueraded: boolean;
  readonly hairpin: boolean;
  /** TCP, taken up without its SYN. */
  readonly midstream: boolean;
  readonly egressRule: number;
  readonly ingressRule: number;
}

const CLOSED = ConntrackFlag.finForward | ConntrackFlag.finReply;

/** Reads conntrack, and deletes only what has expired: connections outlive whoever reads them. */
export class Connections {
  readonly #map: MapOf<typeof conntrack>;
  readonly #nat: MapOf<typeof nat>;

  constructor(map: MapOf<typeof conntrack>, natMap: MapOf<typeof nat>) {
    this.#map = map;
    this.#nat = natMap;
  }

  /** `now`: CLOCK_MONOTONIC in ns. */
  *entries(now = process.hrtime.bigint()): IterableIterator<Connection> {
    const tick = tickAt(now);
    for (const [key, value] of this.#map.entries()) {
      const has = (flag: number) => (value.flags & flag) !== 0;
      const fromB = has(ConntrackFlag.originB);
      yield {
        protocol: key.protocol,
        source: fromB ? key.addrB : key.addrA,
        sourcePort: fromB ? key.portB : key.portA,
        destination: fromB ? key.addrA : key.addrB,
        destinationPort: fromB ? key.portA : key.portB,
        sourceIdentity: value.sourceIdentity,
        state:
          has(ConntrackFlag.reset) || (value.flags & CLOSED) === CLOSED
            ? 'closed'
            : has(ConntrackFlag.seenReply)
              ? 'established'
              : 'new',
        expiresInSeconds: secondsOf(value.expires - tick),
        service: value.service,
        backend: value.backend,
        masqueraded: has(ConntrackFlag.masquerade),
        hairpin: has(ConntrackFlag.hairpin),
        midstream: has(ConntrackFlag.midstream),
        egressRule: value.egressRule,
        ingressRule: value.ingressRule,
      };
    }
  }

  /** Masqueraded connections: who left as what. */
  *translations(): IterableIterator<{
    readonly protocol: number;
    readonly source: Address;
    readonly sourcePort: number;
    readonly destination: Address;
    readonly destinationPort: number;
    readonly translatedAddress: Address;
    readonly translatedPort: number;
  }> {
    for (const [key, value] of this.#nat.entries()) {
      if (key.direction !== NatDirection.out) continue;
      yield {
        protocol: key.protocol,
        source: key.saddr,
        sourcePort: key.sport,
        destination: key.daddr,
        destinationPort: key.dport,
        translatedAddress: value.address,
        translatedPort: value.port,
      };
    }
  }

  /** Deletes expired entries; returns how many. An entry used again in between is begun anew by its next packet. */
  collect(now = process.hrtime.bigint()): number {
    const tick = tickAt(now);
    const expired: ConntrackKey[] = [];
    for (const [key, value] of this.#map.entries()) {
      if (((value.expires - tick) | 0) < 0) expired.push(key);
    }
    return this.#map.deleteAll(expired);
  }
}
