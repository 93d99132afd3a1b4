/** The feed of one router with many peers, made before the clock starts. */
import { makeTable, type SampleSet } from '@causeway/bgp/testing';
import {
  type SamplePeer,
  sampleDown,
  sampleInitiation,
  sampleNotification,
  samplePeer,
  sampleRoutes,
  sampleUp,
} from '@causeway/bmp/testing';

export interface BounceLoad {
  readonly peers: number;
  readonly routesPerPeer: number;
  /** Initiation, Peer Ups and tables. */
  readonly first: Buffer;
  /** All peers down by hold timer, then up again with the same tables. */
  readonly bounce: Buffer;
  /** Of all peers together. */
  readonly routes: number;
  /** Different prefixes in all tables. */
  readonly prefixes: number;
  readonly messages: { readonly first: number; readonly bounce: number };
}

const hex = (prefix: Uint8Array): string => Buffer.from(prefix).toString('hex');

/** A third of each table is the same for all peers of a family; the rest is the peer's own. */
export function bounceLoad(peers: number, routesPerPeer: number): BounceLoad {
  const shared = Math.floor(routesPerPeer / 3);
  const common = {
    ipv4: [...makeTable({ family: 'ipv4', routes: shared, seed: 1 })],
    ipv6: [...makeTable({ family: 'ipv6', routes: shared, seed: 2 })],
  };
  const different = { ipv4: new Set<string>(), ipv6: new Set<string>() };
  const all = Array.from({ length: peers }, (_, index) => samplePeer(index));
  let routes = 0;
  const tables = all.map((peer): Uint8Array[] => {
    const own = makeTable({
      family: peer.family,
      routes: routesPerPeer - shared,
      seed: 1000 + peer.index,
    });
    // What the draws have in common would be announced twice by one peer.
    const seen = new Set<string>();
    const sets = [...common[peer.family], ...own]
      .map(({ attributes, prefixes }): SampleSet => {
        const fresh = prefixes.filter((prefix) => !seen.has(hex(prefix)));
        for (const prefix of fresh) seen.add(hex(prefix));
        return { attributes, prefixes: fresh };
      })
      .filter(({ prefixes }) => prefixes.length > 0);
    routes += seen.size;
    for (const prefix of seen) different[peer.family].add(prefix);
    // As FRR does: a message for each prefix, which is the most work for a station.
    return sampleRoutes(peer, 'in-pre', sets, true);
  });
  const now = Date.now();
  const ups = all.map((peer) => sampleUp(peer, now));
  const notification = sampleNotification(4, 0);
  const downs = all.map((peer: SamplePeer) =>
    sampleDown(peer, { type: 'local-notification', notification }, now),
  );
  const first = [sampleInitiation('bounced', 'benchmark'), ...ups, ...tables.flat()];
  const bounce = [...downs, ...ups, ...tables.flat()];
  return {
    peers,
    routesPerPeer,
    routes,
    first: Buffer.concat(first),
    bounce: Buffer.concat(bounce),
    prefixes: different.ipv4.size + different.ipv6.size,
    messages: { first: first.length, bounce: bounce.length },
  };
}
