import { IpError } from '@causeway/ip';
import { BgpError } from '../errors.ts';
import { PathFlag } from '../rib/path-table.ts';
import type { PeerColumns } from '../rib/peer-columns.ts';
import { fieldsOf, type PrefixFields } from '../rib/prefix-table.ts';
import type { Rib } from '../rib/rib.ts';
import { type FamilyKey, familyTable } from '../types.ts';
import type { LocalPaths } from './locals.ts';
import type { PeerFamily, SpeakerPeer } from './peer.ts';
import { pathRow, peerNameOf, setFields } from './rows.ts';
import type { FamilyCounters, Page, PeerRow, RouteQuery, RouteRow, Why } from './types.ts';
import { explain } from './why.ts';

export interface ShowContext {
  readonly ribs: Readonly<Record<FamilyKey, Rib>>;
  readonly columns: PeerColumns;
  readonly peers: ReadonlyMap<string, SpeakerPeer>;
  readonly byIndex: readonly (SpeakerPeer | undefined)[];
  readonly locals: LocalPaths;
}

/** Prefixes looked at for one page: a query that finds little ends anyway, and goes on with the next page. */
const mostLooks = 100_000;
const familyStride = 2 ** 40;

/** Everything that is only looked at. Bounded: a page at a time. */
export class Show {
  readonly #context: ShowContext;

  constructor(context: ShowContext) {
    this.#context = context;
  }

  peers(): PeerRow[] {
    return [...this.#context.peers.values()].map((peer) => this.#row(peer));
  }

  peer(name: string): PeerRow | undefined {
    const peer = this.#context.peers.get(name);
    return peer && this.#row(peer);
  }

  #row(peer: SpeakerPeer): PeerRow {
    const kept = [...peer.families.values()].find(({ restart }) => restart !== undefined)?.restart;
    const { negotiated } = peer;
    return {
      name: peer.name,
      asn: peer.config.asn,
      state: peer.state,
      since: peer.since,
      ups: peer.ups,
      downs: peer.downs,
      families: [...peer.families.values()].map((family) => counters(peer, family)),
      messages: {
        updatesIn: peer.updatesIn,
        updatesOut: peer.updatesOut,
        bytesIn: peer.bytesIn,
        bytesOut: peer.bytesOut,
      },
      routeReflectorClient: peer.config.routeReflectorClient === true,
      ...(negotiated === undefined
        ? {}
        : {
            kind: negotiated.kind,
            endpoints: negotiated.endpoints,
            peerId: negotiated.peerId,
            negotiated,
          }),
      ...(peer.lastDown === undefined ? {} : { lastDown: peer.lastDown }),
      ...(kept === undefined ? {} : { restart: { phase: kept.phase, until: kept.until } }),
    };
  }

  /** Throws BgpError `invalid-config` for a query that makes no sense, naming the field. */
  routes(query: RouteQuery): Page<RouteRow> {
    const limit = Math.min(Math.max(1, query.limit ?? 1000), 10_000);
    const peer = query.peer === undefined ? undefined : this.#context.peers.get(query.peer);
    if (query.peer !== undefined && peer === undefined && !query.peer.startsWith('local')) {
      throw wrong('peer', query.peer, 'a neighbour');
    }
    if (query.view === 'advertised' && peer === undefined) {
      throw wrong('peer', query.peer, 'a neighbour, which this view needs');
    }
    const outer = query.prefix === undefined ? undefined : parsePrefix(query.prefix);
    const families = familyTable.filter(
      ({ key, bits }) =>
        (query.family === undefined || query.family === key) &&
        (outer === undefined || outer.bits === bits),
    );
    const rows: RouteRow[] = [];
    const cursor = query.cursor ?? 0;
    let looks = 0;
    for (const { key, index } of families) {
      const base = index * familyStride;
      if (cursor >= base + familyStride) continue;
      const rib = this.#context.ribs[key];
      if (outer !== undefined && query.lookup !== 'longer') {
        const prefix = this.#lookUp(rib, outer, query, peer);
        if (prefix !== 0) this.#add(rib, prefix, query, peer, rows);
        continue;
      }
      for (let prefix = Math.max(1, cursor - base); prefix < rib.prefixes.end; prefix++) {
        if (rows.length >= limit || looks >= mostLooks) return { rows, next: base + prefix };
        looks++;
        if (!rib.prefixes.has(prefix)) continue;
        if (outer !== undefined && !rib.prefixes.isInside(prefix, outer)) continue;
        this.#add(rib, prefix, query, peer, rows);
      }
    }
    return { rows };
  }

