import { familyTable } from '@causeway/bgp';
import type { Cause } from './cause.ts';
import type { CloseReason } from './errors.ts';
import { Fabric } from './faults/fabric.ts';
import { judgeLosses, type Loss } from './faults/losses.ts';
import { FaultTracker, type TrackerOptions } from './faults/tracker.ts';
import type { Fault } from './faults/types.ts';
import { Withdrawals } from './faults/withdrawals.ts';
import type { History } from './history/history.ts';
import type { NewEvent } from './history/types.ts';
import type { EventType, RouterHost, StationLimits } from './routers/host.ts';
import type { Feed, Peer } from './routers/peer.ts';
import { Refusals } from './routers/refusals.ts';
import { logOf, Router } from './routers/router.ts';
import { type PrefixList, Rib } from './routes/rib.ts';

export interface StationOptions {
  readonly limits: StationLimits;
  readonly faults: TrackerOptions;
  readonly history: History;
  /** Told of each event as it is made, with names instead of numbers. */
  readonly onEvent: (event: StationEvent) => void;
  /** A router connected again: its old connection is to be closed. */
  readonly hangUp: (router: Router) => void;
}

/** An event as a reader of the stream sees it. */
export interface StationEvent {
  readonly id: number;
  /** ms since 1970. */
  readonly at: number;
  readonly type: EventType;
  readonly router?: string;
  readonly peer?: string;
  readonly data: object;
}

/** A router that has said nothing for so long after connecting is none. */
const INITIATION_MS = 10_000;
/** Withdrawals remembered, for who else lost a prefix. */
const WITHDRAWALS = 131_072;

/**
 * The station without its sockets: routers' bytes in; routes in memory, the past in the history, and faults.
 * `now` is ms since 1970 throughout.
 */
export class Station implements RouterHost {
  readonly limits: StationLimits;
  readonly history: History;
  readonly rib: Rib;
  readonly withdrawals: Withdrawals;
  readonly faults: FaultTracker;
  readonly routers = new Set<Router>();
  /** By number of the feed in the RIB. */
  readonly feeds = new Map<number, { readonly router: Router; readonly feed: Feed }>();
  readonly #options: StationOptions;
  readonly #fabric: Fabric;
  readonly #refusals = new Refusals();
  #tickedAt = 0;

