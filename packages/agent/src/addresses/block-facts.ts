import { Prefix } from '@causeway/ip';
import {
  type BlockFacts,
  type BlockPhase,
  type BlockStep,
  ordersOf,
  type PoolStats,
} from '@causeway/ipam';
import type { StoredNode } from '../node/own-node.ts';
import { STATIC } from './choice.ts';
import { type HeldBlock, isStatic } from './held.ts';
import type { KeeperPorts } from './keeper-ports.ts';

/** What `stepBlock` goes by. @param drain the node has no more need of it. */
export function factsOf(
  ports: Pick<KeeperPorts, 'records' | 'claimsKnown' | 'withdrawn' | 'announced'>,
  block: HeldBlock,
  allocated: ReadonlyMap<Prefix, string>,
  inUse: boolean,
  drain: boolean,
): BlockFacts {
  const { cidr, phase, pool } = block;
  const record = ports.records.of(cidr);
  const takenBy = isStatic(block) ? undefined : (record?.takenBy ?? block.holder);
  const leaves = phase === 'withdrawing' || phase === 'returning' || takenBy !== undefined;
  return {
    allocated: allocated.get(cidr) === pool,
    // What was the node's is so until the store says otherwise.
    recorded: isStatic(block) || (record?.recorded ?? !UNSURE.has(phase)),
    takenBy: record?.takenBy ?? (record === undefined ? takenBy : undefined),
    // Claims in what was always the node's are the node's own.
    claimsKnown:
      isStatic(block) || (phase !== 'learning' && phase !== 'lost') || ports.claimsKnown(cidr),
    announced: leaves ? !ports.withdrawn(cidr) : ports.announced(cidr),
    drain,
    empty: !inUse,
  };
}

/**
 * Before the endpoints are restored nothing is known of use: every block stays where it was. Only what was always the
 * node's is told of at once.
 */
export function stay(block: HeldBlock): BlockStep {
  const phase = block.phase === 'learning' && isStatic(block) ? 'announcing' : block.phase;
  return { phase, orders: ordersOf(phase) };
}

/** Phases in which a block is no longer of use to anybody here. */
export const LEAVING: ReadonlySet<BlockPhase> = new Set(['withdrawing', 'returning', 'taken']);

/** Phases in which the operator's record is waited for, or missed. */
export const UNSURE: ReadonlySet<BlockPhase> = new Set(['learning', 'lost', 'taken', 'returning']);

export const isUsed = (stats: PoolStats | undefined): boolean =>
  stats !== undefined && stats.used + stats.quarantined > 0n;

/** Each CIDR that the store says is this node's, with its pool. */
export function allocatedTo({ podCIDRs, pools }: StoredNode): Map<Prefix, string> {
  const all = new Map<Prefix, string>();
  for (const { pool, cidr } of pools?.allocated ?? []) {
    // Of two that overlap the first counts: an address is given once.
    if (![...all.keys()].some((other) => Prefix.overlaps(other, cidr))) all.set(cidr, pool);
  }
  for (const cidr of podCIDRs) {
    if (![...all.keys()].some((other) => Prefix.overlaps(other, cidr))) all.set(cidr, STATIC);
  }
  return all;
}
