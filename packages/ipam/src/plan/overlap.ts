import { PrefixTrie } from '@causeway/ip';
import type { PlanOverlap, PlanRange, PlanScope } from './types.ts';

/**
 * Which of the ranges may not stand beside each other. Two ranges may overlap only if
 *
 *  - one is an entry of the plan that holds the other whole: a VPC's range holds what is in that VPC, a cluster's
 *    range for a use holds what objects of that cluster take for that use; or
 *  - they are the same owner's word for the same thing (the same range for the same use).
 *
 * Pairs are reported once, in the order of the list, so the later one is the one to refuse. Costs the width of an
 * address for each range, and one step for each pair that nests.
 */
export function findOverlaps(ranges: readonly PlanRange[]): PlanOverlap[] {
  const found: PlanOverlap[] = [];
  const known = new PrefixTrie<PlanRange[]>();
  for (const range of ranges) {
    const around = known.covering(range.cidr);
    const inside = [...known.covered(range.cidr)].filter(({ prefix }) => prefix !== range.cidr);
    for (const { value } of [...around, ...inside]) {
      for (const other of value) {
        if (!mayOverlap(range, other)) found.push(overlap(range, other));
      }
    }
    const same = known.get(range.cidr);
    if (same === undefined) known.set(range.cidr, [range]);
    else same.push(range);
  }
  return found;
}

function mayOverlap(a: PlanRange, b: PlanRange): boolean {
  return repeats(a, b) || holds(a, b) || holds(b, a);
}

/** One owner names one range twice. */
function repeats(a: PlanRange, b: PlanRange): boolean {
  return a.owner === b.owner && a.cidr === b.cidr && a.use === b.use && sameScope(a.scope, b.scope);
}

function holds(outer: PlanRange, inner: PlanRange): boolean {
  if (outer.level !== 'plan' || !covers(outer, inner)) return false;
  if (outer.use === 'vpc') {
    return inner.use !== 'vpc' && within(outer.scope, inner.scope, ['region', 'vpc']);
  }
  return (
    inner.level === 'object' &&
    inner.use === outer.use &&
    within(outer.scope, inner.scope, ['cluster'])
  );
}

const covers = ({ cidr: outer }: PlanRange, { cidr: inner }: PlanRange): boolean =>
  Number(outer.slice(outer.indexOf('/') + 1)) <= Number(inner.slice(inner.indexOf('/') + 1));

/** An object knows its cluster, but not always its VPC and region: what it does not say does not speak against it. */
function within(outer: PlanScope, inner: PlanScope, parts: readonly (keyof PlanScope)[]): boolean {
  return parts.every((part) => inner[part] === undefined || inner[part] === outer[part]);
}

function sameScope(a: PlanScope, b: PlanScope): boolean {
  return a.region === b.region && a.vpc === b.vpc && a.cluster === b.cluster;
}

function overlap(range: PlanRange, other: PlanRange): PlanOverlap {
  const relation = range.cidr === other.cidr ? 'is also' : 'overlaps';
  return { range, other, message: `${rangeText(range)} ${relation} ${rangeText(other)}` };
}

/** `10.4.0.0/16 (pods of cluster west in AddressPlan/company)` */
export function rangeText({ cidr, use, scope, owner }: PlanRange): string {
  const place =
    scope.cluster !== undefined
      ? ` of cluster ${scope.cluster}`
      : scope.vpc !== undefined
        ? ` ${scope.vpc}`
        : '';
  return `${cidr} (${use === 'vpc' ? 'VPC' : use}${place} in ${owner})`;
}
