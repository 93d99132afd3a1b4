import type { Cause } from '../cause.ts';
import type { Withdrawals } from '../faults/withdrawals.ts';
import type { PrefixList, Rib } from '../routes/rib.ts';
import type { Feed, Peer } from './peer.ts';
import type { Router } from './router.ts';

export interface StationLimits {
  /** Connected at a time. */
  readonly routers: number;
  readonly peersPerRouter: number;
  /** Of all routers together: what bounds the memory. */
  readonly routes: number;
  /** One BMP message. */
  readonly messageBytes: number;
}

/** Kinds of events in the history. */
export const EVENT_TYPES = Object.freeze([
  'station-started',
  'station-stopped',
  'history-set-aside',
  'router-up',
  'router-down',
  'router-refused',
  'peer-up',
  'peer-down',
  'table',
  'routes',
  'malformed',
  'mirrored',
  'fault',
] as const);
export type EventType = (typeof EVENT_TYPES)[number];

/** What a router's connection has of the station around it. */
export interface RouterHost {
  readonly rib: Rib;
  readonly withdrawals: Withdrawals;
  readonly limits: StationLimits;
  /** Initiation has come: gives the router its number, or a reason to close. */
  identified(router: Router, now: number): void;
  peerId(router: Router, key: string): number;
  peerUp(router: Router, peer: Peer, timestamp: number, now: number): void;
  /** The lists are the host's to unpin. */
  peerDown(
    router: Router,
    peer: Peer,
    cause: Cause,
    lists: PrefixList[],
    timestamp: number,
    now: number,
  ): void;
  /** A table has been told for the first time. */
  tableTold(router: Router, feed: Feed, family: number, routes: number, now: number): void;
  feedOpened(router: Router, feed: Feed): void;
  feedsClosed(feeds: ReadonlySet<number>): void;
  /** The router's connection ended while the peer was up. */
  sessionUnknown(peer: Peer, now: number): void;
  event(
    type: EventType,
    router: Router,
    peer: Peer | undefined,
    now: number,
    data: object,
    prefixes?: Uint8Array,
  ): void;
}
