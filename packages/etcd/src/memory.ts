import { type Clock, Gate } from '@causeway/tables';
import { Client, type ClientOptions } from './client.ts';
import { KvError } from './errors.ts';
import { MemoryAuth } from './memory-auth.ts';
import { MemoryStore } from './memory-store.ts';
import type {
  Call,
  Header,
  RangeRequest,
  Stream,
  StreamHandlers,
  Transport,
  TxnRequest,
} from './transport.ts';
import type { Kv } from './types.ts';

export interface MemoryEtcdOptions {
  readonly clock: Clock;
  /** 0 to 1, for jitter; default: always 0.5, so that runs repeat. */
  readonly random?: () => number;
}

/**
 * A store for tests and for trying things: `connect` as often as there are nodes, then take it away,
 * empty it, slow it down or compact it, as a real one would be.
 */
export class MemoryEtcd implements AsyncDisposable {
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #clients = new Set<Kv>();
  readonly #changed = new Gate();
  readonly #end = new AbortController();
  readonly #streams = new Set<() => void>();
  /** Users and roles; until they are enabled, everybody may do all. */
  readonly auth = new MemoryAuth();
  #store: MemoryStore;
  #generation = 1;
  #up = true;
  #frozen = false;
  #delay = 0;

  constructor(options: MemoryEtcdOptions) {
    this.#clock = options.clock;
    this.#random = options.random ?? (() => 0.5);
    this.#store = new MemoryStore('1001');
    void this.#expire();
  }

