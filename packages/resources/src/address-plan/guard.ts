import type { CallOptions, Compare, Kv, KvEntry, TxnOperation } from '@causeway/etcd';
import { findOverlaps, type PlanRange } from '@causeway/ipam';
import { ResourceError } from '../errors.ts';
import type { Resource } from '../kinds.ts';
import { listAll, readAll } from '../reads.ts';
import type { NextObject } from '../writes.ts';
import { COMING_COUNT, ComingRanges, readComing } from './coming.ts';
import { isTolerated, ownerOf, PLANNED_KINDS, rangesOf } from './ranges.ts';

/** Its value names the cluster; every write that changes who has which ranges writes it anew. */
export const PLAN_GUARD = 'causeway/allocations/address-plan';

const MAX_TOLD = 20;

export interface GuardedWrite {
  readonly compare: readonly Compare[];
  readonly operations: readonly TxnOperation[];
}

/** The cluster whose store this is, as its operator has written it. */
export function clusterOfGuard(entry: KvEntry | undefined): string | undefined {
  try {
    const { cluster } = JSON.parse(entry?.text ?? '{}') as { cluster?: unknown };
    return typeof cluster === 'string' ? cluster : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Says what these objects are about to take, before anybody has been asked for it. Undefined for nodes: they are too
 * many to keep each other waiting, and they meet each other nowhere. Throws KvError.
 */
export async function sayRanges(
  kv: Kv,
  objects: readonly NextObject[],
  options: CallOptions,
): Promise<ComingRanges | undefined> {
  const ranges = objects
    .filter((each) => each.next.kind !== 'CiliumNode' && changesRanges(each))
    .flatMap(({ next }) => rangesOf(next));
  return ranges.length > 0 ? ComingRanges.say(kv, ranges, options) : undefined;
}

/**
 * Holds the ranges that objects are about to take against those that all others have. What it returns must stand in
 * the transaction that writes them, so that of two at once one sees the other. Nodes only compare the guard, and so
 * never wait for each other; for that, other ranges are said first (`coming`), then nodes are listed: a node that the
 * list lacks has seen what was said, or loses its transaction. Throws ResourceError `address-overlap` that names both
 * owners and both ranges.
 */
export async function guardRanges(
  kv: Kv,
  objects: readonly NextObject[],
  coming: ComingRanges | undefined,
  options: CallOptions,
): Promise<GuardedWrite | undefined> {
  const changed = objects.filter(changesRanges);
  if (changed.length === 0) return undefined;
  const planned = isPlanned(changed);
  const [guard, count] = await readAll(kv, [PLAN_GUARD, COMING_COUNT], options);
  const cluster = clusterOfGuard(guard);
  const mine = new Set(changed.map(({ next }) => ownerOf(next)));
  const ranges: PlanRange[] = [];
  // A node that comes is held against the few other kinds; they are held against all nodes.
  for (const kind of [...PLANNED_KINDS, ...(planned ? (['CiliumNode'] as const) : [])]) {
    for (const object of await listAll(kv, kind, options)) {
      if (!mine.has(ownerOf(object))) ranges.push(...rangesOf(object, cluster));
    }
  }
  const said = new Set(planned ? [] : await readComing(kv, cluster, options));
  ranges.push(...said);
  for (const { next } of changed) ranges.push(...rangesOf(next, cluster));
  const overlaps = findOverlaps(ranges).filter(
    (each) => (mine.has(each.range.owner) || mine.has(each.other.owner)) && !isTolerated(each),
  );
  const [first] = overlaps;
  if (first !== undefined) {
    const told = [...new Set(overlaps.map(({ message }) => message))];
    const most = told.slice(0, MAX_TOLD);
    if (told.length > most.length) most.push(`... and ${told.length - most.length} more`);
    const passing = overlaps.every(({ range, other }) => said.has(range) || said.has(other));
    throw new ResourceError('address-overlap', most.join('\n'), {
      object: first.range.owner,
      value: first.range.cidr,
      hint: passing
        ? `${first.other.owner} is being applied at this moment; should nothing come of it, this passes when tried again`
        : 'causeway ipam plan draws who has which ranges; take one that is free',
    });
  }
  const compare: Compare[] = [
    { type: 'mod', key: PLAN_GUARD, operator: '=', revision: guard?.modRevision ?? 0 },
  ];
  if (!planned) {
    const revision = count?.modRevision ?? 0;
    compare.push({ type: 'mod', key: COMING_COUNT, operator: '=', revision });
    return { compare, operations: [] };
  }
  compare.push(...(coming?.compare ?? []));
  const value = cluster === undefined ? '{}' : JSON.stringify({ cluster });
  return { compare, operations: [{ type: 'put', key: PLAN_GUARD, value }] };
}

const isPlanned = (changed: readonly NextObject[]): boolean =>
  changed.some(({ next }) => next.kind !== 'CiliumNode');

/** The guard for the next transaction of the same plan, after one that wrote at `revision`. */
export function afterGuard(guard: GuardedWrite, revision: number): GuardedWrite {
  if (guard.operations.length === 0) return guard;
  const compare = guard.compare.map((each) => (each.type === 'mod' ? { ...each, revision } : each));
  return { ...guard, compare };
}

/** Whether the object belongs into a transaction with the guard. */
export function changesRanges({ next, stored }: NextObject): boolean {
  const text = (object: Resource | undefined): string =>
    object === undefined
      ? ''
      : rangesOf(object)
          .map(({ cidr, use, scope }) => `${cidr} ${use} ${JSON.stringify(scope)}`)
          .sort()
          .join();
  return text(next) !== text(stored);
}
