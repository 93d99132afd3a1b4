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
  announceServiceShard,
  announceSynced,
  openAnnouncer,
} from './src/announcements.ts';
export {
  decodeHealth,
  encodeHealth,
  failingOf,
  HEALTH_PREFIX,
  type HealthReport,
  healthKey,
  MAX_REPORTED,
} from './src/codec/backend-health.ts';
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
export {
  decodeServiceShard,
  encodeServiceShard,
  MAX_SHARDS,
  type ServiceShardValue,
  SHARD_SIZE,
  type ShardBackend,
  type ShardBackendState,
  type ShardPorts,
} from './src/codec/service-shard.ts';
export { type CollectorOptions, type CollectorResult, IdentityCollector } from './src/collector.ts';
export type { EntryChanges } from './src/entries/changes.ts';
export type { IpEntry, PrintedIpEntry, RawEntry } from './src/entries/entry.ts';
export { IpEntries } from './src/entries/ip-entries.ts';
export { rawEntry } from './src/entries/places.ts';
export { MeshError, type MeshErrorCode } from './src/errors.ts';
export { admitPeer, dismissPeer, setUpAuth } from './src/expose/auth.ts';
export { CILIUM_DIRECTORY, ciliumFiles } from './src/expose/cilium-form.ts';
export {
  etcdTlsArguments,
  type ProxyFiles,
  type ProxyOptions,
  proxyArguments,
  proxyUnit,
  type ServerFiles,
  shellText,
} from './src/expose/command-lines.ts';
export {
  type CreateOptions,
  daysLeft,
  type SettleReport,
  StoreDirectory,
} from './src/expose/directory.ts';
export type { Exposure } from './src/expose/ledger.ts';
export {
  ACCEPTABLE,
  type CheckInput,
  type CheckName,
  type CheckRow,
  checkJoin,
  type KnownPeer,
  type NodeFacts,
  type PeerView,
  passes,
} from './src/join/checks.ts';
export {
  type ClusterFacts,
  clusterFacts,
  NODE_ANNOTATIONS,
  ROUTING_MODES,
  type RoutingMode,
  rangeFact,
} from './src/join/facts.ts';
export {
  AT_WORK,
  JOINS,
  type JoinRecord,
  joinRecord,
  LEFT,
  PEERS,
  type PeerRecord,
  peerRecord,
  RENEWED,
  recoveryOf,
  TOKENS,
  type TokenRecord,
  tokenRecord,
} from './src/join/records.ts';
export {
  localUser,
  ownUser,
  peerRole,
  peerUser,
  ROOT_USER,
  rightsToTry,
} from './src/join/roles.ts';
export {
  checkToken,
  type JoinToken,
  openToken,
  type StoreOffer,
  sealToken,
  storeOffer,
} from './src/join/token.ts';
export { KeptPeers } from './src/keep/kept-peers.ts';
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
  SHARDS_EXPORTED_KEY,
  STATE_KINDS,
  type StateKind,
  type StateTree,
  serviceKey,
  serviceShardKey,
  stateKindsOf,
  statePrefix,
  syncedKey,
} from './src/keys.ts';
export {
  CACHE_RECORD_INTERVAL,
  CACHE_RECORD_TIMEOUT,
  CACHE_RECORDS,
  type CacheRecord,
  cacheRecordKey,
  clusterOfRecord,
  decodeCacheRecord,
  encodeCacheRecord,
} from './src/peers/cache-record.ts';
export { type ContactTimes, turnOf } from './src/peers/contact.ts';
export { ClusterCounts } from './src/peers/counts.ts';
export { PeerDirectory } from './src/peers/directory.ts';
export { ClusterIds } from './src/peers/ids.ts';
export { PeerObjects } from './src/peers/objects.ts';
export type { Peer, PeerConnection, PeerTarget } from './src/peers/peer.ts';
export { type PeerList, Peers } from './src/peers/peers.ts';
export { type OwnRange, Ranges } from './src/peers/ranges.ts';
export type { PeerStore, PeerStream, Upstream } from './src/peers/session.ts';
export { type MeshPeerTable, meshPeerTable } from './src/peers/table.ts';
export { PEER_LIMITS, TableTarget } from './src/peers/table-target.ts';
export type { Allowed } from './src/peers/trust.ts';
export type {
  BadPeer,
  MeshPeerRow,
  PeerCounts,
  PeerSpec,
  PeerState,
} from './src/peers/types.ts';
export { CacheUpstreams } from './src/peers/upstreams.ts';
export { MeshReader, type MeshReaderOptions, type MeshReaderStatus } from './src/reader.ts';
export { Room } from './src/room.ts';
export {
  type IdentityRow,
  internalAddress,
  type MeshTables,
  meshTables,
  type NodeRow,
  nodeAddress,
  nodeRowKey,
  type RejectedRow,
  type ServiceRow,
  type ServiceShardRow,
  serviceRowKey,
  serviceShardRowKey,
} from './src/rows.ts';
export type { Guard } from './src/sinks.ts';
export type { ClusterRef } from './src/sources.ts';