  /** Another client of the same store; `user` is whom a real one's certificate would name. */
  connect({ user, ...options }: Partial<ClientOptions> & { readonly user?: string } = {}): Kv {
    const client = new Client(this.#transport(user), {
      clock: this.#clock,
      random: this.#random,
      ...options,
    });
    this.#clients.add(client);
    return client;
  }

  get revision(): number {
    return this.#store.revision;
  }

  /** Connections break and new ones are refused until `start`. */
  stop(): void {
    this.#up = false;
    for (const cut of [...this.#streams]) cut();
    this.#changed.open();
  }

  start(): void {
    this.#up = true;
    this.#store.prolong(this.#clock.now());
    this.#changed.open();
  }

  /** The process stands still: nothing is answered and nothing breaks, until `thaw`. */
  freeze(): void {
    this.#frozen = true;
  }

  thaw(): void {
    this.#frozen = false;
    this.#changed.open();
  }

  /** Every answer takes this long. */
  slow(milliseconds: number): void {
    this.#delay = milliseconds;
  }

  /** All data and leases are gone and revisions start over; with another cluster id unless told otherwise. */
  wipe(options: { readonly keepClusterId?: boolean } = {}): void {
    for (const cut of [...this.#streams]) cut();
    if (!options.keepClusterId) this.#generation++;
    this.#store = new MemoryStore(String(1000 + this.#generation));
    this.#changed.open();
  }

  compact(revision?: number): void {
    this.#store.compact(revision);
  }

  /** Ends every lease now, as if its time were up. */
  expireLeases(): void {
    for (const id of this.#store.leases) this.#store.revoke(id);
  }

  async #expire(): Promise<void> {
    const { signal } = this.#end;
    while (!signal.aborted) {
      await this.#clock.sleep(500, signal);
      if (this.#up && !this.#frozen && !signal.aborted) this.#store.expire(this.#clock.now());
    }
  }

  #header(): Header {
    const { clusterId, revision } = this.#store;
    return { clusterId, memberId: '1', revision, endpoint: 'memory' };
  }

  #transport(user: string | undefined): Transport {
    const { auth } = this;
    const answer = async <T>(call: Call, run: () => T): Promise<T & { header: Header }> => {
      await this.#arrive(call);
      const result = run();
      return { ...result, header: this.#header() };
    };
    const now = () => this.#clock.now();
    return {
      get: (key, call) =>
        answer(call, () => {
          auth.check(user, 'read', { type: 'key', key });
          return { entry: this.#store.get(key) };
        }),
      range: (request: RangeRequest, call) =>
        answer(call, () => {
          auth.check(user, 'read', { type: 'prefix', prefix: request.prefix });
          return this.#store.range(request);
        }),
      txn: (request: TxnRequest, call) =>
        answer(call, () => {
          auth.checkTxn(user, request);
          return this.#store.txn(request.compare, request.success, request.failure);
        }),
      leaseGrant: (ttl, call) => answer(call, () => ({ id: this.#store.grant(ttl, now()), ttl })),
      leaseKeepAlive: (id, call) => answer(call, () => ({ ttl: this.#store.keepAlive(id, now()) })),
      leaseRevoke: (id, call) => answer(call, () => ({ done: this.#store.revoke(id) })),
      probe: (call) => answer(call, () => ({})),
      watch: (request, handlers) => this.#watch(request, handlers, user),
      [Symbol.asyncDispose]: async () => {},
    };
  }

  /** Gets a call as far as the store, or throws what a network would. */
  async #arrive(call: Call): Promise<void> {
    const due = this.#clock.now() + call.deadline;
    const late = () => new KvError('deadline', 'memory', `no answer within ${call.deadline} ms`);
    // Even the quickest store answers later, never within the call.
    await Promise.resolve();
    if (this.#delay > 0) await this.#clock.sleep(Math.min(this.#delay, call.deadline), call.signal);
    if (this.#delay >= call.deadline) throw late();
    while (this.#frozen && this.#up && this.#clock.now() < due && !call.signal.aborted) {
      const either = new AbortController();
      await Promise.race([
        this.#changed.wait(AbortSignal.any([call.signal, either.signal])),
        this.#clock.sleep(due - this.#clock.now(), AbortSignal.any([call.signal, either.signal])),
      ]);
      either.abort();
    }
    call.signal.throwIfAborted();
    if (!this.#up) throw new KvError('unavailable', 'memory', 'the store is away');
    if (this.#frozen) throw late();
  }

  #watch(
    request: { prefix: string; startRevision: number },
    handlers: StreamHandlers,
    user: string | undefined,
  ): Stream {
    const end = new AbortController();
    const moved = new Gate();
    let paused = false;
    const store = this.#store;
    const unlisten = store.onRevision(() => moved.open());
    const cut = () => finish(new KvError('unavailable', 'memory', 'the connection broke'));
    const finish = (error?: KvError) => {
      if (end.signal.aborted) return;
      end.abort();
      unlisten();
      this.#streams.delete(cut);
      if (error) handlers.ended(error);
    };
    this.#streams.add(cut);
    const run = async () => {
      let next = request.startRevision;
      let created = false;
      await this.#arrive({ signal: end.signal, deadline: Number.MAX_SAFE_INTEGER });
      // Judged once: a watch that runs outlives its user, in etcd as here.
      this.auth.check(user, 'read', { type: 'prefix', prefix: request.prefix });
      while (!end.signal.aborted) {
        if (this.#frozen) {
          await this.#changed.wait(end.signal);
          continue;
        }
        if (!created) {
          created = true;
          handlers.created(this.#header());
        }
        const revisions = paused ? [] : store.since(next);
        if (revisions.length === 0) {
          await moved.wait(end.signal);
          continue;
        }
        next = (revisions.at(-1)?.revision ?? next) + 1;
        const events = revisions
          .flatMap((revision) => revision.events)
          .filter((event) =>
            (event.type === 'put' ? event.entry.key : event.key).startsWith(request.prefix),
          );
        if (events.length > 0) handlers.events(this.#header(), events);
        await Promise.resolve();
      }
    };
    run().catch((error) => {
      if (end.signal.aborted) return;
      finish(
        error instanceof KvError
          ? error
          : new KvError('internal', request.prefix, String(error), error),
      );
    });
    return {
      pause: () => {
        paused = true;
      },
      resume: () => {
        paused = false;
        moved.open();
      },
      close: () => finish(),
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#end.abort();
    for (const client of this.#clients) await client[Symbol.asyncDispose]();
  }
}

/** An etcd in memory that passes the same compliance suite as the real one. */
export const memoryEtcd = (options: MemoryEtcdOptions): MemoryEtcd => new MemoryEtcd(options);
