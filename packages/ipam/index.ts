export type { CidrChange, PodCidr } from './src/cidrs.ts';
export { IpamError, type IpamErrorCode } from './src/errors.ts';
export { NodeIpam } from './src/ipam.ts';
export { type Layout, layout } from './src/layout.ts';
export { type Owner, ownerKey } from './src/owner.ts';
export type { Choice } from './src/pool.ts';
export { type IpamSnapshot, parseSnapshot, type SnapshotAddress } from './src/snapshot.ts';
export type {
  AddressRequest,
  IpamOptions,
  Lease,
  LeasedAddress,
  LeaseRecord,
  PoolStats,
  RestoreConflict,
} from './src/types.ts';
