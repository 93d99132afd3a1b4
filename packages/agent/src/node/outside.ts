import type { Log } from '@causeway/daemon';
import type { EgressRoute } from '@causeway/datapath';
import type { Kv } from '@causeway/etcd';
import type { Address } from '@causeway/ip';
import type { Clock } from '@causeway/tables';
import type { HealthRow } from '../api/types.ts';
import type { BgpSources } from '../bgp/sources.ts';
import type { AgentConfig } from '../config/schema.ts';
import { EgressController } from '../egress/controller.ts';
import type { EndpointTable } from '../endpoints/table.ts';
import { carriesEgress } from '../host/planner.ts';
import type { ServiceController } from '../services/controller.ts';
import { OutsideServices } from '../services/outside.ts';
import type { Foundation } from './foundation.ts';

export interface OutsidePartsOptions {
  readonly config: AgentConfig;
  readonly kv: Kv;
  readonly foundation: Foundation;
  readonly services: ServiceController;
  readonly endpoints: EndpointTable;
  readonly applyEgress: (routes: readonly EgressRoute[]) => void;
  /** The addresses by which pods leave here, after each change. */
  readonly onHeld: (addresses: readonly Address[]) => void;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
}

/** What of a node faces the world outside of its cluster: services' ways in, and pods' ways out. */
export class OutsideParts implements AsyncDisposable {
  readonly #options: OutsidePartsOptions;
  readonly #services: OutsideServices;
  /** Undefined: switched off. */
  readonly #egress: EgressController | undefined;

  constructor(options: OutsidePartsOptions) {
    this.#options = options;
    const { config, kv, foundation, services, clock, random, log } = options;
    this.#services = new OutsideServices({
      node: config.node.name,
      cluster: config.cluster.name,
      kv,
      database: foundation.database,
      services,
      ownNode: foundation.ownNode,
      nodes: foundation.cluster.nodes,
      announces: config.bgp.enabled,
      clock,
      random,
      log,
    });
    if (carriesEgress(config)) this.#egress = this.#egressController();
  }

  health(): HealthRow[] {
    return [...this.#services.rows(), ...(this.#egress?.health() ?? this.#unheeded())];
  }

  /** What announcements follow of it. */
  forBgp(): BgpSources['outside'] {
    const services = this.#services;
    const egress = this.#egress;
    const { nodes } = this.#options.foundation.cluster;
    return {
      get synced() {
        return services.presence.synced && nodes.initialized;
      },
      view: () => services.view(),
      unreachable: (namespace, name) => services.unreachable(namespace, name),
      egress: () => egress?.held ?? [],
      onChange: (listener) => services.onChange(listener),
    };
  }

  #egressController(): EgressController {
    const { config, foundation, endpoints, applyEgress, onHeld, log } = this.#options;
    const { store, host, cluster } = foundation;
    const controller = new EgressController({
      node: config.node.name,
      cluster: config.cluster.name,
      underlay: config.tunnel.underlayFamily,
      limit: config.limits.egressRoutes,
      database: foundation.database,
      policies: store.egressPolicies,
      pods: store.pods,
      namespaces: store.namespaces,
      endpoints,
      nodes: cluster.nodes,
      devices: host.tables.devices,
      nodeAddresses: () => host.plan.nodeAddresses,
      presence: this.#services.presence,
      apply: applyEgress,
      onChange: () => {
        this.#services.setGateway(controller.candidate);
        onHeld(controller.held.map(({ address }) => address));
      },
      log,
    });
    this.#services.onChange(() => controller.schedule());
    return controller;
  }

  /** Policies that are there and not carried out are nothing to keep quiet about. */
  #unheeded(): HealthRow[] {
    const { size } = this.#options.foundation.store.egressPolicies;
    if (size === 0) return [];
    const detail = `${size} CiliumEgressGatewayPolicies are not carried out here; set egressGateway.enabled to true`;
    return [{ name: 'egress-gateway', healthy: false, detail }];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#egress?.[Symbol.dispose]();
    await this.#services[Symbol.asyncDispose]();
  }
}
