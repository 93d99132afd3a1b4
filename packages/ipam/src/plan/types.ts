import type { Prefix } from '@causeway/ip';

export type PlanUse = 'vpc' | 'pods' | 'services' | 'nodes' | 'vips';

/** Where a range belongs; a missing part means that the owner does not say. */
export interface PlanScope {
  readonly region?: string;
  readonly vpc?: string;
  readonly cluster?: string;
}

/** A range with its owner: an entry of an AddressPlan, or of any object that takes part of the address space. */
export interface PlanRange {
  readonly cidr: Prefix;
  readonly use: PlanUse;
  readonly scope: PlanScope;
  /** The object that says so: `AddressPlan/company`, `CiliumPodIPPool/default`, `mesh cluster west`. */
  readonly owner: string;
  /** Entries of a plan hold room for the ranges of objects inside them; objects do not overlap each other. */
  readonly level: 'plan' | 'object';
}

export interface PlanOverlap {
  readonly range: PlanRange;
  readonly other: PlanRange;
  /** One sentence that names both owners and both ranges. */
  readonly message: string;
}

/** A line of the tree. Addresses are counted; `used` is missing where nobody knows. */
export interface PlanNode {
  readonly type: 'region' | 'vpc' | 'cluster' | 'range';
  readonly name: string;
  readonly cidrs: readonly Prefix[];
  readonly use?: PlanUse;
  readonly owner?: string;
  readonly size: bigint;
  readonly used?: bigint;
  readonly children: readonly PlanNode[];
}
