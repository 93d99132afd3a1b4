import type { Address } from '@causeway/ip';
import type { Frontend, ServiceRef } from '@causeway/loadbalancing';
import type { Service } from '@causeway/resources';
import type { Table } from '@causeway/tables';
import type { PoolRow } from '../addresses/sources.ts';
import type { AgentConfig } from '../config/schema.ts';
import type { EdgeView } from '../edge/role.ts';
import type { DeviceView } from '../host/devices.ts';
import type { OwnNode } from '../node/own-node.ts';
import type { BgpInputs, EgressView, PeerNode, PodRange, ServiceView } from './inputs.ts';
import { serviceView } from './service-views.ts';
import type { BgpTables } from './tables.ts';

/** What announcements follow. Every table of it may change at any time. */
export interface BgpSources {
  readonly bgp: BgpTables;
  readonly ownNode: Table<OwnNode>;
  readonly devices: Table<DeviceView, number>;
  /** Pools that pod CIDRs are of. */
  readonly pools: Table<PoolRow>;
  /** Single addresses that have come to this node with their pods, and that are announced on their own. */
  readonly podAddresses: () => readonly PodRange[];
  readonly services: Table<Service>;
  /** Addresses by which others reach this node, best first. */
  readonly nodeAddresses: () => readonly Address[];
  /** Readiness of backends, as the load balancer sees it. */
  readonly balancing: {
    readonly synced: boolean;
    frontendsOf(ref: ServiceRef): readonly Frontend[];
    onChange(listener: () => void): void;
  };
  /** What of this node's place at the edge decides about services' addresses. */
  readonly outside: {
    /** Everything of it was read once. */
    readonly synced: boolean;
    /** The same object as long as it is the same. */
    view(): EdgeView;
    /** Why this node reaches no backend of a service. */
    unreachable(namespace: string, name: string): string | undefined;
    egress(): readonly EgressView[];
    onChange(listener: () => void): void;
  };
  /** The nodes of the cluster, and whether all of them have been heard of. */
  readonly nodes: {
    readonly initialized: boolean;
    rows(): Iterable<PeerNode>;
    onCommit(listener: () => void): () => void;
  };
}

/** Reads what announcements follow as one value, for the plan. */
export class InputReader {
  readonly #config: AgentConfig;
  readonly #sources: BgpSources;
  readonly #views = new WeakMap<
    Service,
    { readonly frontends: readonly Frontend[]; readonly view: ServiceView }
  >();

  constructor(config: AgentConfig, sources: BgpSources) {
    this.#config = config;
    this.#sources = sources;
  }

  /** Has `changed` called at every change of any of it. The answers end that, where it can end before the process. */
  follow(changed: () => void): (() => void)[] {
    const { bgp, ownNode, devices, pools, services, balancing, outside, nodes } = this.#sources;
    const undo = [...Object.values(bgp), ownNode, devices, pools, services].map((table) =>
      table.onCommit(changed),
    );
    undo.push(nodes.onCommit(changed));
    balancing.onChange(changed);
    outside.onChange(changed);
    return undo;
  }

  /** What has not been read yet; undefined when all was. */
  waiting(): string | undefined {
    const { bgp, ownNode, balancing, outside, nodes } = this.#sources;
    for (const table of Object.values(bgp)) {
      if (!table.initialized) return `${table.name} are not read yet`;
    }
    if (ownNode.size === 0) return 'it is not known yet who this node is';
    if (!balancing.synced) return 'services are not read yet';
    if (!outside.synced) return 'the edge nodes are not read yet';
    const asksNodes = Array.from(bgp.clusterOptions.rows()).some(({ spec }) =>
      spec.bgpInstances.some(({ nodePeers = [] }) => nodePeers.length > 0),
    );
    if (asksNodes && !nodes.initialized) return 'the nodes of the cluster are not read yet';
    return undefined;
  }

  read(): BgpInputs {
    const config = this.#config;
    const sources = this.#sources;
    const { bgp, ownNode, devices, services, nodes, nodeAddresses } = sources;
    const own = ownNode.get(config.node.name);
    const { name } = config.node;
    return {
      node: { name, labels: own?.labels ?? {}, addresses: nodeAddresses() },
      families: config.families,
      podCIDRs: [...(own === undefined ? [] : this.#podCIDRs(own)), ...sources.podAddresses()],
      clusterConfigs: [...bgp.clusterConfigs.rows()],
      clusterOptions: [...bgp.clusterOptions.rows()],
      peerConfigs: [...bgp.peerConfigs.rows()],
      peerOptions: [...bgp.peerOptions.rows()],
      advertisements: [...bgp.advertisements.rows()].sort((a, b) =>
        a.metadata.name < b.metadata.name ? -1 : 1,
      ),
      overrides: [...bgp.overrides.rows()],
      passwords: new Map(
        Array.from(bgp.passwords.rows(), (row) => [row.name, row.password] as const),
      ),
      services: Array.from(services.rows(), (service) => this.#view(service)),
      egress: sources.outside.egress(),
      interfaces: Array.from(devices.rows(), (device) => ({
        name: device.name,
        up: device.up,
        addresses: device.addresses.map(({ address }) => address),
      })),
      nodes: [...nodes.rows()].sort((a, b) => (a.name < b.name ? -1 : 1)),
    };
  }

  #podCIDRs({ podCIDRs, pools }: OwnNode): PodRange[] {
    const poolOf = new Map(pools.map(({ cidr, pool }) => [cidr, pool]));
    return podCIDRs.map((prefix) => {
      const name = poolOf.get(prefix);
      if (name === undefined) return { prefix };
      return {
        prefix,
        pool: { name, labels: this.#sources.pools.get(name)?.labels ?? {} },
      };
    });
  }

  /** The same view while service and frontends are the same objects. */
  #view(service: Service): ServiceView {
    const config = this.#config;
    const sources = this.#sources;
    const { namespace = 'default', name } = service.metadata;
    const frontends = sources.balancing.frontendsOf({ namespace, name });
    const known = this.#views.get(service);
    const edge = sources.outside.view();
    const unreachable = sources.outside.unreachable(namespace, name);
    const same =
      known?.frontends === frontends &&
      known.view.edge === edge &&
      known.view.unreachable === unreachable;
    if (same) return known.view;
    const view = serviceView(service, frontends, config.node.name, { edge, unreachable });
    this.#views.set(service, { frontends, view });
    return view;
  }
}
