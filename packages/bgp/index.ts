export type { PeerConfig, PeerFamilyConfig, PeerTarget, PeerTimers } from './src/config.ts';
export { BgpError, type BgpErrorCode, type BgpErrorDetails } from './src/errors.ts';
export type {
  ConnectionId,
  ConnectOptions,
  DownReason,
  DownWhy,
  Endpoints,
  Negotiated,
  NegotiatedFamily,
  PeerInput,
  PeerOutput,
  PeerState,
  StopHow,
} from './src/events.ts';
export type {
  AsPathMatch,
  CommunityChange,
  CommunityMatch,
  NumberRange,
  OriginName,
  Policy,
  PolicyLibrary,
  PolicyMatch,
  PolicyReason,
  PolicySet,
  PolicyStatement,
  PolicyVerdict,
  PrefixRule,
  PrefixSet,
  RouteSource,
} from './src/policy/types.ts';
export type { SpeakerApi, SpeakerOptions, TestRoute } from './src/speaker/api.ts';
export type {
  DecisionConfig,
  MaxPrefixes,
  MultipathConfig,
  OriginatedPath,
  PeerChange,
  ResetHow,
  RestartConfig,
  SpeakerConfig,
  SpeakerFamilyConfig,
  SpeakerPeerConfig,
} from './src/speaker/config.ts';
export type {
  BestNextHop,
  Comparison,
  DecisionStep,
  ExportOutcome,
  FamilyCounters,
  FeedId,
  FeedItem,
  FeedSpec,
  NextHopState,
  Page,
  PeerRow,
  RefusedWhy,
  RouteQuery,
  RouteRow,
  RouteView,
  SpeakerCounters,
  SpeakerEffect,
  SpeakerEvent,
  Why,
  WhyExport,
  WhyPath,
} from './src/speaker/types.ts';
export {
  type AfiSafi,
  Asn,
  Family,
  type FamilyKey,
  type FamilyRow,
  familyTable,
  Origin,
  RouterId,
} from './src/types.ts';
export type {
  AsPath,
  AsPathSegment,
  AsPathSegmentType,
  LargeCommunity,
  PathAttributes,
  UnknownAttribute,
} from './src/wire/attributes.ts';
export type { NlriCursor } from './src/wire/nlri.ts';
export type { NotificationMessage } from './src/wire/notification.ts';
export type { AddPathMode, Capability, OpenMessage } from './src/wire/open.ts';
export type { RouteRefreshMessage } from './src/wire/route-refresh.ts';
export type {
  NlriBlock,
  ParsedUpdate,
  UpdateAction,
  UpdateContext,
  UpdateProblem,
} from './src/wire/update.ts';
