import type { Clock } from '@causeway/tables';

/** Whoever fills a store again may need a while for all of it. */
const REFILL_MS = 30_000;

/**
 * Tells an emptied store from one in which somebody deleted things. A cluster whose agents run has
 * its nodes in the store at least: a store without a single object is not what anybody meant, and the
 * last known state stays until objects come again.
 */
export class EmptyStoreGuard {
  readonly #clock: Clock;
  readonly #releases: (() => void)[] = [];
  readonly #first: (() => void)[] = [];
  readonly #signal: AbortSignal;
  #objects = false;
  #releasing = false;

  constructor(clock: Clock, signal: AbortSignal) {
    this.#clock = clock;
    this.#signal = signal;
  }

  /** An object was seen: the store is not empty (any more). */
  seen(): void {
    this.#objects = true;
    for (const work of this.#first.splice(0)) work();
    if (this.#releases.length === 0 || this.#releasing) return;
    this.#releasing = true;
    void this.#clock.sleep(REFILL_MS, this.#signal).then(() => {
      this.#releasing = false;
      if (this.#signal.aborted) return;
      for (const release of this.#releases.splice(0)) release();
    });
  }

  /** Another store, or its revisions went back: nothing is known of what it holds. */
  reset(): void {
    this.#objects = false;
  }

  /** Called as soon as there is an object. */
  onFirst(work: () => void): void {
    if (this.#objects) work();
    else this.#first.push(work);
  }

  /** Whether the store held any object of any kind since the last reset. */
  get hasObjects(): boolean {
    return this.#objects;
  }

  /** Called some time after objects have come again. */
  onRefilled(release: () => void): void {
    this.#releases.push(release);
    if (this.#objects) this.seen();
  }
}
