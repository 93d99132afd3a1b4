import { Prefix, subtract } from '@causeway/ip';
import type { Ledger } from './ledger.ts';
import type { PoolFamily, PoolRangesIndex } from './ranges.ts';
import type { DrainView, PoolUsage } from './types.ts';

/** One family of a pool, counted. Costs a step for each block of it. */
export function usageOf(
  { spec, family, cidrs, closed, free }: PoolFamily,
  ledger: Ledger,
  waiting: number,
): PoolUsage {
  const nodes = new Set<string>();
  let given = 0n;
  let blocks = 0;
  for (const cidr of cidrs) {
    for (const holder of ledger.holders(cidr)) {
      nodes.add(holder.node);
      given += Prefix.covers(cidr, holder.cidr) ? Prefix.size(holder.cidr) : Prefix.size(cidr);
      blocks += 1;
    }
  }
  return {
    pool: spec.name,
    family,
    size: sizeOf(cidrs),
    given,
    free: free.size,
    closed: sizeOf(cidrs) - sizeOf(subtract(cidrs, closed)),
    blocks,
    nodes: nodes.size,
    waiting,
    largestFree: free.largest,
  };
}

export function drainOf(cidr: Prefix, ranges: PoolRangesIndex, ledger: Ledger): DrainView {
  const holders = Array.from(ledger.holders(cidr), ({ cidr: held, node, pool }) => ({
    cidr: held,
    node,
    pool: pool ?? '',
  }));
  return {
    cidr,
    pool: ranges.around(cidr)?.spec.name,
    closed: ranges.closed(cidr),
    empty: holders.length === 0,
    holders,
  };
}

/** Addresses of the closed ranges that nobody holds. */
export function closedFreeOf(ranges: PoolFamily | undefined, ledger: Ledger): bigint {
  return (ranges?.closed ?? []).reduce((sum, cidr) => {
    const held = Array.from(ledger.holders(cidr), (holder) => holder.cidr);
    return sum + sizeOf(subtract([cidr], held));
  }, 0n);
}

const sizeOf = (cidrs: readonly Prefix[]): bigint =>
  cidrs.reduce((sum, cidr) => sum + Prefix.size(cidr), 0n);
