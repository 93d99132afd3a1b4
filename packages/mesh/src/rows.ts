import type { LabelSet, NumericIdentity } from '@causeway/identity';
import { Address, type Family } from '@causeway/ip';
import type { Database, Table } from '@causeway/tables';
import type { IpValue, NamedPort } from './codec/ip.ts';
import type { NodeValue } from './codec/node.ts';
import type { ServiceValue } from './codec/service.ts';

/** What is known of the clusters, each row tagged with the cluster that says it. */

export interface IdentityRow {
  readonly id: NumericIdentity;
  readonly cluster: string;
  readonly labels: LabelSet;
}

/** One address's identity. Kept small: there are as many as there are pods in all clusters. */
export interface IpEntryRow {
  readonly cluster: string;
  /** An address, or a prefix for an entry with a mask. */
  readonly address: IpValue['address'];
  readonly identity: NumericIdentity;
  readonly hostIP: Address | undefined;
  readonly encryptionKey: number;
  readonly namespace: string;
  readonly pod: string;
  readonly namedPorts: readonly NamedPort[];
}

export type NodeRow = NodeValue;
export type ServiceRow = ServiceValue;

/** A key whose value was refused; what it said before stays in force. */
export interface RejectedRow {
  readonly key: string;
  readonly cluster: string;
  readonly reason: string;
}

export interface MeshTables {
  readonly identities: Table<IdentityRow, number, 'labels'>;
  readonly ipEntries: Table<IpEntryRow, string, 'address'>;
  readonly nodes: Table<NodeRow, string>;
  readonly services: Table<ServiceRow, string, 'name'>;
  readonly rejected: Table<RejectedRow, string>;
}

export const ipRowKey = (cluster: string, address: string): string => `${cluster}/${address}`;
export const nodeRowKey = (cluster: string, name: string): string => `${cluster}/${name}`;
export const serviceRowKey = (cluster: string, namespace: string, name: string): string =>
  `${cluster}/${namespace}/${name}`;

/** Makes the tables; readers of any number of clusters share them. */
export function meshTables(database: Database): MeshTables {
  return {
    identities: database.table<IdentityRow, number, 'labels'>({
      name: 'identities',
      key: (row) => row.id,
      indexes: { labels: { keys: (row) => row.labels.text } },
      equals: (a, b) => a.cluster === b.cluster && a.labels.text === b.labels.text,
      columns: [
        { name: 'id', of: (row) => row.id },
        { name: 'cluster', of: (row) => row.cluster },
        { name: 'labels', of: (row) => row.labels.toStrings() },
      ],
    }),
    ipEntries: database.table<IpEntryRow, string, 'address'>({
      name: 'ip-entries',
      key: (row) => ipRowKey(row.cluster, row.address),
      indexes: { address: { keys: (row) => row.address } },
      equals: sameIpEntry,
    }),
    nodes: database.table<NodeRow, string>({
      name: 'remote-nodes',
      key: (row) => nodeRowKey(row.cluster, row.name),
    }),
    services: database.table<ServiceRow, string, 'name'>({
      name: 'remote-services',
      key: (row) => serviceRowKey(row.cluster, row.namespace, row.name),
      indexes: { name: { keys: (row) => `${row.namespace}/${row.name}` } },
    }),
    rejected: database.table<RejectedRow, string>({
      name: 'mesh-rejected',
      key: (row) => `${row.cluster} ${row.key}`,
    }),
  };
}

function sameIpEntry(a: IpEntryRow, b: IpEntryRow): boolean {
  return (
    a.identity === b.identity &&
    a.hostIP === b.hostIP &&
    a.encryptionKey === b.encryptionKey &&
    a.namespace === b.namespace &&
    a.pod === b.pod &&
    samePorts(a.namedPorts, b.namedPorts)
  );
}

function samePorts(a: readonly NamedPort[], b: readonly NamedPort[]): boolean {
  if (a === b) return true;
  if (a.length !== b.length) return false;
  return a.every((port, i) => {
    const other = b[i];
    return (
      port.name === other?.name && port.port === other.port && port.protocol === other.protocol
    );
  });
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
