import type { Kv, KvEntry, KvWatch, WatchEvent } from '@causeway/etcd';
import type { IdentityLayout } from '@causeway/identity';
import type { InitialSource, TableKey } from '@causeway/tables';
import { MeshError } from './errors.ts';
import { Interner } from './interner.ts';
import { STATE_KINDS, type StateKind, type StateTree, statePrefix } from './keys.ts';
import type { MeshTables } from './rows.ts';
import { type ClusterRef, type Source, sourcesOf } from './sources.ts';

export interface MeshReaderOptions {
  readonly kv: Kv;
  /** Whose state is read: the own cluster, or a remote one by its own connection. */
  readonly cluster: ClusterRef;
  readonly layout: IdentityLayout;
  readonly tables: MeshTables;
  /** `cache` for a store that mirrors the cluster. */
  readonly tree?: StateTree;
  /** Default: all. */
  readonly kinds?: readonly StateKind[];
}

export interface MeshReaderStatus {
  readonly cluster: string;
  readonly kinds: readonly {
    readonly kind: StateKind;
    /** The first list is in. */
    readonly synced: boolean;
    readonly connected: boolean;
    readonly accepted: number;
    readonly rejected: number;
    readonly lastError: string | undefined;
  }[];
}

/** Rejected rows of one cluster and kind; beyond it they are only counted. */
const MAX_REJECTED = 1000;

/**
 * Reads one cluster's shared state into the tables, batch by batch. A refused value leaves what was
 * known in force. Lost contact changes nothing; when it is back, what the new list does not hold, or
 * holds no valid value for, goes. Disposal keeps the rows; `drain` takes them away.
 */
export class MeshReader implements AsyncDisposable {
  readonly #options: MeshReaderOptions;
  readonly #followers: readonly Follower[];

  constructor(options: MeshReaderOptions) {
    this.#options = options;
    const { tables, cluster, layout, kv, tree, kinds = STATE_KINDS } = options;
    const sources = sourcesOf(tables, cluster, layout, new Interner());
    this.#followers = kinds.map(
      (kind) =>
        new Follower(
          sources[kind],
          kv,
          statePrefix(kind, cluster.name, tree),
          cluster.name,
          tables,
        ),
    );
  }

  status(): MeshReaderStatus {
    return {
      cluster: this.#options.cluster.name,
      kinds: this.#followers.map((each) => each.status()),
    };
  }

  /** Stops reading and takes away everything that this cluster said. */
  async drain(): Promise<void> {
    await this[Symbol.asyncDispose]();
    for (const each of this.#followers) each.drain();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#followers.map((each) => each[Symbol.asyncDispose]()));
  }
}

class Follower implements AsyncDisposable {
  readonly #source: Source;
  readonly #prefix: string;
  readonly #cluster: string;
  readonly #tables: MeshTables;
  readonly #watch: KvWatch;
  readonly #initial: InitialSource;
  readonly #running: Promise<void>;
  /** During a list: the rows that it holds valid values for. */
  #listed: Set<TableKey> | undefined = new Set();
  #synced = false;
  #connected = false;
  #accepted = 0;
  #rejected = 0;
  #lastError: string | undefined;

  constructor(source: Source, kv: Kv, prefix: string, cluster: string, tables: MeshTables) {
    this.#source = source;
    this.#prefix = prefix;
    this.#cluster = cluster;
    this.#tables = tables;
    this.#initial = source.table.source(`${cluster} ${source.kind}`);
    // etcd walks the whole range for each page: fewer, larger pages load a big cluster sooner.
    this.#watch = kv.watch(prefix, { pageSize: 1000 });
    this.#running = this.#run();
  }

  status(): MeshReaderStatus['kinds'][number] {
    return {
      kind: this.#source.kind,
      synced: this.#synced,
      connected: this.#connected,
      accepted: this.#accepted,
      rejected: this.#rejected,
      lastError: this.#lastError,
    };
  }

