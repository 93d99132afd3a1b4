export { type Backoff, type BackoffOptions, exponentialBackoff } from './src/backoff.ts';
export { type Clock, clockFrom, type HostTimers } from './src/clock.ts';
export { type AnyTable, Database, type DatabaseOptions } from './src/database.ts';
export {
  Derivation,
  type DerivationStatus,
  deriveGroups,
  deriveRows,
  type GroupDerivation,
  type GroupInput,
  input,
  type RowDerivation,
} from './src/derive.ts';
export { TablesError, type TablesErrorCode } from './src/errors.ts';
export { Gate } from './src/gate.ts';
export { type InitialSource, InitialSources } from './src/initial.ts';
export { type Column, formatTable, type PrintedTable } from './src/print.ts';
export { type RateLimit, TokenBucket } from './src/rate-limit.ts';
export {
  type BatchResult,
  type Operations,
  Reconciler,
  type ReconcilerOptions,
  type Target,
} from './src/reconciler.ts';
export type { IndexSpec, TableKey } from './src/secondary.ts';
export type { Snapshot } from './src/snapshot.ts';
export {
  describeError,
  printStatus,
  type ReconcilerMetrics,
  type RowStatus,
} from './src/status.ts';
export type { Table, TableSpec, Versioned } from './src/table.ts';
export type { Change, Tracker } from './src/tracker.ts';
export { deepEqual, deepFreeze, type Json, jsonable } from './src/values.ts';
export { flush, VirtualClock } from './src/virtual-clock.ts';
