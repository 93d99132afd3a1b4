import { Gate } from '@causeway/tables';

/** A turn that lasts longer is over, lest a few slow peers keep all others waiting. */
const LONGEST_MS = 10_000;

/**
 * How many may do a thing at a time. Hundreds of clusters listed at once would each have their pages in
 * memory and wait for each other until their calls are late.
 */
export class Turns {
  readonly #most: number;
  readonly #gate = new Gate();
  #taken = 0;

  constructor(most: number) {
    this.#most = most;
  }

  /** Resolves with how to give the turn back; at once when the signal aborts. */
  async take(signal: AbortSignal): Promise<() => void> {
    while (this.#taken >= this.#most && !signal.aborted) await this.#gate.wait(signal);
    if (signal.aborted) return () => {};
    this.#taken++;
    let held = true;
    const giveBack = () => {
      if (!held) return;
      held = false;
      clearTimeout(timer);
      this.#taken--;
      this.#gate.open();
    };
    const timer = setTimeout(giveBack, LONGEST_MS);
    timer.unref();
    return giveBack;
  }
}
