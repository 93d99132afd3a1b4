import type { Clock } from '@causeway/tables';
import { KvError, type KvErrorCode } from './errors.ts';
import { HeldLease } from './lease.ts';
import { pagesOf } from './pages.ts';
import {
  type Call,
  clusterIdOf,
  type Header,
  type RangeRequest,
  type Transport,
} from './transport.ts';
import type {
  CallOptions,
  Kv,
  KvEntry,
  KvHealth,
  KvPage,
  KvWatch,
  Lease,
  LeaseId,
  ListOptions,
  PutOptions,
  Txn,
  TxnOperation,
  TxnResult,
  WatchOptions,
} from './types.ts';
import { Watch } from './watch.ts';

export interface ClientOptions {
  readonly clock: Clock;
  /** 0 to 1, for jitter. */
  readonly random: () => number;
  /** Milliseconds per call; default 5000. A function is asked at each call. */
  readonly deadline?: number | (() => number);
  /** Entries per page, 256 to 1000; default 500. */
  readonly pageSize?: number;
  /** Milliseconds between probes while nothing else is called; default 10,000. */
  readonly probeInterval?: number;
}

/** Refusals that only a store that is there can give. */
const answers: ReadonlySet<KvErrorCode> = new Set<KvErrorCode>([
  'throttled',
  'no-space',
  'compacted',
  'lease-not-found',
  'permission-denied',
  'unauthenticated',
]);

/**
 * A deadline that is told so many ms late was not kept by us: this process had no time, and the answer may lie
 * in the socket.
 */
const LATE_MS = 250;

/** The contract over any transport: deadlines, paging, leases, watches and health. */
export class Client implements Kv {
  readonly #transport: Transport;
  readonly #clock: Clock;
  readonly #options: Required<ClientOptions>;
  readonly #stop = new AbortController();
  readonly #leases = new Map<LeaseId, HeldLease>();
  readonly #watches = new Set<Watch>();
  readonly #listeners = new Set<(health: KvHealth) => void>();
  readonly #probing: Promise<void>;
  #asking: Promise<void> | undefined;
  /** Since when it is in doubt whether the store answers: a deadline was told late. */
  #doubtSince: number | undefined;
  #connected = false;
  #since: number;
  #heard = Number.NEGATIVE_INFINITY;
  #endpoint: string | undefined;
  #clusterId: string | undefined;
  #revision = 0;
  #lastError: KvHealth['lastError'];

  constructor(transport: Transport, options: ClientOptions) {
    this.#transport = transport;
    this.#clock = options.clock;
    this.#options = { deadline: 5000, pageSize: 500, probeInterval: 10_000, ...options };
    checkPageSize(this.#options.pageSize);
    this.#since = this.#clock.now();
    this.#probing = this.#probe();
  }

  get #deadline(): number {
    const { deadline } = this.#options;
    return typeof deadline === 'number' ? deadline : deadline();
  }

