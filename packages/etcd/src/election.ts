import { type Clock, exponentialBackoff, Gate } from '@causeway/tables';
import { KvError } from './errors.ts';
import { absent, type Compare, type Kv, type KvEntry, type Lease, type LeaseId } from './types.ts';

export interface ElectionOptions {
  readonly kv: Kv;
  /** The key that the leader holds; nothing else may stand below it. */
  readonly key: string;
  /** Who this is, for people: any text without a secret. */
  readonly name: string;
  /** Seconds after which a leader that is gone without a word is replaced. */
  readonly ttl: number;
  readonly clock: Clock;
  /** In [0, 1). */
  readonly random: () => number;
}

/**
 * What proves that a write is the leader's. Put `compare` into every transaction: it fails as soon as
 * the key is gone or another's, whatever a paused or cut-off leader still believes.
 */
export interface Fence {
  readonly key: string;
  /** The key's create revision: grows with each change of leader. */
  readonly revision: number;
  readonly compare: Compare;
}

export type ElectionState =
  | { readonly type: 'connecting' }
  | { readonly type: 'following'; readonly leader: string }
  | { readonly type: 'leading'; readonly fence: Fence };

/**
 * One leader among those who hold an Election of one key. The key hangs on the leader's lease: a leader
 * that dies loses it after `ttl`, one that is closed at once. Only the fence keeps two leaders apart;
 * `state` is what this one knew last.
 */
export class Election implements AsyncDisposable {
  readonly #options: ElectionOptions;
  readonly #stop = new AbortController();
  readonly #listeners = new Set<(state: ElectionState) => void>();
  readonly #seen = new Gate();
  readonly #running: Promise<void>;
  readonly #watching: Promise<void>;
  /** Grows with everything that the watch or a failed fence tells; a look at the key settles it. */
  #doubts = 0;
  #state: ElectionState = { type: 'connecting' };
  #lastError: string | undefined;

  constructor(options: ElectionOptions) {
    this.#options = options;
    this.#watching = this.#watch();
    this.#running = this.#run();
  }

  get state(): ElectionState {
    return this.#state;
  }

  /** Why there is no part in the election at present, for people. */
  get lastError(): string | undefined {
    return this.#lastError;
  }

  /** Called after each change. Returns its undoing. */
  onChange(listener: (state: ElectionState) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** For who was told by a transaction that the fence no longer holds. */
  doubt(): void {
    this.#doubts++;
    this.#seen.open();
  }

  async #watch(): Promise<void> {
    const { kv, key } = this.#options;
    const watch = kv.watch(key, {
      signal: this.#stop.signal,
      replacedGrace: 0,
      ownWrites: true,
    });
    for await (const event of watch) {
      if (event.type !== 'disconnected') this.doubt();
    }
  }

  async #run(): Promise<void> {
    const { clock, random, kv, ttl } = this.#options;
    const { signal } = this.#stop;
    const backoff = exponentialBackoff(random, { min: 100, max: 5_000 });
    let failures = 0;
    while (!signal.aborted) {
      try {
        await using lease = await kv.lease(ttl, { signal });
        failures = 0;
        await this.#campaign(lease);
      } catch (error) {
        if (signal.aborted) break;
        this.#lastError = error instanceof Error ? error.message : String(error);
        failures++;
      }
      this.#enter({ type: 'connecting' });
      if (failures > 0) await clock.sleep(backoff(failures), signal);
    }
    this.#enter({ type: 'connecting' });
  }

  /** Takes part with one lease until it ends. Throws KvError when the store cannot be asked. */
  async #campaign(lease: Lease): Promise<void> {
    const ended = AbortSignal.any([this.#stop.signal, lease.ended]);
    while (!ended.aborted) {
      const entry = await this.#claim(lease.id, ended);
      this.#lastError = undefined;
      if (entry.lease === lease.id) {
        this.#enter({ type: 'leading', fence: fenceOf(entry) });
      } else {
        this.#enter({ type: 'following', leader: entry.text });
      }
      await this.#whileHeld(entry, ended);
    }
  }

  /** The key as it stands: ours if it was free, else whoever has it. */
  async #claim(lease: LeaseId, signal: AbortSignal): Promise<KvEntry> {
    const { kv, key, name } = this.#options;
    const { results } = await kv.txn(
      {
        compare: [absent(key)],
        success: [
          { type: 'put', key, value: name, lease },
          { type: 'get', key },
        ],
        failure: [{ type: 'get', key }],
      },
      { signal },
    );
    const found = results.find((result) => result.type === 'get');
    if (found?.type === 'get' && found.entry !== undefined) return found.entry;
    throw new KvError('internal', key, `the election's key ${key} was neither free nor held`);
  }

  /** Until the watch says that the key is gone or another's, or the lease ends. */
  async #whileHeld(entry: KvEntry, ended: AbortSignal): Promise<void> {
    const { kv, key } = this.#options;
    let settled = -1;
    while (!ended.aborted) {
      if (settled === this.#doubts) {
        await this.#seen.wait(ended);
        continue;
      }
      settled = this.#doubts;
      // The watch may still be telling of times before the claim: the store itself is asked.
      const now = await kv.get(key, { signal: ended });
      if (now?.createRevision !== entry.createRevision) return;
    }
  }

  #enter(state: ElectionState): void {
    const before = this.#state;
    this.#state = state;
    if (sameState(before, state)) return;
    for (const listener of this.#listeners) listener(state);
  }

  /** Gives the lead back, so that another has it at once. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#running;
    await this.#watching;
  }
}

function fenceOf({ key, createRevision: revision }: KvEntry): Fence {
  return { key, revision, compare: { type: 'create', key, operator: '=', revision } };
}

function sameState(a: ElectionState, b: ElectionState): boolean {
  if (a.type === 'leading') return b.type === 'leading' && a.fence.revision === b.fence.revision;
  if (a.type === 'following') return b.type === 'following' && a.leader === b.leader;
  return a.type === b.type;
}
