/** Time as it is handed in: what reads a clock or waits takes one of these. */
export interface Clock {
  /** Milliseconds since the epoch; never goes back. */
  now(): number;
  /** Resolves after `ms`, or early when the signal aborts; never rejects. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

/** What a host offers to make a clock of; a program's root passes its own functions in. */
export interface HostTimers<Handle> {
  readonly now: () => number;
  readonly start: (callback: () => void, ms: number) => Handle;
  readonly stop: (handle: Handle) => void;
}

/** The longest delay that timers of JavaScript hosts take. */
const longest = 2 ** 31 - 1;

export function clockFrom<Handle>(host: HostTimers<Handle>): Clock {
  let last = Number.NEGATIVE_INFINITY;
  const now = () => {
    // A wall clock set back would stretch every deadline: hold still until it has caught up.
    last = Math.max(last, host.now());
    return last;
  };
  return {
    now,
    sleep(ms, signal) {
      if (signal?.aborted) return Promise.resolve();
      return new Promise((resolve) => {
        const finish = () => {
          host.stop(handle);
          signal?.removeEventListener('abort', finish);
          resolve();
        };
        const handle = host.start(finish, Math.min(Math.max(0, ms), longest));
        signal?.addEventListener('abort', finish);
      });
    },
  };
}
