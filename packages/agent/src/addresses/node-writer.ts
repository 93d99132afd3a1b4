import { codeOf, type Log, messageWithCauses } from '@causeway/daemon';
import type { ResourceStore } from '@causeway/resources';
import { type Clock, Gate } from '@causeway/tables';
import type { HealthRow } from '../api/types.ts';
import { type PoolWish, withWish } from './stored-pools.ts';

const RETRY_MS = 1_000;
/** Others write the same object: what they did in between is no failure. */
const CONFLICTS = 8;

export interface NodeWriterOptions {
  readonly store: Pick<ResourceStore, 'get' | 'update'>;
  readonly node: string;
  readonly clock: Clock;
  readonly log: Log;
}

/** Keeps `spec.ipam.pools` of the node's CiliumNode as the node wants it; one write at a time, the newest wish counts. */
export class NodeWriter implements AsyncDisposable {
  readonly #options: NodeWriterOptions;
  readonly #stop = new AbortController();
  readonly #wake = new Gate();
  readonly #running: Promise<void>;
  #wish: PoolWish | undefined;
  #problem: string | undefined;
  #writes = 0;

  constructor(options: NodeWriterOptions) {
    this.#options = options;
    this.#running = this.#run(this.#stop.signal);
  }

  /** How often the object was written, for a view. */
  get writes(): number {
    return this.#writes;
  }

  /** From now on this is what it shall say. */
  want(wish: PoolWish): void {
    this.#wish = wish;
    this.#wake.open();
  }

  health(): HealthRow[] {
    if (this.#problem === undefined) return [];
    return [{ name: 'pod-cidr-requests', healthy: false, detail: this.#problem }];
  }

  async #run(signal: AbortSignal): Promise<void> {
    const { clock, log } = this.#options;
    while (!signal.aborted) {
      const wish = this.#wish;
      this.#wish = undefined;
      if (wish === undefined) {
        await this.#wake.wait(signal);
        continue;
      }
      try {
        await this.#write(wish, signal);
        this.#problem = undefined;
      } catch (error) {
        if (signal.aborted) return;
        const problem = messageWithCauses(error);
        if (problem !== this.#problem) {
          log.warn({ error: problem }, 'the CiliumNode cannot be told what pods need');
        }
        this.#problem = problem;
        await clock.sleep(RETRY_MS, signal);
        this.#wish ??= wish;
      }
    }
  }

  async #write(wish: PoolWish, signal: AbortSignal): Promise<void> {
    const { store, node } = this.#options;
    for (let attempt = 1; ; attempt++) {
      const stored = await store.get('CiliumNode', { name: node }, { signal });
      const next = withWish(stored, wish);
      if (next === undefined) return;
      try {
        await store.update(next, { signal });
        this.#writes++;
        return;
      } catch (error) {
        if (codeOf(error) !== 'conflict' || attempt === CONFLICTS) throw error;
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    this.#wake.open();
    await this.#running;
  }
}
