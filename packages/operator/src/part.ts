import { type Log, messageWithCauses } from '@causeway/daemon';
import { type Clock, exponentialBackoff } from '@causeway/tables';

/** How one of the leader's tasks is doing. */
export interface PartStatus {
  readonly name: string;
  /** RFC 3339: since when it runs without an error, or is failing. */
  readonly since: string;
  readonly lastError: string | undefined;
}

export interface PartOptions {
  readonly name: string;
  /** For waiting: nobody sets it. */
  readonly clock: Clock;
  /** Milliseconds since the epoch, for people. */
  readonly wall: () => number;
  readonly random: () => number;
  readonly log: Log;
}

/**
 * One of the leader's tasks, run until the signal aborts: what it throws is told and tried again after a back-off,
 * and the other tasks do not hear of it.
 */
export class Part {
  readonly #options: PartOptions;
  #since: number;
  #lastError: string | undefined;

  constructor(options: PartOptions) {
    this.#options = options;
    this.#since = options.wall();
  }

  status(): PartStatus {
    return {
      name: this.#options.name,
      since: new Date(this.#since).toISOString(),
      lastError: this.#lastError,
    };
  }

  /** @param work called again after it throws; `good` says that it is past what failed. */
  async run(
    signal: AbortSignal,
    work: (signal: AbortSignal, good: () => void) => Promise<void>,
  ): Promise<void> {
    const { name, clock, wall, random, log } = this.#options;
    const backoff = exponentialBackoff(random, { min: 100, max: 10_000 });
    let failures = 0;
    const good = () => {
      failures = 0;
      if (this.#lastError === undefined) return;
      this.#lastError = undefined;
      this.#since = wall();
    };
    while (!signal.aborted) {
      try {
        await work(signal, good);
        return;
      } catch (error) {
        if (signal.aborted) return;
        failures++;
        const text = messageWithCauses(error);
        if (this.#lastError === undefined) this.#since = wall();
        if (this.#lastError !== text)
          log.warn({ part: name, error: text }, 'a task failed; it is tried again');
        this.#lastError = text;
      }
      await clock.sleep(backoff(failures), signal);
    }
  }
}
