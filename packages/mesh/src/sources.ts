import type { KvEntry } from '@causeway/etcd';
import {
  type ClusterId,
  IdentityError,
  type IdentityLayout,
  LABEL_KEYS,
  LABEL_SOURCES,
  LabelSet,
  NumericIdentity,
} from '@causeway/identity';
import type { Table, TableKey } from '@causeway/tables';
import { decodeNode } from './codec/node.ts';
import { decodeService } from './codec/service.ts';
import { decodeServiceShard } from './codec/service-shard.ts';
import { MeshError } from './errors.ts';
import type { StateKind } from './keys.ts';
import { type MeshTables, nodeRowKey, serviceRowKey, serviceShardRowKey } from './rows.ts';

/** The cluster whose state is read. */
export interface ClusterRef {
  readonly name: string;
  readonly id: ClusterId;
}

/** How the entries under one prefix become rows. */
export interface Source {
  readonly kind: StateKind;
  readonly table: Table<{ readonly cluster: string }, TableKey, 'cluster'>;
  /** The row's key for what stands behind the prefix; undefined if it can be none. */
  readonly key: (rest: string) => TableKey | undefined;
  /** The row, or undefined if the value says that there is none. Throws MeshError. */
  readonly row: (
    rest: string,
    entry: Pick<KvEntry, 'text'>,
  ) => { readonly cluster: string } | undefined;
}

/**
 * The checks of a 1.19 reader (sections 1.5 to 1.8): a value must repeat its key and its cluster,
 * and may only use identities of its own cluster's range.
 */
export function sourcesOf(
  tables: MeshTables,
  cluster: ClusterRef,
  layout: IdentityLayout,
): Record<Exclude<StateKind, 'ip'>, Source> {
  const source = <Row extends { readonly cluster: string }, K extends TableKey>(
    kind: StateKind,
    table: Table<Row, K, never>,
    key: (rest: string) => K | undefined,
    row: (rest: string, entry: Pick<KvEntry, 'text'>) => Row | undefined,
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

    'service-backends': source(
      'service-backends',
      tables.serviceShards as never,
      (rest) => {
        const [namespace, name, shard, ...more] = rest.split('/');
        if (!namespace || !name || !shard || more.length > 0) return undefined;
        return /^(0|[1-9]\d{0,3})$/.test(shard)
          ? serviceShardRowKey(cluster.name, namespace, name, Number(shard))
          : undefined;
      },
      (rest, entry) => {
        const value = decodeServiceShard(entry.text);
        const name = `${value.namespace}/${value.name}/${value.shard}`;
        if (name !== rest) {
          throw new MeshError('mismatch', `${name} is not its key's ${rest}`, name, 'name');
        }
        requireCluster(cluster, value.cluster, value.clusterId, 'cluster', 'clusterID');
        return value;
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

export function requireRange(
  layout: IdentityLayout,
  cluster: ClusterRef,
  id: NumericIdentity,
): void {
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
