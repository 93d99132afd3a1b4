import type { CallOptions, Compare, Kv, KvEntry, TxnOperation } from '@causeway/etcd';
import { findOverlaps, type PlanRange } from '@causeway/ipam';
import { decode, descriptor, prefixOf } from '../codec.ts';
import { ResourceError } from '../errors.ts';
import type { KindDescriptor, KindName, Resource } from '../kinds.ts';
import { isTolerated, ownerOf, PLANNED_KINDS, rangesOf } from './ranges.ts';

/** Its value names the cluster; every write that changes who has which ranges writes it anew. */
export const PLAN_GUARD = 'causeway/allocations/address-plan';

const MAX_TOLD = 20;

/** An object that is about to be written, over what is stored of it. */
export interface NextObject {
  readonly next: Resource;
  readonly stored: Resource | undefined;
}

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
 * Holds the ranges that objects are about to take against those that all others have. What it returns must stand in
 * the transaction that writes them, so that of two at once one sees the other. Nodes only compare the guard, for
 * they are many: a node and a pool that come in the same moment may miss each other, which the operator's status
 * tells. Throws ResourceError `address-overlap` that names both owners and both ranges.
 */
export async function guardRanges(
  kv: Kv,
  objects: readonly NextObject[],
  options: CallOptions,
): Promise<GuardedWrite | undefined> {
  const changed = objects.filter(changesRanges);
  if (changed.length === 0) return undefined;
  const guard = await kv.get(PLAN_GUARD, options);
  const cluster = clusterOfGuard(guard);
  const mine = new Set(changed.map(({ next }) => ownerOf(next)));
  const planned = changed.some(({ next }) => next.kind !== 'CiliumNode');
  const ranges: PlanRange[] = [];
  // A node that comes is held against the few other kinds; they are held against all nodes.
  for (const kind of [...PLANNED_KINDS, ...(planned ? (['CiliumNode'] as const) : [])]) {
    for (const object of await listAll(kv, kind, options)) {
      if (!mine.has(ownerOf(object))) ranges.push(...rangesOf(object, cluster));
    }
  }
  for (const { next } of changed) ranges.push(...rangesOf(next, cluster));
  const overlaps = findOverlaps(ranges).filter(
    (each) => (mine.has(each.range.owner) || mine.has(each.other.owner)) && !isTolerated(each),
  );
  const [first] = overlaps;
  if (first !== undefined) {
    const told = overlaps.slice(0, MAX_TOLD).map(({ message }) => message);
    if (overlaps.length > told.length) told.push(`... and ${overlaps.length - told.length} more`);
    throw new ResourceError('address-overlap', told.join('\n'), {
      object: first.range.owner,
      value: first.range.cidr,
      hint: 'causeway ipam plan draws who has which ranges; take one that is free',
    });
  }
  const compare: Compare[] = [
    { type: 'mod', key: PLAN_GUARD, operator: '=', revision: guard?.modRevision ?? 0 },
  ];
  const value = cluster === undefined ? '{}' : JSON.stringify({ cluster });
  return { compare, operations: planned ? [{ type: 'put', key: PLAN_GUARD, value }] : [] };
}

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

/** Objects that can be read; the others hold nothing that anybody knows. */
async function listAll(kv: Kv, kind: KindName, options: CallOptions): Promise<Resource[]> {
  const of = descriptor(kind) as KindDescriptor;
  const found: Resource[] = [];
  for await (const { entries } of kv.pages(prefixOf(of), options)) {
    for (const entry of entries) {
      const decoded = decode(of, entry);
      if (decoded.type === 'object') found.push(decoded.object);
    }
  }
  return found;
}
