import { IpcacheBatch } from '@causeway/datapath';
import { type Address, Prefix } from '@causeway/ip';
import type { EntryChanges } from '@causeway/mesh';
import {
  type Clock,
  describeError,
  exponentialBackoff,
  type ReconcilerMetrics,
  type RowStatus,
} from '@causeway/tables';
import type { ClusterTables } from '../cluster/tables.ts';
import type { StoreTrust } from '../sources/trust.ts';
import type { ProtectedTable } from './protected.ts';
import type { IpcacheMaps } from './reconcilers.ts';
import type { IpcacheResolver } from './resolve.ts';

/** Places per turn of the event loop: a few milliseconds. */
const BATCH = 2048;
/** Failing prefixes that are remembered one by one; with more of them everything is tried again. */
const MAX_FAILED = 1024;

export interface EntryReconcilerOptions {
  readonly tables: ClusterTables;
  readonly protectedSockets: ProtectedTable;
  readonly resolver: IpcacheResolver;
  readonly maps: IpcacheMaps;
  /** Brings prefixes to what they shall be. Errors by prefix. */
  readonly sync: (prefixes: Iterable<Prefix>) => Map<Prefix, Error>;
  readonly prune: () => Promise<void>;
  readonly trust: StoreTrust;
  readonly clock: Clock;
  readonly random: () => number;
}

/**
 * Brings the kernel's ipcache to what the clusters' IP entries say. A change is written in the turn in
 * which it is read; a crowd of them in batches, from columns to the kernel's form without an object
 * for each. Entries that went are taken away only when their absence from the store can be believed.
 */
export class EntryReconciler implements AsyncDisposable {
  readonly name = 'ipcache';
  readonly #options: EntryReconcilerOptions;
  readonly #batch = new IpcacheBatch(BATCH);
  readonly #stop = new AbortController();
  readonly #undo: (() => void)[];
  readonly #backoff;
  #changes: EntryChanges;
  #scheduled = false;
  /** Gone from the store, and still in the kernel for as long as that is not believed. */
  readonly #doubted = new Set<Prefix>();
  readonly #failed = new Map<Prefix, Error>();
  #failures = 0;
  #attempts = 0;
  #pruneAttempts = 0;
  #retrying = false;
  #pruning: Promise<void> | undefined;
  #counts = { updates: 0, updateFailures: 0, deletes: 0, prunes: 0, pruneFailures: 0, busy: 0 };
  #synced = false;
  #lastError: ReconcilerMetrics['lastError'];

  constructor(options: EntryReconcilerOptions) {
    this.#options = options;
    this.#backoff = exponentialBackoff(options.random);
    const { ipEntries, nodes } = options.tables;
    this.#changes = ipEntries.changes(this.name);
    const follow = () => this.#follow();
    this.#undo = [ipEntries.onCommit(follow), nodes.onCommit(() => queueMicrotask(follow))];
    queueMicrotask(follow);
  }

  get done(): boolean {
    return this.#synced && this.#changes.pending === 0 && this.#failures === 0;
  }

  metrics(): ReconcilerMetrics {
    return {
      pending: this.#changes.pending + this.#doubted.size + this.#failures,
      errors: this.#failures,
      deleteFailures: 0,
      refreshes: 0,
      ...this.#counts,
      synced: this.#synced,
      lastError: this.#lastError,
    };
  }

