export type { MemberView, WhyView } from './src/api/views.ts';
export { type InventoryConfig, type InventoryInput, inventoryConfig } from './src/config.ts';
export type { SourceView } from './src/core/source-entries.ts';
export { host, type RunOptions, readConfig, runInventory } from './src/daemon.ts';
export { type DryRun, dryRun, type EntryChange } from './src/dry-run.ts';
export { InventoryError, type InventoryErrorCode } from './src/errors.ts';
export type { InstanceStatus } from './src/instance.ts';
export {
  PLATFORMS,
  type Platform,
  type Source,
  type SourceContext,
  type SourceItem,
  type SourceReport,
  type SourceSink,
  type SourceState,
} from './src/source.ts';