  /** After disposal: what the cluster said is gone, and nobody waits for its first list any more. */
  drain(): void {
    const { table } = this.#source;
    table.replace([], (row) => row.cluster === this.#cluster);
    this.#tables.rejected.replace([], (row) => this.#isMine(row));
    this.#initial.done();
  }

  /** A list that never came stays missing: nothing may be pruned for what this reader did not learn. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#watch[Symbol.asyncDispose]();
    await this.#running;
  }

  async #run(): Promise<void> {
    for await (const batch of this.#watch.batches()) {
      try {
        this.#source.table.database.write(() => {
          for (const event of batch) this.#see(event);
        });
      } catch (error) {
        // Whoever listens to the table has failed; the rows are in, and the reading goes on.
        this.#lastError = messageOf(error);
      }
    }
  }

  #see(event: WatchEvent): void {
    switch (event.type) {
      case 'snapshot-start':
        this.#connected = true;
        this.#listed = new Set();
        break;
      case 'put':
        this.#put(event.entry);
        break;
      case 'delete':
        this.#delete(event.key);
        break;
      case 'synced':
        this.#prune();
        this.#synced = true;
        this.#lastError = undefined;
        this.#initial.done();
        break;
      case 'disconnected':
        this.#connected = false;
        this.#lastError = event.error.message;
        break;
      default:
        event satisfies never;
    }
  }

  #put(entry: KvEntry): void {
    const { table, key, row } = this.#source;
    const rest = entry.key.slice(this.#prefix.length);
    try {
      const made = row(rest, entry);
      this.#accept(entry.key);
      const at = key(rest);
      if (made === undefined) {
        if (at !== undefined) this.#take(at);
        return;
      }
      this.#yieldTo(made);
      table.put(made);
      this.#listed?.add(table.keyOf(made));
    } catch (error) {
      // Whatever a value does to us, it is the value's fault alone: the others go on.
      this.#reject(entry.key, messageOf(error));
    }
  }

  /** A number belongs to one cluster only; ranges keep them apart unless two clusters share an id. */
  #yieldTo(row: { readonly cluster: string }): void {
    const { table } = this.#source;
    const held = table.get(table.keyOf(row));
    if (held === undefined || held.cluster === row.cluster) return;
    throw new MeshError(
      'mismatch',
      `${String(table.keyOf(row))} is already held by cluster ${held.cluster}`,
      held.cluster,
    );
  }

  #delete(storeKey: string): void {
    this.#accept(storeKey);
    const key = this.#source.key(storeKey.slice(this.#prefix.length));
    if (key !== undefined) this.#take(key);
  }

  #take(key: TableKey): void {
    const { table } = this.#source;
    if (table.get(key)?.cluster === this.#cluster) table.delete(key);
  }

  /** At the end of a list: what it lacks, or holds no valid value for, is no more. */
  #prune(): void {
    const listed = this.#listed;
    this.#listed = undefined;
    if (listed === undefined) return;
    const { table } = this.#source;
    const gone: TableKey[] = [];
    for (const row of table.rows()) {
      const key = table.keyOf(row);
      if (row.cluster === this.#cluster && !listed.has(key)) gone.push(key);
    }
    for (const key of gone) table.delete(key);
  }

  #accept(storeKey: string): void {
    this.#accepted++;
    if (this.#tables.rejected.size > 0) {
      this.#tables.rejected.delete(`${this.#cluster} ${storeKey}`);
    }
  }

  #reject(storeKey: string, reason: string): void {
    this.#rejected++;
    const { rejected } = this.#tables;
    const row = { key: storeKey, cluster: this.#cluster, reason };
    if (rejected.size < MAX_REJECTED || rejected.has(rejected.keyOf(row))) rejected.put(row);
  }

  #isMine(row: { readonly key: string; readonly cluster: string }): boolean {
    return row.cluster === this.#cluster && row.key.startsWith(this.#prefix);
  }
}

const messageOf = (error: unknown): string =>
  error instanceof Error ? error.message : String(error);
