export { connectAuth } from './src/auth.ts';
export {
  type DesiredRole,
  type DesiredUser,
  type ForeignPermission,
  type KeyRange,
  type Permission,
  rangeText,
  type StoreAuth,
  settleAuth,
} from './src/auth-types.ts';
export { Candidacy, type CandidacyOptions, type LeaderView } from './src/candidacy.ts';
export type { ClientOptions } from './src/client.ts';
export { systemClock } from './src/clock.ts';
export { type ConnectOptions, connectKv } from './src/connect.ts';
export { Election, type ElectionOptions, type ElectionState, type Fence } from './src/election.ts';
export type { TlsOptions } from './src/endpoint.ts';
export { KvError, type KvErrorCode } from './src/errors.ts';
export { joinsWatches } from './src/joins-watches.ts';
export { MemoryEtcd, type MemoryEtcdOptions, memoryEtcd } from './src/memory.ts';
export {
  type SharedRow,
  type SharedScope,
  SharedStore,
  type SharedStoreOptions,
  type SharedStoreStatus,
} from './src/shared-store.ts';
export {
  absent,
  type CallOptions,
  type Compare,
  type CompareOperator,
  type Kv,
  type KvEntry,
  type KvHealth,
  type KvPage,
  type KvWatch,
  type Lease,
  type LeaseId,
  type ListOptions,
  type PutOptions,
  present,
  type SnapshotReason,
  type Txn,
  type TxnOperation,
  type TxnOperationResult,
  type TxnResult,
  unchanged,
  type WatchEvent,
  type WatchOptions,
  type WatchStatus,
} from './src/types.ts';
