import { type Backoff, type BackoffOptions, exponentialBackoff } from './backoff.ts';
import type { Clock } from './clock.ts';
import { TablesError } from './errors.ts';
import { Gate } from './gate.ts';
import { type RateLimit, TokenBucket } from './rate-limit.ts';
import type { TableKey } from './secondary.ts';
import { describeError, printStatus, type ReconcilerMetrics, type RowStatus } from './status.ts';
import type { Table } from './table.ts';
import type { Tracker } from './tracker.ts';
import { type Work, WorkQueue } from './work.ts';

export interface Target<Row, K> {
  readonly key: K;
  /** For a deletion: the row as it stood last. */
  readonly row: Row;
  readonly revision: number;
}

/** One entry per item, undefined for success; or nothing at all if every item succeeded. */
export type BatchResult = readonly (Error | undefined)[] | undefined;

/**
 * What applies rows to the world. Each must be idempotent: after a restart, a refresh or a doubtful
 * failure the same row comes again. A throw fails the whole batch; a result tells item from item.
 */
export interface Operations<Row, K> {
  update(
    batch: readonly Target<Row, K>[],
    signal: AbortSignal,
  ): Promise<BatchResult> | Promise<void>;
  delete(
    batch: readonly Target<Row, K>[],
    signal: AbortSignal,
  ): Promise<BatchResult> | Promise<void>;
  /**
   * Whether the world is as it was when every row was last found in it. Asked when all are to be compared with it again;
   * if so, none is. It must not throw.
   */
  unchanged?(): boolean;
  /** Rows are about to be compared with the world again: what is remembered of it is to be looked at anew. */
  renew?(): void;
  /** Takes away what is out there and not among these rows. Called only when the table is initialized. */
  prune?(rows: readonly Row[], signal: AbortSignal): Promise<void>;
}

export interface ReconcilerOptions<Row, K extends TableKey> {
  /** Also the name of its column in the printed table. */
  readonly name: string;
  readonly table: Table<Row, K>;
  readonly operations: Operations<Row, K>;
  readonly clock: Clock;
  /** 0 to 1, for the back-off's jitter. */
  readonly random: () => number;
  readonly backoff?: BackoffOptions;
  /** Most rows per operation; default 1000. */
  readonly batchSize?: number;
  /** Rows per second over all operations; default: no limit. */
  readonly rateLimit?: RateLimit;
  /** Milliseconds between full passes that update every row and prune; default: none. */
  readonly refreshInterval?: number;
  /** Milliseconds that work may gather before a pass, for batches; default 0. */
  readonly settle?: number;
}

/** Milliseconds between two calls' trials of what failed: whoever calls at every change must not undo the back-off. */
const RETRY_MS = 1000;

/**
 * Makes the world match a table: every row updated, what left the table deleted, what never was in it
 * pruned after the first full sync. One operation at a time; failures back off one by one. A result is
 * written to a row's status only if the row has not changed meanwhile. Starts at once; disposal lets
 * the operation in flight end (its signal is aborted) and starts no other.
 */
