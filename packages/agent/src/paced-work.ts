/** Of the agent's time at most one part in so many goes to one such work, however fast its inputs change. */
const SHARE = 10;

/** Work that many changes ask for: done once for a crowd of them, and the later the longer it took last. */
export class PacedWork implements Disposable {
  readonly #settleMs: number;
  readonly #work: () => void;
  #timer: NodeJS.Timeout | undefined;
  #busyMs = 0;

  /** @param settleMs for so long changes gather. */
  constructor(settleMs: number, work: () => void) {
    this.#settleMs = settleMs;
    this.#work = work;
  }

  schedule(): void {
    this.later(Math.max(this.#settleMs, this.#busyMs * SHARE));
  }

  /** In so many ms, unless it is to be done before anyway. */
  later(ms: number): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      const started = performance.now();
      this.#work();
      this.#busyMs = performance.now() - started;
    }, ms);
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
  }
}
