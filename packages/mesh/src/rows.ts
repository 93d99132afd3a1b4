import type { LabelSet, NumericIdentity } from '@causeway/identity';
import { Address, type Family } from '@causeway/ip';
import type { Database, Table } from '@causeway/tables';
import type { NodeValue } from './codec/node.ts';
import type { ServiceValue } from './codec/service.ts';
import type { ServiceShardValue } from './codec/service-shard.ts';
import { IpEntries } from './entries/ip-entries.ts';

/** What is known of the clusters, each row tagged with the cluster that says it. */

export interface IdentityRow {
  readonly id: NumericIdentity;
  readonly cluster: string;
  readonly labels: LabelSet;
}

export type NodeRow = NodeValue;
export type ServiceRow = ServiceValue;
export type ServiceShardRow = ServiceShardValue;

/** A key whose value was refused; what it said before stays in force. */
export interface RejectedRow {
  readonly key: string;
  readonly cluster: string;
  readonly reason: string;
}

export interface MeshTables {
  readonly identities: Table<IdentityRow, number, 'labels' | 'cluster'>;
  readonly ipEntries: IpEntries;
  readonly nodes: Table<NodeRow, string, 'cluster'>;
  readonly services: Table<ServiceRow, string, 'name' | 'cluster'>;
  /** Of clusters that give backends by shards: nothing of theirs is in `services`. */
  readonly serviceShards: Table<ServiceShardRow, string, 'cluster'>;
  readonly rejected: Table<RejectedRow, string, 'cluster'>;
}

export const nodeRowKey = (cluster: string, name: string): string => `${cluster}/${name}`;
export const serviceRowKey = (cluster: string, namespace: string, name: string): string =>
  `${cluster}/${namespace}/${name}`;
export const serviceShardRowKey = (
  cluster: string,
  namespace: string,
  name: string,
  shard: number,
): string => `${cluster}/${namespace}/${name}/${shard}`;

/** With hundreds of clusters, who asks for one's rows must not walk over all. */
const BY_CLUSTER = { keys: ({ cluster }: { readonly cluster: string }) => cluster };

/**
 * Makes the tables; readers of any number of clusters share them.
 * @param own the cluster that wins every address that it claims.
 * @param seed 32 random bits for the places of IP entries.
 */
export function meshTables(database: Database, own?: string, seed = 0): MeshTables {
  return {
    identities: database.table<IdentityRow, number, 'labels' | 'cluster'>({
      name: 'identities',
      key: (row) => row.id,
      indexes: { labels: { keys: (row) => row.labels.text }, cluster: BY_CLUSTER },
      equals: (a, b) => a.cluster === b.cluster && a.labels.text === b.labels.text,
      columns: [
        { name: 'id', of: (row) => row.id },
        { name: 'cluster', of: (row) => row.cluster },
        { name: 'labels', of: (row) => row.labels.toStrings() },
      ],
    }),
    ipEntries: new IpEntries(own, seed),
    nodes: database.table<NodeRow, string, 'cluster'>({
      name: 'remote-nodes',
      key: (row) => nodeRowKey(row.cluster, row.name),
      indexes: { cluster: BY_CLUSTER },
    }),
    services: database.table<ServiceRow, string, 'name' | 'cluster'>({
      name: 'remote-services',
      key: (row) => serviceRowKey(row.cluster, row.namespace, row.name),
      indexes: { name: { keys: (row) => `${row.namespace}/${row.name}` }, cluster: BY_CLUSTER },
    }),
    serviceShards: database.table<ServiceShardRow, string, 'cluster'>({
      name: 'remote-service-backends',
      key: (row) => serviceShardRowKey(row.cluster, row.namespace, row.name, row.shard),
      indexes: { cluster: BY_CLUSTER },
      columns: [
        { name: 'cluster', of: (row) => row.cluster },
        { name: 'service', of: (row) => `${row.namespace}/${row.name}` },
        { name: 'shard', of: (row) => row.shard },
        { name: 'backends', of: (row) => row.backends.length },
      ],
    }),
    rejected: database.table<RejectedRow, string, 'cluster'>({
      name: 'mesh-rejected',
      key: (row) => `${row.cluster} ${row.key}`,
      indexes: { cluster: BY_CLUSTER },
    }),
  };
}

/**
 * The address at which other nodes reach a node, for tunnels and direct routes: its first
 * InternalIP, else ExternalIP, else any other but CiliumInternalIP (section 7).
 */
export function nodeAddress(node: NodeRow, family: Family): Address | undefined {
  const candidates = node.addresses.flatMap(({ type, ip }) => {
    const address = Address.tryParse(ip);
    return address !== undefined && Address.family(address) === family ? [{ type, address }] : [];
  });
  const of = (...types: readonly string[]) => candidates.find(({ type }) => types.includes(type));
  const found =
    of('InternalIP') ??
    of('ExternalIP') ??
    candidates.find(({ type }) => type !== 'CiliumInternalIP');
  return found?.address;
}

/** The address of a node inside its pods' range: the source of its own traffic through tunnels. */
export function internalAddress(node: NodeRow, family: Family): Address | undefined {
  for (const { type, ip } of node.addresses) {
    const address = type === 'CiliumInternalIP' ? Address.tryParse(ip) : undefined;
    if (address !== undefined && Address.family(address) === family) return address;
  }
  return undefined;
}