export class Reconciler<Row, K extends TableKey = string> implements AsyncDisposable {
  readonly name: string;
  readonly #options: ReconcilerOptions<Row, K>;
  readonly #table: Table<Row, K>;
  readonly #clock: Clock;
  readonly #backoff: Backoff;
  readonly #batchSize: number;
  readonly #bucket: TokenBucket | undefined;
  readonly #tracker: Tracker<Row, K>;
  readonly #queue = new WorkQueue<Row, K>();
  readonly #statuses = new Map<K, RowStatus>();
  readonly #stop = new AbortController();
  readonly #wake = new Gate();
  readonly #progress = new Gate();
  readonly #undo: (() => void)[];
  readonly #running: Promise<void>;
  #busy = false;
  #errors = 0;
  #refreshDue: number;
  /** When all that failed is tried again, whatever its own time. */
  #retryDue = Number.POSITIVE_INFINITY;
  #retriedAt = Number.NEGATIVE_INFINITY;
  #pruneDue: number | undefined;
  #pruneAttempts = 0;
  #counts = {
    updates: 0,
    updateFailures: 0,
    deletes: 0,
    deleteFailures: 0,
    prunes: 0,
    pruneFailures: 0,
    refreshes: 0,
    busy: 0,
    synced: false,
  };
  #lastError: ReconcilerMetrics['lastError'];

  constructor(options: ReconcilerOptions<Row, K>) {
    const { batchSize = 1000, refreshInterval } = options;
    if (!Number.isInteger(batchSize) || batchSize < 1) {
      throw new TablesError(
        'invalid-option',
        batchSize,
        `${options.name}: batchSize is a whole number from 1`,
      );
    }
    if (refreshInterval !== undefined && !(refreshInterval > 0)) {
      throw new TablesError(
        'invalid-option',
        refreshInterval,
        `${options.name}: refreshInterval is above 0`,
      );
    }
    this.name = options.name;
    this.#options = options;
    this.#table = options.table;
    this.#clock = options.clock;
    this.#backoff = exponentialBackoff(options.random, options.backoff);
    this.#batchSize = batchSize;
    const now = this.#clock.now();
    this.#bucket = options.rateLimit && new TokenBucket(options.rateLimit, now);
    this.#refreshDue = now + (refreshInterval ?? Number.POSITIVE_INFINITY);
    this.#pruneDue = now;
    this.#tracker = this.#table.changes(options.name);
    this.#undo = [
      this.#table.onCommit(() => this.#wake.open()),
      this.#table.showStatus(options.name, (key) => printStatus(this.status(key))),
    ];
    this.#running = this.#run(this.#stop.signal);
  }

  /** A row's status; undefined for a key that is not in the table and not waiting to be deleted. */
  status(key: K): RowStatus | undefined {
    const entry = this.#table.entry(key);
    const status = this.#statuses.get(key);
    if (!entry) return status;
    return status?.revision === entry.revision
      ? status
      : { type: 'pending', revision: entry.revision };
  }

  metrics(): ReconcilerMetrics {
    const unread = this.#tracker.pending ? 1 : 0;
    return {
      pending: this.#queue.size + unread,
      errors: this.#errors,
      ...this.#counts,
      lastError: this.#lastError,
    };
  }

  /** Deletions that have not succeeded, with their status. */
  *failures(): Generator<{ readonly key: K; readonly status: RowStatus }, void, undefined> {
    for (const [key, status] of this.#statuses) if (status.type === 'error') yield { key, status };
  }

  /** True if nothing is pending, failed or in flight, and the first sync is complete. */
  get done(): boolean {
    return this.#idle() && this.#queue.failed === 0 && this.#counts.synced;
  }

  #idle(): boolean {
    return !this.#busy && !this.#tracker.pending && this.#queue.ready === 0;
  }

  /** Resolves when everything written so far was attempted: what is not done then has failed. */
  async attempted(signal?: AbortSignal): Promise<ReconcilerMetrics> {
    await this.#until(() => this.#idle(), signal);
    return this.metrics();
  }

  /** Resolves when the world matches the table, the first prune included. */
  async settled(signal?: AbortSignal): Promise<ReconcilerMetrics> {
    await this.#until(() => this.done, signal);
    return this.metrics();
  }

  /** The first outcome of the row as it stands now: done or error; undefined once the row is gone. */
  async outcome(key: K, signal?: AbortSignal): Promise<RowStatus | undefined> {
    const decided = () => this.status(key)?.type !== 'pending';
    await this.#until(decided, signal);
    return this.status(key);
  }

  async #until(condition: () => boolean, signal?: AbortSignal): Promise<void> {
    const either = signal ? AbortSignal.any([signal, this.#stop.signal]) : this.#stop.signal;
    while (!condition()) {
      signal?.throwIfAborted();
      if (this.#stop.signal.aborted)
        throw new TablesError('closed', this.name, `reconciler ${this.name} is closed`);
      await this.#progress.wait(either);
    }
  }

  /** Applies one row again, soon: the world was seen to differ. False if there is no such row. */
  reapply(key: K): boolean {
    const entry = this.#table.entry(key);
    if (!entry) return false;
    this.#options.operations.renew?.();
    this.#enqueue({ type: 'update', key, ...entry, attempts: 0 });
    this.#wake.open();
    return true;
  }

  /**
   * Tries again what failed and waits for its time, at most once a second however often this is called; and, unless
   * the operations say that the world is unchanged, applies every other row again and prunes. Soon.
   */
  refresh(): void {
    const now = this.#clock.now();
    this.#refreshDue = now;
    this.#retrySoon(now);
    this.#wake.open();
  }

  #retrySoon(now: number): void {
    this.#retryDue = Math.min(this.#retryDue, Math.max(now, this.#retriedAt + RETRY_MS));
  }

  #retryIfDue(now: number): void {
    if (this.#retryDue > now) return;
    this.#retryDue = Number.POSITIVE_INFINITY;
    this.#retriedAt = now;
    this.#queue.release(Number.POSITIVE_INFINITY);
    if (this.#pruneAttempts > 0) this.#pruneDue = now;
  }

  #enqueue(work: Work<Row, K>): void {
    this.#clearError(work.key);
    this.#queue.add(work);
  }

  #clearError(key: K): void {
    if (this.#statuses.get(key)?.type === 'error') this.#errors--;
    this.#statuses.delete(key);
  }

  async #run(signal: AbortSignal): Promise<void> {
    // The caller goes on first: what it writes in the same breath is one batch.
    await Promise.resolve();
    while (!signal.aborted) {
      this.#collect();
      const now = this.#clock.now();
      if (this.#queue.ready > 0) {
        const allowed = this.#bucket
          ? this.#bucket.take(Math.min(this.#batchSize, this.#queue.ready), now)
          : this.#batchSize;
        if (allowed > 0) {
          await this.#apply(this.#queue.take(allowed), signal);
          continue;
        }
        await this.#pause(now + (this.#bucket?.wait(now) ?? 0), signal);
        continue;
      }
      if (this.#pruneIsDue(now)) {
        await this.#prune(signal);
        continue;
      }
      this.#progress.open();
      const due = Math.min(
        this.#queue.nextDue() ?? Number.POSITIVE_INFINITY,
        this.#refreshDue,
        this.#retryDue,
        this.#table.initialized
          ? (this.#pruneDue ?? Number.POSITIVE_INFINITY)
          : Number.POSITIVE_INFINITY,
      );
      await this.#pause(due, signal);
      if (this.#options.settle && this.#tracker.pending) {
        await this.#clock.sleep(this.#options.settle, signal);
      }
    }
  }

  /** Waits for the time or a wake-up, whichever is first. */
  async #pause(due: number, signal: AbortSignal): Promise<void> {
    if (this.#tracker.pending && this.#queue.ready === 0) return;
    const either = new AbortController();
    const stop = () => either.abort();
    signal.addEventListener('abort', stop);
    if (signal.aborted) stop();
    const wait = due - this.#clock.now();
    await Promise.race([
      this.#wake.wait(either.signal),
      Number.isFinite(wait)
        ? this.#clock.sleep(Math.max(0, wait), either.signal)
        : new Promise<never>(() => {}),
    ]);
    signal.removeEventListener('abort', stop);
    either.abort();
  }

  #collect(): void {
    const now = this.#clock.now();
    while (this.#tracker.pending) {
      for (const change of this.#tracker.take()) {
        const type = change.type === 'put' ? 'update' : 'delete';
        this.#enqueue({
          type,
          key: change.key,
          row: change.row,
          revision: change.revision,
          attempts: 0,
        });
      }
    }
    if (this.#refreshDue <= now) {
      this.#counts.refreshes++;
      this.#refreshDue = now + (this.#options.refreshInterval ?? Number.POSITIVE_INFINITY);
      this.#compareAll(now);
    }
    this.#retryIfDue(now);
    this.#queue.release(now);
  }

  #compareAll(now: number): void {
    const { operations } = this.#options;
    if (operations.unchanged?.() === true) return;
    if (this.#pruneAttempts === 0) this.#pruneDue = now;
    operations.renew?.();
    // What failed before may succeed in the world as it is now.
    this.#retrySoon(now);
    this.#retryIfDue(now);
    for (const key of this.#table.keys()) {
      const entry = this.#table.entry(key);
      if (entry && !this.#queue.has(key))
        this.#queue.add({ type: 'update', key, ...entry, attempts: 0 });
    }
  }

  async #apply(batch: readonly Work<Row, K>[], signal: AbortSignal): Promise<void> {
    const type = batch[0]?.type;
    if (!type) return;
    const { operations } = this.#options;
    this.#busy = true;
    const started = this.#clock.now();
    let results: BatchResult;
    let failure: unknown;
    try {
      results = (await (type === 'update'
        ? operations.update(batch, signal)
        : operations.delete(batch, signal))) as BatchResult;
    } catch (error) {
      failure = error ?? new Error('the operation failed without an error');
    }
    this.#busy = false;
    const now = this.#clock.now();
    this.#counts.busy += now - started;
    for (const [i, work] of batch.entries()) this.#finish(work, failure ?? results?.[i], now);
    this.#progress.open();
  }

  #finish(work: Work<Row, K>, failure: unknown, now: number): void {
    const { type, key, revision } = work;
    const updating = type === 'update';
    this.#counts[updating ? 'updates' : 'deletes']++;
    if (failure !== undefined) {
      this.#counts[updating ? 'updateFailures' : 'deleteFailures']++;
      this.#lastError = { at: now, ...describeError(failure), key: String(key) };
    }
    const entry = this.#table.entry(key);
    const current = updating ? entry?.revision === revision : entry === undefined;
    // The intent has moved on; its own work is in the feed and will speak for itself.
    if (!current || this.#queue.has(key)) return;
    this.#clearError(key);
    if (failure === undefined) {
      if (updating) this.#statuses.set(key, { type: 'done', revision, at: now });
      return;
    }
    const attempts = work.attempts + 1;
    const nextRetry = now + this.#backoff(attempts);
    this.#statuses.set(key, {
      type: 'error',
      revision,
      ...describeError(failure),
      attempts,
      nextRetry,
    });
    this.#errors++;
    this.#queue.defer({ ...work, attempts }, nextRetry);
  }

  #pruneIsDue(now: number): boolean {
    return this.#pruneDue !== undefined && this.#pruneDue <= now && this.#table.initialized;
  }

  async #prune(signal: AbortSignal): Promise<void> {
    const { prune } = this.#options.operations;
    if (!prune) {
      this.#pruneDue = undefined;
      this.#counts.synced = true;
      return;
    }
    this.#busy = true;
    const started = this.#clock.now();
    try {
      await this.#options.operations.prune?.([...this.#table.rows()], signal);
      this.#pruneDue = undefined;
      this.#pruneAttempts = 0;
      this.#counts.synced = true;
    } catch (error) {
      this.#pruneAttempts++;
      this.#counts.pruneFailures++;
      const now = this.#clock.now();
      this.#pruneDue = now + this.#backoff(this.#pruneAttempts);
      this.#lastError = { at: now, ...describeError(error), key: undefined };
    }
    this.#counts.prunes++;
    this.#counts.busy += this.#clock.now() - started;
    this.#busy = false;
    this.#progress.open();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(new TablesError('closed', this.name, `reconciler ${this.name} is closed`));
    this.#wake.open();
    await this.#running;
    for (const undo of this.#undo) undo();
    this.#tracker[Symbol.dispose]();
    this.#progress.open();
  }
}
