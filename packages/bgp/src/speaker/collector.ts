import type { Rib } from '../rib/rib.ts';

/** Gone prefixes and paths that somebody has not been told of, beyond which who lags is let go. */
const mostLimbo = 100_000;
/** Of them looked at in one call. */
const mostCollected = 20_000;
const pauseMs = 500;

interface CollectorContext {
  readonly ribs: readonly Rib[];
  /** Monitors that make us remember too much are to begin anew. */
  readonly limit: (rib: Rib) => void;
  /** Neighbours that have not taken `pending` changes or more are to be let go. */
  readonly letGo: (rib: Rib, pending: number, now: number) => void;
  /** What is gone needs no room any more. */
  readonly shrink: () => void;
}

/**
 * Gives back the numbers of prefixes and paths that are gone, once everybody has been told: now and then, in slices. A
 * neighbour that takes nothing makes us remember every prefix that came and went, but not without end.
 */
export class Collector {
  readonly #context: CollectorContext;
  #at = 0;
  #isOn = false;

  constructor(context: CollectorContext) {
    this.#context = context;
  }

  /** ms; undefined: there is nothing to collect. */
  get deadline(): number | undefined {
    return this.#isOn ? this.#at : undefined;
  }

  /** Something may have gone. */
  look(): void {
    for (const rib of this.#context.ribs)
      if (rib.graveyard.limbo > 0 || rib.graveyard.tombs > 0) this.#isOn = true;
  }

  work(now: number): void {
    if (now < this.#at) return;
    const { ribs, limit, letGo, shrink } = this.#context;
    this.#isOn = false;
    this.#at = now + pauseMs;
    for (const rib of ribs) {
      if (rib.graveyard.collect(mostCollected)) this.#at = now;
      limit(rib);
      if (rib.graveyard.limbo > mostLimbo + (rib.prefixes.size - rib.graveyard.limbo) / 2)
        letGo(rib, mostLimbo, now);
    }
    shrink();
    this.look();
  }
}
