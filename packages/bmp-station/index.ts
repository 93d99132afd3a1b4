export { type Cause, type CauseWhy, causeOf } from './src/cause.ts';
export { type StationConfig, stationConfig } from './src/config.ts';
export { type RunOptions, runStation } from './src/daemon.ts';
export {
  type CloseCode,
  type CloseReason,
  HistoryError,
  type HistoryErrorCode,
} from './src/errors.ts';
export type { Fault, FaultNode, FaultSession, Suspect } from './src/faults/types.ts';
export { History } from './src/history/history.ts';
export type { HistoryLimits } from './src/history/types.ts';
export { EVENT_TYPES, type EventType, type StationLimits } from './src/routers/host.ts';
export { Station, type StationEvent, type StationOptions } from './src/station.ts';
