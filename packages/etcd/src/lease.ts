import { type Clock, exponentialBackoff } from '@causeway/tables';
import { KvError } from './errors.ts';
import type { Call } from './transport.ts';
import type { CallOptions, Lease, LeaseId } from './types.ts';

export interface LeaseContext {
  readonly clock: Clock;
  readonly random: () => number;
  readonly deadline: number;
  readonly keepAlive: (id: LeaseId, call: Call) => Promise<number>;
  readonly revoke: (id: LeaseId, options: CallOptions | undefined) => Promise<void>;
  readonly onEnded: (lease: HeldLease) => void;
}

/** Milliseconds between two renewals that doubts ask for. */
const restBetweenChecks = 1000;

/**
 * Renews at a third of the lease's life. While the store is away it keeps trying and gives nothing
 * up: only the store's word that it does not know the lease ends it, because an etcd that comes back
 * prolongs its leases.
 */
export class HeldLease implements Lease {
  readonly id: LeaseId;
  readonly ttl: number;
  readonly #context: LeaseContext;
  readonly #ended = new AbortController();
  #early = new AbortController();
  readonly #running: Promise<void>;

  constructor(id: LeaseId, ttl: number, context: LeaseContext) {
    this.id = id;
    this.ttl = ttl;
    this.#context = context;
    this.#running = this.#keep();
  }

  get ended(): AbortSignal {
    return this.#ended.signal;
  }

  async #keep(): Promise<void> {
    const { clock, random, deadline, keepAlive } = this.#context;
    const { signal } = this.#ended;
    const third = (this.ttl * 1000) / 3;
    const backoff = exponentialBackoff(random, {
      min: 200,
      max: Math.max(200, Math.min(third, 5000)),
    });
    let failures = 0;
    let renewed = Number.NEGATIVE_INFINITY;
    for (;;) {
      this.#early = new AbortController();
      const wait = AbortSignal.any([signal, this.#early.signal]);
      await clock.sleep(failures === 0 ? third : backoff(failures), wait);
      // Answers overtake each other, so that revisions seem to go back all the time: doubts that crowd
      // are settled by one renewal.
      const rest = renewed + Math.min(third, restBetweenChecks) - clock.now();
      if (failures === 0 && rest > 0) await clock.sleep(rest, signal);
      if (signal.aborted) return;
      renewed = clock.now();
      try {
        const left = await keepAlive(this.id, {
          signal,
          deadline: Math.min(deadline, Math.max(third, 500)),
        });
        failures = 0;
        if (left <= 0) return this.#end(this.#lost());
      } catch (error) {
        if (error instanceof KvError && error.code === 'lease-not-found') return this.#end(error);
        failures++;
      }
    }
  }

  #lost(): KvError {
    return new KvError('lease-not-found', this.id, `lease ${this.id} of ${this.ttl} s has expired`);
  }

  #end(reason: KvError): void {
    if (this.#ended.signal.aborted) return;
    this.#ended.abort(reason);
    this.#context.onEnded(this);
  }

  /** For the client: renew now. The store was away or replaced, and may have forgotten the lease. */
  check(): void {
    this.#early.abort();
  }

  /** For the client: a write has been told that the lease is unknown. */
  forget(): void {
    this.#end(this.#lost());
  }

  abandon(): void {
    this.#end(new KvError('closed', this.id, `lease ${this.id} is no longer kept`));
  }

  async revoke(options?: CallOptions): Promise<void> {
    if (this.#ended.signal.aborted) return;
    this.abandon();
    await this.#running;
    await this.#context.revoke(this.id, options);
  }

  /** Gives the lease back; a store that is away lets it run out. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.revoke().catch(() => {});
  }
}
