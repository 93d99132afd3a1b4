import path from 'node:path';
import type { Kv } from '@causeway/etcd';
import { ClusterId, identityLayout, labelFilter } from '@causeway/identity';
import { Address, Mac } from '@causeway/ip';
import { Balancer } from '@causeway/loadbalancing';
import { MeshReader } from '@causeway/mesh';
import { PolicyEngine } from '@causeway/policy';
import type { Clock, Database } from '@causeway/tables';
import type { AgentStatus, HealthRow } from '../api/types.ts';
import { ClusterMember } from '../cluster/member.ts';
import type { ClusterTables } from '../cluster/tables.ts';
import type { AgentConfig } from '../config/schema.ts';
import type { DatapathSettings, NetworkDevice, NodeDatapath } from '../datapath/ports.ts';
import { replayDeletions } from '../endpoints/deletions.ts';
import { LinuxEndpointKernel } from '../endpoints/linux-kernel.ts';
import { EndpointManager } from '../endpoints/manager.ts';
import { NodeAddressPool } from '../endpoints/pool.ts';
import { type EndpointRecord, endpointRecord } from '../endpoints/record.ts';
import { type RestoreReport, recoverFromRows, restoreEndpoints } from '../endpoints/restore.ts';
import { type EndpointTable, endpointTable } from '../endpoints/table.ts';
import { AgentError, messageWithCauses } from '../errors.ts';
import { reconcilerHealth } from '../health.ts';
import { addressesOf } from '../host/devices.ts';
import type { HostNetwork } from '../host/network.ts';
import type { HostPlan } from '../host/planner.ts';
import type { IdentityNumbers } from '../identity/resolver.ts';
import { IdentityResolver } from '../identity/resolver.ts';
import { protectedTable, StoreSockets } from '../ipcache/protected.ts';
import { ipcacheReconcilers } from '../ipcache/reconcilers.ts';
import { IpcacheResolver } from '../ipcache/resolve.ts';
import type { Log } from '../log.ts';
import { Explainer, nameOfPod } from '../monitor/drops.ts';
import { Monitor } from '../monitor/monitor.ts';
import { CidrIdentities, cidrIdentityTable } from '../policy/cidr-identities.ts';
import { PolicyController } from '../policy/controller.ts';
import { PolicyFeed } from '../policy/feed.ts';
import type { QuestionContext } from '../policy/questions.ts';
import { ServiceController } from '../services/controller.ts';
import { StateDirectory } from '../state/directory.ts';
import type { Foundation } from './foundation.ts';
import { gatewaysOf } from './gateways.ts';

