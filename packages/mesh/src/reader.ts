import type { Kv, KvEntry, KvError, KvWatch, WatchEvent } from '@causeway/etcd';
import type { IdentityLayout } from '@causeway/identity';
import type { Address, Prefix } from '@causeway/ip';
import type { InitialSource, TableKey } from '@causeway/tables';
import { MeshError } from './errors.ts';
import { Interner } from './interner.ts';
import { STATE_KINDS, type StateKind, type StateTree, statePrefix } from './keys.ts';
import type { IpEntryRow, MeshTables, NodeRow, ServiceRow } from './rows.ts';
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
  /**
   * Reading ends with the first break, which `onBreak` tells of: the caller greets the store anew before it
   * believes another list.
   */
  readonly once?: boolean;
  /** Whether the tables wait for the first lists (default). */
  readonly initial?: boolean;
  readonly guard?: Guard;
  readonly limits?: ReaderLimits;
  readonly pageSize?: number;
  /** A list is in: what the tables have of the kind is what the store has. */
  readonly onSynced?: (kind: StateKind) => void;
  readonly onBreak?: (kind: StateKind, error: KvError) => void;
}

/** Why a value may not be believed of another cluster; undefined if it may. Asked of valid values only. */
export interface Guard {
  entry(address: Address | Prefix): string | undefined;
  node(row: NodeRow): string | undefined;
  service(row: ServiceRow): string | undefined;
}

/** What one cluster may say at most: a hostile one must not fill our memory. */
export interface ReaderLimits {
  /** Rows of a kind; what is beyond is refused. */
  readonly rows: Readonly<Record<StateKind, number>>;
  /** Bytes of one value. */
  readonly bytes: Readonly<Record<StateKind, number>>;
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
const MAX_REJECTED = 250;

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
    const { tables, cluster, layout, tree, kinds = STATE_KINDS } = options;
    const sources = sourcesOf(tables, cluster, layout, new Interner());
    this.#followers = kinds.map(
      (kind) => new Follower(sources[kind], statePrefix(kind, cluster.name, tree), options),
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
  readonly #options: MeshReaderOptions;
  readonly #watch: KvWatch;
  readonly #initial: InitialSource | undefined;
  /** Of a cluster whose rows are limited: how many it has. */
  #rows = 0;
  /** Keys with a row in `mesh-rejected`. */
  readonly #refused = new Set<string>();
  readonly #running: Promise<void>;
  /** During a list: the rows that it holds valid values for. */
  #listed: Set<TableKey> | undefined = new Set();
  #synced = false;
  #connected = false;
  #accepted = 0;
  #rejected = 0;
  #lastError: string | undefined;

  constructor(source: Source, prefix: string, options: MeshReaderOptions) {
    const { kv, cluster, tables, once, initial = true, pageSize = 1000 } = options;
    this.#source = source;
    this.#prefix = prefix;
    this.#cluster = cluster.name;
    this.#tables = tables;
    this.#options = options;
    this.#initial = initial ? source.table.source(`${cluster.name} ${source.kind}`) : undefined;
    if (options.limits !== undefined) this.#rows = this.#countRows();
    // etcd walks the whole range for each page: fewer, larger pages load a big cluster sooner.
    this.#watch = kv.watch(prefix, { pageSize, ...(once ? { once } : {}) });
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
    this.#forgetRefusals();
    this.#initial?.done();
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
        this.#forgetRefusals();
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
        this.#initial?.done();
        this.#options.onSynced?.(this.#source.kind);
        break;
      case 'disconnected':
        this.#connected = false;
        this.#lastError = event.error.message;
        this.#options.onBreak?.(this.#source.kind, event.error);
        break;
      default:
        event satisfies never;
    }
  }

  #put(entry: KvEntry): void {
    const { table, key, row } = this.#source;
    const rest = entry.key.slice(this.#prefix.length);
    try {
      this.#requireSize(entry);
      const made = row(rest, entry);
      const at = key(rest);
      if (made === undefined) {
        this.#accept(entry.key);
        if (at !== undefined) this.#take(at);
        return;
      }
      this.#yieldTo(made);
      const isNew = !table.has(table.keyOf(made));
      this.#requireRoom(isNew);
      this.#requireTrust(made);
      this.#accept(entry.key);
      table.put(made);
      if (isNew) this.#rows++;
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
    if (table.get(key)?.cluster !== this.#cluster) return;
    table.delete(key);
    this.#rows--;
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
    this.#rows = this.#countRows();
  }

  #requireSize(entry: KvEntry): void {
    const most = this.#options.limits?.bytes[this.#source.kind] ?? Number.POSITIVE_INFINITY;
    const { length } = entry.value;
    if (length <= most) return;
    throw new MeshError('too-large', `the value has ${length} bytes, more than ${most}`, length);
  }

  #requireRoom(isNew: boolean): void {
    const { kind } = this.#source;
    const most = this.#options.limits?.rows[kind] ?? Number.POSITIVE_INFINITY;
    if (!isNew || this.#rows < most) return;
    const message = `cluster ${this.#cluster} has ${most} ${kind} already, and no more are taken`;
    throw new MeshError('too-many', message, most);
  }

  /** What is ours, or nobody's, is not another cluster's to tell of. */
  #requireTrust(row: { readonly cluster: string }): void {
    const { guard } = this.#options;
    if (guard === undefined) return;
    const reason = refusal(guard, this.#source.kind, row);
    if (reason !== undefined) throw new MeshError('overlap', reason, row);
  }

  #countRows(): number {
    const { table } = this.#source;
    let count = 0;
    for (const row of table.rows()) if (row.cluster === this.#cluster) count++;
    return count;
  }

  #accept(storeKey: string): void {
    this.#accepted++;
    if (this.#tables.rejected.size === 0) return;
    this.#refused.delete(storeKey);
    this.#tables.rejected.delete(`${this.#cluster} ${storeKey}`);
  }

  #reject(storeKey: string, reason: string): void {
    this.#rejected++;
    const { rejected } = this.#tables;
    if (this.#refused.size >= MAX_REJECTED && !this.#refused.has(storeKey)) return;
    this.#refused.add(storeKey);
    rejected.put({ key: storeKey, cluster: this.#cluster, reason });
  }

  #forgetRefusals(): void {
    this.#refused.clear();
    this.#tables.rejected.replace([], (row) => this.#isMine(row));
  }

  #isMine(row: { readonly key: string; readonly cluster: string }): boolean {
    return row.cluster === this.#cluster && row.key.startsWith(this.#prefix);
  }
}

function refusal(guard: Guard, kind: StateKind, row: object): string | undefined {
  switch (kind) {
    case 'ip':
      return guard.entry((row as IpEntryRow).address);
    case 'nodes':
      return guard.node(row as NodeRow);
    case 'services':
      return guard.service(row as ServiceRow);
    case 'identities':
      return undefined;
    default:
      return kind satisfies never;
  }
}

const messageOf = (error: unknown): string =>
  error instanceof Error ? error.message : String(error);
