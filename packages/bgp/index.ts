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
export { Peer, type PeerEnvironment } from './src/peer.ts';
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
export { type ConfigChange, compareConfig } from './src/reconfigure.ts';
export { AttributeTable } from './src/rib/attribute-table.ts';
export { grown } from './src/rib/grown.ts';
export { NextHopTable } from './src/rib/next-hops.ts';
export {
  fieldsOf,
  maskWord,
  type PrefixFields,
  PrefixTable,
  textOf,
} from './src/rib/prefix-table.ts';
export type { ListenAddress, ListenKey } from './src/shell/listeners.ts';
export {
  BgpShell,
  type ShellCore,
  type ShellEffect,
  type ShellOptions,
} from './src/shell.ts';
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
export type { BestNextHop, FeedId, FeedItem, FeedSpec } from './src/speaker/feed-types.ts';
export { checkOriginatedPaths } from './src/speaker/locals.ts';
export type {
  Comparison,
  DecisionStep,
  ExportOutcome,
  FamilyCounters,
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
export { Speaker } from './src/speaker.ts';
export type { TimerName } from './src/timers.ts';
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
export { asPathLength, formatAsPath, prependAsPath } from './src/wire/as-path.ts';
export { decodeAttributes, encodeAttributes, forExport } from './src/wire/attribute-codec.ts';
export {
  AttributeFlag,
  type AttributeRow,
  AttributeType,
  attributeName,
  attributeTable,
} from './src/wire/attribute-table.ts';
export { type AttributesText, attributesText } from './src/wire/attribute-text.ts';
export type {
  AsPath,
  AsPathSegment,
  AsPathSegmentType,
  LargeCommunityValue,
  PathAttributes,
  UnknownAttribute,
} from './src/wire/attributes.ts';
export type { AddPathMode, Capability } from './src/wire/capabilities.ts';
export { Community, ExtendedCommunity, LargeCommunity } from './src/wire/communities.ts';
export { type Frame, Framer } from './src/wire/framer.ts';
export { hashBytes } from './src/wire/hash.ts';
export { encodeKeepalive, frame, headerLength, MessageType } from './src/wire/message.ts';
export { checkNlri, NlriCursor, prefixOf, writeNlri } from './src/wire/nlri.ts';
export {
  CeaseSubcode,
  decodeNotification,
  ErrorCode,
  encodeNotification,
  encodeShutdownText,
  type NotificationMessage,
  notification,
  notificationName,
  shutdownText,
} from './src/wire/notification.ts';
export { decodeOpen, encodeOpen, type OpenMessage, openAsn } from './src/wire/open.ts';
export {
  decodeRouteRefresh,
  encodeRouteRefresh,
  type RouteRefreshMessage,
} from './src/wire/route-refresh.ts';
export type {
  NlriBlock,
  ParsedUpdate,
  UpdateAction,
  UpdateContext,
  UpdateProblem,
} from './src/wire/update.ts';
export { type EncodeContext, encodeEndOfRib, UpdateEncoder } from './src/wire/update-encoder.ts';
export { parseUpdate, UpdateParser } from './src/wire/update-parser.ts';