export const VERSION = '0.1.0';
/** Removals that arrive while the API is up are for the API; this is for those that just missed it. */
const REPLAY_MS = 30_000;
const PROTECT_MS = 60_000;

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
  readonly monitor: Monitor;
  readonly explainer: Explainer;
  readonly services: ServiceController;
  readonly questions: QuestionContext;
  readonly #options: NodeOptions;
  readonly #kernel = new LinuxEndpointKernel();
  readonly #pool: NodeAddressPool;
  readonly #state: StateDirectory<EndpointRecord>;
  readonly #mesh: MeshReader;
  readonly #cluster: ClusterTables;
  readonly #controller: PolicyController;
  readonly #feed: PolicyFeed;
  readonly #resolver: IdentityResolver;
  readonly #ipcache: ReturnType<typeof ipcacheReconcilers>;
  readonly #protected;
  readonly #storeSockets: StoreSockets;
  readonly #startedAt = new Date().toISOString();
  readonly #timers: NodeJS.Timeout[] = [];
  #member: ClusterMember | undefined;
  #settings: string;
  #servicesPruned = false;
  readonly #told = new Map<string, string>();
  #datapathProblem: string | undefined;
  #cidrProblem: string | undefined;
  #restored: RestoreReport | undefined;

  constructor(options: NodeOptions) {
    this.#options = options;
    const { config, kv, foundation, datapath, clock, random, log } = options;
    const { database, store: tables } = foundation;
    const families = config.families;
    this.database = database;
    this.datapath = datapath;
    this.host = foundation.host;
    this.#settings = JSON.stringify(options.settings);
    this.#cluster = foundation.cluster;
    this.endpoints = endpointTable(database);
    const cidrs = cidrIdentityTable(database);
    this.#protected = protectedTable(database);
    this.#storeSockets = new StoreSockets(config.etcd.endpoints);
    this.#state = new StateDirectory(path.join(config.runDir, 'state/endpoints'), endpointRecord);
    this.#pool = new NodeAddressPool(families, () => clock.now());

    const engine = new PolicyEngine({
      cluster: config.cluster.name,
      families,
      defaultCluster: config.policy.defaultLocalCluster ? 'local' : 'any',
      enforcement: config.policy.enforcement,
      allowLocalhost: config.policy.allowLocalhost,
      firstRevision: firstRevision(datapath),
    });
    this.#controller = new PolicyController({
      engine,
      maps: datapath.enforcement,
      endpoints: this.endpoints,
      cidrs: new CidrIdentities(
        cidrs,
        families.length === 2,
        new Map(datapath.ipcache.localIdentities()),
      ),
      auditAll: config.policy.auditAll,
      clock,
      random,
      log,
    });
    const labels = {
      cluster: config.cluster.name,
      filter: labelFilter(),
      pods: tables.pods,
      namespaces: tables.namespaces,
    };
    this.#resolver = new IdentityResolver({
      sources: labels,
      numbers: this.#numbers(),
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
      enforcement: this.#controller,
      identities: this.#resolver,
      addresses: this.#pool,
      podMtu: () => this.host.plan.mtu.pod,
      assertReady: () => this.#assertReady(),
      maxEndpoints: config.limits.endpoints,
      now: () => performance.now(),
      log,
    });

    const resolver = new IpcacheResolver({
      cluster: config.cluster.name,
      node: config.node.name,
      tunnel: config.routingMode === 'tunnel',
      underlayFamily: config.tunnel.underlayFamily,
      tables: this.#cluster,
      cidrs,
      protectedSockets: this.#protected,
    });
    this.questions = {
      engine,
      endpoints: this.endpoints,
      cluster: this.#cluster,
      labels,
      ipcache: resolver,
    };
    // The prefixes of policies are known once the policies are.
    this.#cidrsKnown = cidrs.source('policies');
    this.#ipcache = ipcacheReconcilers({
      tables: this.#cluster,
      cidrs,
      protectedSockets: this.#protected,
      resolver,
      maps: datapath.ipcache,
      trust: foundation.trust,
      tunnel: config.routingMode === 'tunnel',
      clock,
      random,
    });

    this.monitor = new Monitor({
      buffer: config.limits.monitorBuffer,
      clients: config.limits.monitorClients,
      onInterest: (types) =>
        datapath.setMonitor({
          verdicts: types.has('verdict') || types.has('audit'),
          traces: types.has('trace'),
        }),
    });
    this.explainer = new Explainer({
      engine,
      endpoints: this.endpoints,
      nameOf: (address) => this.#nameOf(address),
      now: () => clock.now(),
    });
    datapath.onEvent((event) => {
      const explained = this.explainer.explain(event);
      if (this.monitor.wants(event.type)) this.monitor.publish({ ...explained });
      // What passes on trial only is a verdict that somebody may want to see alone.
      const audited = event.reason === 'policy-audit' && this.monitor.wants('audit');
      if (audited) this.monitor.publish({ ...explained, type: 'audit' });
    });

    this.services = new ServiceController({
      balancer: new Balancer(
        {
          node: config.node.name,
          defaultAlgorithm: config.loadBalancing.algorithm,
          resolveSelectors: true,
        },
        datapath.serviceAssignment(),
      ),
      services: tables.services,
      slices: tables.slices,
      pods: tables.pods,
      apply: (operation) => datapath.applyService(operation),
      clock,
      random,
      log,
    });

    this.#feed = new PolicyFeed({
      engine,
      controller: this.#controller,
      policies: tables.policies,
      cluster: this.#cluster,
      trust: foundation.trust,
      log,
    });
    this.#mesh = new MeshReader({
      kv,
      cluster: { name: config.cluster.name, id: ClusterId(config.cluster.id) },
      layout: identityLayout(config.cluster.maxConnectedClusters),
      tables: this.#cluster.mesh,
      kinds: ['identities', 'ip', 'nodes'],
    });
  }

  readonly #cidrsKnown;

  /**
   * Brings the node up, the endpoints of an earlier run above all. It does not wait for the store. When it resolves, requests can be taken.
   */
  async start(signal: AbortSignal): Promise<void> {
    const { config, clock, log } = this.#options;
    this.#follow(this.host.plan);
    this.host.onPlan((plan) => this.#follow(plan));
    this.#cluster.nodes.onCommit(() => this.host.replan());
    void this.#cluster.nodes.whenInitialized(signal).then(
      () => this.host.nodesKnown(),
      () => {},
    );
    const started = performance.now();
    this.#restored = await restoreEndpoints({
      state: this.#state,
      kernel: this.#kernel,
      programs: this.datapath.programs,
      addresses: this.#pool,
      manager: this.manager,
      recover: (link) =>
        recoverFromRows(link, this.datapath.enforcement.endpoints(), this.host.plan.gateways),
      log,
    });
    const ms = Math.round(performance.now() - started);
    log.info({ ...this.#restored, ms }, 'endpoints are restored');
    const deletions = path.join(config.runDir, 'deletions');
    const replay = () =>
      replayDeletions(deletions, (attachment) => this.manager.detach(attachment), log);
    await replay();
    this.#join(this.host.plan);
    this.#resolver.start();
    await this.#protect();
    this.#every(REPLAY_MS, replay);
    this.#every(REPLAY_MS, async () => this.#pruneServices());
    this.#every(PROTECT_MS, () => this.#protect());
    void this.#whenPoliciesKnown(signal, clock);
  }

  status(): AgentStatus {
    const { config } = this.#options;
    const { plan } = this.host;
    const problems = this.#problems();
    const waiting = this.#notInStep();
    const byState: Record<string, number> = {};
    for (const { state } of this.endpoints.rows()) byState[state] = (byState[state] ?? 0) + 1;
    return {
      ready: problems.length === 0 && waiting.length === 0,
      reasons: [...problems, ...waiting],
      version: VERSION,
      pid: process.pid,
      startedAt: this.#startedAt,
      cluster: { name: config.cluster.name, id: config.cluster.id },
      node: {
        name: config.node.name,
        addresses: plan.nodeAddresses,
        podCIDRs: plan.gateways.map(({ prefix }) => prefix),
        gateways: gatewaysOf(plan),
      },
      modes: {
        routing: config.routingMode,
        families: config.families,
        masquerade: config.masquerade.enabled,
        socketLB: config.socketLB.enabled,
        mtu: plan.mtu,
        devices: plan.devices.map(({ name }) => name),
      },
      cni: { ready: problems.length === 0, reasons: problems },
      sources: [...this.#options.foundation.sources.health(), ...this.#meshHealth()],
      reconcilers: [
        ...this.host.health(),
        ...this.#ipcache.map((each) => reconcilerHealth(each)),
        this.#controller.health(),
        this.#feed.health(),
        this.services.health(),
        ...(this.#member?.health() ?? []),
        ...this.#resolverHealth(),
      ],
      endpoints: { total: this.endpoints.size, byState },
      latency: this.manager.latency,
    };
  }

  /** Follows a plan: programs, devices, addresses for pods, and what the others are told. */
  #follow(plan: HostPlan): void {
    const { config, log } = this.#options;
    try {
      this.#pool.setCidrs(plan.gateways.map(({ prefix }) => ({ prefix })));
      this.#cidrProblem = undefined;
    } catch (error) {
      this.#cidrProblem = `the pod CIDRs cannot be used: ${messageWithCauses(error)}`;
    }
    try {
      this.#configure(plan);
      this.#tell(
        'devices',
        plan.devices.map((device) => networkDevice(device, config.families)),
        (devices) => this.datapath.setDevices(devices),
      );
      const gateways = plan.gateways.map(({ gateway }) => gateway);
      const hosts = addressesOf([...this.host.tables.devices.rows()]);
      this.#tell('hosts', [...new Set([...hosts, ...gateways])], (addresses) =>
        this.datapath.setHostAddresses(addresses),
      );
      const native = [...config.nativeRoutingCIDRs, ...config.masquerade.exceptions];
      this.#tell(
        'exceptions',
        [...native, ...plan.gateways.map(({ prefix }) => prefix)],
        (prefixes) => this.datapath.setNatExceptions(prefixes),
      );
      this.#datapathProblem = undefined;
    } catch (error) {
      this.#datapathProblem = `the datapath: ${messageWithCauses(error)}`;
      log.error({ error: messageWithCauses(error) }, 'the datapath cannot follow the plan');
      // Somebody may be at work on the devices: look again soon.
      setTimeout(() => this.host.replan(), 1_000).unref();
    }
    if (this.#restored !== undefined) this.#join(plan);
  }

  /** Plans come often and mostly say the same again: the kernel is told only what is new. */
  #tell<T>(what: string, value: T, tell: (value: T) => void): void {
    const text = JSON.stringify(value);
    if (this.#told.get(what) === text) return;
    this.#told.delete(what);
    tell(value);
    this.#told.set(what, text);
  }

  /** What an earlier run left half written goes once everything that is wanted is there. */
  #pruneServices(): void {
    if (this.#servicesPruned || !this.services.synced || !this.services.health().healthy) return;
    this.#servicesPruned = true;
    const pruned = this.datapath.pruneServices();
    if (pruned > 0) this.#options.log.info({ pruned }, 'service rows of an earlier run are gone');
  }

  #configure(plan: HostPlan): void {
    const settings = this.#options.foundation.settings(plan);
    const text = JSON.stringify(settings);
    if (text === this.#settings) return;
    this.datapath.configure(settings);
    this.#settings = text;
    this.#told.clear();
    // Links have the new programs by now; filters, on kernels without links, get them one by one.
    const { programs } = this.datapath;
    for (const { record, state } of this.endpoints.rows()) {
      const { hostIfname, hostIfindex } = record;
      if (state === 'ready' && !programs.attached(hostIfname, hostIfindex)) {
        programs.attach(hostIfname, hostIfindex);
      }
    }
  }

  /** Becomes a member of the cluster once it is known by which address; tells what changes later. */
  #join(plan: HostPlan): void {
    const { config, kv, clock, random, log } = this.#options;
    const own = this.#options.foundation.ownNode.get(config.node.name);
    const underlay = config.tunnel.underlayFamily;
    const address =
      plan.nodeAddresses.find((each) => Address.family(each) === underlay) ?? plan.nodeAddresses[0];
    if (own === undefined || address === undefined) return;
    if (this.#member === undefined) {
      this.#member = new ClusterMember({
        kv,
        database: this.database,
        cluster: { ...config.cluster, id: ClusterId(config.cluster.id) },
        layout: identityLayout(config.cluster.maxConnectedClusters),
        node: config.node.name,
        address,
        tables: this.#cluster,
        endpoints: this.endpoints,
        onRenumbered: () => this.#resolver.refreshAll(),
        clock,
        random,
        log,
      });
      for (const { record } of this.endpoints.rows()) this.#member.restore(record);
      this.#describe(plan, own.labels);
      this.#member.complete();
      this.#resolver.refreshAll();
    } else {
      this.#describe(plan, own.labels);
    }
  }

  #describe(plan: HostPlan, labels: Readonly<Record<string, string>>): void {
    this.#member?.describe({
      addresses: plan.nodeAddresses,
      gateways: plan.gateways.map(({ gateway }) => gateway),
      podCIDRs: plan.gateways.map(({ prefix }) => prefix),
      labels,
    });
  }

  /** Numbers come from the cluster as soon as the node is a member. */
  #numbers(): IdentityNumbers {
    const member = () => this.#member;
    return {
      get connected() {
        return member()?.connected ?? false;
      },
      known: (labels) => member()?.known(labels),
      acquire: (labels, signal) => {
        const joined = member();
        if (joined !== undefined) return joined.acquire(labels, signal);
        return Promise.reject(
          new AgentError('store-unavailable', 'the node is not a member of its cluster yet'),
        );
      },
      release: (labels) => member()?.release(labels),
    };
  }

  async #whenPoliciesKnown(signal: AbortSignal, clock: Clock): Promise<void> {
    while (!signal.aborted && !this.#controller.synced) await clock.sleep(20, signal);
    if (this.#controller.synced) this.#cidrsKnown.done();
  }

  async #protect(): Promise<void> {
    this.#protected.replace(await this.#storeSockets.find());
    this.datapath.setProtected([...this.#protected.rows()]);
  }

  #nameOf(text: string): string | undefined {
    const [entry] = this.#cluster.ipEntries.by('address', text);
    return (
      nameOfPod(entry?.namespace, entry?.pod) ?? this.#cluster.nodes.first('address', text)?.name
    );
  }

  #assertReady(): void {
    const reasons = this.#problems();
    if (reasons.length === 0) return;
    throw new AgentError('not-ready', `pods cannot be attached now: ${reasons.join('; ')}`, {
      hint: 'try again once the reasons are gone; GET /v1/status shows them',
    });
  }

  /** What keeps pods from being attached. */
  #problems(): string[] {
    return [...this.host.plan.problems, this.#datapathProblem, this.#cidrProblem].filter(
      (problem) => problem !== undefined,
    );
  }

  /** What an observer waits for who wants everything to be in step. */
  #notInStep(): string[] {
    const waiting: string[] = [];
    for (const { name, synced } of this.#options.foundation.sources.status())
      if (!synced) waiting.push(`${name} is not read yet`);
    for (const { kind, synced } of this.#mesh.status().kinds)
      if (!synced) waiting.push(`cluster ${kind} are not read yet`);
    if (!this.#controller.synced) waiting.push('policies are not in the kernel yet');
    if (!this.services.synced) waiting.push('services are not in the kernel yet');
    if (this.#member === undefined) waiting.push('the node is not a member of its cluster yet');
    return waiting;
  }

  #meshHealth(): HealthRow[] {
    return this.#mesh
      .status()
      .kinds.map(({ kind, synced, connected, accepted, rejected, lastError }) => ({
        name: `cluster-${kind}`,
        healthy: connected && synced,
        detail: connected
          ? `${accepted} accepted, ${rejected} refused`
          : `no contact with the store (${lastError ?? 'connecting'}); what was known stays in force`,
      }));
  }

  #resolverHealth(): HealthRow[] {
    const pending = this.#resolver.pending();
    if (pending.length === 0) return [];
    const [first] = pending;
    return [
      {
        name: 'identities',
        healthy: false,
        detail: `${pending.length} endpoints are without an identity; ${first!.id}: ${first!.reason}`,
      },
    ];
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

  /** Ends in the opposite order of the start. What is in the kernel and the store stays as it is. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const timer of this.#timers) clearInterval(timer);
    this.monitor.close();
    await this.manager.idle();
    await this.#resolver[Symbol.asyncDispose]();
    await this.#mesh[Symbol.asyncDispose]();
    this.#feed[Symbol.dispose]();
    this.services[Symbol.dispose]();
    this.#controller[Symbol.dispose]();
    await Promise.all(this.#ipcache.map((each) => each[Symbol.asyncDispose]()));
    await this.#member?.[Symbol.asyncDispose]();
    this.#kernel[Symbol.dispose]();
  }
}

function networkDevice(
  device: HostPlan['devices'][number],
  families: readonly string[],
): NetworkDevice {
  const address = (family: 'ipv4' | 'ipv6') =>
    families.includes(family)
      ? addressesOf([device]).find((each) => Address.family(each) === family)
      : undefined;
  return {
    index: device.index,
    name: device.name,
    mac: Mac.fromBytes(device.mac),
    ipv4: address('ipv4'),
    ipv6: address('ipv6'),
  };
}

/** Greater than any revision that a connection may remember a verdict under. */
function firstRevision(datapath: NodeDatapath): number {
  let last = Math.floor(Date.now() / 1000);
  for (const { policyRevision } of datapath.enforcement.endpoints()) {
    last = Math.max(last, policyRevision);
  }
  return last + 1;
}
