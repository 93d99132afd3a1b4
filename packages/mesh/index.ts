export {
  type AllocatorOptions,
  IDENTITY_CLAIMS,
  IdentityAllocator,
  type Renumbered,
} from './src/allocator.ts';
export {
  type Announcement,
  type Announcer,
  type AnnouncerOptions,
  announceClusterConfig,
  announceHeartbeat,
  announceIdentityUse,
  announceIp,
  announceNode,
  announceService,
  announceSynced,
  openAnnouncer,
} from './src/announcements.ts';
export {
  type CausewayCapabilities,
  type ClusterConfig,
  decodeClusterConfig,
  encodeClusterConfig,
} from './src/codec/cluster-config.ts';
export { decodeIp, encodeIp, type IpValue, ipMetadata, type NamedPort } from './src/codec/ip.ts';
export {
  decodeNode,
  encodeNode,
  type NodeAddressType,
  type NodeValue,
} from './src/codec/node.ts';
export {
  type BackendZone,
  decodeService,
  encodeService,
  type PortsByAddress,
  type ServicePortValue,
  type ServiceValue,
} from './src/codec/service.ts';
export { type CollectorOptions, type CollectorResult, IdentityCollector } from './src/collector.ts';
export type {
  IpEntriesView,
  IpEntry,
  PrintedIpEntry,
  PutResult,
} from './src/entries/entry.ts';
export { MeshError, type MeshErrorCode } from './src/errors.ts';
export {
  ClusterKeeper,
  checkStore,
  HEARTBEAT_INTERVAL,
  type KeeperOptions,
  type KeeperStatus,
} from './src/keeper.ts';
export {
  clusterConfigKey,
  HEARTBEAT_KEY,
  identityKey,
  identityValueKey,
  ipKey,
  isClusterName,
  nodeKey,
  STATE_KINDS,
  type StateKind,
  type StateTree,
  serviceKey,
  statePrefix,
  syncedKey,
} from './src/keys.ts';
export { type MeshPeerTable, meshPeerTable } from './src/peers/table.ts';
export type {
  BadPeer,
  MeshPeerRow,
  PeerCounts,
  PeerSpec,
  PeerState,
} from './src/peers/types.ts';
export { MeshReader, type MeshReaderOptions, type MeshReaderStatus } from './src/reader.ts';
export {
  type IdentityRow,
  type IpEntryRow,
  internalAddress,
  ipRowKey,
  type MeshTables,
  meshTables,
  type NodeRow,
  nodeAddress,
  nodeRowKey,
  type RejectedRow,
  type ServiceRow,
  serviceRowKey,
} from './src/rows.ts';
export type { ClusterRef } from './src/sources.ts';
