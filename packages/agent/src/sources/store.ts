import type { Log } from '@causeway/daemon';
import type { Family } from '@causeway/ip';
import {
  type CiliumEgressGatewayPolicy,
  EmptyStoreGuard,
  KindFollower,
  type KindName,
  type ResourceKinds,
  type ResourceStore,
  type SourceStatus,
} from '@causeway/resources';
import type { Clock, Database, Table } from '@causeway/tables';
import { type AddressTables, addressFollowers, addressTables } from '../addresses/sources.ts';
import type { HealthRow } from '../api/types.ts';
import { type BgpTables, bgpTables, passwordRow } from '../bgp/tables.ts';
import { type StoredNodeTable, storedNodeOf, storedNodeTable } from '../node/own-node.ts';
import { objectKey, type PolicyTables, policyTables } from '../policy/tables.ts';
import {
  type EndpointSliceTable,
  endpointSliceTable,
  type ServiceTable,
  serviceTable,
} from '../services/tables.ts';
import {
  type NamespaceTable,
  namespaceRow,
  namespaceTable,
  type PodTable,
  podKey,
  podRow,
  podTable,
} from './pods.ts';

export interface StoreTables {
  readonly bgp: BgpTables;
  readonly pods: PodTable;
  readonly namespaces: NamespaceTable;
  readonly services: ServiceTable;
  readonly slices: EndpointSliceTable;
  readonly policies: PolicyTables;
  /** This node's own resource, if the store has it. */
  readonly storedNode: StoredNodeTable;
  readonly egressPolicies: Table<CiliumEgressGatewayPolicy>;
  /** Pools, and what asks for addresses that stay. */
  readonly addressing: AddressTables;
}

export function storeTables(database: Database): StoreTables {
  return {
    bgp: bgpTables(database),
    pods: podTable(database),
    namespaces: namespaceTable(database),
    services: serviceTable(database),
    slices: endpointSliceTable(database),
    policies: policyTables(database),
    storedNode: storedNodeTable(database, 'stored-node'),
    egressPolicies: database.table({
      name: 'egress-gateway-policies',
      key: ({ metadata }: CiliumEgressGatewayPolicy) => metadata.name,
    }),
    addressing: addressTables(database),
  };
}

export type Follower = AsyncDisposable & { status(): SourceStatus };

function bgpFollowers(
  store: ResourceStore,
  tables: BgpTables,
  secretsNamespace: string,
  guard: EmptyStoreGuard,
  log: Log,
): Follower[] {
  const follow = <K extends KindName>(kind: K, table: Table<ResourceKinds[K]>): Follower =>
    new KindFollower(
      store,
      { kind, table, row: (object) => object, key: (_, name) => name },
      guard,
      log,
    );
  return [
    follow('CiliumBGPClusterConfig', tables.clusterConfigs),
    follow('BGPClusterOptions', tables.clusterOptions),
    follow('CiliumBGPPeerConfig', tables.peerConfigs),
    follow('BGPPeerOptions', tables.peerOptions),
    follow('CiliumBGPAdvertisement', tables.advertisements),
    follow('CiliumBGPNodeConfigOverride', tables.overrides),
    new KindFollower(
      store,
      {
        kind: 'Secret',
        namespace: secretsNamespace,
        table: tables.passwords,
        row: passwordRow,
        key: (_, name) => name,
      },
      guard,
      log,
    ),
  ];
}

/** Every kind that the agent reads from the resource store, each into its table. */
export class StoreSources implements AsyncDisposable {
  readonly #stop = new AbortController();
  /** Shared by all who follow this store: it is not empty once any of them has seen an object. */
  readonly guard: EmptyStoreGuard;
  readonly #followers: Follower[];

  constructor(
    store: ResourceStore,
    tables: StoreTables,
    node: {
      readonly name: string;
      readonly families: readonly Family[];
      /** Where passwords of BGP sessions are; undefined: nothing about BGP is read. */
      readonly secretsNamespace: string | undefined;
    },
    clock: Clock,
    log: Log,
  ) {
    const guard = new EmptyStoreGuard(clock, this.#stop.signal);
    this.guard = guard;
    const { pods, namespaces, services, slices, policies, storedNode, egressPolicies } = tables;
    this.#followers = [
      new KindFollower(
        store,
        {
          kind: 'CiliumNode',
          table: storedNode,
          row: (object) =>
            object.metadata.name === node.name ? storedNodeOf(object, node.families) : undefined,
          key: (_, name) => name,
        },
        guard,
        log,
      ),
      new KindFollower(
        store,
        { kind: 'Namespace', table: namespaces, row: namespaceRow, key: (_, name) => name },
        guard,
        log,
      ),
      new KindFollower(
        store,
        { kind: 'Pod', table: pods as never, row: podRow, key: podKey },
        guard,
        log,
      ),
      new KindFollower(
        store,
        { kind: 'Service', table: services, row: (object) => object, key: podKey },
        guard,
        log,
      ),
      new KindFollower(
        store,
        { kind: 'EndpointSlice', table: slices, row: (object) => object, key: podKey },
        guard,
        log,
      ),
      new KindFollower(
        store,
        {
          kind: 'NetworkPolicy',
          table: policies.networkPolicies,
          row: (object) => object,
          key: objectKey,
        },
        guard,
        log,
      ),
      new KindFollower(
        store,
        {
          kind: 'CiliumNetworkPolicy',
          table: policies.ciliumPolicies,
          row: (object) => object,
          key: objectKey,
        },
        guard,
        log,
      ),
      new KindFollower(
        store,
        {
          kind: 'CiliumClusterwideNetworkPolicy',
          table: policies.clusterwidePolicies,
          row: (object) => object,
          key: objectKey,
        },
        guard,
        log,
      ),
      new KindFollower(
        store,
        {
          kind: 'CiliumCIDRGroup',
          table: policies.cidrGroups,
          row: (object) => object,
          key: objectKey,
        },
        guard,
        log,
      ),
      new KindFollower(
        store,
        {
          kind: 'CiliumEgressGatewayPolicy',
          table: egressPolicies,
          row: (object) => object,
          key: (_, name) => name,
        },
        guard,
        log,
      ),
      ...addressFollowers(store, tables.addressing, guard, log),
      ...(node.secretsNamespace === undefined
        ? []
        : bgpFollowers(store, tables.bgp, node.secretsNamespace, guard, log)),
    ];
  }

  /** The store answers and holds not one object: that is not believed. */
  get empty(): boolean {
    return !this.guard.hasObjects && this.status().every(({ synced }) => synced);
  }

  status(): SourceStatus[] {
    return this.#followers.map((each) => each.status());
  }

  health(): HealthRow[] {
    return this.status().map(({ name, synced, connected, rows, held, rejected, lastError }) => {
      if (!connected) {
        const last = synced ? `the last known ${rows} stay in force` : 'nothing was read yet';
        return {
          name,
          healthy: false,
          detail: `no contact with the store (${lastError ?? 'connecting'}); ${last}`,
        };
      }
      if (!synced) return { name, healthy: false, detail: 'the first list is under way' };
      if (held > 0) {
        const detail = `the store was emptied; ${held} objects that it held stay in force until it is filled again`;
        return { name, healthy: false, detail };
      }
      if (rejected.length > 0)
        return { name, healthy: false, detail: `passed over: ${rejected.join('; ')}` };
      return { name, healthy: true, detail: `${rows} objects` };
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await Promise.all(this.#followers.map((each) => each[Symbol.asyncDispose]()));
  }
}
