export type { CidrChange, PodCidr } from './src/cidrs.ts';
export { dutyOf } from './src/claims/duty.ts';
export { ClaimExpiry, type ExpiredClaim } from './src/claims/expiry.ts';
export { ownerText, sameOwner } from './src/claims/owner.ts';
export { CLAIMS, claimKey, decodeClaim, encodeClaim, parseClaim } from './src/claims/record.ts';
export {
  announceClaim,
  type ClaimPlace,
  type ClaimWish,
  expireClaim,
  forgetNode,
  isBehind,
  isUnused,
  releaseClaim,
  reserveClaim,
  standbyClaim,
  switchClaim,
  takeClaim,
  unreserveClaim,
  withdrawnClaim,
} from './src/claims/steps.ts';
export type { Claim, ClaimDuty, ClaimOwner, ClaimRefusal, ClaimStep } from './src/claims/types.ts';
export { IpamError, type IpamErrorCode } from './src/errors.ts';
export { NodeIpam } from './src/ipam.ts';
export { type Layout, layout } from './src/layout.ts';
export { type BlockStep, FIRST_PHASE, ordersOf, stepBlock } from './src/node/block-life.ts';
export { DEFAULT_MARKS, FRESH_DEMAND, stepDemand } from './src/node/demand.ts';
export type {
  BlockFacts,
  BlockOrders,
  BlockPhase,
  BlockUse,
  DemandState,
  DemandStep,
  Marks,
  PoolDemandInput,
} from './src/node/types.ts';
export { type Owner, ownerKey } from './src/owner.ts';
export { findOverlaps, rangeText } from './src/plan/overlap.ts';
export { type PlanUsage, planText, planTree } from './src/plan/tree.ts';
export type { PlanNode, PlanOverlap, PlanRange, PlanScope, PlanUse } from './src/plan/types.ts';
export type { Choice } from './src/pool.ts';
export { blockCapacity } from './src/pools/blocks.ts';
export { type PlanLimits, PoolPlanner } from './src/pools/planner.ts';
export type {
  BlockSizeRule,
  CidrRecord,
  Decision,
  DrainView,
  Labels,
  Place,
  PlannerNode,
  PoolRanges,
  PoolRequest,
  PoolSpec,
  PoolUsage,
  RangeConflict,
  Refusal,
} from './src/pools/types.ts';
export { type IpamSnapshot, parseSnapshot, type SnapshotAddress } from './src/snapshot.ts';
export type {
  AddressRequest,
  FamilyRequest,
  IpamOptions,
  Lease,
  LeasedAddress,
  LeaseRecord,
  PoolStats,
  RestoreConflict,
} from './src/types.ts';
export { planVips } from './src/vips/plan.ts';
export { whyNotShared } from './src/vips/sharing.ts';
export type {
  VipBlock,
  VipClaim,
  VipPlan,
  VipPool,
  VipPoolStatus,
  VipRefusal,
  VipService,
  VipServiceView,
  VipWorld,
} from './src/vips/types.ts';
