import type { Kv, KvEntry } from '@causeway/etcd';
import type { Clock } from '@causeway/tables';
import {
  CACHE_RECORD_TIMEOUT,
  CACHE_RECORDS,
  type CacheRecord,
  clusterOfRecord,
  decodeCacheRecord,
} from './cache-record.ts';
import type { Upstream } from './session.ts';

/** How often records are held against the clock, milliseconds. */
const LOOK_MS = 5000;

interface Known {
  readonly record: CacheRecord;
  readonly revision: number;
  /** When it was seen, by our own clock: others' differ. */
  readonly at: number;
}

/** What the operator says of its copies of peers: a reader of a copy is in contact while the copy is. */
export class CacheUpstreams implements AsyncDisposable {
  readonly #clock: Clock;
  readonly #records = new Map<string, Known>();
  readonly #listeners = new Map<string, Set<() => void>>();
  readonly #stop = new AbortController();
  readonly #running: Promise<unknown>;

  constructor(kv: Kv, clock: Clock) {
    this.#clock = clock;
    this.#running = Promise.all([this.#follow(kv), this.#look()]);
  }

  record(name: string): CacheRecord | undefined {
    return this.#records.get(name)?.record;
  }

  of(name: string): Upstream {
    return {
      problem: () => this.#problem(name),
      onChange: (listener) => {
        const listeners = this.#listeners.get(name) ?? new Set();
        this.#listeners.set(name, listeners);
        listeners.add(listener);
        return () => listeners.delete(listener);
      },
    };
  }

  #problem(name: string): string | undefined {
    const known = this.#records.get(name);
    if (known === undefined) {
      return `the own store has no copy of ${name}; an operator with mesh.cache.enabled makes it`;
    }
    const { state, reason } = known.record;
    if (state !== 'ready') {
      return `the copy is ${state}${reason === undefined ? '' : ` (${reason})`}`;
    }
    const age = this.#clock.now() - known.at;
    if (age <= CACHE_RECORD_TIMEOUT) return undefined;
    return `no operator has kept the copy for ${Math.round(age / 1000)} s`;
  }

  async #follow(kv: Kv): Promise<void> {
    for await (const event of kv.watch(CACHE_RECORDS, { signal: this.#stop.signal })) {
      if (event.type === 'put') this.#put(event.entry);
      else if (event.type === 'delete') {
        const name = clusterOfRecord(event.key);
        if (name !== undefined && this.#records.delete(name)) this.#tell(name);
      }
    }
  }

  #put({ key, text, modRevision }: KvEntry): void {
    const name = clusterOfRecord(key);
    if (name === undefined) return;
    const before = this.#records.get(name);
    // Listed again, not written again.
    if (before?.revision === modRevision) return;
    try {
      const record = decodeCacheRecord(text);
      this.#records.set(name, { record, revision: modRevision, at: this.#clock.now() });
    } catch {
      // What is not understood says nothing; the last good one ages.
      return;
    }
    this.#tell(name);
  }

  async #look(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      await this.#clock.sleep(LOOK_MS, signal);
      for (const name of this.#records.keys()) this.#tell(name);
    }
  }

  #tell(name: string): void {
    for (const listener of [...(this.#listeners.get(name) ?? [])]) listener();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }
}
