import type { Log } from '@causeway/daemon';
import type { Family } from '@causeway/ip';
import {
  type CiliumEgressGatewayPolicy,
  type EmptyStoreGuard,
  Followers,
  objectKey,
  type ResourceStore,
  type SourceStatus,
} from '@causeway/resources';
import type { Clock, Database, Table } from '@causeway/tables';
import { type AddressTables, addressTables, followAddresses } from '../addresses/sources.ts';
import type { HealthRow } from '../api/types.ts';
import { type BgpTables, bgpTables, passwordRow } from '../bgp/tables.ts';
import { type StoredNodeTable, storedNodeOf, storedNodeTable } from '../node/own-node.ts';
import { type PolicyTables, policyTables } from '../policy/tables.ts';
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

function followBgp(followers: Followers, tables: BgpTables, secretsNamespace: string): void {
  followers.followWhole('CiliumBGPClusterConfig', tables.clusterConfigs);
  followers.followWhole('BGPClusterOptions', tables.clusterOptions);
  followers.followWhole('CiliumBGPPeerConfig', tables.peerConfigs);
  followers.followWhole('BGPPeerOptions', tables.peerOptions);
  followers.followWhole('CiliumBGPAdvertisement', tables.advertisements);
  followers.followWhole('CiliumBGPNodeConfigOverride', tables.overrides);
  followers.follow({
    kind: 'Secret',
    namespace: secretsNamespace,
    table: tables.passwords,
    row: passwordRow,
    key: (_, name) => name,
  });
}

/** Every kind that the agent reads from the resource store, each into its table. */
export class StoreSources implements AsyncDisposable {
  readonly #followers: Followers;

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
    const followers = new Followers(store, clock, log);
    this.#followers = followers;
    const { pods, namespaces, services, slices, policies } = tables;
    followers.follow({
      kind: 'CiliumNode',
      table: tables.storedNode,
      row: (object) =>
        object.metadata.name === node.name ? storedNodeOf(object, node.families) : undefined,
      key: objectKey,
    });
    followers.follow({
      kind: 'Namespace',
      table: namespaces,
      row: namespaceRow,
      key: objectKey,
    });
    followers.follow({ kind: 'Pod', table: pods as never, row: podRow, key: podKey });
    followers.follow({ kind: 'Service', table: services, row: (object) => object, key: podKey });
    followers.follow({
      kind: 'EndpointSlice',
      table: slices,
      row: (object) => object,
      key: podKey,
    });
    followers.followWhole('NetworkPolicy', policies.networkPolicies);
    followers.followWhole('CiliumNetworkPolicy', policies.ciliumPolicies);
    followers.followWhole('CiliumClusterwideNetworkPolicy', policies.clusterwidePolicies);
    followers.followWhole('CiliumCIDRGroup', policies.cidrGroups);
    followers.followWhole('CiliumEgressGatewayPolicy', tables.egressPolicies);
    followAddresses(followers, tables.addressing);
    if (node.secretsNamespace !== undefined) {
      followBgp(followers, tables.bgp, node.secretsNamespace);
    }
  }

  /** Shared by all who follow this store: it is not empty once any of them has seen an object. */
  get guard(): EmptyStoreGuard {
    return this.#followers.guard;
  }

  /** The store answers and holds not one object: that is not believed. */
  get empty(): boolean {
    return !this.guard.hasObjects && this.#followers.synced;
  }

  status(): SourceStatus[] {
    return this.#followers.status();
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
    await this.#followers[Symbol.asyncDispose]();
  }
}
