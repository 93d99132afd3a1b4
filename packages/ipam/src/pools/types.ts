import type { Family, Prefix } from '@causeway/ip';

export type Labels = Readonly<Record<string, string>>;

/** One family of a pool: its ranges, and the prefix length of the blocks that nodes are given from them. */
export interface PoolRanges {
  readonly cidrs: readonly Prefix[];
  readonly maskSize: number;
}

/** Nodes that a pool is bound to. Of two pools that fit a node, the one of higher `specificity` serves it. */
export interface Place {
  readonly matches: (labels: Labels) => boolean;
  /** How much the place says, such as the number of labels that it asks for. */
  readonly specificity: number;
  /** In a person's words, for refusals: `rack=r1`. */
  readonly text: string;
}

/** A block size for some nodes. All that is given must hold; the first rule that holds is the one. */
export interface BlockSizeRule {
  readonly matches?: (labels: Labels) => boolean;
  /** Nodes that may run at least this many pods. */
  readonly minPods?: number;
  readonly ipv4MaskSize?: number;
  readonly ipv6MaskSize?: number;
}

export interface PoolSpec {
  readonly name: string;
  readonly ipv4?: PoolRanges;
  readonly ipv6?: PoolRanges;
  /** Missing: every node. */
  readonly place?: Place;
  readonly blockSizes?: readonly BlockSizeRule[];
  /** Parts of the ranges that drain: nothing of them is given, and what is given counts as no capacity. */
  readonly closed?: readonly Prefix[];
}

/** Pod addresses that a node wants to have from a pool, as in CiliumNode's spec.ipam.pools.requested. */
export interface PoolRequest {
  readonly pool: string;
  readonly ipv4: number;
  readonly ipv6: number;
}

/** A node as the planner sees it: its labels and its CiliumNode's spec.ipam. */
export interface PlannerNode {
  readonly name: string;
  readonly labels: Labels;
  /** How many pods the node may run, for block sizes; missing where nobody knows. */
  readonly pods?: number;
  readonly requested: readonly PoolRequest[];
  readonly allocated: readonly { readonly pool: string; readonly cidrs: readonly Prefix[] }[];
  /** spec.ipam.podCIDRs: never given to another, nor taken away. */
  readonly podCidrs?: readonly Prefix[];
}

/** `causeway/allocations/pod-cidrs/<family>/<cidr>`: whose a block is. */
export interface CidrRecord {
  readonly cidr: Prefix;
  readonly pool: string;
  readonly node: string;
}

/** One change of one node's blocks: the record and the CiliumNode's `allocated`, in one transaction. */
export type Decision = {
  readonly node: string;
  readonly pool: string;
  readonly family: Family;
  readonly cidr: Prefix;
} & (
  | /** Write the record, put the block into `allocated`. */ { readonly type: 'give' }
  | /** The node names a free block as its own: write the record. */ { readonly type: 'adopt' }
  | /** The node has let go of the block: delete the record. */ { readonly type: 'release' }
  | /** The node is gone, or its blocks are taken by force: delete the record, and take the block out of `allocated`. */ {
      readonly type: 'reclaim';
      readonly why: 'node-gone' | 'forced';
    }
);

/** Why a node is not given what it asks for, or may not keep what it names. It heals by itself. */
export type Refusal = { readonly node: string; readonly pool: string } & (
  | { readonly type: 'unknown-pool' }
  | { readonly type: 'no-family'; readonly family: Family }
  | { readonly type: 'wrong-place'; readonly place: string }
  | {
      readonly type: 'exhausted';
      readonly family: Family;
      readonly maskSize: number;
      readonly needed: number;
      readonly have: number;
      /** Addresses of the pool's closed ranges that nobody holds: opening them again would help. */
      readonly closedFree: bigint;
    }
  | { readonly type: 'cidr-taken'; readonly cidr: Prefix; readonly holder: string }
);

/** A range of a pool that cannot be used, because another has it. */
export interface RangeConflict {
  readonly pool: string;
  readonly cidr: Prefix;
  readonly with: { readonly pool: string; readonly cidr: Prefix };
}

/** One family of a pool, counted in addresses. */
export interface PoolUsage {
  readonly pool: string;
  readonly family: Family;
  readonly size: bigint;
  /** In blocks that nodes hold. */
  readonly given: bigint;
  readonly free: bigint;
  readonly closed: bigint;
  readonly blocks: number;
  /** Nodes that hold blocks. */
  readonly nodes: number;
  /** Nodes that wait for blocks which the pool has not. */
  readonly waiting: number;
  /** The shortest prefix length that could still be given; undefined when nothing is left. */
  readonly largestFree: number | undefined;
}

/** What a drain of a range has left. `empty` is when nobody holds any of it: the range can be removed. */
export interface DrainView {
  readonly cidr: Prefix;
  readonly pool: string | undefined;
  readonly closed: boolean;
  readonly empty: boolean;
  readonly holders: readonly {
    readonly cidr: Prefix;
    readonly node: string;
    readonly pool: string;
  }[];
}
