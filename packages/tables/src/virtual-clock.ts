import type { Clock } from './clock.ts';

interface Sleeper {
  readonly due: number;
  readonly order: number;
  readonly wake: () => void;
}

/** A clock that moves only when told to, for tests of anything that waits. */
export class VirtualClock implements Clock {
  #now: number;
  #order = 0;
  readonly #sleepers = new Set<Sleeper>();

  constructor(start = 1_000_000) {
    this.#now = start;
  }

  now(): number {
    return this.#now;
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    if (signal?.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const wake = () => {
        this.#sleepers.delete(sleeper);
        signal?.removeEventListener('abort', wake);
        resolve();
      };
      const sleeper = { due: this.#now + Math.max(0, ms), order: this.#order++, wake };
      this.#sleepers.add(sleeper);
      signal?.addEventListener('abort', wake);
    });
  }

  /** Sleepers under way: none are left once everything that used the clock is closed. */
  get sleeping(): number {
    return this.#sleepers.size;
  }

  /** Moves on by `ms`, waking each sleeper at its time and letting what it starts run before the next. */
  async advance(ms: number): Promise<void> {
    const end = this.#now + ms;
    await flush();
    for (;;) {
      const next = this.#next(end);
      if (!next) break;
      this.#now = Math.max(this.#now, next.due);
      next.wake();
      await flush();
    }
    this.#now = end;
    await flush();
  }

  #next(end: number): Sleeper | undefined {
    let first: Sleeper | undefined;
    for (const sleeper of this.#sleepers) {
      if (sleeper.due > end) continue;
      if (
        !first ||
        sleeper.due < first.due ||
        (sleeper.due === first.due && sleeper.order < first.order)
      ) {
        first = sleeper;
      }
    }
    return first;
  }
}

/** Lets promise chains of code without I/O run to where they wait again. */
export async function flush(turns = 100): Promise<void> {
  for (let i = 0; i < turns; i++) await Promise.resolve();
}
