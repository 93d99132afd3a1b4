import type { Log } from '@causeway/daemon';
import { type Fence, type Kv, SharedStore } from '@causeway/etcd';
import { type SharedService, SharedServices, serviceName } from '@causeway/loadbalancing';
import {
  decodeServiceShard,
  encodeService,
  encodeServiceShard,
  MeshError,
  SHARDS_EXPORTED_KEY,
  serviceKey,
  serviceShardKey,
  statePrefix,
} from '@causeway/mesh';
import type { ResourceStore } from '@causeway/resources';
import { type Clock, Database, Gate, type Table } from '@causeway/tables';
import { ShardPlaces } from './shards.ts';
import { ExportSources } from './sources.ts';
import { type Cluster, shardBackend, shardHead, wholeValue } from './values.ts';

export interface ServiceExporterOptions {
  readonly cluster: Cluster;
  readonly kv: Kv;
  readonly store: ResourceStore;
  /** Of the lead: what is written after its end loses. */
  readonly fence: Fence;
  readonly onFenceLost: () => void;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
  /** Seconds of the lease that the keys hang on; Cilium's 900 by default. */
  readonly ttl?: number;
}

interface Told {
  readonly key: string;
  readonly value: string;
}

/** What is known of a service that is told. */
interface Exported {
  readonly service: SharedService;
  /** Backends for which there is no room. */
  readonly left: number;
}

/** For people. */
export interface ExportedView {
  readonly service: string;
  readonly backends: number;
  readonly active: number;
  readonly expected: number;
  readonly shards: number;
  /** Backends that stand nowhere for want of room. */
  readonly left: number;
}

const SHARDS_EXPORTED: Told = { key: SHARDS_EXPORTED_KEY, value: 'true' };

/** Changes that come together are written together. */
const SETTLE_MS = 20;
/** A whole value holds every backend; it is written again at most so often. */
const WHOLE_MS = 1_000;
/** etcd takes 1.5 MiB in a request. */
const MAX_WHOLE_BYTES = 1_048_576;

/**
 * Tells other clusters of this one's shared services, on a lease: backends in shards at once, and all of them in
 * Cilium's form at most once a second for each service. Only the operator that leads does so; one that no longer leads
 * leaves the keys to the next, who writes them anew and takes away what is not shared any more.
 */
export class ServiceExporter implements AsyncDisposable {
  readonly #options: ServiceExporterOptions;
  readonly #shared = new SharedServices(true);
  readonly #sources: ExportSources;
  readonly #wake = new Gate();
  readonly #told: Table<Told>;
  readonly #initial;
  readonly #store: SharedStore<Told>;
  readonly #places = new Map<string, ShardPlaces>();
  readonly #exported = new Map<string, Exported>();
  /** When each service's whole value may be written again. */
  readonly #wholeAt = new Map<string, number>();
  readonly #due = new Set<string>();

