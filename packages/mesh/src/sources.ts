import type { KvEntry } from '@causeway/etcd';
import {
  type ClusterId,
  IdentityError,
  type IdentityLayout,
  isReserved,
  LABEL_KEYS,
  LABEL_SOURCES,
  LabelSet,
  NumericIdentity,
  RESERVED,
} from '@causeway/identity';
import type { Table, TableKey } from '@causeway/tables';
import { decodeIp } from './codec/ip.ts';
import { decodeNode } from './codec/node.ts';
import { decodeService } from './codec/service.ts';
import { MeshError } from './errors.ts';
import type { Interner } from './interner.ts';
import type { StateKind } from './keys.ts';
import { type IpEntryRow, ipRowKey, type MeshTables, nodeRowKey, serviceRowKey } from './rows.ts';

/** The cluster whose state is read. */
export interface ClusterRef {
  readonly name: string;
  readonly id: ClusterId;
}

/** How the entries under one prefix become rows. */
export interface Source {
  readonly kind: StateKind;
  readonly table: Table<{ readonly cluster: string }, TableKey>;
  /** The row's key for what stands behind the prefix; undefined if it can be none. */
  readonly key: (rest: string) => TableKey | undefined;
  /** The row, or undefined if the value says that there is none. Throws MeshError. */
  readonly row: (rest: string, entry: KvEntry) => { readonly cluster: string } | undefined;
}

/**
 * The checks of a 1.19 reader (sections 1.5 to 1.8): a value must repeat its key and its cluster,
 * and may only use identities of its own cluster's range.
 */
export function sourcesOf(
  tables: MeshTables,
  cluster: ClusterRef,
  layout: IdentityLayout,
  interner: Interner,
): Record<StateKind, Source> {
  const source = <Row extends { readonly cluster: string }, K extends TableKey>(
    kind: StateKind,
    table: Table<Row, K, never>,
    key: (rest: string) => K | undefined,
    row: (rest: string, entry: KvEntry) => Row | undefined,
  ): Source => ({ kind, table: table as unknown as Source['table'], key, row });

  return {
    identities: source('identities', tables.identities as never, identityOf, (rest, entry) => {
      const id = identityOf(rest);
      if (id === undefined)
        throw new MeshError('bad-key', `${rest} is not an identity's number`, rest);
      requireRange(layout, cluster, id);
      const labels = readLabels(entry.text);
      const named = labels.get(LABEL_KEYS.cluster);
      if (named?.source !== LABEL_SOURCES.k8s || named.value !== cluster.name) {
        throw new MeshError(
          'mismatch',
          `labels ${labels.text} do not name cluster ${cluster.name}`,
          labels.text,
          LABEL_KEYS.cluster,
        );
      }
      return { id, cluster: cluster.name, labels };
    }),

    ip: source(
      'ip',
      tables.ipEntries as never,
      (rest) => ipRowKey(cluster.name, rest),
      (rest, entry): IpEntryRow => {
        const value = decodeIp(entry.text);
        if (value.address !== rest) {
          throw new MeshError(
            'mismatch',
            `IP ${value.address} is not its key's ${rest}`,
            value.address,
            'IP',
          );
        }
        const id = NumericIdentity(value.identity);
        if (!isReserved(id)) requireRange(layout, cluster, id);
        return {
          cluster: cluster.name,
          address: value.address,
          // The host of another node is a remote node here.
          identity: id === RESERVED.host ? RESERVED['remote-node'] : id,
          hostIP: value.hostIP === undefined ? undefined : interner.intern(value.hostIP),
          encryptionKey: value.encryptionKey,
          namespace: interner.intern(value.namespace),
          pod: value.pod,
          namedPorts: value.namedPorts,
        };
      },
    ),

    nodes: source(
      'nodes',
      tables.nodes as never,
      (rest) => nodeRowKey(cluster.name, rest),
      (rest, entry) => {
        const value = decodeNode(entry.text);
        if (value.name !== rest) {
          throw new MeshError(
            'mismatch',
            `Name ${value.name} is not its key's ${rest}`,
            value.name,
            'Name',
          );
        }
        requireCluster(cluster, value.cluster, value.clusterId, 'Cluster', 'ClusterID');
        return value;
      },
    ),

    services: source(
      'services',
      tables.services as never,
      (rest) => {
        const [namespace, name, ...more] = rest.split('/');
        if (!namespace || !name || more.length > 0) return undefined;
        return serviceRowKey(cluster.name, namespace, name);
      },
      (rest, entry) => {
        const value = decodeService(entry.text);
        const name = `${value.namespace}/${value.name}`;
        if (name !== rest) {
          throw new MeshError('mismatch', `${name} is not its key's ${rest}`, name, 'name');
        }
        requireCluster(cluster, value.cluster, value.clusterId, 'cluster', 'clusterID');
        return value.shared ? value : undefined;
      },
    ),
  };
}

/** Decimal without leading zeros: what keyed a row must be found again by its number. */
function identityOf(rest: string): NumericIdentity | undefined {
  if (!/^[1-9]\d{0,9}$/.test(rest)) return undefined;
  const number = Number(rest);
  return number <= 0xffff_ffff ? NumericIdentity(number) : undefined;
}

function readLabels(text: string): LabelSet {
  try {
    return LabelSet.parse(text);
  } catch (error) {
    if (error instanceof IdentityError)
      throw new MeshError('bad-value', error.message, error.value);
    throw error;
  }
}

function requireRange(layout: IdentityLayout, cluster: ClusterRef, id: NumericIdentity): void {
  if (layout.contains(cluster.id, id)) return;
  const { min, max } = layout.range(cluster.id);
  throw new MeshError(
    'mismatch',
    `identity ${id} is outside ${min} to ${max} of cluster ${cluster.name}`,
    id,
    'ID',
  );
}

function requireCluster(
  cluster: ClusterRef,
  name: string,
  id: number,
  nameField: string,
  idField: string,
): void {
  if (name !== cluster.name) {
    throw new MeshError('mismatch', `${nameField} ${name} is not ${cluster.name}`, name, nameField);
  }
  if (id !== cluster.id) {
    throw new MeshError('mismatch', `${idField} ${id} is not ${cluster.id}`, id, idField);
  }
}
