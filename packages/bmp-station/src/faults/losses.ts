import { PrefixLog } from '../history/prefix-log.ts';
import type { PrefixList } from '../routes/rib.ts';
import { Change, type Rib } from '../routes/rib.ts';
import type { AlsoLost, FaultPrefixes, LossAtRouter } from './types.ts';
import type { Withdrawals } from './withdrawals.ts';

/** What a feed is, for judging what is lost. */
export interface FeedInfo {
  readonly router: number;
  readonly routerName: string;
  readonly peer: number;
  readonly peerAddress: string;
  /** Its routes are ways to somewhere: tables in, or the Loc-RIB of a router that sends it. */
  readonly usable: boolean;
}

export interface Loss {
  readonly router: number;
  readonly routerName: string;
  readonly peer: number;
  readonly lists: readonly PrefixList[];
}

export interface Judgement {
  readonly prefixes: FaultPrefixes;
  readonly alsoLost: readonly AlsoLost[];
  /** Every lost prefix once, as a `PrefixLog`. */
  readonly log: Uint8Array | undefined;
}

const SAMPLE = 20;
const ALSO = 20;

/**
 * What became of the prefixes that went with a fault's sessions: which routers still have another way, of which
 * nobody has any, and which other peers took the same prefixes back meanwhile.
 */
export function judgeLosses(
  losses: readonly Loss[],
  rib: Rib,
  feedOf: (feed: number) => FeedInfo | undefined,
  withdrawals: Withdrawals,
  since: number,
): Judgement {
  const fallen = new Set(losses.map(({ peer }) => peer));
  const usable = (feed: number): FeedInfo | undefined => {
    const info = feedOf(feed);
    return info?.usable === true && !fallen.has(info.peer) ? info : undefined;
  };
  /** By family and prefix. 1: every router that lost it has another way; 2: at least one has none. */
  const marks = rib.tables.map(({ prefixes }) => new Uint8Array(prefixes.end));
  const perRouter = [...byRouter(losses)].map(([router, own]) =>
    lossAtRouter(router, own, rib, usable, marks),
  );
  const log = new PrefixLog();
  const goneSample: string[] = [];
  let [lost, reachable, gone] = [0, 0, 0];
  marks.forEach((marked, family) => {
    const table = rib.tables[family]!;
    for (let prefix = 1; prefix < marked.length; prefix += 1) {
      if (marked[prefix] === 0) continue;
      lost += 1;
      log.add(Change.lost, table.prefixes, prefix);
      if (marked[prefix] === 1) reachable += 1;
      else if (!hasRoute(rib, family, prefix, (feed) => usable(feed) !== undefined)) {
        gone += 1;
        if (goneSample.length < SAMPLE) goneSample.push(rib.text(family, prefix));
      }
    }
  });
  return {
    prefixes: { lost, reachable, gone, goneSample, perRouter },
    alsoLost: alsoLost(withdrawals, since, marks, fallen, feedOf, rib),
    log: log.take(),
  };
}

function byRouter(losses: readonly Loss[]): Map<number, Loss[]> {
  const routers = new Map<number, Loss[]>();
  for (const loss of losses) {
    const own = routers.get(loss.router);
    if (own === undefined) routers.set(loss.router, [loss]);
    else own.push(loss);
  }
  return routers;
}

function lossAtRouter(
  router: number,
  losses: readonly Loss[],
  rib: Rib,
  usable: (feed: number) => FeedInfo | undefined,
  marks: readonly Uint8Array[],
): LossAtRouter {
  const seen = marks.map((marked) => new Uint8Array(marked.length));
  let [lost, reachable] = [0, 0];
  for (const { family, prefixes } of losses.flatMap(({ lists }) => lists)) {
    for (const prefix of prefixes) {
      if (seen[family]![prefix] === 1) continue;
      seen[family]![prefix] = 1;
      lost += 1;
      const other = hasRoute(rib, family, prefix, (feed) => usable(feed)?.router === router);
      if (other) reachable += 1;
      marks[family]![prefix] = Math.max(marks[family]![prefix]!, other ? 1 : 2);
    }
  }
  return { router, routerName: losses[0]!.routerName, lost, reachable };
}

function hasRoute(
  rib: Rib,
  family: number,
  prefix: number,
  holds: (feed: number) => boolean,
): boolean {
  const table = rib.tables[family]!;
  for (let slot = table.firstOfPrefix[prefix]!; slot !== 0; slot = table.nextOfPrefix[slot]!) {
    if (holds(table.feed[slot]!)) return true;
  }
  return false;
}

function alsoLost(
  withdrawals: Withdrawals,
  since: number,
  marks: readonly Uint8Array[],
  fallen: ReadonlySet<number>,
  feedOf: (feed: number) => FeedInfo | undefined,
  rib: Rib,
): AlsoLost[] {
  const peers = new Map<number, { info: FeedInfo; seen: Set<string>; sample: string[] }>();
  withdrawals.each(since, (feed, family, prefix) => {
    if ((marks[family]![prefix] ?? 0) === 0) return;
    const info = feedOf(feed);
    if (info === undefined || !info.usable || fallen.has(info.peer)) return;
    let row = peers.get(info.peer);
    if (row === undefined) {
      row = { info, seen: new Set(), sample: [] };
      peers.set(info.peer, row);
    }
    // A prefix that came and went again, or went from two views, is one.
    const key = `${family}/${prefix}`;
    if (row.seen.has(key)) return;
    row.seen.add(key);
    if (row.sample.length < 5) row.sample.push(rib.text(family, prefix));
  });
  return [...peers.values()]
    .sort((a, b) => b.seen.size - a.seen.size)
    .slice(0, ALSO)
    .map(({ info, seen, sample }) => {
      const { router, routerName, peer, peerAddress } = info;
      return { router, routerName, peer, peerAddress, prefixes: seen.size, sample };
    });
}
