export { type AttachMode, detachFilters } from './src/attachments.ts';
export {
  type ConntrackTimeouts,
  constantsOf,
  type DatapathConfig,
  DEFAULT_HAIRPIN,
  DEFAULT_TIMEOUTS,
  type KernelTraits,
  secondsOf,
  ticksOf,
  traitsOf,
} from './src/config.ts';
export type { Connection, Connections } from './src/connections.ts';
export type { CounterRow } from './src/counters.ts';
export { Datapath, type DeviceRole, type DeviceSpec, type HostEndpoint } from './src/datapath.ts';
export type { EdgeDevice, EdgeSpec } from './src/edge.ts';
export type { EgressRoute, EgressRoutes } from './src/egress-routes.ts';
export type { EndpointRow, EnforcementMaps } from './src/enforcement.ts';
export { DatapathError, type DatapathErrorCode } from './src/errors.ts';
export {
  type DatapathEvent,
  decodeEvent,
  type EventType,
  type Hook,
  type MonitorType,
  type PacketDirection,
} from './src/events.ts';
export { IpcacheBatch } from './src/ipcache-batch.ts';
export type { IpcacheMaps, IpcacheValue } from './src/ipcache-maps.ts';
export type { KernelSet, Lifeline, ProtectedSocket } from './src/kernel-sets.ts';
export { type MapName, maps } from './src/maps/all.ts';
export {
  DEFAULT_OBJECTS,
  loadObjects,
  OBJECTS,
  type ObjectName,
  type ObjectSet,
  type ProgramName,
} from './src/objects.ts';
export { type DatapathOptions, type MapLimits, openDatapath } from './src/open.ts';
export { REASONS, type Reason, type ReasonKind, reasonOf } from './src/reasons.ts';
export type { ServiceMaps } from './src/service-maps.ts';
export type { MapOf, TypedMap } from './src/typed-map.ts';
