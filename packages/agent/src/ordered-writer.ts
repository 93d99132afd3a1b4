import { type Log, messageWithCauses } from '@causeway/daemon';
import { type Clock, exponentialBackoff } from '@causeway/tables';

/**
 * Applies operations in their order. One that fails stays at the head and is tried again after a
 * while, and everything behind it waits: order is what makes each state in between a whole one. What
 * is pushed while some wait is made one with them by `compact`, so that what is no longer wanted
 * cannot hold up what would make room for the rest.
 */
export class OrderedWriter<Op> implements Disposable {
  readonly name: string;
  readonly #apply: (op: Op) => void;
  readonly #compact: (queue: readonly Op[]) => Op[];
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #backoff;
  readonly #stop = new AbortController();
  #queue: Op[] = [];
  #attempts = 0;
  #retrying = false;
  #error: unknown;
  #applied = 0;

  constructor(options: {
    readonly name: string;
    readonly apply: (op: Op) => void;
    /** The same effect in fewer operations, whole after each of them. */
    readonly compact?: (queue: readonly Op[]) => Op[];
    readonly clock: Clock;
    readonly random: () => number;
    readonly log: Log;
  }) {
    this.name = options.name;
    this.#apply = options.apply;
    this.#compact = options.compact ?? ((queue) => [...queue]);
    this.#clock = options.clock;
    this.#log = options.log;
    this.#backoff = exponentialBackoff(options.random, { min: 100, max: 10_000 });
  }

  /** Nothing waits: the kernel has all that was pushed. */
  get idle(): boolean {
    return this.#queue.length === 0;
  }

  /** What is not applied yet, in its order. */
  get pending(): readonly Op[] {
    return this.#queue;
  }

  get waiting(): number {
    return this.#queue.length;
  }

  get applied(): number {
    return this.#applied;
  }

  /** Why the head of the queue could not be applied. */
  get error(): unknown {
    return this.#error;
  }

  /** Appends and applies at once. Returns whether everything is applied. */
  push(ops: readonly Op[]): boolean {
    const waited = !this.idle && ops.length > 0;
    for (const op of ops) this.#queue.push(op);
    if (waited) this.#queue = this.#compact(this.#queue);
    return this.drain();
  }

  drain(): boolean {
    let done = 0;
    try {
      while (done < this.#queue.length) {
        this.#apply(this.#queue[done]!);
        done++;
        this.#applied++;
      }
      this.#error = undefined;
      this.#attempts = 0;
    } catch (error) {
      this.#error = error;
      if (this.#attempts === 0) {
        this.#log.error(
          { writer: this.name, error: messageWithCauses(error) },
          'a write to the kernel fails and is tried again',
        );
      }
    }
    this.#queue = done === 0 ? this.#queue : this.#queue.slice(done);
    if (this.#queue.length > 0) this.#retryLater();
    return this.#queue.length === 0;
  }

  #retryLater(): void {
    if (this.#retrying || this.#stop.signal.aborted) return;
    this.#retrying = true;
    this.#attempts++;
    void this.#clock.sleep(this.#backoff(this.#attempts), this.#stop.signal).then(() => {
      this.#retrying = false;
      if (!this.#stop.signal.aborted) this.drain();
    });
  }

  [Symbol.dispose](): void {
    this.#stop.abort();
  }
}
