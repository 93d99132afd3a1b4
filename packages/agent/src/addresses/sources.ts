import { type Family, Prefix } from '@causeway/ip';
import {
  type AddressReservation,
  type CiliumPodIPPool,
  type Followers,
  objectKey,
  type PodIPPoolOptions,
  type StatefulSet,
} from '@causeway/resources';
import type { Database, Table } from '@causeway/tables';
import { podKey, readAnnotations } from '../sources/pods.ts';
import type { PoolView } from './choice.ts';

/** A CiliumPodIPPool as a node looks at it. */
export interface PoolRow {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly families: readonly Family[];
  readonly cidrs?: readonly Prefix[];
  readonly podSelector?: PoolView['podSelector'];
  readonly namespaceSelector?: PoolView['namespaceSelector'];
}

/** PodIPPoolOptions of the pool of the same name. */
export interface PoolOptionsRow {
  readonly name: string;
  readonly nodeSelector?: PoolView['nodeSelector'];
  readonly marks: NonNullable<PodIPPoolOptions['spec']['marks']>;
  readonly preAllocate?: number;
  readonly closed: readonly Prefix[];
}

/** A workload whose pods may ask for addresses that stay. */
export interface WorkloadRow {
  readonly namespace: string;
  readonly name: string;
  readonly kind: string;
  readonly annotations: Readonly<Record<string, string>>;
}

export interface ReservationRow {
  readonly namespace: string;
  readonly name: string;
  readonly spec: AddressReservation['spec'];
}

export interface AddressTables {
  readonly pools: Table<PoolRow>;
  readonly options: Table<PoolOptionsRow>;
  readonly workloads: Table<WorkloadRow>;
  readonly reservations: Table<ReservationRow, string, 'namespace'>;
}

export function addressTables(database: Database): AddressTables {
  return {
    pools: database.table({ name: 'pod-pools', key: ({ name }: PoolRow) => name }),
    options: database.table({ name: 'pod-pool-options', key: ({ name }: PoolOptionsRow) => name }),
    workloads: database.table({
      name: 'workloads',
      key: ({ namespace, name }: WorkloadRow) => podKey(namespace, name),
    }),
    reservations: database.table({
      name: 'address-reservations',
      key: ({ namespace, name }: ReservationRow) => podKey(namespace, name),
      indexes: { namespace: { keys: ({ namespace }) => namespace } },
    }),
  };
}

/** The kinds that decide about addresses, each into its table. */
export function followAddresses(followers: Followers, tables: AddressTables): void {
  const { pools, options, workloads, reservations } = tables;
  followers.follow({ kind: 'CiliumPodIPPool', table: pools, row: poolRow, key: objectKey });
  followers.follow({ kind: 'PodIPPoolOptions', table: options, row: optionsRow, key: objectKey });
  followers.follow({ kind: 'StatefulSet', table: workloads, row: workloadRow, key: podKey });
  followers.follow({
    kind: 'AddressReservation',
    table: reservations as never,
    row: ({ metadata, spec }: AddressReservation): ReservationRow => ({
      namespace: metadata.namespace ?? 'default',
      name: metadata.name,
      spec,
    }),
    key: podKey,
  });
}

/** Pools with what extends them, as the choice for a pod looks at them. */
export function poolViews({ pools, options }: AddressTables): PoolView[] {
  return Array.from(pools.rows(), ({ name, families, podSelector, namespaceSelector }) => {
    const nodeSelector = options.get(name)?.nodeSelector;
    return {
      name,
      families,
      ...(podSelector === undefined ? {} : { podSelector }),
      ...(namespaceSelector === undefined ? {} : { namespaceSelector }),
      ...(nodeSelector === undefined ? {} : { nodeSelector }),
    };
  });
}

function poolRow({ metadata, spec }: CiliumPodIPPool): PoolRow {
  const families = (['ipv4', 'ipv6'] as const).filter((family) => spec[family] !== undefined);
  const { podSelector, namespaceSelector } = spec;
  return {
    name: metadata.name,
    labels: metadata.labels ?? {},
    families,
    cidrs: families
      .flatMap((family) => spec[family]?.cidrs ?? [])
      .flatMap((text) => Prefix.tryParse(text, { hostBits: 'clear' }) ?? []),
    ...(podSelector === undefined ? {} : { podSelector }),
    ...(namespaceSelector === undefined ? {} : { namespaceSelector }),
  };
}

function optionsRow({ metadata, spec }: PodIPPoolOptions): PoolOptionsRow {
  const { nodeSelector, marks = {}, preAllocate, closed = [] } = spec;
  return {
    name: metadata.name,
    ...(nodeSelector === undefined ? {} : { nodeSelector }),
    marks,
    ...(preAllocate === undefined ? {} : { preAllocate }),
    closed: closed.map((text) => Prefix.parse(text, { hostBits: 'clear' })),
  };
}

function workloadRow({ kind, metadata }: StatefulSet): WorkloadRow | undefined {
  const annotations = readAnnotations(metadata);
  // One that asks for nothing is of no interest.
  if (Object.keys(annotations).length === 0) return undefined;
  const { namespace = 'default', name } = metadata;
  return { namespace, name, kind, annotations };
}