  async #probe(): Promise<void> {
    const { signal } = this.#stop;
    const { probeInterval } = this.#options;
    while (!signal.aborted) {
      if (this.#clock.now() - this.#heard >= probeInterval || !this.#connected) await this.#ask();
      await this.#clock.sleep(
        this.#connected ? probeInterval : Math.min(1000, probeInterval),
        signal,
      );
    }
  }

  #ask(): Promise<void> {
    this.#asking ??= this.#askUntilSure().finally(() => {
      this.#asking = undefined;
    });
    return this.#asking;
  }

  async #askUntilSure(): Promise<void> {
    const probe = () =>
      this.#call('probe', undefined, (call) => this.#transport.probe(call)).catch(() => {});
    await probe();
    // It was the one that came too late itself.
    if (this.#doubtSince !== undefined) await probe();
    this.#doubtSince = undefined;
  }

  /** Runs one call under its deadline, the caller's signal and this client's life. */
  async #call<T extends { header: Header }>(
    about: string,
    options: CallOptions | undefined,
    run: (call: Call) => Promise<T>,
  ): Promise<T> {
    const signal = options?.signal
      ? AbortSignal.any([options.signal, this.#stop.signal])
      : this.#stop.signal;
    if (signal.aborted) throw closed(about, signal);
    const deadline = options?.deadline ?? this.#deadline;
    const began = this.#clock.now();
    try {
      const result = await run({ signal, deadline });
      this.#hear(result.header);
      return result;
    } catch (error) {
      if (signal.aborted) throw closed(about, signal);
      const failure =
        error instanceof KvError ? error : new KvError('internal', about, String(error), error);
      this.#fail(failure, began, deadline);
      throw failure;
    }
  }

  #hear(header: Header): void {
    const clusterId = clusterIdOf(header, this.#clusterId);
    const moved = this.#clusterId !== clusterId;
    // After an outage, and when revisions go back, the store may be another that knows no lease of ours.
    if (!this.#connected || moved || header.revision < this.#revision) {
      for (const lease of this.#leases.values()) lease.check();
    }
    this.#heard = this.#clock.now();
    this.#doubtSince = undefined;
    this.#endpoint = header.endpoint;
    this.#clusterId = clusterId;
    this.#revision = header.revision;
    if (!this.#connected) this.#turn(true);
    else if (moved) this.#notify();
  }

  /** That a watch was not answered in time may be our own fault: a call must show it. */
  #watchFailed(error: KvError): void {
    if (error.code === 'deadline') this.#doubt(error);
    else this.#fail(error, this.#clock.now(), 0);
  }

  #doubt(error: KvError): void {
    const now = this.#clock.now();
    this.#lastError = { code: error.code, message: error.message, at: now };
    if (!this.#connected || this.#doubtSince !== undefined) return;
    this.#doubtSince = now;
    void this.#ask();
  }

  #fail(error: KvError, began: number, deadline: number): void {
    const now = this.#clock.now();
    const late = now - began > deadline + LATE_MS;
    const again = this.#doubtSince !== undefined && began >= this.#doubtSince;
    if (error.code === 'deadline' && late && !again) {
      this.#doubt(error);
      return;
    }
    this.#lastError = { code: error.code, message: error.message, at: now };
    if (error.code === 'unavailable' || error.code === 'deadline') {
      if (this.#connected) this.#turn(false);
    } else if (answers.has(error.code) && !this.#connected) this.#turn(true);
  }

  #turn(connected: boolean): void {
    this.#doubtSince = undefined;
    this.#connected = connected;
    this.#since = this.#clock.now();
    this.#notify();
  }

  #notify(): void {
    const health = this.health();
    for (const listener of [...this.#listeners]) {
      try {
        listener(health);
      } catch (error) {
        // Whoever listens must not break the call that brought the news.
        this.#lastError = { code: 'internal', message: String(error), at: this.#clock.now() };
      }
    }
  }

  health(): KvHealth {
    const watches = this.#watches;
    return {
      connected: this.#connected,
      since: this.#since,
      endpoint: this.#endpoint,
      clusterId: this.#clusterId,
      revision: this.#revision,
      lastError: this.#lastError,
      leases: this.#leases.size,
      // Asked for far more seldom than the rest, which peers are asked for each second.
      get watches() {
        return [...watches].map((watch) => watch.status());
      },
    };
  }

  onHealth(listener: (health: KvHealth) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async get(key: string, options?: CallOptions): Promise<KvEntry | undefined> {
    checkKey(key);
    const { entry } = await this.#call(key, options, (call) => this.#transport.get(key, call));
    return entry;
  }

  async *pages(prefix: string, options: ListOptions = {}): AsyncGenerator<KvPage, void, undefined> {
    const limit = options.pageSize ?? this.#options.pageSize;
    checkPageSize(limit);
    const keysOnly = options.keysOnly ?? false;
    const range = (request: RangeRequest) =>
      this.#call(prefix, options, (call) => this.#transport.range(request, call));
    for await (const { header, entries } of pagesOf(range, { prefix, limit, keysOnly })) {
      yield { entries, revision: header.revision };
    }
  }

  async list(prefix: string, options?: ListOptions): Promise<KvPage> {
    const entries: KvEntry[] = [];
    let revision = 0;
    for await (const page of this.pages(prefix, options)) {
      for (const entry of page.entries) entries.push(entry);
      revision = page.revision;
    }
    return { entries, revision };
  }

  async put(
    key: string,
    value: string | Uint8Array,
    options: PutOptions = {},
  ): Promise<{ revision: number }> {
    const { lease } = options;
    const operation = {
      type: 'put' as const,
      key,
      value,
      ...(lease === undefined ? {} : { lease }),
    };
    const { revision } = await this.txn({ compare: [], success: [operation] }, options);
    return { revision };
  }

  delete(key: string, options?: CallOptions): Promise<{ revision: number; deleted: number }> {
    return this.#remove({ type: 'delete', key }, options);
  }

  deletePrefix(
    prefix: string,
    options?: CallOptions,
  ): Promise<{ revision: number; deleted: number }> {
    return this.#remove({ type: 'delete-prefix', prefix }, options);
  }

  async #remove(
    operation: TxnOperation,
    options?: CallOptions,
  ): Promise<{ revision: number; deleted: number }> {
    const { revision, results } = await this.txn({ compare: [], success: [operation] }, options);
    const [result] = results;
    return { revision, deleted: result?.type === 'delete' ? result.deleted : 0 };
  }

  async txn(txn: Txn, options?: CallOptions): Promise<TxnResult> {
    const failure = txn.failure ?? [];
    for (const compare of txn.compare) checkKey(compare.key);
    for (const operation of [...txn.success, ...failure])
      if ('key' in operation) checkKey(operation.key);
    const request = { compare: txn.compare, success: txn.success, failure };
    try {
      const { header, succeeded, results } = await this.#call('transaction', options, (call) =>
        this.#transport.txn(request, call),
      );
      return { revision: header.revision, succeeded, results };
    } catch (error) {
      if (error instanceof KvError && error.code === 'lease-not-found') this.#forgetLeases(txn);
      throw error;
    }
  }

  /** The store does not know a lease of the transaction: the holder hears of it now, not at the next renewal. */
  #forgetLeases(txn: Txn): void {
    const named = new Set(txn.success.map((op) => (op.type === 'put' ? op.lease : undefined)));
    // With several leases in one transaction we cannot tell which; their renewals will.
    const [only] = named;
    if (named.size === 1 && only !== undefined) this.#leases.get(only)?.forget();
  }

  async lease(ttl: number, options?: CallOptions): Promise<Lease> {
    if (!Number.isInteger(ttl) || ttl < 1) {
      throw new KvError(
        'invalid',
        ttl,
        `a lease lives a whole number of seconds from 1, not ${ttl}`,
      );
    }
    const granted = await this.#call('lease', options, (call) =>
      this.#transport.leaseGrant(ttl, call),
    );
    const lease = new HeldLease(granted.id, granted.ttl, {
      clock: this.#clock,
      random: this.#options.random,
      deadline: this.#deadline,
      keepAlive: async (id, { signal, deadline }) => {
        const renewed = await this.#call(`lease ${id}`, { signal, deadline }, (call) =>
          this.#transport.leaseKeepAlive(id, call),
        );
        return renewed.ttl;
      },
      revoke: async (id, revokeOptions) => {
        await this.#call(`lease ${id}`, revokeOptions, (call) =>
          this.#transport.leaseRevoke(id, call),
        ).catch((error) => {
          if (!(error instanceof KvError && error.code === 'lease-not-found')) throw error;
        });
      },
      onEnded: (ended) => this.#leases.delete(ended.id),
    });
    this.#leases.set(granted.id, lease);
    return lease;
  }

  watch(prefix: string, options: WatchOptions = {}): KvWatch {
    if (options.pageSize !== undefined) checkPageSize(options.pageSize);
    if (this.#stop.signal.aborted) throw closed(prefix, this.#stop.signal);
    const watch = new Watch(prefix, options, {
      transport: this.#transport,
      clock: this.#clock,
      random: this.#options.random,
      deadline: () => this.#deadline,
      pageSize: this.#options.pageSize,
      onHeader: (header) => this.#hear(header),
      onError: (error) => this.#watchFailed(error),
      onClosed: (closedWatch) => this.#watches.delete(closedWatch),
    });
    if (watch.status().state !== 'closed') this.#watches.add(watch);
    return watch;
  }

  /** Ends calls and watches. Leases are left to run out: what a program said outlives its restart. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#stop.signal.aborted) return;
    const watches = [...this.#watches];
    for (const lease of [...this.#leases.values()]) lease.abandon();
    this.#stop.abort(new KvError('closed', undefined, 'the client was closed'));
    for (const watch of watches) await watch[Symbol.asyncDispose]();
    await this.#probing;
    await this.#transport[Symbol.asyncDispose]();
    this.#listeners.clear();
  }
}

function closed(about: string, signal: AbortSignal): KvError {
  return new KvError('closed', about, `the call about ${about} was given up`, signal.reason);
}

function checkKey(key: string): void {
  if (typeof key !== 'string' || key === '')
    throw new KvError('invalid', key, 'a key is text of at least one character');
}

function checkPageSize(size: number): void {
  if (!Number.isInteger(size) || size < 1 || size > 10_000) {
    throw new KvError('invalid', size, `pageSize is a whole number from 1 to 10000, not ${size}`);
  }
}
