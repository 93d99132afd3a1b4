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
  Followers,
  type KindName,
  objectKey,
  type PodIPPoolOptions,
  type ResourceKinds,
  type ResourceStore,
  type Service,
  type ServiceCIDR,
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
  objectKey(object.metadata.namespace, object.metadata.name);

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

/**
 * Keeps the tables equal to the registry, on every instance: whoever is elected has them at hand.
 *
 * @param secretsNamespace where BGP sessions' passwords are
 */
export function operatorSources(
  store: ResourceStore,
  tables: OperatorTables,
  secretsNamespace: string,
  clock: Clock,
  log: Log,
): Followers {
  const followers = new Followers(store, clock, log);
  const { bgp } = tables;
  followers.follow({ kind: 'CiliumNode', table: tables.nodes, row: nodeRow, key: objectKey });
  followers.follow({ kind: 'Node', table: tables.facts, row: nodeFacts, key: objectKey });
  followers.follow({
    kind: 'Service',
    table: tables.services,
    // Of the others nothing is asked of the operator.
    row: (object) => (wantsVips(object) ? object : undefined),
    key: objectKey,
  });
  followers.followWhole('CiliumPodIPPool', tables.pools);
  followers.followWhole('PodIPPoolOptions', tables.options);
  followers.followWhole('CiliumLoadBalancerIPPool', tables.vipPools);
  followers.followWhole('ServiceCIDR', tables.serviceCidrs);
  followers.followWhole('AddressReservation', tables.reservations);
  followers.followWhole('AddressPlan', tables.plans);
  followers.followWhole('CiliumBGPClusterConfig', bgp.configs);
  followers.followWhole('CiliumBGPNodeConfigOverride', bgp.overrides);
  followers.followWhole('CiliumBGPPeerConfig', bgp.peers);
  followers.followWhole('CiliumBGPNodeConfig', bgp.nodes);
  followers.follow({
    kind: 'Secret',
    namespace: secretsNamespace,
    table: bgp.secrets,
    row: ({ metadata }) => ({ name: metadata.name }),
    key: (_, name) => name,
  });
  return followers;
}

/** Of type LoadBalancer, or still with addresses from when it was. */
function wantsVips({ spec, status }: Service): boolean {
  return spec.type === 'LoadBalancer' || (status?.loadBalancer?.ingress?.length ?? 0) > 0;
}
