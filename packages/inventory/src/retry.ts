import { type Log, messageWithCauses } from '@causeway/daemon';
import { type Clock, exponentialBackoff } from '@causeway/tables';

export interface RetryOptions {
  readonly name: string;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
  /** Told of each failure, and by undefined that it is over. */
  readonly onError?: (message: string | undefined) => void;
  /** What no repetition mends. It is thrown on. */
  readonly final?: (error: unknown) => boolean;
}

/** Calls `work` until it returns, with growing pauses after errors, or the signal aborts: then undefined. */
export async function retrying<T>(
  options: RetryOptions,
  signal: AbortSignal,
  work: () => Promise<T>,
): Promise<T | undefined> {
  const { clock, log, name, onError, random, final } = options;
  const backoff = exponentialBackoff(random, { min: 100, max: 10_000 });
  for (let failures = 0; !signal.aborted; ) {
    try {
      const result = await work();
      if (failures > 0) onError?.(undefined);
      return result;
    } catch (error) {
      if (signal.aborted) return undefined;
      if (final?.(error)) throw error;
      failures++;
      const message = messageWithCauses(error);
      onError?.(message);
      log.warn({ task: name, error: message }, 'a task failed; it is tried again');
    }
    await clock.sleep(backoff(failures), signal);
  }
  return undefined;
}