  constructor(options: ServiceExporterOptions) {
    this.#options = options;
    const { cluster, kv, store, fence, onFenceLost, clock, random, log, ttl } = options;
    this.#sources = new ExportSources({
      ...{ store, kv, clock, log },
      into: this.#shared,
      onChange: () => this.#wake.open(),
    });
    this.#told = new Database().table({ name: 'mesh-services', key: ({ key }: Told) => key });
    this.#initial = this.#told.source('exporter');
    this.#store = new SharedStore<Told>({
      name: 'mesh-services',
      kv,
      clock,
      random,
      table: this.#told,
      encode: (row) => row,
      leader: { fence, onLost: onFenceLost },
      ...(ttl === undefined ? {} : { ttl }),
      // Nobody else speaks of this cluster's services.
      scopes: [
        statePrefix('services', cluster.name),
        statePrefix('service-backends', cluster.name),
        SHARDS_EXPORTED_KEY,
      ].map((prefix) => ({ prefix, owns: () => true })),
    });
  }

  /** Services that other clusters are told of. */
  *exported(): Generator<ExportedView> {
    for (const [service, { service: shared, left }] of this.#exported) {
      const { backends } = shared;
      yield {
        service,
        backends: backends.length,
        active: backends.filter(({ state }) => state === 'active').length,
        expected: shared.service.mesh.expected,
        shards: Math.max(1, this.#places.get(service)?.shards ?? 1),
        left,
      };
    }
  }

  /** Resolves when the store holds what is to be told now. */
  async settled(signal: AbortSignal): Promise<void> {
    await this.#store.settled(signal);
  }

  async run(signal: AbortSignal, good: () => void): Promise<void> {
    const { clock, log } = this.#options;
    await this.#adopt(signal);
    while (!this.#sources.synced && !signal.aborted) await this.#wake.wait(signal);
    while (!signal.aborted) {
      this.#sources.feed();
      this.#take();
      const next = this.#writeWhole(clock.now());
      if (!this.#told.initialized) {
        this.#initial.done();
        this.#announce(signal);
        log.info({ services: this.#exported.size }, 'other clusters are told of shared services');
      }
      good();
      const over = new AbortController();
      const either = AbortSignal.any([signal, over.signal]);
      const waits = [this.#wake.wait(either)];
      if (next !== undefined) waits.push(clock.sleep(next - clock.now(), either));
      await Promise.race(waits);
      over.abort();
      await clock.sleep(SETTLE_MS, signal);
    }
  }

  /** Readers are told of shards when all of them stand. */
  #announce(signal: AbortSignal): void {
    const tell = () => void (signal.aborted || this.#told.put(SHARDS_EXPORTED));
    // Only the end of this lead rejects it.
    this.#store.settled(signal).then(tell, () => {});
  }

  /** Where backends stood before: they stay there, and readers go on with them. */
  async #adopt(signal: AbortSignal): Promise<void> {
    const { kv, cluster } = this.#options;
    if ((await kv.get(SHARDS_EXPORTED_KEY, { signal })) !== undefined)
      this.#told.put(SHARDS_EXPORTED);
    const prefix = statePrefix('service-backends', cluster.name);
    for await (const { entries } of kv.pages(prefix, { signal })) {
      for (const { text } of entries) {
        try {
          const { namespace, name, shard, backends } = decodeServiceShard(text);
          const places = this.#placesOf(serviceName({ namespace, name }));
          for (const { address } of backends) places.adopt(address, shard);
        } catch (error) {
          // What cannot be read is written over, or goes.
          if (!(error instanceof MeshError)) throw error;
        }
      }
    }
  }

  #placesOf(name: string): ShardPlaces {
    const places = this.#places.get(name) ?? new ShardPlaces();
    this.#places.set(name, places);
    return places;
  }

  #take(): void {
    const changed = this.#shared.take();
    this.#told.database.write(() => {
      for (const [name, service] of changed) {
        if (service === undefined || this.#sources.isClosed(service.service.namespace)) {
          this.#withdraw(name);
        } else this.#tell(name, service);
      }
    });
  }

  #tell(name: string, shared: SharedService): void {
    const { cluster, log } = this.#options;
    const { namespace } = shared.service;
    const before = this.#shardKeys(name);
    const backends = shared.backends.map((each) => shardBackend(namespace, each));
    const { shards, left } = this.#placesOf(name).place(shardHead(cluster, shared), backends);
    for (const shard of shards) {
      const key = serviceShardKey(cluster.name, namespace, shared.service.name, shard.shard);
      before.delete(key);
      this.#told.put({ key, value: encodeServiceShard(shard) });
    }
    for (const key of before) this.#told.delete(key);
    if (left > 0 && left !== this.#exported.get(name)?.left) {
      log.warn({ service: name, left }, 'not all backends can be told to other clusters');
    }
    this.#exported.set(name, { service: shared, left });
    this.#due.add(name);
  }

  #withdraw(name: string): void {
    for (const key of this.#shardKeys(name)) this.#told.delete(key);
    const [namespace = '', of = ''] = name.split('/');
    this.#told.delete(serviceKey(this.#options.cluster.name, namespace, of));
    this.#exported.delete(name);
    this.#places.delete(name);
    this.#wholeAt.delete(name);
    this.#due.delete(name);
  }

  #shardKeys(name: string): Set<string> {
    const [namespace = '', of = ''] = name.split('/');
    const count = this.#places.get(name)?.shards ?? 0;
    const keys = Array.from({ length: Math.max(1, count) }, (_, shard) =>
      serviceShardKey(this.#options.cluster.name, namespace, of, shard),
    );
    return new Set(keys.filter((key) => this.#told.has(key)));
  }

  /** Writes what is due; returns when the next is. */
  #writeWhole(now: number): number | undefined {
    let next: number | undefined;
    for (const name of this.#due) {
      const at = this.#wholeAt.get(name) ?? 0;
      if (at > now) {
        next = Math.min(next ?? at, at);
        continue;
      }
      this.#due.delete(name);
      this.#wholeAt.set(name, now + WHOLE_MS);
      this.#tellWhole(name);
    }
    return next;
  }

  #tellWhole(name: string): void {
    const { cluster } = this.#options;
    const exported = this.#exported.get(name);
    const object = this.#sources.services.get(name);
    if (exported === undefined || object === undefined) return;
    const value = wholeValue(cluster, exported.service, object);
    const key = serviceKey(cluster.name, value.namespace, value.name);
    let text = encodeService(value);
    // What does not fit is told by shards alone; half of a service is better than one that was true once.
    for (let keep = Object.entries(value.backends); text.length > MAX_WHOLE_BYTES; ) {
      keep = keep.slice(0, Math.floor((keep.length * MAX_WHOLE_BYTES) / text.length));
      text = encodeService({ ...value, zones: {}, backends: Object.fromEntries(keep) });
    }
    this.#told.put({ key, value: text });
  }

  /** The keys stay, on their lease: whoever leads next goes on with them. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#sources[Symbol.asyncDispose]();
    await this.#store[Symbol.asyncDispose]();
  }
}
