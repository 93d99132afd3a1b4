import type { Address, Prefix } from '@causeway/ip';
import type { NamedPort } from '@causeway/policy';
import type { Database, Table } from '@causeway/tables';

/** A node of this or another cluster, as it tells of itself in its cluster's store. */
export interface NodeRow {
  readonly cluster: string;
  readonly name: string;
  readonly addresses: readonly { readonly type: string; readonly address: Address }[];
  readonly podCIDRs: readonly Prefix[];
}

/** Who is behind an address, or behind all addresses of a prefix. */
export interface IpEntryRow {
  readonly prefix: Prefix;
  readonly identity: number;
  /** Where a tunnel to it ends; undefined: no tunnel leads there. */
  readonly host: Address | undefined;
  readonly namespace: string | undefined;
  readonly pod: string | undefined;
  readonly namedPorts: readonly NamedPort[];
}

/** A number of the cluster-wide scope with its labels in the store's form. */
export interface IdentityRow {
  readonly id: number;
  readonly labels: string;
}

export type NodeTable = Table<NodeRow, string, 'address'>;
export type IpEntryTable = Table<IpEntryRow>;
export type IdentityTable = Table<IdentityRow, number, 'labels'>;

export interface ClusterTables {
  readonly nodes: NodeTable;
  readonly ipEntries: IpEntryTable;
  readonly identities: IdentityTable;
}

export const nodeKey = (cluster: string, name: string): string => `${cluster}/${name}`;

export function clusterTables(database: Database): ClusterTables {
  return {
    nodes: database.table({
      name: 'nodes',
      key: (row: NodeRow) => nodeKey(row.cluster, row.name),
      indexes: { address: { keys: (row) => row.addresses.map(({ address }) => address) } },
      columns: [
        { name: 'cluster', of: (row) => row.cluster },
        { name: 'name', of: (row) => row.name },
        { name: 'addresses', of: (row) => row.addresses.map(({ address }) => address).join(',') },
        { name: 'pod-cidrs', of: (row) => row.podCIDRs.join(',') },
      ],
    }),
    ipEntries: database.table({ name: 'ip-entries', key: (row: IpEntryRow): string => row.prefix }),
    identities: database.table({
      name: 'identities',
      key: (row: IdentityRow) => row.id,
      indexes: { labels: { keys: (row) => row.labels } },
    }),
  };
}

/** Addresses by which a node is reached, best first; never those inside its pod CIDRs. */
export function reachable(node: NodeRow): Address[] {
  const of = (type: string) =>
    node.addresses.filter((each) => each.type === type).map(({ address }) => address);
  return [...of('InternalIP'), ...of('ExternalIP')];
}
