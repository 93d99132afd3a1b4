import type { Cause } from '../cause.ts';
import type { Feed, Peer } from '../routers/peer.ts';
import type { Router } from '../routers/router.ts';
import type { Rib } from '../routes/rib.ts';
import type { FeedInfo } from './losses.ts';
import { sessionKey } from './suspects.ts';
import type { FaultNode, FaultSession } from './types.ts';

/** What faults ask of the fabric, answered by what its monitored routers tell. */
export class Fabric {
  readonly #routers: ReadonlySet<Router>;
  readonly #feeds: ReadonlyMap<number, { readonly router: Router; readonly feed: Feed }>;
  readonly #rib: Rib;

  constructor(
    routers: ReadonlySet<Router>,
    feeds: ReadonlyMap<number, { readonly router: Router; readonly feed: Feed }>,
    rib: Rib,
  ) {
    this.#routers = routers;
    this.#feeds = feeds;
    this.#rib = rib;
  }

  /** A session that has fallen, with its ends by name. */
  session(
    router: Router,
    peer: Peer,
    cause: Cause,
    routesLost: number,
    downAt: number,
  ): FaultSession {
    return {
      router: router.id!,
      routerName: router.name,
      peer: peer.id,
      peerAddress: peer.name,
      peerAsn: peer.asn,
      local: { bgpId: peer.localId, asn: peer.localAsn, name: router.name },
      remote: { bgpId: peer.bgpId, asn: peer.asn, name: this.#nodeName(peer.bgpId) ?? peer.name },
      cause,
      downAt,
      routesLost,
    };
  }

  /** @param number of the feed in the RIB. */
  feed(number: number): FeedInfo | undefined {
    const known = this.#feeds.get(number);
    if (known === undefined) return undefined;
    const { router, feed } = known;
    return {
      router: router.id!,
      routerName: router.name,
      peer: feed.peer.id,
      peerAddress: feed.peer.name,
      usable: this.#isWay(router, feed),
    };
  }

  /** How many sessions end at a node, from whichever end they are told of: those that are up, and the fallen. */
  sessionsKnown(): (node: FaultNode) => number {
    const sessions = new Map<string, Set<string>>();
    const add = (bgpId: string, session: string): void => {
      const own = sessions.get(bgpId);
      if (own === undefined) sessions.set(bgpId, new Set([session]));
      else own.add(session);
    };
    for (const router of this.#routers) {
      for (const { type, address, localId, bgpId } of router.peers.values()) {
        if (type === 'loc-rib') continue;
        const session = sessionKey(localId, bgpId, address ?? '');
        add(localId, session);
        add(bgpId, session);
      }
    }
    return ({ bgpId }) => sessions.get(bgpId)?.size ?? 0;
  }

  /** A Loc-RIB says what a router has; without one, the tables of its peers do. */
  #isWay(router: Router, { view, peer }: Feed): boolean {
    if (view === 'loc') return true;
    if (view !== 'in-pre' && view !== 'in-post') return false;
    if (view === 'in-pre' && peer.feeds.has('in-post')) return false;
    const locRib = router.peers.get('loc-rib 0 ')?.feeds.get('loc');
    return locRib === undefined || this.#rib.countOf(locRib.number) === 0;
  }

  /** The name of a monitored router that has this identifier. */
  #nodeName(bgpId: string): string | undefined {
    for (const router of this.#routers) {
      for (const peer of router.peers.values()) {
        if (peer.localId === bgpId) return router.name;
        // A router has one identifier in nearly all of its sessions.
        break;
      }
    }
    return undefined;
  }
}
