import { TablesError } from './errors.ts';

export interface RateLimit {
  /** Tokens that come back per second. */
  readonly perSecond: number;
  /** Tokens that may be saved up; default: one second's worth. */
  readonly burst?: number;
}

/** A token bucket. Times are milliseconds of any one clock. */
export class TokenBucket {
  readonly #perMs: number;
  readonly #burst: number;
  #tokens: number;
  #at: number;

  constructor(limit: RateLimit, now: number) {
    if (!(limit.perSecond > 0)) {
      throw new TablesError(
        'invalid-option',
        limit.perSecond,
        'a rate limit needs perSecond above 0',
      );
    }
    this.#perMs = limit.perSecond / 1000;
    this.#burst = Math.max(1, limit.burst ?? limit.perSecond);
    this.#tokens = this.#burst;
    this.#at = now;
  }

  #refill(now: number): void {
    this.#tokens = Math.min(this.#burst, this.#tokens + Math.max(0, now - this.#at) * this.#perMs);
    this.#at = now;
  }

  /** Takes up to `wanted` whole tokens; 0 if there is none yet. */
  take(wanted: number, now: number): number {
    this.#refill(now);
    const taken = Math.min(wanted, Math.floor(this.#tokens));
    this.#tokens -= taken;
    return taken;
  }

  /** Milliseconds until a whole token is there. */
  wait(now: number): number {
    this.#refill(now);
    return this.#tokens >= 1 ? 0 : Math.ceil((1 - this.#tokens) / this.#perMs);
  }
}
