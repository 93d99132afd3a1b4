import {
  type AttributesText,
  attributesText,
  decodeAttributes,
  type FamilyKey,
  familyTable,
  fieldsOf,
} from '@causeway/bgp';
import type { RibView } from '@causeway/bmp';
import type { Station } from '../station.ts';

export interface RouteQuery {
  readonly router?: string | undefined;
  readonly peer?: string | undefined;
  readonly view?: RibView | undefined;
  readonly family?: FamilyKey | undefined;
  readonly prefix?: string | undefined;
  /** With `prefix`: `exact` (default), `longer` (it and what is inside), `match` (longest match). */
  readonly lookup?: 'exact' | 'longer' | 'match' | undefined;
  readonly limit: number;
  readonly cursor?: number | undefined;
}

/** A route as a router told it. */
export interface RouteRow extends AttributesText {
  readonly router: string;
  readonly peer: string;
  readonly view: RibView;
  readonly family: FamilyKey;
  readonly prefix: string;
  /** Path identifier (RFC 7911), where the session has them. */
  readonly pathId?: number;
  readonly nextHop: string;
  readonly linkLocalNextHop?: string;
  /** When the station learned it as it is. */
  readonly since: string;
}

export interface RoutePage {
  readonly rows: readonly RouteRow[];
  /** Goes into the next query; absent at the end. */
  readonly next?: number;
}

/** Cursors are a family and the number of a prefix in it. */
const FAMILY = 2 ** 32;

/** Routes in the order of their prefixes' numbers, a prefix's routes together. Throws IpError for a bad prefix. */
export function findRoutes(station: Station, query: RouteQuery): RoutePage {
  const matches = feedFilter(station, query);
  if (query.prefix !== undefined && query.lookup !== 'longer') {
    return { rows: routesOf(station, query, matches).slice(0, query.limit) };
  }
  const outer = query.prefix === undefined ? undefined : fieldsOf(query.prefix);
  const rows: RouteRow[] = [];
  const start = query.cursor ?? 0;
  for (let family = Math.floor(start / FAMILY); family < familyTable.length; family += 1) {
    const { key, bits } = familyTable[family]!;
    if (query.family !== undefined && query.family !== key) continue;
    if (outer !== undefined && outer.bits !== bits) continue;
    const table = station.rib.tables[family]!;
    const first = family === Math.floor(start / FAMILY) ? Math.max(1, start % FAMILY) : 1;
    for (let prefix = first; prefix < table.prefixes.end; prefix += 1) {
      if (!table.prefixes.has(prefix)) continue;
      if (outer !== undefined && !table.prefixes.isInside(prefix, outer)) continue;
      if (rows.length >= query.limit) return { rows, next: family * FAMILY + prefix };
      collect(station, family, prefix, matches, rows);
    }
  }
  return { rows };
}

function routesOf(
  station: Station,
  query: RouteQuery,
  matches: (feed: number) => boolean,
): RouteRow[] {
  const rows: RouteRow[] = [];
  const fields = fieldsOf(query.prefix!);
  const family = fields.bits === 32 ? 0 : 1;
  const table = station.rib.tables[family]!;
  const has = (prefix: number): boolean => {
    for (let slot = table.firstOfPrefix[prefix]!; slot !== 0; slot = table.nextOfPrefix[slot]!) {
      if (matches(table.feed[slot]!)) return true;
    }
    return false;
  };
  const { length, w0, w1, w2, w3 } = fields;
  const prefix =
    query.lookup === 'match'
      ? table.prefixes.longestMatch(fields, has)
      : table.prefixes.find(length, w0, w1, w2, w3);
  if (prefix !== 0) collect(station, family, prefix, matches, rows);
  return rows;
}

/** Names are looked at once per feed, not once per route. */
function feedFilter(station: Station, query: RouteQuery): (feed: number) => boolean {
  const wanted = new Set<number>();
  for (const [number, { router, feed }] of station.feeds) {
    if (query.router !== undefined && ![router.name, router.address].includes(query.router))
      continue;
    if (
      query.peer !== undefined &&
      ![feed.peer.name, feed.peer.bgpId].includes(query.peer as never)
    ) {
      continue;
    }
    if (query.view !== undefined && feed.view !== query.view) continue;
    wanted.add(number);
  }
  return (feed) => wanted.has(feed);
}

function collect(
  station: Station,
  family: number,
  prefix: number,
  matches: (feed: number) => boolean,
  rows: RouteRow[],
): void {
  const table = station.rib.tables[family]!;
  const text = table.prefixes.text(prefix);
  for (let slot = table.firstOfPrefix[prefix]!; slot !== 0; slot = table.nextOfPrefix[slot]!) {
    if (matches(table.feed[slot]!)) rows.push(routeRow(station, family, text, slot));
  }
}

function routeRow(station: Station, family: number, prefix: string, slot: number): RouteRow {
  const { rib } = station;
  const table = rib.tables[family]!;
  const { router, feed } = station.feeds.get(table.feed[slot]!)!;
  const set = table.attributes[slot]!;
  const attributes = decodeAttributes(rib.attributes.view(set).slice());
  const nextHop = rib.attributes.nextHop[set]!;
  const linkLocal = rib.nextHops.linkLocal(nextHop);
  const pathId = table.pathId[slot]!;
  return {
    router: router.name,
    peer: feed.peer.name,
    view: feed.view,
    family: familyTable[family]!.key,
    prefix,
    ...(pathId === 0 ? {} : { pathId: pathId >>> 0 }),
    nextHop: rib.nextHops.address(nextHop) ?? 'none',
    ...(linkLocal === undefined ? {} : { linkLocalNextHop: linkLocal }),
    ...attributesText(attributes),
    since: new Date(table.since[slot]! * 1000).toISOString(),
  };
}
