import {
  type BackoffOptions,
  type BatchResult,
  type Clock,
  Reconciler,
  type ReconcilerMetrics,
  type Table,
  type TableKey,
  type Target,
} from '@causeway/tables';
import type { Fence } from './election.ts';
import { bytesOf, sameBytes } from './entry.ts';
import { KvError } from './errors.ts';
import { chunks } from './shared-chunks.ts';
import {
  type Compare,
  type Kv,
  type KvEntry,
  type KvWatch,
  type Lease,
  type TxnOperation,
  type TxnResult,
  unchanged,
  type WatchEvent,
} from './types.ts';

export interface SharedRow {
  readonly key: string;
  readonly value: string | Uint8Array;
}

export interface SharedScope {
  /** Where keys of this writer may stand; others may write there too. */
  readonly prefix: string;
  /** Whether an entry was written by us, now or in an earlier life. Only such are pruned and repaired. */
  readonly owns: (entry: KvEntry) => boolean;
  /** Watch the prefix for foreign changes (default). Without it, `refreshInterval` repairs them. */
  readonly watch?: boolean;
}

export interface SharedStoreOptions<Row, K extends TableKey> {
  readonly name: string;
  readonly kv: Kv;
  readonly clock: Clock;
  readonly random: () => number;
  readonly table: Table<Row, K>;
  /** The key and value of a row. A throw is that row's error and no one else's. */
  readonly encode: (row: Row) => SharedRow;
  readonly scopes: readonly SharedScope[];
  /** Every write is of a leader, and loses when another leads; `onLost` is told of that. */
  readonly leader?: { readonly fence: Fence; readonly onLost: () => void };
  /** Seconds of the lease on which the keys hang (default 900); `false` for keys that outlive us. */
  readonly ttl?: number | false;
  /** Milliseconds between full passes; default 300,000. */
  readonly refreshInterval?: number;
  /** Milliseconds until a foreign change is repaired, so that two writers cannot race; default 500. */
  readonly repairDelay?: number;
  readonly backoff?: BackoffOptions;
}

/** A key that we wrote, or tried to: the revision is unknown if the store's answer never came. */
interface Written extends SharedRow {
  readonly revision: number | undefined;
}

export interface SharedStoreStatus {
  readonly name: string;
  readonly lease: { readonly id: string; readonly ttl: number } | undefined;
  /** Keys written and, as far as is known, standing. */
  readonly keys: number;
  /** Wanted keys that another writer holds at present. */
  readonly contested: readonly string[];
  readonly repairs: number;
  readonly leasesLost: number;
  readonly reconciler: ReconcilerMetrics;
}

/**
 * Writes a table into the store and keeps it there: on a lease of its own, again after the lease was
 * lost, the store emptied or a key deleted by others. Takes away only keys that it wrote or owns by
 * `owns`, the unwanted ones only once the table is initialized. Disposal leaves the keys to the lease,
 * so that a restart does not show; `withdraw` takes them away.
 */
export class SharedStore<Row, K extends TableKey = string> implements AsyncDisposable {
  readonly name: string;
  readonly #options: SharedStoreOptions<Row, K>;
  readonly #kv: Kv;
  readonly #stop = new AbortController();
  readonly #reconciler: Reconciler<Row, K>;
  readonly #watches: KvWatch[] = [];
  readonly #following: Promise<void>[];
  /** What stands in the store because of a row: its key and the revision of our write. */
  readonly #written = new Map<K, Written>();
  readonly #rowOf = new Map<string, K>();
  readonly #contested = new Set<string>();
  readonly #repairing = new Set<K>();
  #lease: Lease | undefined;
  #granting: Promise<Lease> | undefined;
  #repairs = 0;
  #leasesLost = 0;