  constructor(options: StationOptions) {
    this.#options = options;
    this.limits = options.limits;
    this.history = options.history;
    this.rib = new Rib(options.limits.routes);
    this.withdrawals = new Withdrawals(this.rib, WITHDRAWALS);
    this.#fabric = new Fabric(this.routers, this.feeds, this.rib);
    this.faults = new FaultTracker(options.faults, {
      nextFault: () => this.history.nextFault(),
      judge: (losses, since) =>
        judgeLosses(losses, this.rib, (feed) => this.#fabric.feed(feed), this.withdrawals, since),
      release: (losses) => {
        for (const { lists } of losses) this.rib.unpin(lists);
      },
      sessionsKnown: () => this.#fabric.sessionsKnown(),
      downs: (peer, since) => this.history.downs(peer, since),
      changed: (fault, log) => this.#faultChanged(fault, log),
    });
    const open = [...this.history.faults({ state: 'open', limit: 1000 })].reverse();
    this.faults.restore(open.map(({ data }) => data as Fault));
  }

  /** A router has connected. A reason is given when it is not to be served. */
  accept(address: string, port: number, now: number): Router | CloseReason {
    if (this.routers.size >= this.limits.routers) {
      const reason: CloseReason = {
        code: 'too-many-routers',
        text: `${this.routers.size} routers are connected`,
      };
      this.refuse(address, reason, now);
      return reason;
    }
    const router = new Router(this, address, port, now);
    this.routers.add(router);
    return router;
  }

  /** Tells of a connection that was not taken: once a minute for each address, however often it comes. */
  refuse(address: string, reason: CloseReason, now: number): void {
    const attempts = this.#refusals.count(address, now);
    if (attempts === undefined) return;
    this.#record('router-refused', undefined, undefined, now, { address, reason, attempts });
  }

  /** The router's connection is over. */
  closed(router: Router, reason: CloseReason, now: number): void {
    if (!this.routers.delete(router)) return;
    const { nodes, id } = router;
    const [peers, routes] = [router.peers.size, this.#routesOf(router)];
    const { address, messages, bytes } = router;
    router.close(now);
    if (id === undefined) {
      this.refuse(address, reason, now);
      return;
    }
    this.event('router-down', router, undefined, now, { reason, peers, routes, messages, bytes });
    const expected = ['terminated', 'superseded', 'stopping'].includes(reason.code);
    if (expected) return;
    const why = `${reason.code}${reason.text === undefined ? '' : ` (${reason.text})`}`;
    this.faults.feedLost(id, router.name, nodes, why, now);
  }

  /** Everything that time brings; the caller writes the history now and then. */
  tick(now: number): void {
    for (const router of this.routers) {
      if (router.id === undefined && now - router.connectedAt >= INITIATION_MS) {
        router.closing = {
          code: 'no-initiation',
          text: `nothing came in ${INITIATION_MS / 1000} s that is BMP`,
        };
        this.#options.hangUp(router);
      }
    }
    if (now - this.#tickedAt >= 1000 || now < this.#tickedAt) {
      this.#tickedAt = now;
      for (const router of this.routers) router.tick(now);
    }
    const { deadline } = this.faults;
    if (deadline !== undefined && now >= deadline) {
      // Flaps are counted in the history, which must have what has just happened.
      this.history.flush(now);
      this.faults.tick(now);
    }
    this.history.flush(now);
  }

  started(data: object, now: number): void {
    this.#record('station-started', undefined, undefined, now, data);
  }

  setAside(data: object, now: number): void {
    this.#record('history-set-aside', undefined, undefined, now, data);
  }

  /** Writes everything. The connections are the caller's to close before. */
  stop(now: number): void {
    this.faults.close(now);
    this.#record('station-stopped', undefined, undefined, now, {});
    this.history.flush(now);
  }

  identified(router: Router, now: number): void {
    const id = this.history.router(router.address, router.sysName);
    for (const other of this.routers) {
      if (other === router || other.id !== id) continue;
      // A router that rebooted comes back before its old connection has timed out.
      other.closing = { code: 'superseded', text: `it connected again from port ${router.port}` };
      this.#options.hangUp(other);
    }
    router.id = id;
    const { address, port, sysName, sysDescr, information } = router;
    const data = { sysDescr, information };
    this.history.putRouter(id, address, sysName, data, now);
    this.event('router-up', router, undefined, now, { address, port, sysName, ...data });
    this.faults.feedBack(id, now);
  }

  peerId(router: Router, key: string): number {
    return this.history.peer(router.id!, key);
  }

  peerUp(router: Router, peer: Peer, timestamp: number, now: number): void {
    this.#putPeer(router, peer, now);
    this.event('peer-up', router, peer, now, {
      ...peerData(peer),
      local: peer.local,
      ...(timestamp === 0 ? {} : { routerTime: timestamp / 1000 }),
    });
    this.faults.sessionUp(peer.id, now);
  }

  peerDown(
    router: Router,
    peer: Peer,
    cause: Cause,
    lists: PrefixList[],
    timestamp: number,
    now: number,
  ): void {
    const routes = lists.reduce((sum, { prefixes }) => sum + prefixes.length, 0);
    const data = {
      ...peerData(peer),
      cause,
      routesLost: routes,
      ...(timestamp === 0 ? {} : { routerTime: timestamp / 1000 }),
    };
    this.event('peer-down', router, peer, now, data, logOf(lists, this.rib));
    this.#putPeer(router, peer, now);
    if (cause.why === 'monitoring-ended' || peer.type === 'loc-rib') {
      this.rib.unpin(lists);
      this.faults.sessionForgotten(peer.id, now);
      return;
    }
    const loss: Loss = { router: router.id!, routerName: router.name, peer: peer.id, lists };
    this.faults.sessionDown(this.#fabric.session(router, peer, cause, routes, now), loss);
  }

  tableTold(router: Router, feed: Feed, family: number, routes: number, now: number): void {
    const { key } = familyTable[family]!;
    this.event('table', router, feed.peer, now, { view: feed.view, family: key, routes });
  }

  feedOpened(router: Router, feed: Feed): void {
    this.feeds.set(feed.number, { router, feed });
  }

  feedsClosed(feeds: ReadonlySet<number>): void {
    this.withdrawals.forget(feeds);
    for (const feed of feeds) {
      this.feeds.delete(feed);
    }
  }

  sessionUnknown(peer: Peer, now: number): void {
    this.faults.sessionForgotten(peer.id, now);
  }

  event(
    type: EventType,
    router: Router,
    peer: Peer | undefined,
    now: number,
    data: object,
    prefixes?: Uint8Array,
  ): void {
    this.#record(type, router, peer, now, data, prefixes);
  }

  #record(
    type: EventType,
    router: Router | undefined,
    peer: Peer | undefined,
    now: number,
    data: object,
    prefixes?: Uint8Array,
  ): void {
    const event: NewEvent = {
      id: this.history.nextEvent(),
      at: now,
      type,
      data: {
        ...(router === undefined ? {} : { router: router.name }),
        ...(peer === undefined ? {} : { peer: peer.name }),
        ...data,
      },
      ...(router?.id === undefined ? {} : { router: router.id }),
      ...(peer === undefined ? {} : { peer: peer.id }),
      ...(prefixes === undefined ? {} : { prefixes }),
    };
    this.history.add(event);
    this.#options.onEvent({
      id: event.id,
      at: now,
      type,
      ...(router === undefined ? {} : { router: router.name }),
      ...(peer === undefined ? {} : { peer: peer.name }),
      data,
    });
  }

  #faultChanged(fault: Fault, log: Uint8Array | undefined): void {
    const { id, openedAt, state } = fault;
    this.history.putFault({ id, opened: openedAt, state, data: fault, prefixes: log });
    const at = fault.recoveredAt ?? fault.lastAt;
    const { headline, prefixes } = fault;
    this.#record('fault', undefined, undefined, at, { fault: id, state, headline, prefixes });
  }

  #putPeer(router: Router, peer: Peer, now: number): void {
    const { name, up, lastDown } = peer;
    const data = { name, ...peerData(peer), up, lastDown };
    this.history.putPeer(peer.id, router.id!, peer.key, data, now);
  }

  #routesOf(router: Router): number {
    let routes = 0;
    for (const peer of router.peers.values()) {
      for (const { number } of peer.feeds.values()) routes += this.rib.countOf(number);
    }
    return routes;
  }
}

const peerData = (peer: Peer): object => ({
  peerType: peer.type,
  asn: peer.asn,
  bgpId: peer.bgpId,
  localAsn: peer.localAsn,
  localId: peer.localId,
});
