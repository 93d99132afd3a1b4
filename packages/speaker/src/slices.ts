import { setImmediate as nextTurn } from 'node:timers/promises';

/** Ms of work after which sockets and timers have their turn. */
const SLICE_MS = 8;

/** Work on a long list that does not hold the loop: call `pause` between items, and wait if it says so. */
export class Slices {
  #until = performance.now() + SLICE_MS;

  /** Undefined while there is time; the clock is looked at each time, so not for the smallest of items. */
  pause(): Promise<void> | undefined {
    if (performance.now() < this.#until) return undefined;
    return nextTurn().then(() => {
      this.#until = performance.now() + SLICE_MS;
    });
  }
}
