import type { Log } from '@causeway/daemon';
import {
  type AddressPlan,
  type AddressReservation,
  type CiliumBGPClusterConfig,
  type CiliumBGPNodeConfig,
  type CiliumBGPNodeConfigOverride,
  type CiliumBGPPeerConfig,
  type CiliumLoadBalancerIPPool,
  type CiliumPodIPPool,
  EmptyStoreGuard,
  KindFollower,
  type KindName,
  type PodIPPoolOptions,
  type ResourceKinds,
  type ResourceStore,
  type Service,
  type ServiceCIDR,
  type SourceStatus,
} from '@causeway/resources';
import { type Clock, Database, type Table } from '@causeway/tables';
import {
  type NodeFactsTable,
  type NodeTable,
  nodeFacts,
  nodeFactsTable,
  nodeRow,
  nodeTable,
} from './nodes.ts';

/** Everything that the operator reads of the registry. */
export interface OperatorTables {
  readonly database: Database;
  readonly nodes: NodeTable;
  readonly facts: NodeFactsTable;
  readonly pools: Table<CiliumPodIPPool>;
  readonly options: Table<PodIPPoolOptions>;
  readonly vipPools: Table<CiliumLoadBalancerIPPool>;
  readonly services: Table<Service>;
  readonly serviceCidrs: Table<ServiceCIDR>;
  readonly reservations: Table<AddressReservation>;
  readonly plans: Table<AddressPlan>;
  readonly bgp: BgpTables;
}

/** What the kinds about BGP say, for the nodes' own objects and the conditions. */
export interface BgpTables {
  readonly configs: Table<CiliumBGPClusterConfig>;
  readonly overrides: Table<CiliumBGPNodeConfigOverride>;
  readonly peers: Table<CiliumBGPPeerConfig>;
  readonly nodes: Table<CiliumBGPNodeConfig>;
  /** Secrets where sessions' passwords are looked for; of them the names alone. */
  readonly secrets: Table<{ readonly name: string }>;
}

const named = (object: { metadata: { namespace?: string; name: string } }): string =>
  keyOf(object.metadata.namespace, object.metadata.name);

/** `namespace/name`, or the name alone for what belongs to the whole cluster. */
export const keyOf = (namespace: string | undefined, name: string): string =>
  namespace === undefined ? name : `${namespace}/${name}`;

export function operatorTables(): OperatorTables {
  const database = new Database();
  const objects = <K extends KindName>(name: string): Table<ResourceKinds[K]> =>
    database.table({ name, key: (object: ResourceKinds[K]) => named(object) });
  return {
    database,
    nodes: nodeTable(database),
    facts: nodeFactsTable(database),
    pools: objects<'CiliumPodIPPool'>('pools'),
    options: objects<'PodIPPoolOptions'>('pool-options'),
    vipPools: objects<'CiliumLoadBalancerIPPool'>('vip-pools'),
    services: objects<'Service'>('services'),
    serviceCidrs: objects<'ServiceCIDR'>('service-cidrs'),
    reservations: objects<'AddressReservation'>('reservations'),
    plans: objects<'AddressPlan'>('plans'),
    bgp: {
      configs: objects<'CiliumBGPClusterConfig'>('bgp-cluster-configs'),
      overrides: objects<'CiliumBGPNodeConfigOverride'>('bgp-node-overrides'),
      peers: objects<'CiliumBGPPeerConfig'>('bgp-peer-configs'),
      nodes: objects<'CiliumBGPNodeConfig'>('bgp-node-configs'),
      secrets: database.table({
        name: 'bgp-secrets',
        key: ({ name }: { readonly name: string }) => name,
      }),
    },
  };
}

/** Keeps the tables equal to the registry, on every instance: whoever is elected has them at hand. */
export class OperatorSources implements AsyncDisposable {
  /** Shared by all who follow this store: it is not empty once any of them has seen an object. */
  readonly guard: EmptyStoreGuard;
  readonly #stop = new AbortController();
  readonly #followers: (AsyncDisposable & { status(): SourceStatus })[];

  /** @param secretsNamespace where sessions' passwords are. */
  constructor(
    store: ResourceStore,
    tables: OperatorTables,
    secretsNamespace: string,
    clock: Clock,
    log: Log,
  ) {
    this.guard = new EmptyStoreGuard(clock, this.#stop.signal);
    const { guard } = this;
    const whole = <K extends KindName>(kind: K, table: Table<ResourceKinds[K]>) =>
      new KindFollower(store, { kind, table, row: (object) => object, key: keyOf }, guard, log);
    this.#followers = [
      new KindFollower(
        store,
        { kind: 'CiliumNode', table: tables.nodes, row: nodeRow, key: keyOf },
        guard,
        log,
      ),
      new KindFollower(
        store,
        { kind: 'Node', table: tables.facts, row: nodeFacts, key: keyOf },
        guard,
        log,
      ),
      new KindFollower(
        store,
        {
          kind: 'Service',
          table: tables.services,
          // Of the others nothing is asked of the operator.
          row: (object) => (wantsVips(object) ? object : undefined),
          key: keyOf,
        },
        guard,
        log,
      ),
      whole('CiliumPodIPPool', tables.pools),
      whole('PodIPPoolOptions', tables.options),
      whole('CiliumLoadBalancerIPPool', tables.vipPools),
      whole('ServiceCIDR', tables.serviceCidrs),
      whole('AddressReservation', tables.reservations),
      whole('AddressPlan', tables.plans),
      whole('CiliumBGPClusterConfig', tables.bgp.configs),
      whole('CiliumBGPNodeConfigOverride', tables.bgp.overrides),
      whole('CiliumBGPPeerConfig', tables.bgp.peers),
      whole('CiliumBGPNodeConfig', tables.bgp.nodes),
      new KindFollower(
        store,
        {
          kind: 'Secret',
          namespace: secretsNamespace,
          table: tables.bgp.secrets,
          row: ({ metadata }) => ({ name: metadata.name }),
          key: (_, name) => name,
        },
        guard,
        log,
      ),
    ];
  }

  /** Every kind has been listed once. */
  get synced(): boolean {
    return this.#followers.every((follower) => follower.status().synced);
  }

  status(): readonly SourceStatus[] {
    return this.#followers.map((follower) => follower.status());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await Promise.all(this.#followers.map((each) => each[Symbol.asyncDispose]()));
  }
}

/** Of type LoadBalancer, or still with addresses from when it was. */
function wantsVips({ spec, status }: Service): boolean {
  return spec.type === 'LoadBalancer' || (status?.loadBalancer?.ingress?.length ?? 0) > 0;
}
