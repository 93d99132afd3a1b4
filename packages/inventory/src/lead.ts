import type { Log } from '@causeway/daemon';
import type { Fence, Kv } from '@causeway/etcd';
import { checkStore } from '@causeway/mesh';
import type { ResourceStore } from '@causeway/resources';
import type { Clock } from '@causeway/tables';
import { clusterOf, makeInventory, makePublication, sourcesOf } from './assemble.ts';
import type { InventoryConfig } from './config.ts';
import type { Inventory } from './core/inventory.ts';
import type { Publication } from './core/publication.ts';
import { retrying } from './retry.ts';
import { sinkOf } from './sink.ts';
import type { Source } from './source.ts';
import { ObjectsSource } from './sources/objects/source.ts';
import { makeSource } from './sources/registry.ts';
import { restore } from './writer/restore.ts';
import { emptyStored, readStored } from './writer/stored.ts';
import { Writer } from './writer/writer.ts';

export interface Hosted {
  readonly config: InventoryConfig;
  readonly kv: Kv;
  readonly store: ResourceStore;
  readonly clock: Clock;
  /** ms of a clock that nobody sets. */
  readonly monotonic: () => number;
  readonly random: () => number;
  readonly log: Log;
}

export interface LeadOptions extends Hosted {
  readonly fence: Fence;
  readonly onFenceLost: () => void;
  /** What this process knew when it led before: it stands in for a store that was emptied meanwhile. */
  readonly before: Known | undefined;
}

export interface Known {
  readonly inventory: Inventory;
  readonly publication: Publication;
}

/** Everything that only the leader does: takes over what the store says, follows the sources, writes. */
export class Lead implements AsyncDisposable {
  readonly fence: Fence;
  readonly #options: LeadOptions;
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;
  #known: Known | undefined;
  #writer: Writer | undefined;
  #lastError: string | undefined;

  constructor(options: LeadOptions) {
    this.#options = options;
    this.fence = options.fence;
    this.#running = this.#run();
  }

  /** Undefined until the store has been read. */
  get known(): Known | undefined {
    return this.#known;
  }

  get writer(): Writer | undefined {
    return this.#writer;
  }

  get lastError(): string | undefined {
    return this.#lastError ?? this.#writer?.status().lastError;
  }

  async #run(): Promise<void> {
    const { config, kv, clock, random, log, monotonic, fence, onFenceLost } = this.#options;
    const { signal } = this.#stop;
    const cluster = clusterOf(config);
    const onError = (message: string | undefined) => {
      this.#lastError = message;
    };
    const known = await retrying({ name: 'takeover', clock, random, log, onError }, signal, () =>
      this.#takeOver(),
    );
    if (known === undefined) return;
    this.#known = known;
    const sources = this.#makeSources();
    const objects = sources.find((source) => source instanceof ObjectsSource);
    const writer = new Writer(
      {
        kv,
        fence,
        cluster,
        ...known,
        clock,
        monotonic,
        random,
        log,
        firstSyncSeconds: config.firstSyncSeconds,
        auditSeconds: config.auditSeconds,
        onFenceLost,
        onExpired: (expired) => {
          log.info({ count: expired.length, first: expired[0]?.id }, 'endpoints have expired');
          if (objects === undefined) return;
          const ours = expired.filter(({ source }) => source === objects.name);
          void objects.expire(ours);
        },
      },
      signal,
    );
    this.#writer = writer;
    await Promise.all([
      writer.run(),
      ...sources.map((source) => this.#follow(source, known, writer)),
    ]);
  }

  async #takeOver(): Promise<Known> {
    const { config, kv, monotonic, before, log } = this.#options;
    const { signal } = this.#stop;
    const cluster = clusterOf(config);
    await checkStore(kv, cluster.name, cluster.config, signal);
    const stored = await readStored(kv, cluster.name, signal);
    const publication = makePublication(config);
    if (emptyStored(stored) && before !== undefined && before.inventory.addresses > 0) {
      const { inventory } = before;
      log.warn(
        { addresses: inventory.addresses },
        'the store was emptied; what this instance knew is written again',
      );
      for (const { number, labels } of before.publication.numbers) {
        publication.numbers.restore(number, labels, monotonic());
      }
      inventory.touch(inventory.allAddresses());
      return { inventory, publication: publication.forgetKeys() };
    }
    const inventory = makeInventory(config);
    restore(stored, inventory, publication, monotonic());
    log.info(
      { entries: publication.entries, identities: publication.numbers.used },
      'taken over from the store',
    );
    return { inventory, publication };
  }

  #makeSources(): Source[] {
    const { config, clock, random, log, store } = this.#options;
    const context = { clock, random, log };
    return sourcesOf(config).map((source) => makeSource(source, { context, store }));
  }

  /** A source that gives up begins anew, after a pause. */
  async #follow(source: Source, { inventory }: Known, writer: Writer): Promise<void> {
    const { clock, random, log, monotonic } = this.#options;
    const { signal } = this.#stop;
    const sink = sinkOf(inventory, source.name, monotonic, signal, () => writer.wake());
    const onError = (message: string | undefined) => {
      if (message !== undefined) sink.report({ state: 'failed', message });
    };
    await retrying({ name: `source ${source.name}`, clock, random, log, onError }, signal, () =>
      source.run(sink, signal),
    );
  }

  /** Its keys stay: whoever leads next goes on from them. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }
}
