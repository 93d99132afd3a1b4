export { InventoryError, type InventoryErrorCode } from './src/errors.ts';
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
