import type { Clock } from '@causeway/tables';

/** A sleep that another part can end early; a call before the sleep ends the next one. */
export class Wake {
  #called = false;
  #ending: AbortController | undefined;

  wake(): void {
    this.#called = true;
    this.#ending?.abort();
  }

  async wait(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
    if (!this.#called) {
      this.#ending = new AbortController();
      await clock.sleep(ms, AbortSignal.any([signal, this.#ending.signal]));
      this.#ending = undefined;
    }
    this.#called = false;
  }
}
