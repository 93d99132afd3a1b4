/** Where asynchronous work waits to be woken. A wake with nobody waiting is not remembered: ask first, then wait. */
export class Gate {
  #waiting = new Set<() => void>();

  /** Resolves at the next `open`, or when the signal aborts: the caller looks at both. */
  wait(signal?: AbortSignal): Promise<void> {
    if (signal?.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const wake = () => {
        this.#waiting.delete(wake);
        signal?.removeEventListener('abort', wake);
        resolve();
      };
      this.#waiting.add(wake);
      signal?.addEventListener('abort', wake);
    });
  }

  open(): void {
    for (const wake of [...this.#waiting]) wake();
  }
}
