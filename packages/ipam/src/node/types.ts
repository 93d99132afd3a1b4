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
 * Where a block is in its life on the node:
 *
 *  - `learning`: in `allocated`; not all claims of addresses within it are known yet
 *  - `announcing`: published and announced, the speaker has not said so yet; used only as a last resort
 *  - `ready`: in use
 *  - `draining`: announced, takes no new pods
 *  - `withdrawing`: empty; withdrawn from routing, the speaker has not said so yet
 *  - `returning`: out of `allocated`, its record still there
 *  - `lost`: taken from the node while it was in use: withdrawn, and its pods must stop if another has it
 */
export type BlockPhase =
  | 'learning'
  | 'announcing'
  | 'ready'
  | 'draining'
  | 'withdrawing'
  | 'returning'
  | 'lost';

/** What the node knows about one block. */
export interface BlockFacts {
  /** In the CiliumNode's `allocated`, as last seen. */
  readonly allocated: boolean;
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
  /** Keep it in `allocated`. */
  readonly keep: boolean;
}
