import { type Address, type Family, Prefix } from '@causeway/ip';
import { blockCapacity, blockLengths, reservedOf } from './blocks.ts';
import type { Ledger } from './ledger.ts';
import type { PoolFamily, PoolRangesIndex } from './ranges.ts';
import { closedFreeOf } from './report.ts';
import type { Decision, PlannerNode, PoolSpec, Refusal } from './types.ts';

const FAMILIES: readonly Family[] = ['ipv4', 'ipv6'];

/**
 * Addresses of one family that one node is given of one pool, whatever it asks for: as many pods as an agent can have,
 * and half as many again for those that come. A node that asks for everything is not given everything.
 */
export const MAX_NEEDED = 98_304;

/** One family of one pool that a node has too little of. */
export interface Want {
  readonly node: PlannerNode;
  readonly pool: PoolSpec;
  readonly family: Family;
  readonly needed: number;
  have: number;
}

type Exhausted = Extract<Refusal, { type: 'exhausted' }>;

/** What giving in turn came to. `unserved` are nodes that there was no room for in this plan. */
export interface Given {
  readonly given: readonly Decision[];
  readonly unserved: readonly string[];
  readonly exhausted: readonly Exhausted[];
}

export interface GivingContext {
  readonly ranges: PoolRangesIndex;
  readonly ledger: Ledger;
  readonly isClaimed: (address: Address) => boolean;
}

/** What the node has too little of; what it may not have at all is added to `refusals`. */
export function wantsOf(
  node: PlannerNode,
  ranges: PoolRangesIndex,
  ledger: Ledger,
  refusals: Refusal[],
): Want[] {
  const wants: Want[] = [];
  for (const request of node.requested) {
    const pool = ranges.pool(request.pool);
    const about = { node: node.name, pool: request.pool };
    if (pool === undefined) {
      refusals.push({ type: 'unknown-pool', ...about });
      continue;
    }
    if (pool.place !== undefined && !pool.place.matches(node.labels)) {
      refusals.push({ type: 'wrong-place', ...about, place: pool.place.text });
      continue;
    }
    for (const family of FAMILIES) {
      const needed = Math.min(request[family], MAX_NEEDED);
      if (!(needed > 0)) continue;
      const have = capacityOf(node.name, pool.name, family, ranges, ledger);
      if (have >= needed) continue;
      if (pool[family] === undefined) refusals.push({ type: 'no-family', ...about, family });
      else wants.push({ node, pool, family, needed, have });
    }
  }
  return wants;
}

/** Addresses of the node's blocks that can go on to serve: not what drains, nor what the node has let go. */
function capacityOf(
  node: string,
  pool: string,
  family: Family,
  ranges: PoolRangesIndex,
  ledger: Ledger,
): number {
  let have = 0;
  for (const { cidr, pool: of, state } of ledger.of(node)) {
    if (of !== pool || state === 'releasing' || Prefix.family(cidr) !== family) continue;
    if (!ranges.drains(cidr, pool)) have += blockCapacity(cidr);
  }
  return have;
}

/** One block each in turn, so that those who ask at once share what is left; at most `room` blocks. */
export function giveInTurn(wants: readonly Want[], room: number, context: GivingContext): Given {
  const given: Decision[] = [];
  const unserved: string[] = [];
  const exhausted: Exhausted[] = [];
  const closedFree = new Map<PoolFamily | undefined, bigint>();
  for (let round = wants; round.length > 0; ) {
    const next: Want[] = [];
    for (const want of round) {
      const { node, pool, family } = want;
      if (given.length >= room) {
        unserved.push(node.name);
        continue;
      }
      const cidr = take(want, context);
      if (cidr === undefined) {
        exhausted.push(exhaustedBy(want, context, closedFree));
        continue;
      }
      given.push({ type: 'give', node: node.name, pool: pool.name, family, cidr });
      want.have += blockCapacity(cidr);
      if (want.have < want.needed) next.push(want);
    }
    round = next;
  }
  return { given, unserved, exhausted };
}

function take(
  { node, pool, family }: Want,
  { ranges, ledger, isClaimed }: GivingContext,
): Prefix | undefined {
  const free = ranges.get(pool.name, family)?.free;
  for (const length of blockLengths(pool, family, node)) {
    const passedOver: Prefix[] = [];
    let cidr = free?.take(length);
    while (cidr !== undefined && reservedOf(cidr).some(isClaimed)) {
      passedOver.push(cidr);
      cidr = free?.take(length);
    }
    for (const one of passedOver) free?.add(one);
    if (cidr === undefined) continue;
    ledger.set({ cidr, pool: pool.name, node: node.name, state: 'giving' });
    return cidr;
  }
  return undefined;
}

function exhaustedBy(
  { node, pool, family, needed, have }: Want,
  { ranges, ledger }: GivingContext,
  known: Map<PoolFamily | undefined, bigint>,
): Exhausted {
  const of = ranges.get(pool.name, family);
  const closedFree = known.get(of) ?? closedFreeOf(of, ledger);
  known.set(of, closedFree);
  return {
    type: 'exhausted',
    node: node.name,
    pool: pool.name,
    family,
    maskSize: blockLengths(pool, family, node).at(-1) ?? pool[family]?.maskSize ?? 0,
    needed,
    have,
    closedFree,
  };
}
