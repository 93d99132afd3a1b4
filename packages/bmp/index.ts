export { BmpError, type BmpErrorCode } from './src/errors.ts';
export type {
  ExporterInput,
  ExporterOptions,
  ExporterOutput,
  ExporterState,
  ExporterStatus,
  ExportSource,
  MonitoredLocRib,
  MonitoredSession,
  MonitoredUpdates,
  RouteFeed,
} from './src/feed.ts';
export { Exporter } from './src/session.ts';
export {
  type BmpExport,
  type BmpExportOptions,
  type BmpStationConfig,
  runExporter,
} from './src/shell.ts';
export { type MonitoredSpeaker, SpeakerSource, sessionInput } from './src/speaker-source.ts';
export {
  COMMON_HEADER,
  DEFAULT_MAX_MESSAGE,
  type Framed,
  Framer,
  frameAt,
  MESSAGE_TYPE,
  VERSION,
} from './src/wire/framer.ts';
export {
  type BmpMessage,
  decodeMessage,
  encodeMessage,
  type PeerMessage,
  type UnknownMessage,
} from './src/wire/message.ts';
export type { PeerDown, PeerDownReason } from './src/wire/peer-down.ts';
export {
  type LocRibHeader,
  PEER_HEADER,
  PEER_TYPES,
  type PeerHeader,
  type PeerType,
  RIB_VIEWS,
  type RibView,
  type SessionHeader,
  type SessionView,
} from './src/wire/peer-header.ts';
export type { PeerUp, PeerUpTlv } from './src/wire/peer-up.ts';
export {
  MIRRORING_CODES,
  type MirroringTlv,
  type RouteMirroring,
  type RouteMonitoring,
} from './src/wire/routes.ts';
export {
  type Initiation,
  type InitiationTlv,
  TERMINATION_REASONS,
  type Termination,
  type TerminationReason,
} from './src/wire/session-information.ts';
export type { Statistic, StatisticsReport } from './src/wire/statistics.ts';
export type { TextTlv, UnknownTlv } from './src/wire/tlv.ts';
