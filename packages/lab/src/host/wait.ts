import { setTimeout as sleep } from 'node:timers/promises';
import { LabError } from '../errors.ts';

/** Between two looks: short enough that waiting costs nothing worth having, long enough to leave the CPU alone. */
const FIRST_PAUSE_MS = 10;
const LONGEST_PAUSE_MS = 150;

/** What is still missing; `undefined` when the condition holds. */
export type Missing = string | undefined;

/**
 * Looks again and again until nothing is missing. On time-out the error names what was missing at the
 * last look; that is why a condition gives words and not a boolean.
 */
export async function until(
  what: string,
  look: () => Promise<Missing> | Missing,
  options: { readonly timeoutMs: number; readonly signal?: AbortSignal; readonly hint?: string },
): Promise<void> {
  const end = performance.now() + options.timeoutMs;
  for (let pause = FIRST_PAUSE_MS; ; pause = Math.min(pause * 1.5, LONGEST_PAUSE_MS)) {
    options.signal?.throwIfAborted();
    const missing = await look();
    if (missing === undefined) return;
    if (performance.now() > end)
      throw new LabError(
        'timed-out',
        `${what}: after ${options.timeoutMs / 1000} s still ${missing}`,
        {
          value: missing,
          ...(options.hint === undefined ? {} : { hint: options.hint }),
        },
      );
    await sleep(pause, undefined, options.signal === undefined ? {} : { signal: options.signal });
  }
}

/** Does `work` for every item, at most `limit` at a time; results in the items' order; the first error ends it. */
export async function inParallel<T, R>(
  items: readonly T[],
  limit: number,
  work: (item: T, index: number) => Promise<R>,
): Promise<R[]> {
  const results = new Array<R>(items.length);
  let next = 0;
  let failed = false;
  const worker = async (): Promise<void> => {
    while (!failed && next < items.length) {
      const index = next++;
      try {
        results[index] = await work(items[index]!, index);
      } catch (error) {
        failed = true;
        throw error;
      }
    }
  };
  const ends = await Promise.allSettled(
    Array.from({ length: Math.min(limit, items.length) }, worker),
  );
  for (const end of ends) if (end.status === 'rejected') throw end.reason;
  return results;
}