  #lookUp(rib: Rib, outer: PrefixFields, query: RouteQuery, peer: SpeakerPeer | undefined): number {
    if (query.lookup !== 'match') {
      return rib.prefixes.find(outer.length, outer.w0, outer.w1, outer.w2, outer.w3);
    }
    const found: RouteRow[] = [];
    return rib.prefixes.longestMatch(outer, (prefix) => {
      this.#add(rib, prefix, query, peer, found);
      return found.length > 0;
    });
  }

  #add(
    rib: Rib,
    prefix: number,
    query: RouteQuery,
    peer: SpeakerPeer | undefined,
    rows: RouteRow[],
  ): void {
    const { view } = query;
    if (view === 'advertised') {
      addAdvertised(rib, prefix, peer!, rows, (path) => peerNameOf(rib, path, this.#context));
      return;
    }
    const { paths } = rib;
    for (let path = rib.head[prefix]!; path !== 0; path = paths.next[path]!) {
      if ((paths.flags[path]! & PathFlag.gone) !== 0) continue;
      if (peer !== undefined && paths.peer[path] !== peer.index) continue;
      if (view !== 'received' && paths.accepted[path] === 0) continue;
      if (view !== 'loc' && paths.peer[path] === 0) continue;
      if (
        peer === undefined &&
        query.peer !== undefined &&
        peerNameOf(rib, path, this.#context) !== query.peer
      )
        continue;
      rows.push(pathRow(rib, path, view, this.#context));
    }
  }

  why(text: string, peerName: string | undefined): Why | undefined {
    const fields = parsePrefix(text);
    const rib = this.#context.ribs[fields.bits === 32 ? 'ipv4-unicast' : 'ipv6-unicast'];
    const prefix = rib.prefixes.find(fields.length, fields.w0, fields.w1, fields.w2, fields.w3);
    if (prefix === 0 || rib.head[prefix] === 0) return undefined;
    const peer = peerName === undefined ? undefined : this.#context.peers.get(peerName);
    if (peerName !== undefined && peer === undefined) throw wrong('peer', peerName, 'a neighbour');
    return explain(rib, prefix, this.#context, peer);
  }
}

function counters(peer: SpeakerPeer, family: PeerFamily): FamilyCounters {
  const { received, accepted, stale } = family.rib.counts(peer.index);
  const { group, member } = family;
  const isUp = group !== undefined && member !== undefined;
  return {
    family: family.family,
    received,
    accepted,
    advertised: isUp ? group.advertised(member) : 0,
    pending: isUp ? group.pending(member) : 0,
    stale,
    endOfRibReceived: family.endOfRibReceived,
    endOfRibSent: member?.endOfRibSent ?? false,
  };
}

/** What a neighbour has been given; nothing if the session is down. */
function addAdvertised(
  rib: Rib,
  prefix: number,
  peer: SpeakerPeer,
  rows: RouteRow[],
  nameOf: (path: number) => string,
): void {
  const { group, member } = peer.families.get(rib.family) ?? {};
  if (group === undefined || member === undefined) return;
  const { out } = group;
  for (let item = out.first(prefix); item !== 0; item = out.next(item)) {
    const set = out.set[item]!;
    if (set === 0 || out.sourceOf(item) === peer.index || !group.hasBeenTold(member, item))
      continue;
    const path = out.isAddPath ? out.pathIdOf(item) : rib.best[prefix]!;
    rows.push({
      family: rib.family,
      prefix: rib.prefixes.text(prefix),
      peer: path === 0 ? '' : nameOf(path),
      ...(out.isAddPath ? { pathId: path } : {}),
      ...setFields(rib, set),
    });
  }
}

function parsePrefix(text: string): PrefixFields & { readonly bits: 32 | 128 } {
  try {
    return fieldsOf(text);
  } catch (cause) {
    if (!(cause instanceof IpError)) throw cause;
    throw new BgpError('invalid-config', `prefix: ${cause.message}`, { value: text, cause });
  }
}

function wrong(field: string, value: unknown, wanted: string): BgpError {
  return new BgpError('invalid-config', `${field}: ${JSON.stringify(value)} is not ${wanted}`, {
    value,
  });
}
