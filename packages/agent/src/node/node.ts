import path from 'node:path';
import { type Log, messageWithCauses, StateDirectory } from '@causeway/daemon';
import type { Kv } from '@causeway/etcd';
import { ClusterId, identityLayout, labelFilter } from '@causeway/identity';
import { Balancer } from '@causeway/loadbalancing';
import type { Clock, Database } from '@causeway/tables';
import type { AgentStatus } from '../api/types.ts';
import type { BgpController } from '../bgp/controller.ts';
import type { ClusterTables, NodeRow } from '../cluster/tables.ts';
import type { AgentConfig } from '../config/schema.ts';
import type { DatapathSettings, NodeDatapath } from '../datapath/ports.ts';
import { replayDeletions } from '../endpoints/deletions.ts';
import { LinuxEndpointKernel } from '../endpoints/linux-kernel.ts';
import { EndpointManager } from '../endpoints/manager.ts';
import { type EndpointRecord, endpointRecord } from '../endpoints/record.ts';
import { recoverFromRows, restoreEndpoints } from '../endpoints/restore.ts';
import { type EndpointTable, endpointTable } from '../endpoints/table.ts';
import { AgentError } from '../errors.ts';
import { reconcilerHealth } from '../health.ts';
import type { HostNetwork } from '../host/network.ts';
import type { NodeWays } from '../host/node-ways.ts';
import { carriesTunnels } from '../host/planner.ts';
import { HOST_ENDPOINT_ID, HostEndpointController } from '../host-endpoint/controller.ts';
import { HostSettings, hostOverridesRecord } from '../host-endpoint/settings.ts';
import { IdentityResolver } from '../identity/resolver.ts';
import { ipcacheReconcilers } from '../ipcache/reconcilers.ts';
import { IpcacheResolver } from '../ipcache/resolve.ts';
import { AgentMesh } from '../mesh/mesh.ts';
import type { Explainer } from '../monitor/drops.ts';
import type { Monitor } from '../monitor/monitor.ts';
import type { QuestionContext } from '../policy/questions.ts';
import { ServiceController } from '../services/controller.ts';
import { outlivingPlace } from '../state-place.ts';
import { Addressing } from './addressing.ts';
import { Announcing } from './announcing.ts';
import { Enforcing } from './enforcing.ts';
import type { Foundation } from './foundation.ts';
import { Membership } from './membership.ts';
import { Observing } from './observing.ts';
import { OutsideParts } from './outside.ts';
import { PlanFollower } from './plan-follower.ts';
import { Protecting } from './protecting.ts';
import { agentStatus } from './status.ts';

/** Removals that arrive while the API is up are for the API; this is for those that just missed it. */
const REPLAY_MS = 30_000;
/** How long a change of the way to a node waits for its routes. */
const WAYS_MS = 10_000;

export interface NodeOptions {
  readonly config: AgentConfig;
  readonly kv: Kv;
  readonly foundation: Foundation;
  readonly datapath: NodeDatapath;
  /** What the programs of `datapath` were loaded with. */
  readonly settings: DatapathSettings;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
}

/**
 * The composition of a node: sources fill tables, pure rooms derive, reconcilers and controllers
 * bring the kernel and the store to what the tables say. Everything is made here, by plain calls.
 */
export class Node implements AsyncDisposable {
  readonly database: Database;
  readonly endpoints: EndpointTable;
  readonly host: HostNetwork;
  readonly datapath: NodeDatapath;
  readonly manager: EndpointManager;
  readonly services: ServiceController;
  readonly outside: OutsideParts;
  /** Undefined: the node is no endpoint of its own. */
  readonly hostEndpoint: HostEndpointController | undefined;
  readonly questions: QuestionContext;
  readonly #options: NodeOptions;
  /** Undefined: switched off. */
  readonly #announcing: Announcing | undefined;
  readonly #kernel = new LinuxEndpointKernel();
  readonly addressing: Addressing;
  readonly #state: StateDirectory<EndpointRecord>;
  readonly mesh: AgentMesh;
  readonly #cluster: ClusterTables;
  readonly #enforcing: Enforcing;
  readonly #observing: Observing;
  readonly #resolver: IdentityResolver;
  readonly #ipcache: ReturnType<typeof ipcacheReconcilers>;
  readonly #protecting: Protecting;
  readonly #startedAt = new Date().toISOString();
  readonly #timers: NodeJS.Timeout[] = [];
  readonly #membership: Membership;
  readonly #plans: PlanFollower;
  #servicesPruned = false;

