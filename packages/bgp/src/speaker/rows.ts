import { PathFlag } from '../rib/path-table.ts';
import type { PeerColumns } from '../rib/peer-columns.ts';
import { refusedNames } from '../rib/refusals.ts';
import type { Rib } from '../rib/rib.ts';
import { decodeAttributes } from '../wire/attribute-codec.ts';
import type { LocalPaths } from './locals.ts';
import type { RouteRow } from './types.ts';

/** What next hop self stands for in rows that no session has made concrete. */
const ownNextHop = 'self';

export interface RowContext {
  readonly columns: PeerColumns;
  readonly locals: LocalPaths;
}

export function peerNameOf(rib: Rib, path: number, context: RowContext): string {
  const peer = rib.paths.peer[path]!;
  if (peer !== 0) return context.columns.name[peer] ?? '';
  return `local:${context.locals.byId.get(rib.paths.idOf(path))?.owner ?? ''}`;
}

/** A set as a row: attributes and next hops in words. */
export function setFields(
  rib: Rib,
  set: number,
): Pick<RouteRow, 'nextHop' | 'linkLocalNextHop' | 'attributes'> {
  const { sets } = rib;
  const hop = sets.nextHop[set]!;
  const linkLocal = sets.nextHops.linkLocal(hop);
  return {
    nextHop: sets.nextHops.address(hop) ?? ownNextHop,
    ...(linkLocal === undefined ? {} : { linkLocalNextHop: linkLocal }),
    attributes: decodeAttributes(sets.bytes, sets.start(set), sets.end(set)),
  };
}

/** One path. `view` decides which of its two sets is shown. */
export function pathRow(
  rib: Rib,
  path: number,
  view: 'loc' | 'received' | 'accepted',
  context: RowContext,
): RouteRow {
  const { paths } = rib;
  const prefix = paths.prefix[path]!;
  const flags = paths.flags[path]!;
  const received = view === 'received' || paths.accepted[path] === 0;
  const refused = refusedNames[paths.why[path]!];
  const id = paths.idOf(path);
  return {
    family: rib.family,
    prefix: rib.prefixes.text(prefix),
    peer: peerNameOf(rib, path, context),
    ...(id === 0 || paths.peer[path] === 0 ? {} : { pathId: id }),
    ...setFields(rib, received ? paths.received[path]! : paths.accepted[path]!),
    ...(rib.best[prefix] === path ? { best: true } : {}),
    ...((flags & PathFlag.multipath) !== 0 ? { multipath: true } : {}),
    ...((flags & PathFlag.llgr) !== 0
      ? { stale: 'long-lived' as const }
      : (flags & PathFlag.stale) !== 0
        ? { stale: 'graceful-restart' as const }
        : {}),
    ...(refused === undefined || paths.accepted[path] !== 0 ? {} : { refused }),
  };
}
