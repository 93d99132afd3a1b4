import type { Log } from '@causeway/daemon';
import type { Fence, Kv } from '@causeway/etcd';
import { ClusterId, identityLayout } from '@causeway/identity';
import { IdentityCollector } from '@causeway/mesh';
import type { EmptyStoreGuard, ResourceStore } from '@causeway/resources';
import { type Clock, Gate } from '@causeway/tables';
import { BgpKeeper } from './bgp/keeper.ts';
import { ClaimedAddresses } from './claims/claimed.ts';
import { ClaimKeeper } from './claims/keeper.ts';
import type { OperatorConfig } from './config.ts';
import type { KnownStore } from './memory.ts';
import { keepMeshCache } from './mesh-cache/cache.ts';
import { keepJoins } from './mesh-join/keeper.ts';
import { type ExportedView, ServiceExporter } from './mesh-services/exporter.ts';
import { Part, type PartStatus } from './part.ts';
import { keepPlan } from './plan/keeper.ts';
import { PodCidrAllocator } from './pod-cidrs/allocator.ts';
import { removeDrained } from './pod-cidrs/drained.ts';
import { PodCidrReports } from './pod-cidrs/reports.ts';
import { FenceLost } from './pod-cidrs/writer.ts';
import { serveRequests } from './requests.ts';
import type { OperatorTables } from './sources.ts';
import { VipAllocator } from './vips/allocator.ts';

const REPORT_MS = 500;

export interface LeadOptions {
  readonly config: OperatorConfig;
  readonly kv: Kv;
  readonly store: ResourceStore;
  readonly tables: OperatorTables;
  readonly guard: EmptyStoreGuard;
  readonly known: KnownStore;
  readonly fence: Fence;
  /** Told that a write failed at the fence. */
  readonly onFenceLost: () => void;
  /** For waiting: nobody sets it. */
  readonly clock: Clock;
  /** Milliseconds since the epoch, for people. */
  readonly wall: () => number;
  readonly random: () => number;
  readonly log: Log;
}

/** Everything that only the leader does, from one election to the end of that lead. */
export class Lead implements AsyncDisposable {
  readonly fence: Fence;
  readonly #options: LeadOptions;
  readonly #stop = new AbortController();
  readonly #parts: Part[] = [];
  readonly #running: Promise<void>[] = [];
  readonly #allocating = new Gate();
  #allocator: PodCidrAllocator | undefined;
  #vips: VipAllocator | undefined;
  #keeper: ClaimKeeper | undefined;
  #exporter: ServiceExporter | undefined;

