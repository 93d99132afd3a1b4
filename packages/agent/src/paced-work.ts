/** Of the agent's time at most one part in so many goes to one such work, however fast its inputs change. */
const SHARE = 10;

/** Work that many changes ask for: done once for a crowd of them, and the later the longer it took last. */
export class PacedWork implements Disposable {
  readonly #settleMs: number;
  readonly #work: () => void;
  #timer: NodeJS.Timeout | undefined;
  #busyMs = 0;
  #closed = false;

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
    if (this.#closed) return;
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      const started = performance.now();
      try {
        this.#work();
      } finally {
        this.#busyMs = performance.now() - started;
      }
    }, ms);
  }

  /** What is asked for from here on is not done. */
  [Symbol.dispose](): void {
    this.#closed = true;
    clearTimeout(this.#timer);
  }
}
