import { createHash } from 'node:crypto';
import type { Kv, KvEntry, KvError, KvWatch, WatchEvent } from '@causeway/etcd';
import type { IdentityLayout } from '@causeway/identity';
import type { InitialSource } from '@causeway/tables';
import { MeshError } from './errors.ts';
import { STATE_KINDS, type StateKind, type StateTree, statePrefix } from './keys.ts';
import type { Room } from './room.ts';
import type { MeshTables } from './rows.ts';
import { type Guard, type Sink, sinkOf } from './sinks.ts';
import type { ClusterRef } from './sources.ts';

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
  readonly room?: Room;
  readonly journal?: Journal;
  readonly pageSize?: number;
  /** A list is in: what the tables have of the kind is what the store has. */
  readonly onSynced?: (kind: StateKind) => void;
  readonly onBreak?: (kind: StateKind, error: KvError) => void;
}

/** What one cluster may say at most: a hostile one must not fill our memory. */
export interface ReaderLimits {
  /** Rows of a kind; what is beyond is refused. */
  readonly rows: Readonly<Record<StateKind, number>>;
  /** Bytes of one value. */
  readonly bytes: Readonly<Record<StateKind, number>>;
  /** Bytes of all keys and values of a kind. Of `ip` copies alone count them: in memory entries have one size, but for their ports. */
  readonly total: Readonly<Record<StateKind, number>>;
}

/** Hears of each change that was taken in, so that what is known can be kept elsewhere. */
export interface Journal {
  put(kind: StateKind, rest: string, value: Uint8Array): void;
  delete(kind: StateKind, rest: string): void;
  /** A list, of which nothing else is told, was not what was known. */
  outdated(): void;
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
/** Bytes of a key behind its prefix. Names of services, the longest there are, take 320. */
const MAX_KEY_BYTES = 1024;
/** Characters of a refused key that are kept, to be shown. */
const SHOWN_KEY = 512;

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
    const { cluster, tree, kinds = STATE_KINDS } = options;
    this.#followers = kinds.map(
      (kind) => new Follower(sinkOf(kind, options), statePrefix(kind, cluster.name, tree), options),
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
  readonly #sink: Sink;
  readonly #prefix: string;
  readonly #cluster: string;
  readonly #tables: MeshTables;
  readonly #options: MeshReaderOptions;
  readonly #pageSize: number;
  readonly #stop = new AbortController();
  #giveBack = () => {};
  readonly #initial: InitialSource | undefined;
  /** Keys with a row in `mesh-rejected`. */
  readonly #refused = new Set<string>();
  readonly #running: Promise<void>;
  /** Judging again is due. */
  #rechecking = false;
  #synced = false;
  #listing = false;
  #connected = false;
  #accepted = 0;
  #rejected = 0;
  #lastError: string | undefined;

  constructor(sink: Sink, prefix: string, options: MeshReaderOptions) {
    const { cluster, tables, initial = true, pageSize = 5000 } = options;
    this.#sink = sink;
    this.#prefix = prefix;
    this.#cluster = cluster.name;
    this.#tables = tables;
    this.#options = options;
    this.#initial = initial ? sink.source(`${cluster.name} ${sink.kind}`) : undefined;
    // etcd walks the whole range for each page: fewer, larger pages load a big cluster sooner.
    this.#pageSize = pageSize;
    this.#running = this.#run();
  }

  status(): MeshReaderStatus['kinds'][number] {
    return {
      kind: this.#sink.kind,
      synced: this.#synced,
      connected: this.#connected,
      accepted: this.#accepted,
      rejected: this.#rejected,
      lastError: this.#lastError,
    };
  }

  /** After disposal: what the cluster said is gone, and nobody waits for its first list any more. */
  drain(): void {
    this.#sink.drain();
    this.#forgetRefusals();
    this.#initial?.done();
  }

