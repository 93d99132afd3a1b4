import { type Kv, type KvEntry, type SharedScope, SharedStore } from '@causeway/etcd';
import type { NumericIdentity } from '@causeway/identity';
import type { Address } from '@causeway/ip';
import type { Clock, Database, Table } from '@causeway/tables';
import { type ClusterConfig, encodeClusterConfig, timeText } from './codec/cluster-config.ts';
import { encodeIp, type IpValue } from './codec/ip.ts';
import { encodeNode, type NodeValue } from './codec/node.ts';
import { encodeService, type ServiceValue } from './codec/service.ts';
import { encodeServiceShard, type ServiceShardValue } from './codec/service-shard.ts';
import {
  clusterConfigKey,
  HEARTBEAT_KEY,
  IDENTITY_VALUES,
  identityValueKey,
  ipKey,
  nodeKey,
  type StateKind,
  serviceKey,
  serviceShardKey,
  statePrefix,
  syncedKey,
} from './keys.ts';

/** One key that this program says, as it stands in the store. */
export interface Announcement {
  readonly key: string;
  readonly value: string;
}

export const announceNode = (node: NodeValue): Announcement => ({
  key: nodeKey(node.cluster, node.name),
  value: encodeNode(node),
});

export const announceIp = (entry: IpValue): Announcement => ({
  key: ipKey(entry.address),
  value: encodeIp(entry),
});

/** Says that this node uses an identity, which keeps it from being collected. */
export const announceIdentityUse = (
  labels: string,
  id: NumericIdentity,
  suffix: string,
): Announcement => ({ key: identityValueKey(labels, suffix), value: String(id) });

export const announceService = (service: ServiceValue): Announcement => ({
  key: serviceKey(service.cluster, service.namespace, service.name),
  value: encodeService(service),
});

export const announceServiceShard = (shard: ServiceShardValue): Announcement => ({
  key: serviceShardKey(shard.cluster, shard.namespace, shard.name, shard.shard),
  value: encodeServiceShard(shard),
});

export const announceClusterConfig = (name: string, config: ClusterConfig): Announcement => ({
  key: clusterConfigKey(name),
  value: encodeClusterConfig(config),
});

/** Every reader of the cluster resets its timer on this key; it must change within two minutes. */
export const announceHeartbeat = (now: number): Announcement => ({
  key: HEARTBEAT_KEY,
  value: timeText(now),
});

export const announceSynced = (
  cluster: string,
  kind: StateKind | 'serviceexports',
  now: number,
): Announcement => ({ key: syncedKey(cluster, kind), value: timeText(now) });

export interface AnnouncerOptions {
  readonly kv: Kv;
  readonly clock: Clock;
  readonly random: () => number;
  readonly database: Database;
  readonly cluster: string;
  readonly node: string;
  /** The node's address: it marks the ip entries and identity uses that are ours. */
  readonly address: Address;
  /** Seconds of the lease; Cilium's 900 by default. */
  readonly ttl?: number;
}

/** What a node tells the others: a table, and its reflection in the store on the node's lease. */
export interface Announcer extends AsyncDisposable {
  readonly table: Table<Announcement, string>;
  readonly store: SharedStore<Announcement, string>;
}

/**
 * Opens a node's announcements. Register a source on `table` before rows are complete: only then are
 * the keys of an earlier life pruned, those that say our address or name and nothing else.
 */
export function openAnnouncer(options: AnnouncerOptions): Announcer {
  const { kv, clock, random, database, cluster, node, address, ttl } = options;
  const table = announcementTable(database, 'announcements');
  const mine = nodeKey(cluster, node);
  const suffix = `/${address}`;
  const host = `"HostIP":"${address}"`;
  // The readers watch these prefixes already; a second watch on each would double the store's work.
  const scope = (prefix: string, owns: (entry: KvEntry) => boolean): SharedScope => ({
    prefix,
    owns,
    watch: false,
  });
  const store = new SharedStore<Announcement, string>({
    name: 'mesh-announcements',
    kv,
    clock,
    random,
    table,
    encode: (row) => row,
    ...(ttl === undefined ? {} : { ttl }),
    scopes: [
      { prefix: mine, owns: (entry) => entry.key === mine },
      scope(IDENTITY_VALUES, (entry) => entry.key.endsWith(suffix)),
      scope(statePrefix('ip', cluster), (entry) => entry.text.includes(host)),
    ],
  });
  return { table, store, [Symbol.asyncDispose]: () => store[Symbol.asyncDispose]() };
}

export function announcementTable(database: Database, name: string): Table<Announcement, string> {
  return database.table<Announcement, string>({
    name,
    key: (row) => row.key,
    equals: (a, b) => a.value === b.value,
  });
}
