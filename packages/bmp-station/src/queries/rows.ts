import type { Peer } from '../routers/peer.ts';
import type { Router } from '../routers/router.ts';
import type { Station } from '../station.ts';

/** What operators are shown of routers, peers and the station itself: plain data, times as ISO text. */

export function statusOf(station: Station): object {
  const { rib, history, faults, routers, limits } = station;
  const peers = [...routers].flatMap((router) => [...router.peers.values()]);
  const states = faults.faults.map(({ state }) => state);
  return {
    routers: routers.size,
    peers: peers.length,
    peersUp: peers.filter(({ up }) => up).length,
    routes: rib.size,
    prefixes: rib.tables.reduce((sum, { prefixes }) => sum + prefixes.size, 0),
    attributeSets: rib.attributes.size,
    tableBytes: rib.bytes,
    memory: process.memoryUsage.rss(),
    faults: {
      gathering: states.filter((state) => state === 'gathering').length,
      open: states.filter((state) => state === 'open').length,
    },
    history: {
      events: history.rows,
      bytes: history.bytes,
      waiting: history.waiting,
      dropped: history.dropped,
      ...(history.problem === undefined ? {} : { problem: history.problem }),
    },
    limits,
  };
}

export const iso = (ms: number): string => new Date(ms).toISOString();

export interface RouterRow {
  readonly name: string;
  readonly address: string;
  readonly connected: boolean;
  /** Since when it is connected, or when it was last heard of. */
  readonly since: string;
  readonly peers: number;
  readonly peersUp: number;
  readonly routes: number;
  readonly sysDescr: string;
  readonly messages?: number;
  readonly bytes?: number;
  readonly ignored?: Router['ignored'];
}

/** Connected ones, then those that the history knows. */
export function routerRows(station: Station, since: number): RouterRow[] {
  const connected = [...station.routers].filter(({ id }) => id !== undefined);
  const ids = new Set(connected.map(({ id }) => id));
  const past = station.history.routers(since).filter(({ id }) => !ids.has(id));
  return [
    ...connected.map((router) => connectedRow(station, router)),
    ...past.map(({ address, name, data, lastSeen }) => ({
      name: name === '' ? address : name,
      address,
      connected: false,
      since: iso(lastSeen),
      peers: 0,
      peersUp: 0,
      routes: 0,
      sysDescr: String((data as { sysDescr?: unknown }).sysDescr ?? ''),
    })),
  ];
}

function connectedRow(station: Station, router: Router): RouterRow {
  const peers = [...router.peers.values()];
  return {
    name: router.name,
    address: router.address,
    connected: true,
    since: iso(router.connectedAt),
    peers: peers.length,
    peersUp: peers.filter(({ up }) => up).length,
    routes: peers.reduce((sum, peer) => sum + routesOf(station, peer), 0),
    sysDescr: router.sysDescr,
    messages: router.messages,
    bytes: router.bytes,
    ignored: { ...router.ignored },
  };
}

const routesOf = (station: Station, peer: Peer): number =>
  [...peer.feeds.values()].reduce((sum, { number }) => sum + station.rib.countOf(number), 0);

export interface PeerFilter {
  readonly router?: string | undefined;
  readonly state?: 'up' | 'down' | undefined;
}

/** Peers of connected routers. Those of others are not known to be up or down. */
export function peerRows(station: Station, filter: PeerFilter, now: number): object[] {
  const rows: object[] = [];
  const downs = station.history.downsOfAll(now - HOUR);
  for (const router of station.routers) {
    if (filter.router !== undefined && ![router.name, router.address].includes(filter.router)) {
      continue;
    }
    for (const peer of router.peers.values()) {
      if (filter.state !== undefined && (filter.state === 'up') !== peer.up) continue;
      rows.push(peerRow(station, router, peer, downs.get(peer.id) ?? 0));
    }
  }
  return rows;
}

const HOUR = 3_600_000;

function peerRow(station: Station, router: Router, peer: Peer, downsLastHour: number): object {
  const { lastDown, statistics, statisticsAt } = peer;
  return {
    router: router.name,
    peer: peer.name,
    type: peer.type,
    asn: peer.asn,
    bgpId: peer.bgpId,
    localAsn: peer.localAsn,
    localId: peer.localId,
    ...(peer.local === undefined ? {} : { local: peer.local }),
    state: peer.up ? 'up' : 'down',
    since: iso(peer.since),
    ups: peer.ups,
    downs: peer.downs,
    downsLastHour,
    ...(lastDown === undefined
      ? {}
      : { lastDown: { at: iso(lastDown.at), cause: lastDown.cause } }),
    routes: Object.fromEntries(
      [...peer.feeds.values()].map(({ view, number }) => [view, station.rib.countOf(number)]),
    ),
    counters: { ...peer.counters },
    ...(peer.receivedOpen === undefined
      ? {}
      : { capabilities: peer.receivedOpen.capabilities.map(({ type }) => type) }),
    ...(statisticsAt === undefined
      ? {}
      : {
          statistics: {
            at: iso(statisticsAt),
            values: statistics.flatMap((one) => {
              if (one.type === 'unknown') return [];
              const family = one.type === 'family' ? { afi: one.afi, safi: one.safi } : {};
              return [{ name: one.name, ...family, value: Number(one.value) }];
            }),
          },
        }),
  };
}
