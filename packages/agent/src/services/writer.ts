import { type Log, messageWithCauses } from '@causeway/daemon';
import type { MapOperation } from '@causeway/loadbalancing';
import { type Clock, exponentialBackoff } from '@causeway/tables';
import { Backlog } from './backlog.ts';

export interface ServiceWriterOptions {
  /** Throws when the kernel refuses the write. */
  readonly apply: (operation: MapOperation) => void;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
}

/**
 * Applies the load balancer's writes in their order. What the kernel refuses, for want of room above
 * all, waits with the later writes of the same service or backend; the others go on, so that taking
 * services away makes room again. It is tried anew as soon as something went, and after a while.
 */
export class ServiceWriter implements Disposable {
  readonly #options: ServiceWriterOptions;
  readonly #backoff;
  readonly #stop = new AbortController();
  /** By service or backend, in the order of their refusal. */
  readonly #waiting = new Map<string, Backlog>();
  #attempts = 0;
  #retrying = false;
  #error: unknown;

  constructor(options: ServiceWriterOptions) {
    this.#options = options;
    this.#backoff = exponentialBackoff(options.random, { min: 100, max: 10_000 });
  }

  /** The kernel has all that was pushed. */
  get idle(): boolean {
    return this.#waiting.size === 0;
  }

  /** Services and backends that wait. */
  get waiting(): number {
    return this.#waiting.size;
  }

  /** Why the last refused write was refused; undefined when idle. */
  get error(): unknown {
    return this.#error;
  }

  push(operations: readonly MapOperation[]): void {
    let freed = false;
    for (const operation of operations) freed = this.#take(operation) || freed;
    if (freed) this.#retry();
    this.#retryLater();
  }

  /** True if it made room. */
  #take(operation: MapOperation): boolean {
    const key = ownerOf(operation);
    const backlog = this.#waiting.get(key);
    if (backlog === undefined) return this.#run(key, [operation]);
    const now = backlog.add(operation);
    if (backlog.empty) this.#waiting.delete(key);
    return now.length > 0 && this.#run(key, now);
  }

  /** Does as much as can be done of one owner's writes; the rest waits. True if that made room. */
  #run(key: string, operations: readonly MapOperation[]): boolean {
    let freed = false;
    for (const [index, operation] of operations.entries()) {
      try {
        this.#options.apply(operation);
        freed ||= operation.type.endsWith('-delete');
      } catch (error) {
        if (this.#error === undefined) {
          const fields = { owner: key, error: messageWithCauses(error) };
          this.#options.log.error(fields, 'a service cannot be written and is tried again');
        }
        this.#error = error;
        const backlog = this.#waiting.get(key) ?? new Backlog();
        for (const left of operations.slice(index)) backlog.add(left);
        this.#waiting.set(key, backlog);
        return freed;
      }
    }
    return freed;
  }

  #retry(): void {
    const all = [...this.#waiting];
    this.#waiting.clear();
    for (const [key, backlog] of all) this.#run(key, backlog.operations());
    if (!this.idle) return;
    this.#attempts = 0;
    this.#error = undefined;
  }

  #retryLater(): void {
    if (this.idle) this.#error = undefined;
    if (this.idle || this.#retrying || this.#stop.signal.aborted) return;
    this.#retrying = true;
    this.#attempts++;
    void this.#options.clock.sleep(this.#backoff(this.#attempts), this.#stop.signal).then(() => {
      this.#retrying = false;
      if (this.#stop.signal.aborted) return;
      this.#retry();
      this.#retryLater();
    });
  }

  [Symbol.dispose](): void {
    this.#stop.abort();
  }
}

function ownerOf(operation: MapOperation): string {
  switch (operation.type) {
    case 'backend-put':
    case 'backend-delete':
      return `backend ${operation.backendId}`;
    case 'service-put':
      return `service ${operation.row.serviceId}`;
    case 'slots-put':
    case 'reverse-put':
    case 'source-range-put':
    case 'source-range-delete':
    case 'service-delete':
    case 'slots-delete':
    case 'reverse-delete':
      return `service ${operation.serviceId}`;
    default:
      return operation satisfies never;
  }
}