  constructor(options: NodeOptions) {
    this.#options = options;
    const { config, kv, foundation, datapath, clock, random, log } = options;
    const { database, store: tables } = foundation;
    this.database = database;
    this.datapath = datapath;
    this.host = foundation.host;
    this.#cluster = foundation.cluster;
    this.endpoints = endpointTable(database);
    this.#protecting = new Protecting({
      config,
      foundation,
      datapath,
      peers: () => this.mesh.endpoints(),
      log,
    });
    this.#state = new StateDirectory(path.join(config.runDir, 'state/endpoints'), endpointRecord);
    this.addressing = new Addressing({
      config,
      kv,
      foundation,
      endpoints: this.endpoints,
      described: () => this.#membership.described,
      reach: () => this.bgp?.reach,
      said: (address) => this.#membership.said(address),
      manager: () => this.manager,
      onRoutes: () => {
        this.host.replan();
        this.bgp?.replan();
      },
      clock,
      log,
    });

    this.#plans = new PlanFollower({
      config,
      host: foundation.host,
      datapath,
      labels: () => foundation.ownNode.get(config.node.name)?.labels ?? {},
      loaded: options.settings,
      settings: (plan) => foundation.settings(plan),
      ownDevice: (name) => foundation.ownDevice(name),
      blocks: foundation.blocks,
      endpoints: this.endpoints,
      log,
    });

    this.#enforcing = new Enforcing({
      config,
      foundation,
      datapath,
      endpoints: this.endpoints,
      clock,
      random,
      log,
    });
    const { engine, cidrs } = this.#enforcing;
    const labels = {
      cluster: config.cluster.name,
      filter: labelFilter(),
      pods: tables.pods,
      namespaces: tables.namespaces,
    };
    this.#membership = new Membership({
      config,
      ownNode: foundation.ownNode,
      member: {
        kv,
        database,
        cluster: { ...config.cluster, id: ClusterId(config.cluster.id) },
        layout: identityLayout(config.cluster.maxConnectedClusters),
        node: config.node.name,
        trust: foundation.trust,
        tables: this.#cluster,
        endpoints: this.endpoints,
        clock,
        random,
        log,
      },
      onNumbers: () => {
        this.#resolver.refreshAll();
        this.hostEndpoint?.refresh();
      },
    });
    if (config.hostEndpoint.enabled) {
      const overrides = outlivingPlace(config, 'host-endpoint', (err) =>
        log.warn({ err }, 'what was said of the host endpoint stays in the run directory'),
      );
      this.hostEndpoint = new HostEndpointController({
        config,
        settings: new HostSettings(config, new StateDirectory(overrides, hostOverridesRecord), log),
        node: {
          labels: () => foundation.ownNode.get(config.node.name)?.labels ?? {},
          follow: (changed) => foundation.ownNode.onCommit(changed),
        },
        engine,
        filter: labels.filter,
        namespaces: tables.namespaces,
        numbers: this.#membership,
        policy: this.#enforcing.controller,
        announce: (identity) => this.#membership.setHost(identity, HOST_ENDPOINT_ID),
        setEndpoint: (endpoint) => datapath.setHostEndpoint(endpoint),
        clock,
        log,
      });
    }
    this.#resolver = new IdentityResolver({
      sources: labels,
      numbers: this.#membership,
      endpoints: this.endpoints,
      relabel: (id, identity) => this.manager.relabel(id, identity),
      clock,
      log,
    });
    this.manager = new EndpointManager({
      node: config.node.name,
      table: this.endpoints,
      state: this.#state,
      kernel: this.#kernel,
      programs: datapath.programs,
      enforcement: this.#enforcing.controller,
      identities: this.#resolver,
      addresses: this.addressing.allocator,
      podMtu: () => this.host.plan.mtu.pod,
      assertReady: () => this.#assertReady(),
      maxEndpoints: config.limits.endpoints,
      now: () => performance.now(),
      log,
    });

    const resolver = new IpcacheResolver({
      cluster: config.cluster.name,
      node: config.node.name,
      mode: config.routingMode,
      ways: foundation.ways,
      underlayFamily: config.tunnel.underlayFamily,
      tables: this.#cluster,
      cidrs,
      nodeIdentities: this.#enforcing.nodes,
      protectedSockets: this.#protecting.sockets,
    });
    this.questions = {
      node: { name: config.node.name, endpoint: () => this.hostEndpoint?.view.id },
      engine,
      endpoints: this.endpoints,
      cluster: this.#cluster,
      labels,
      ipcache: resolver,
    };
    this.#ipcache = ipcacheReconcilers({
      tables: this.#cluster,
      cidrs,
      protectedSockets: this.#protecting.sockets,
      resolver,
      maps: datapath.ipcache,
      trust: foundation.trust,
      tunnels: carriesTunnels(config),
      clock,
      random,
    });
    this.#enforcing.link({
      others: () => resolver.others(),
      rewrite: (nodes) => this.#ipcache.rewriteNodes(nodes),
    });

    this.#observing = new Observing({
      config,
      datapath,
      engine,
      complete: () => this.#enforcing.controller.synced,
      endpoints: this.endpoints,
      cluster: this.#cluster,
      clock,
    });

    this.services = new ServiceController({
      balancer: new Balancer(
        {
          node: config.node.name,
          cluster: config.cluster.name,
          defaultAlgorithm: config.loadBalancing.algorithm,
          forwarding: config.loadBalancing.mode,
          externalClusterIPs: config.loadBalancing.externalClusterIPs,
          resolveSelectors: true,
        },
        datapath.serviceAssignment(),
      ),
      services: tables.services,
      slices: tables.slices,
      pods: tables.pods,
      remote: this.#cluster.mesh,
      apply: (operation) => datapath.applyService(operation),
      clock,
      random,
      log,
    });

    this.outside = new OutsideParts({
      config,
      kv,
      foundation,
      services: this.services,
      endpoints: this.endpoints,
      applyEgress: (routes) => datapath.applyEgress(routes),
      onHeld: (addresses) => {
        this.#plans.setHeld(addresses);
        this.bgp?.replan();
      },
      clock,
      random,
      log,
    });

    if (config.bgp.enabled) {
      this.#announcing = new Announcing({
        config,
        foundation,
        sources: {
          podAddresses: () => this.addressing.duties.announced,
          nodeAddresses: () => this.host.plan.nodeAddresses,
          balancing: this.services,
          outside: this.outside.forBgp(),
        },
        onAttracted: (prefixes) => this.host.setAttracted(prefixes),
        clock,
        random,
        log,
      });
    }

    this.mesh = new AgentMesh({
      config,
      kv,
      resources: foundation.resources,
      guard: foundation.sources.guard,
      database,
      cluster: this.#cluster,
      pools: tables.addressing.pools,
      clock,
      random,
      log,
      onEndpoints: () => this.#protecting.refresh(),
    });
  }

  /**
   * Brings the node up, the endpoints of an earlier run above all. It does not wait for the store.
   * When it resolves, requests can be taken.
   */
  async start(signal: AbortSignal): Promise<void> {
    const { config, log } = this.#options;
    this.#options.foundation.moved = () => this.addressing.duties.moved;
    this.addressing.start();
    this.#plans.follow(this.host.plan);
    this.host.onPlan((plan) => this.#plans.follow(plan));
    this.#cluster.nodes.onCommit(() => this.host.replan());
    this.host.onPlan(() => this.#options.foundation.ways.follow());
    this.#options.foundation.ways.start({
      settleRoutes: () =>
        this.host.settleRoutes(AbortSignal.any([signal, AbortSignal.timeout(WAYS_MS)])),
      rewriteNodes: (nodes) => this.#ipcache.rewriteNodes(nodes),
    });
    void this.#cluster.nodes.whenInitialized(signal).then(
      () => this.host.nodesKnown(),
      () => {},
    );
    const started = performance.now();
    const restored = await restoreEndpoints({
      state: this.#state,
      kernel: this.#kernel,
      programs: this.datapath.programs,
      addresses: this.addressing.allocator,
      manager: this.manager,
      recover: (link) =>
        recoverFromRows(link, this.datapath.enforcement.endpoints(), this.host.plan.gateways),
      log,
    });
    this.addressing.restored();
    const ms = Math.round(performance.now() - started);
    log.info({ ...restored, ms }, 'endpoints are restored');
    const deletions = path.join(config.runDir, 'deletions');
    const replay = () =>
      replayDeletions(deletions, (attachment) => this.manager.detach(attachment), log);
    await replay();
    this.#membership.follow(this.host.plan);
    this.host.onPlan((plan) => this.#membership.follow(plan));
    this.#resolver.start();
    await this.#protecting.start();
    this.hostEndpoint?.start();
    this.#every(REPLAY_MS, replay);
    this.#every(REPLAY_MS, async () => this.#pruneServices());
    this.#enforcing.start(signal);
  }

  wayTo(node: NodeRow): ReturnType<NodeWays['explain']> {
    return this.#options.foundation.ways.explain(node);
  }

  status(): AgentStatus {
    const waiting: string[] = [];
    const policies = this.#enforcing.waiting();
    if (policies !== undefined) waiting.push(policies);
    if (!this.services.synced) waiting.push('services are not in the kernel yet');
    if (!this.#membership.joined) waiting.push('the node is not a member of its cluster yet');
    return agentStatus({
      config: this.#options.config,
      startedAt: this.#startedAt,
      plan: this.host.plan,
      endpoints: this.endpoints,
      latency: this.manager.latency,
      sources: this.#options.foundation.sources,
      mesh: this.mesh,
      resolver: this.#resolver,
      problems: this.#plans.problems(),
      waiting,
      reconcilers: [
        ...this.host.health(),
        ...this.#ipcache.reconcilers.map((each) => reconcilerHealth(each)),
        ...this.#enforcing.health(),
        this.services.health(),
        ...this.#plans.health(),
        ...this.outside.health(),
        ...(this.bgp?.health() ?? []),
        ...this.#membership.health(),
        ...(this.hostEndpoint === undefined ? [] : [this.hostEndpoint.health()]),
        ...this.addressing.health(),
      ],
    });
  }

  /** What an earlier run left half written goes once everything that is wanted is there. */
  #pruneServices(): void {
    if (this.#servicesPruned || !this.services.synced || !this.services.health().healthy) return;
    this.#servicesPruned = true;
    const pruned = this.datapath.pruneServices();
    if (pruned > 0) this.#options.log.info({ pruned }, 'service rows of an earlier run are gone');
  }

  #assertReady(): void {
    const reasons = this.#plans.problems();
    if (reasons.length === 0) return;
    throw new AgentError('not-ready', `pods cannot be attached now: ${reasons.join('; ')}`, {
      hint: 'try again once the reasons are gone; GET /v1/status shows them',
    });
  }

  #every(ms: number, work: () => Promise<unknown>): void {
    const { log } = this.#options;
    const timer = setInterval(() => {
      work().catch((error) =>
        log.error({ error: messageWithCauses(error) }, 'periodic work failed'),
      );
    }, ms);
    this.#timers.push(timer);
  }

  get monitor(): Monitor {
    return this.#observing.monitor;
  }

  get explainer(): Explainer {
    return this.#observing.explainer;
  }

  /** Undefined: switched off. */
  get bgp(): BgpController | undefined {
    return this.#announcing?.controller;
  }

  /** Ends in the opposite order of the start. What is in the kernel and the store stays as it is. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const timer of this.#timers) clearInterval(timer);
    this.#protecting[Symbol.dispose]();
    this.monitor.close();
    await this.manager.idle();
    await this.#resolver[Symbol.asyncDispose]();
    await this.hostEndpoint?.[Symbol.asyncDispose]();
    await this.#announcing?.[Symbol.asyncDispose]();
    await this.mesh[Symbol.asyncDispose]();
    await this.outside[Symbol.asyncDispose]();
    this.services[Symbol.dispose]();
    this.#enforcing[Symbol.dispose]();
    await Promise.all(this.#ipcache.reconcilers.map((each) => each[Symbol.asyncDispose]()));
    await this.addressing[Symbol.asyncDispose]();
    await this.#membership[Symbol.asyncDispose]();
    this.#kernel[Symbol.dispose]();
  }
}
