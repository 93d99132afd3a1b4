import { type Log, messageWithCauses } from '@causeway/daemon';
import { Address, Prefix } from '@causeway/ip';
import type { Frontend, ServiceRef } from '@causeway/loadbalancing';
import type { Service } from '@causeway/resources';
import type { Clock, Database, InitialSource, Table } from '@causeway/tables';
import type { PoolRow } from '../addresses/sources.ts';
import type { HealthRow } from '../api/types.ts';
import type { AgentConfig } from '../config/schema.ts';
import type { EdgeView } from '../edge/role.ts';
import { reconcilerHealth } from '../health.ts';
import type { DeviceView } from '../host/devices.ts';
import type { OwnNode } from '../node/own-node.ts';
import type { BgpInputs, EgressView, PeerNode, PodRange, ServiceView } from './inputs.ts';
import { PlanMemo } from './memo.ts';
import { type Announcement, type BgpPlan, planBgp } from './plan.ts';
import { SpeakerReach } from './reach.ts';
import { SpeakerReconciler } from './reconciler.ts';
import { serviceView } from './service-views.ts';
import { OWNER } from './speaker-client.ts';
import type { Neighbor, SpeakerPort, SpeakerStatus } from './speaker-port.ts';
import { type BgpTables, type DerivedTables, derivedTables } from './tables.ts';

/** A rollout changes readiness pod by pod; what follows is told the speaker at most this often. */
const SETTLE_MS = 50;
/** Of the agent's time at most one part in so many goes to announcements, however fast services change. */
const SHARE = 10;
/** How soon a speaker that was started again is noticed. */
const WATCH_MS = 1_000;

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

export interface BgpControllerOptions {
  readonly config: AgentConfig;
  readonly database: Database;
  readonly sources: BgpSources;
  readonly port: SpeakerPort;
  /** Service addresses that the network sends here from now on. */
  readonly onAttracted: (prefixes: readonly Prefix[]) => void;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
}

/** `GET /v1/bgp`: what this node wants of the speaker and why. The speaker tells what became of it. */
export interface BgpView {
  readonly clusterConfig: string | null;
  readonly synced: boolean;
  readonly asn: number | null;
  readonly routerId: string | null;
  readonly neighbors: readonly Omit<Neighbor, 'password' | 'families' | 'bfd'>[];
  readonly announcements: readonly Announcement[];
  readonly problems: readonly string[];
  readonly speaker: SpeakerStatus | null;
}

/**
 * Announcements: from the store's kinds, the services' readiness and the node's own CIDRs and addresses to one
 * row for the speaker. Until each of these has been read once nothing is told: a speaker that outlived the agent
 * goes on with what it has. At the end nothing is taken back.
 */
export class BgpController implements AsyncDisposable {
  readonly tables: DerivedTables;
  readonly #options: BgpControllerOptions;
  readonly #reconciler: SpeakerReconciler;
  readonly #initial: InitialSource;
  readonly #undo: (() => void)[];
  readonly #stop = new AbortController();
  readonly #watching: Promise<void>;
  #timer: NodeJS.Timeout | undefined;
  #plan: BgpPlan | undefined;
  #byPrefix: ReadonlyMap<Prefix, readonly Announcement[]> | undefined;
  readonly #reach: SpeakerReach;
  readonly #memo = new PlanMemo();
  readonly #views = new WeakMap<
    Service,
    { readonly frontends: readonly Frontend[]; readonly view: ServiceView }
  >();
  /** How long the last plan took: the next waits for a multiple of it, so that pods are not kept waiting. */
  #busyMs = 0;
  #speaker: SpeakerStatus | undefined;

