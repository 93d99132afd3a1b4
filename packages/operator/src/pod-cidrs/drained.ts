import type { Log } from '@causeway/daemon';
import { Prefix, subtract } from '@causeway/ip';
import {
  type CiliumPodIPPool,
  type PodIPPoolOptions,
  ResourceError,
  type ResourceStore,
} from '@causeway/resources';
import type { OperatorTables } from '../sources.ts';
import type { PodCidrAllocator } from './allocator.ts';

/**
 * Takes closed ranges that nobody holds any more out of their pools, and out of the list of closed ranges with
 * them. The store refuses it if anything in them is in use after all. A pool's last range of a family stays, closed:
 * a pool without ranges is for a person to delete.
 */
export async function removeDrained(
  allocator: PodCidrAllocator,
  store: ResourceStore,
  tables: OperatorTables,
  log: Log,
  signal: AbortSignal,
): Promise<void> {
  const drained = Map.groupBy(allocator.planner.removable(), ({ pool }) => pool);
  for (const [name, ranges] of drained) {
    const pool = tables.pools.get(name);
    const options = tables.options.get(name);
    if (pool === undefined || options === undefined) continue;
    const cidrs = ranges.map(({ cidr }) => cidr);
    const next = withoutRanges(pool, options, cidrs);
    if (next === undefined) continue;
    try {
      await store.apply([next.pool, next.options], { signal });
      log.info(
        { pool: name, cidrs: next.removed },
        'drained ranges are no longer part of their pool',
      );
    } catch (error) {
      // In use after all (a kept address), or changed by somebody: the next look decides anew.
      if (!(error instanceof ResourceError)) throw error;
      log.debug({ pool: name, cidrs, error: error.message }, 'a drained range stays');
    }
  }
}

/** Undefined where nothing can go. The versions that it was read at stay in the objects, so that no change is lost. */
export function withoutRanges(
  pool: CiliumPodIPPool,
  options: PodIPPoolOptions,
  cidrs: readonly Prefix[],
): { pool: CiliumPodIPPool; options: PodIPPoolOptions; removed: readonly Prefix[] } | undefined {
  const removed = new Set<Prefix>();
  const spec = { ...pool.spec };
  for (const family of ['ipv4', 'ipv6'] as const) {
    const ranges = spec[family];
    const mine = cidrs.filter((cidr) => Prefix.family(cidr) === family);
    if (mine.length === 0) continue;
    const left = subtract((ranges?.cidrs ?? []).map(prefixOf), mine);
    if (ranges !== undefined && left.length === 0) continue;
    if (ranges !== undefined) spec[family] = { ...ranges, cidrs: left };
    for (const cidr of mine) removed.add(cidr);
  }
  if (removed.size === 0) return undefined;
  const closed = (options.spec.closed ?? []).filter((text) => !removed.has(prefixOf(text)));
  return {
    pool: { ...pool, spec },
    options: { ...options, spec: { ...options.spec, closed } },
    removed: [...removed],
  };
}

/** Host bits are taken and mean nothing, as in Cilium. */
const prefixOf = (text: string): Prefix => Prefix.parse(text, { hostBits: 'clear' });