  /** A list that never came stays missing: nothing may be pruned for what this reader did not learn. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { kv, once = false } = this.#options;
    const { signal } = this.#stop;
    this.#giveBack = await this.#sink.turn(signal);
    if (signal.aborted) return this.#giveBack();
    const undo = this.#sink.recheck && this.#options.guard?.onNodes(() => this.#recheckSoon());
    using _ = { [Symbol.dispose]: () => undo?.() };
    await using watch = kv.watch(this.#prefix, {
      pageSize: this.#pageSize,
      once,
      keepKeys: !this.#sink.knowsKeys,
      signal,
    });
    await this.#follow(watch);
    this.#giveBack();
  }

  async #follow(watch: KvWatch): Promise<void> {
    for await (const batch of watch.batches()) {
      try {
        this.#sink.write(() => {
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
        this.#listing = true;
        this.#sink.begin();
        this.#forgetRefusals();
        break;
      case 'put':
        this.#put(event.entry);
        break;
      case 'delete':
        this.#delete(event.key);
        break;
      case 'synced':
        if (this.#sink.end()) this.#options.journal?.outdated();
        this.#listing = false;
        this.#giveBack();
        this.#synced = true;
        this.#lastError = undefined;
        this.#initial?.done();
        this.#options.onSynced?.(this.#sink.kind);
        break;
      case 'disconnected':
        this.#giveBack();
        this.#connected = false;
        this.#lastError = event.error.message;
        this.#options.onBreak?.(this.#sink.kind, event.error);
        break;
      default:
        event satisfies never;
    }
  }

  #put(entry: KvEntry): void {
    try {
      const rest = entry.key.slice(this.#prefix.length);
      this.#requireSize(rest, entry);
      if (this.#sink.put(rest, entry)) this.#note(rest, entry.value);
      this.#accept(entry.key);
    } catch (error) {
      // Whatever a value does to us, it is the value's fault alone: the others go on.
      this.#reject(entry.key, messageOf(error));
    }
  }

  /** Nodes come many at a time. */
  #recheckSoon(): void {
    if (this.#rechecking) return;
    this.#rechecking = true;
    queueMicrotask(() => {
      this.#rechecking = false;
      if (this.#stop.signal.aborted) return;
      this.#sink.recheck?.((key, refused, changed) => {
        if (refused === undefined) this.#accept(key);
        else this.#reject(key, refused);
        if (changed) this.#options.journal?.outdated();
      });
    });
  }

  #delete(storeKey: string): void {
    try {
      this.#accept(storeKey);
      const rest = storeKey.slice(this.#prefix.length);
      if (this.#sink.delete(rest)) this.#options.journal?.delete(this.#sink.kind, rest);
    } catch (error) {
      // A key is the peer's to choose; what else is gone in this batch must go.
      this.#lastError = messageOf(error);
    }
  }

  #note(rest: string, value: Uint8Array): void {
    const { journal } = this.#options;
    if (this.#listing) journal?.outdated();
    else journal?.put(this.#sink.kind, rest, value);
  }

  #requireSize(rest: string, { value: { length } }: KvEntry): void {
    const { limits } = this.#options;
    if (limits === undefined) return;
    // Of most keys the characters show that they are short enough, whatever their bytes.
    const keyLength = rest.length * 3 > MAX_KEY_BYTES ? Buffer.byteLength(rest) : 0;
    if (keyLength > MAX_KEY_BYTES) {
      const message = `its name has ${keyLength} bytes, more than ${MAX_KEY_BYTES}`;
      throw new MeshError('too-large', message, keyLength);
    }
    const most = limits.bytes[this.#sink.kind];
    if (length <= most) return;
    throw new MeshError('too-large', `the value has ${length} bytes, more than ${most}`, length);
  }

  #accept(storeKey: string): void {
    this.#accepted++;
    if (this.#tables.rejected.size === 0) return;
    const key = shown(storeKey);
    this.#refused.delete(key);
    this.#tables.rejected.delete(`${this.#cluster} ${key}`);
  }

  #reject(storeKey: string, reason: string): void {
    this.#rejected++;
    const { rejected } = this.#tables;
    const key = shown(storeKey);
    if (this.#refused.size >= MAX_REJECTED && !this.#refused.has(key)) return;
    this.#refused.add(key);
    rejected.put({ key, cluster: this.#cluster, reason });
  }

  #forgetRefusals(): void {
    this.#refused.clear();
    this.#tables.rejected.replace([], (row) => this.#isMine(row));
  }

  #isMine(row: { readonly key: string; readonly cluster: string }): boolean {
    return row.cluster === this.#cluster && row.key.startsWith(this.#prefix);
  }
}

/** What is cut off is told by a hash: keys that begin alike are rows of their own. */
function shown(key: string): string {
  if (key.length <= SHOWN_KEY) return key;
  return `${key.slice(0, SHOWN_KEY)}…${createHash('sha256').update(key).digest('hex').slice(0, 16)}`;
}

const messageOf = (error: unknown): string =>
  error instanceof Error ? error.message : String(error);