  constructor(options: SharedStoreOptions<Row, K>) {
    this.name = options.name;
    this.#options = options;
    this.#kv = options.kv;
    this.#reconciler = new Reconciler<Row, K>({
      name: options.name,
      table: options.table,
      clock: options.clock,
      random: options.random,
      batchSize: 1000,
      refreshInterval: options.refreshInterval ?? 300_000,
      ...(options.backoff ? { backoff: options.backoff } : {}),
      operations: {
        update: (batch, signal) => this.#update(batch, signal),
        delete: (batch, signal) => this.#delete(batch, signal),
        prune: (rows, signal) => this.#prune(rows, signal),
      },
    });
    this.#following = options.scopes
      .filter((scope) => scope.watch !== false)
      .map((scope) => this.#follow(scope));
  }

  /** Resolves when the store holds the whole table, and nothing of ours besides. */
  settled(signal?: AbortSignal): Promise<ReconcilerMetrics> {
    return this.#reconciler.settled(signal);
  }

  get reconciler(): Reconciler<Row, K> {
    return this.#reconciler;
  }

  status(): SharedStoreStatus {
    return {
      name: this.name,
      lease: this.#lease && { id: this.#lease.id, ttl: this.#lease.ttl },
      keys: this.#written.size,
      contested: [...this.#contested],
      repairs: this.#repairs,
      leasesLost: this.#leasesLost,
      reconciler: this.#reconciler.metrics(),
    };
  }

  async #ensureLease(signal: AbortSignal): Promise<Lease | undefined> {
    const ttl = this.#options.ttl ?? 900;
    if (ttl === false) return undefined;
    if (this.#lease) return this.#lease;
    this.#granting ??= this.#kv.lease(ttl, { signal }).finally(() => {
      this.#granting = undefined;
    });
    const lease = await this.#granting;
    if (this.#lease === lease) return lease;
    this.#lease = lease;
    const ended = () => {
      if (this.#lease !== lease) return;
      this.#lease = undefined;
      const { reason } = lease.ended;
      if (!(reason instanceof KvError) || reason.code !== 'lease-not-found') return;
      this.#leasesLost++;
      // Its keys are gone with it: everything is to be written anew.
      if (!this.#stop.signal.aborted) this.#reconciler.refresh();
    };
    lease.ended.addEventListener('abort', ended);
    if (lease.ended.aborted) ended();
    return lease;
  }

  async #update(batch: readonly Target<Row, K>[], signal: AbortSignal): Promise<BatchResult> {
    const results: (Error | undefined)[] = batch.map(() => undefined);
    const writes: { readonly at: number; readonly row: K; readonly shared: SharedRow }[] = [];
    const moved: Written[] = [];
    for (const [at, { key, row }] of batch.entries()) {
      try {
        const shared = this.#options.encode(row);
        writes.push({ at, row: key, shared });
        const old = this.#written.get(key);
        if (old && old.key !== shared.key) moved.push(old);
      } catch (error) {
        results[at] = error instanceof Error ? error : new Error(String(error));
      }
    }
    const lease = await this.#ensureLease(signal);
    const put = async (part: typeof writes): Promise<void> => {
      for (const { row, shared } of part) {
        this.#written.set(row, { ...shared, revision: undefined });
        this.#rowOf.set(shared.key, row);
      }
      const puts = part.map(({ shared: { key, value } }) => ({
        type: 'put' as const,
        key,
        value,
        ...(lease ? { lease: lease.id } : {}),
      }));
      const { revision } = await this.#txn([], puts, signal);
      for (const { row, shared } of part) {
        this.#written.set(row, { ...shared, revision });
        this.#contested.delete(shared.key);
      }
    };
    for (const part of chunks(writes, ({ shared }) => shared)) {
      try {
        await put(part);
      } catch (error) {
        if (!(error instanceof KvError) || error.retryable || error.code === 'lease-not-found') {
          for (const { at } of part) results[at] = error as Error;
          continue;
        }
        // The store refuses one of them: alone each gets its own answer.
        for (const write of part) {
          await put([write]).catch((own) => {
            results[write.at] = own;
          });
        }
      }
    }
    for (const old of moved) {
      if (this.#rowOf.get(old.key) !== undefined && this.#standsFor(old.key)) continue;
      await this.#remove([old], signal);
    }
    return results;
  }

  /** True if some row is written under the key now. */
  #standsFor(key: string): boolean {
    const row = this.#rowOf.get(key);
    return row !== undefined && this.#written.get(row)?.key === key;
  }

  async #delete(batch: readonly Target<Row, K>[], signal: AbortSignal): Promise<void> {
    const gone: Written[] = [];
    for (const { key } of batch) {
      const written = this.#written.get(key);
      if (written) gone.push(written);
    }
    for (const part of chunks(gone, ({ key }) => ({ key, value: '' })))
      await this.#remove(part, signal);
    for (const { key } of batch) {
      const written = this.#written.get(key);
      if (!written) continue;
      this.#written.delete(key);
      if (this.#rowOf.get(written.key) === key) this.#rowOf.delete(written.key);
      this.#contested.delete(written.key);
    }
  }

  /** Deletes keys that are still as we wrote them; one that another has taken over stays. */
  async #remove(part: readonly Written[], signal: AbortSignal): Promise<void> {
    const compare = part.map((written) => this.#asWritten(written));
    const success = part.map(({ key }) => ({ type: 'delete' as const, key }));
    const { succeeded } = await this.#txn(compare, success, signal);
    if (succeeded || part.length === 1) return;
    for (const one of part) await this.#remove([one], signal);
  }

  /** Throws KvError; also when another leads, and then nothing is written. */
  async #txn(
    compare: readonly Compare[],
    success: readonly TxnOperation[],
    signal: AbortSignal,
  ): Promise<TxnResult> {
    const { leader } = this.#options;
    if (leader === undefined) return this.#kv.txn({ compare, success }, { signal });
    const { fence, onLost } = leader;
    const answer = await this.#kv.txn(
      { compare: [fence.compare, ...compare], success, failure: [{ type: 'get', key: fence.key }] },
      { signal },
    );
    if (answer.succeeded) return answer;
    const [held] = answer.results;
    if (held?.type === 'get' && held.entry?.createRevision === fence.revision) return answer;
    onLost();
    throw new KvError('internal', fence.key, `${this.name}: another leads by now`);
  }

  #asWritten({ key, value, revision }: Written): Compare {
    if (revision !== undefined) return unchanged({ key, modRevision: revision });
    if (this.#lease) return { type: 'lease', key, operator: '=', lease: this.#lease.id };
    return { type: 'value', key, operator: '=', value };
  }

  async #prune(rows: readonly Row[], signal: AbortSignal): Promise<void> {
    const wanted = new Set<string>();
    for (const row of rows) {
      try {
        wanted.add(this.#options.encode(row).key);
      } catch {
        // The row's own status tells of it.
      }
    }
    for (const { prefix, owns } of this.#options.scopes) {
      for await (const { entries } of this.#kv.pages(prefix, { signal })) {
        const stale = entries.filter((entry) => !wanted.has(entry.key) && owns(entry));
        const marked = stale.map(({ key, value, modRevision }) => ({
          key,
          value,
          revision: modRevision,
        }));
        for (const part of chunks(marked, ({ key }) => ({ key, value: '' })))
          await this.#remove(part, signal);
      }
    }
  }

  async #follow(scope: SharedScope): Promise<void> {
    // What a replaced store lacks is to be written at once; nobody else acts on what this watch tells.
    const watch = this.#kv.watch(scope.prefix, {
      signal: this.#stop.signal,
      replacedGrace: 0,
      ownWrites: true,
    });
    this.#watches.push(watch);
    for await (const events of watch.batches()) for (const event of events) this.#see(event, scope);
  }

  #see(event: WatchEvent, { owns }: SharedScope): void {
    if (event.type === 'delete') {
      this.#contested.delete(event.key);
      const row = this.#rowOf.get(event.key);
      if (row !== undefined) this.#repair(row);
    } else if (event.type === 'put') {
      const { entry } = event;
      const key = this.#rowOf.get(entry.key);
      const row = key === undefined ? undefined : this.#options.table.get(key);
      if (key === undefined || row === undefined) return;
      const ours = this.#lease === undefined || entry.lease === this.#lease.id;
      if (ours && this.#wants(row, entry)) this.#contested.delete(entry.key);
      else if (owns(entry)) this.#repair(key);
      else if (!ours || !this.#wants(row, entry)) this.#contested.add(entry.key);
    }
  }

  #wants(row: Row, entry: KvEntry): boolean {
    try {
      return sameBytes(bytesOf(this.#options.encode(row).value), entry.value);
    } catch {
      return true;
    }
  }

  #repair(key: K): void {
    if (this.#repairing.has(key) || this.#stop.signal.aborted) return;
    this.#repairing.add(key);
    const { clock, repairDelay = 500, table } = this.#options;
    clock.sleep(repairDelay, this.#stop.signal).then(() => {
      this.#repairing.delete(key);
      if (this.#stop.signal.aborted || !table.has(key)) return;
      this.#repairs++;
      this.#reconciler.reapply(key);
    });
  }

  /** Stops, and takes our keys away with their lease. */
  async withdraw(): Promise<void> {
    const written = [...this.#written.values()];
    await this.#close();
    if (this.#lease) return this.#lease.revoke();
    const { signal } = new AbortController();
    for (const part of chunks(written, ({ key }) => ({ key, value: '' }))) {
      await this.#remove(part, signal);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#close();
    this.#lease?.abandon();
  }

  async #close(): Promise<void> {
    if (this.#stop.signal.aborted) return;
    this.#stop.abort(new KvError('closed', this.name, `${this.name} was closed`));
    await this.#reconciler[Symbol.asyncDispose]();
    await Promise.all(this.#watches.map((watch) => watch[Symbol.asyncDispose]()));
    await Promise.all(this.#following);
  }
}