  constructor(options: BgpControllerOptions) {
    this.#options = options;
    const { database, sources, port, clock, random } = options;
    this.tables = derivedTables(database);
    this.#initial = this.tables.wanted.source('bgp');
    this.#reconciler = new SpeakerReconciler({
      table: this.tables.wanted,
      port,
      clock,
      random,
    });
    this.#reach = new SpeakerReach({
      port,
      announcements: () => this.#byPrefix,
      told: () => {
        const nothing = this.tables.wanted.size === 0 && this.#reconciler.reconciler.done;
        return nothing ? [] : this.#reconciler.told;
      },
    });
    const schedule = () => this.#schedule();
    const { bgp, ownNode, devices, pools, services, balancing, nodes } = sources;
    this.#undo = [...Object.values(bgp), ownNode, devices, pools, services].map((table) =>
      table.onCommit(schedule),
    );
    this.#undo.push(nodes.onCommit(schedule));
    balancing.onChange(schedule);
    sources.outside.onChange(schedule);
    schedule();
    this.#watching = this.#watch(this.#stop.signal);
  }

  /** Everything was read once and told from. */
  get synced(): boolean {
    return this.#plan !== undefined;
  }

  /** Undefined until everything was read once. */
  get plan(): BgpPlan | undefined {
    return this.#plan;
  }

  view(): BgpView {
    const wanted = this.tables.wanted.get(OWNER);
    return {
      clusterConfig: this.#plan?.clusterConfig ?? null,
      synced: this.synced,
      asn: wanted?.config.asn ?? null,
      routerId: wanted?.config.routerId ?? null,
      neighbors: (wanted?.config.neighbors ?? []).map(
        ({ password: _password, families: _families, bfd: _bfd, ...rest }) => rest,
      ),
      announcements: [...this.tables.announcements.rows()],
      problems: this.#plan?.problems ?? [],
      speaker: this.#speaker ?? null,
    };
  }

  health(): HealthRow[] {
    const plan = this.#plan;
    const [problem] = plan?.problems ?? [];
    const waiting = this.#waiting();
    const announced = this.tables.wanted.get(OWNER)?.paths.length ?? 0;
    const sessions =
      this.#speaker === undefined
        ? ''
        : `, ${this.#speaker.established} of ${this.#speaker.peers} sessions are up`;
    const detail =
      plan === undefined
        ? `${waiting ?? 'what to announce is worked out'}; the speaker goes on with what it has`
        : plan.wanted === undefined
          ? 'no CiliumBGPClusterConfig for this node'
          : `${announced} prefixes for the speaker${sessions}`;
    return [
      {
        name: 'bgp',
        healthy: problem === undefined,
        detail:
          problem === undefined
            ? detail
            : `${plan!.problems.length} problems, the first: ${problem}`,
      },
      reconcilerHealth(this.#reconciler.reconciler),
    ];
  }

  /** What became of a prefix at the speaker and its neighbours. */
  get reach(): SpeakerReach {
    return this.#reach;
  }

  /** Addresses that come and go with their pods have changed. */
  replan(): void {
    this.#schedule();
  }

  /** Resolves when the speaker has taken all that there is to tell; for tests. */
  async settled(signal?: AbortSignal): Promise<void> {
    await this.#reconciler.reconciler.settled(signal);
  }

  #schedule(): void {
    this.#timer ??= setTimeout(
      () => {
        this.#timer = undefined;
        const started = performance.now();
        this.#work();
        this.#busyMs = performance.now() - started;
      },
      Math.max(SETTLE_MS, this.#busyMs * SHARE),
    );
  }

  /** What has not been read yet. */
  #waiting(): string | undefined {
    const { bgp, ownNode, balancing, outside, nodes } = this.#options.sources;
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

  #work(): void {
    const { log, onAttracted, database } = this.#options;
    if (this.#waiting() !== undefined) {
      // Not all sources commit a row when they have been read: an empty kind says nothing.
      this.#timer ??= setTimeout(() => {
        this.#timer = undefined;
        this.#work();
      }, SETTLE_MS * 4);
      return;
    }
    let plan: BgpPlan;
    try {
      plan = planBgp(this.#inputs(), this.#memo);
    } catch (error) {
      // What was told before stays; one object that nobody foresaw must not stop the agent.
      log.error({ error: messageWithCauses(error) }, 'announcements cannot be worked out');
      return;
    }
    const first = this.#plan === undefined;
    this.#plan = plan;
    this.#byPrefix = Map.groupBy(
      plan.announcements.filter(({ source }) => !source.startsWith('Service ')),
      ({ prefix }) => prefix,
    );
    const { announcements, wanted } = this.tables;
    database.write(() => {
      announcements.replace(plan.announcements);
      if (plan.wanted === undefined) wanted.delete(OWNER);
      else wanted.put({ owner: OWNER, ...plan.wanted });
    });
    onAttracted(this.#attracted(plan));
    if (!first) return;
    this.#initial.done();
    const prefixes = plan.wanted?.paths.length ?? 0;
    log.info({ config: plan.clusterConfig, prefixes }, 'what to announce is known');
  }

  #inputs(): BgpInputs {
    const { config, sources } = this.#options;
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
        pool: { name, labels: this.#options.sources.pools.get(name)?.labels ?? {} },
      };
    });
  }

  /** The same view while service and frontends are the same objects. */
  #view(service: Service): ServiceView {
    const { config, sources } = this.#options;
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

  /** Announced service addresses; of aggregates only those that are services' through and through. */
  #attracted({ announcements }: BgpPlan): Prefix[] {
    const { serviceCIDRs } = this.#options.config;
    const prefixes = announcements
      .filter(({ announced, source }) => announced && source.startsWith('Service '))
      .map(({ prefix }) => prefix)
      .filter(
        (prefix) =>
          Prefix.length(prefix) === Address.width(Prefix.family(prefix)) ||
          serviceCIDRs.some((range) => Prefix.covers(range, prefix)),
      );
    return [...new Set(prefixes)];
  }

  async #watch(signal: AbortSignal): Promise<void> {
    const { port, clock } = this.#options;
    while (!signal.aborted) {
      let now: SpeakerStatus | undefined;
      try {
        now = await port.status();
      } catch {
        now = undefined;
      }
      if (signal.aborted) return;
      const before = this.#speaker?.process;
      if (now !== undefined && now.process !== before) {
        this.#reach.forget();
        this.#reconciler.again();
      }
      // A speaker that is away for a moment is the same one if its process is.
      this.#speaker = now ?? (this.#speaker && { ...this.#speaker, process: 'away' });
      await clock.sleep(WATCH_MS, signal);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    clearTimeout(this.#timer);
    for (const undo of this.#undo) undo();
    await this.#watching;
    await this.#reconciler[Symbol.asyncDispose]();
  }
}