  *failures(): Generator<{ readonly key: Prefix; readonly status: RowStatus }, void, undefined> {
    for (const [key, error] of this.#failed) {
      const { code, message } = describeError(error);
      const nextRetry = this.#options.clock.now();
      const status = { revision: 0, code, message, attempts: this.#attempts, nextRetry } as const;
      yield { key, status: { type: 'error', ...status } };
    }
  }

  /** Writes everything that waits, now. */
  flush(): void {
    while (!this.#stop.signal.aborted && this.#step());
  }

  /** One batch now, in the turn of whoever changed something; what is left goes in turns of its own. */
  #follow(): void {
    if (this.#stop.signal.aborted || this.#scheduled) return;
    if (this.#step()) {
      this.#scheduled = true;
      setImmediate(() => {
        this.#scheduled = false;
        this.#follow();
      });
      return;
    }
    this.#pruneOnce();
  }

  /** True if there is more. */
  #step(): boolean {
    const { tables, resolver } = this.#options;
    const { ipEntries } = tables;
    resolver.catchUp();
    ipEntries.touch(resolver.takeMoved());
    if (this.#changes.pending === 0) return false;
    const started = performance.now();
    const guarded = this.#guarded();
    const batch = this.#batch;
    const others: Prefix[] = [];
    batch.clear();
    this.#changes.take(BATCH, (slot) => {
      const winner = ipEntries.winnerAt(slot);
      if (winner < 0 || !ipEntries.isSingle(winner)) {
        others.push(ipEntries.prefixAt(slot));
        return;
      }
      const way = resolver.wayTo(ipEntries.hostAddress(ipEntries.hostAt(winner)));
      batch.add(
        ipEntries.identityAt(winner),
        guarded.has(winner),
        way.noMasquerade,
        way.endpointBytes,
      );
      ipEntries.writeAddress(winner, batch.keys, batch.keyOffset);
      if (!resolver.mayBeNode(batch.keys, batch.keyOffset)) return;
      batch.removeLast();
      others.push(ipEntries.prefixAt(slot));
    });
    this.#counts.updates += batch.count;
    const errors = this.#options.maps.putHosts(batch);
    errors?.forEach((error, row) => {
      if (error !== undefined) this.#fail(Prefix.host(batch.address(row)), error);
    });
    this.#sync(others);
    this.#counts.busy += performance.now() - started;
    return this.#changes.pending > 0;
  }

  #sync(prefixes: readonly Prefix[]): void {
    if (prefixes.length === 0) return;
    const { resolver, trust, sync } = this.#options;
    const certain: Prefix[] = [];
    for (const prefix of prefixes) {
      if (resolver.resolve(prefix) !== undefined) certain.push(prefix);
      else if (trust.settled) certain.push(prefix);
      else this.#doubt(prefix);
    }
    this.#counts.updates += certain.length;
    for (const [prefix, error] of sync(certain)) this.#fail(prefix, error);
  }

  #doubt(prefix: Prefix): void {
    if (this.#doubted.size === 0) {
      this.#options.trust.whenSettled(() => {
        const doubted = [...this.#doubted];
        this.#doubted.clear();
        this.#sync(doubted);
      }, this.#stop.signal);
    }
    this.#doubted.add(prefix);
  }

  /** Slots of addresses behind which a protected socket is. */
  #guarded(): ReadonlySet<number> {
    const { protectedSockets, tables } = this.#options;
    const slots = new Set<number>();
    for (const { address } of protectedSockets.rows()) {
      slots.add(tables.ipEntries.winnerSlot(address satisfies Address));
    }
    return slots;
  }

  #fail(prefix: Prefix, error: Error): void {
    this.#failures++;
    this.#counts.updateFailures++;
    if (this.#failed.size < MAX_FAILED) this.#failed.set(prefix, error);
    this.#note(error, prefix);
    if (this.#retrying) return;
    this.#retrying = true;
    const { clock } = this.#options;
    void clock.sleep(this.#backoff(++this.#attempts), this.#stop.signal).then(() => this.#retry());
  }

  #retry(): void {
    this.#retrying = false;
    if (this.#stop.signal.aborted) return;
    const again = [...this.#failed.keys()];
    const whole = this.#failures > again.length;
    this.#failed.clear();
    this.#failures = 0;
    if (whole) {
      this.#changes[Symbol.dispose]();
      this.#changes = this.#options.tables.ipEntries.changes(this.name);
    }
    this.#sync(again);
    if (this.#failures === 0 && !whole) this.#attempts = 0;
    this.#follow();
  }

  #pruneOnce(): void {
    const { ipEntries } = this.#options.tables;
    if (this.#synced || this.#pruning !== undefined || !ipEntries.initialized) return;
    this.#pruning = this.#prune().finally(() => {
      this.#pruning = undefined;
    });
  }

  async #prune(): Promise<void> {
    const { prune, clock } = this.#options;
    const { signal } = this.#stop;
    while (!signal.aborted) {
      try {
        await prune();
        this.#counts.prunes++;
        this.#synced = true;
        return;
      } catch (error) {
        this.#counts.pruneFailures++;
        this.#note(error, undefined);
        await clock.sleep(this.#backoff(++this.#pruneAttempts), signal);
      }
    }
  }

  #note(error: unknown, key: Prefix | undefined): void {
    this.#lastError = { at: this.#options.clock.now(), ...describeError(error), key };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    for (const undo of this.#undo) undo();
    this.#changes[Symbol.dispose]();
    await this.#pruning;
  }
}
