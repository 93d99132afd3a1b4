import type { Family, Prefix } from '@causeway/ip';

/** A pool's settings that a node decides by (PodIPPoolOptions). */
export interface Marks {
  /** Use of capacity above which the node asks for more, in (0, 1]. */
  readonly high: number;
  /** Use below which it gives blocks back. */
  readonly low: number;
  /** How long use must have been below `low`, in milliseconds. */
  readonly lowForMs: number;
  /** Addresses that are always kept ahead of use. */
  readonly preAllocate: number;
}

/** One block that the node holds, as seen now. Counts are addresses for pods. */
export interface BlockUse {
  readonly cidr: Prefix;
  readonly capacity: number;
  readonly used: number;
  /** Released and not to be given yet. */
  readonly resting: number;
  /** The pool's range is closed: it gives nothing and is replaced. */
  readonly closed: boolean;
}

/** One family of one pool on this node. */
export interface PoolDemandInput {
  readonly pool: string;
  readonly family: Family;
  readonly blocks: readonly BlockUse[];
  /** Allocations that wait for an address now. */
  readonly waiting: number;
  /** Addresses given in the last seconds: growth is kept as far ahead. */
  readonly recent: number;
}

/** What is remembered between two looks. Give back what `stepDemand` returned. */
export interface DemandState {
  /** When use was first seen under the low mark, without a break since (milliseconds of a steady clock). */
  readonly lowSince: number | undefined;
  /** Blocks that the node has decided to give back. */
  readonly givingBack: readonly Prefix[];
}

export interface DemandStep {
  readonly state: DemandState;
  /** For CiliumNode's `requested`: addresses wanted, those of blocks that are being given back included. */
  readonly needed: number;
  /** Blocks that take no new pods: those being given back and those of closed ranges. */
  readonly draining: readonly Prefix[];
  /** Draining blocks without a used or resting address: they can be withdrawn and taken out of `allocated`. */
  readonly empty: readonly Prefix[];
  readonly why: string;
}

/**
 * Where a block is in its life on the node. Keep it over restarts, with the block.
 *
 *  - `learning`: seen in `allocated`; its record or the claims of addresses within it are not known yet
 *  - `announcing`: the node's, published and announced, the speaker has not said so yet; used as a last resort
 *  - `ready`: in use
 *  - `draining`: announced, takes no new pods
 *  - `withdrawing`: empty; withdrawn from routing, the speaker has not said so yet
 *  - `returning`: out of `allocated`; the store has not said so yet
 *  - `lost`: the store no longer says that it is the node's, nor that it is another's: its pods go on, it takes no
 *    new ones, and the node names it in `allocated` so that the operator gives it back
 *  - `taken`: another node has it: withdrawn, and the pods that have addresses of it must stop
 */
export type BlockPhase =
  | 'learning'
  | 'announcing'
  | 'ready'
  | 'draining'
  | 'withdrawing'
  | 'returning'
  | 'lost'
  | 'taken';

/** What the node knows about one block; while the store is away, what it knew last. */
export interface BlockFacts {
  /** In the CiliumNode's `allocated`. */
  readonly allocated: boolean;
  /** The block's record names this node. Before that a block that only `allocated` names may be another's. */
  readonly recorded: boolean;
  /** Another node has it, or a part of it: its record says so, or the operator has refused it for that. */
  readonly takenBy: string | undefined;
  /** The claims' watch has reached the revision at which the CiliumNode was seen. */
  readonly claimsKnown: boolean;
  /** The speaker and the store have it: others can send to it. */
  readonly announced: boolean;
  /** Demand or a closed range says that it goes. */
  readonly drain: boolean;
  /** Nothing used, nothing resting. */
  readonly empty: boolean;
}

export interface BlockOrders {
  /** Give new pods addresses of it: `last-resort` only where no other has one. */
  readonly give: 'yes' | 'last-resort' | 'no';
  /** Announce by BGP and publish in the node's store entry. */
  readonly announce: boolean;
  /** Leave it in `allocated`; false: take it out. */
  readonly keep: boolean;
  /** Put it into `allocated` if it is not there, so that the operator gives it back. */
  readonly ask: boolean;
  /** The endpoints that have addresses of it must stop: another node has the block. */
  readonly stop: boolean;
}