  constructor(options: LeadOptions) {
    this.#options = options;
    this.fence = options.fence;
    this.#start('pod-cidrs', (signal, good) => this.#allocate(signal, good));
    this.#start('pod-cidr-reports', (signal, good) => this.#report(signal, good));
    this.#start('vips', (signal, good) => this.#giveVips(signal, good));
    this.#start('claims', (signal, good) => this.#keepClaims(signal, good));
    this.#start('address-plan', (signal, good) =>
      keepPlan({ ...options, cluster: options.config.cluster.name }, signal, good),
    );
    this.#start('requests', (signal, good) => serveRequests(options.kv, this, signal, good));
    this.#start('bgp', (signal, good) => this.#keepBgp(signal, good));
    this.#start('identities', (signal, good) => this.#collect(signal, good));
    const { cluster, mesh } = options.config;
    // Without an id a cluster takes part in no mesh.
    if (cluster.id !== 0 && mesh.exportServices) {
      this.#start('mesh-services', (signal, good) => this.#tellServices(signal, good));
    }
    if (cluster.id !== 0 && mesh.cache.enabled) {
      this.#start('mesh-cache', (signal, good) => keepMeshCache(options, signal, good));
    }
    this.#start('mesh-joins', (signal, good) => keepJoins(options, signal, good));
  }

  /** The allocator as soon as there is one; undefined when the signal aborts first. */
  async whenAllocating(signal: AbortSignal): Promise<PodCidrAllocator | undefined> {
    while (this.#allocator === undefined && !signal.aborted) await this.#allocating.wait(signal);
    return this.#allocator;
  }

  /** Undefined until all records are read, and while they are read again. */
  get allocator(): PodCidrAllocator | undefined {
    return this.#allocator;
  }

  get vips(): VipAllocator | undefined {
    return this.#vips;
  }

  /** Services that other clusters are told of. */
  sharedServices(): readonly ExportedView[] {
    return [...(this.#exporter?.exported() ?? [])];
  }

  parts(): readonly PartStatus[] {
    return this.#parts.map((part) => part.status());
  }

  #start(name: string, work: (signal: AbortSignal, good: () => void) => Promise<void>): void {
    const { onFenceLost } = this.#options;
    const part = new Part({ ...this.#options, name });
    this.#parts.push(part);
    const { signal } = this.#stop;
    this.#running.push(
      part.run(signal, (until, good) =>
        work(until, good).catch((error) => {
          if (error instanceof FenceLost) onFenceLost();
          throw error;
        }),
      ),
    );
  }

  async #allocate(signal: AbortSignal, good: () => void): Promise<void> {
    const { kv, fence, tables, clock, wall, log, config, known } = this.#options;
    const clusterId = () => kv.health().clusterId ?? '';
    const { nodeGoneSeconds, emptiedGraceSeconds } = config.podCidrs;
    // The keeper of claims waits for the allocator, which therefore knows them without it as well.
    const claimed = new ClaimedAddresses({
      kv,
      clock,
      maxAgeMs: config.claims.checkSeconds * 1000,
      kept: (address) => this.#keeper?.keeps(address),
    });
    using allocator = new PodCidrAllocator({
      kv,
      fence,
      tables,
      clock,
      wall,
      log,
      nodeGoneMs: nodeGoneSeconds * 1000,
      claimed,
      wrote: (revision, records) => known.note({ clusterId: clusterId(), revision, records }),
      loaded: async (revision, records) => {
        const other = await known.see({ clusterId: clusterId(), revision, records });
        if (!other) return clock.now();
        log.warn(
          { revision, records, graceSeconds: emptiedGraceSeconds },
          'the store is not as it was; nothing new is given until its nodes have said what they hold',
        );
        return clock.now() + emptiedGraceSeconds * 1000;
      },
    });
    await allocator.load();
    this.#allocator = allocator;
    this.#allocating.open();
    try {
      good();
      await allocator.run(signal);
    } finally {
      this.#allocator = undefined;
    }
  }

  async #giveVips(signal: AbortSignal, good: () => void): Promise<void> {
    using vips = new VipAllocator({
      ...this.#options,
      settings: this.#options.config.loadBalancer,
    });
    this.#vips = vips;
    await vips.run(signal, good);
  }

  async #tellServices(signal: AbortSignal, good: () => void): Promise<void> {
    await using exporter = new ServiceExporter({
      ...this.#options,
      cluster: this.#options.config.cluster,
    });
    this.#exporter = exporter;
    try {
      await exporter.run(signal, good);
    } finally {
      this.#exporter = undefined;
    }
  }

  async #keepClaims(signal: AbortSignal, good: () => void): Promise<void> {
    using keeper = new ClaimKeeper({
      ...this.#options,
      allocator: () => this.#allocator,
      checkMs: this.#options.config.claims.checkSeconds * 1000,
    });
    await this.whenAllocating(signal);
    this.#keeper = keeper;
    await keeper.run(signal, good);
  }

  async #keepBgp(signal: AbortSignal, good: () => void): Promise<void> {
    using keeper = new BgpKeeper({
      ...this.#options,
      cluster: this.#options.config.cluster.name,
    });
    await keeper.run(signal, good);
  }

  async #report(signal: AbortSignal, good: () => void): Promise<void> {
    const { store, tables, clock, log } = this.#options;
    const reports = new PodCidrReports(store, tables, log);
    while (!signal.aborted) {
      if (this.#allocator !== undefined) await reports.round(this.#allocator, signal);
      // Of a store whose nodes have yet to say what they hold nothing is known to be empty.
      if (this.#allocator?.giving) {
        await removeDrained(this.#allocator, store, tables, log, signal);
      }
      good();
      await clock.sleep(REPORT_MS, signal);
    }
  }

  async #collect(signal: AbortSignal, good: () => void): Promise<void> {
    const { kv, config, clock, log } = this.#options;
    const { id, name, maxConnectedClusters } = config.cluster;
    const collector = new IdentityCollector({
      kv,
      cluster: { id: ClusterId(id), name },
      layout: identityLayout(maxConnectedClusters),
    });
    while (!signal.aborted) {
      await clock.sleep(config.identities.collectSeconds * 1000, signal);
      if (signal.aborted) return;
      const { removed } = await collector.round({ signal });
      if (removed.length > 0) log.info({ removed }, 'identities that nobody uses are free again');
      good();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await Promise.all(this.#running);
  }
}
