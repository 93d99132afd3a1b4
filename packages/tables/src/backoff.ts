import { TablesError } from './errors.ts';

export interface BackoffOptions {
  /** Milliseconds before the first retry; default 100. */
  readonly min?: number;
  /** The longest wait in milliseconds; default 30,000. */
  readonly max?: number;
  /** Growth per attempt; default 2. */
  readonly factor?: number;
  /** Share of the wait that is random, 0 to 1; default 0.5: half fixed, half spread. */
  readonly jitter?: number;
}

export type Backoff = (attempts: number) => number;

/** Milliseconds to wait after the given number of failures in a row, from 1. `random` gives 0 to 1. */
export function exponentialBackoff(random: () => number, options: BackoffOptions = {}): Backoff {
  const { min = 100, max = 30_000, factor = 2, jitter = 0.5 } = options;
  if (!(min > 0 && max >= min && factor >= 1 && jitter >= 0 && jitter <= 1)) {
    throw new TablesError(
      'invalid-option',
      options,
      'back-off needs 0 < min <= max, factor >= 1 and a jitter of 0 to 1',
    );
  }
  return (attempts) => {
    // Beyond 64 doublings the power is infinite and min() takes the maximum all the same.
    const wait = Math.min(max, min * factor ** Math.max(0, attempts - 1));
    return wait * (1 - jitter + jitter * random());
  };
}
