import type { LatencySummary } from './api/types.ts';

/** Durations of the last operations, in a ring of fixed size: what status and metrics show. */
export class LatencyRing {
  readonly #values: Float64Array;
  #next = 0;
  #count = 0;
  #failed = 0;

  constructor(size = 1024) {
    this.#values = new Float64Array(size);
  }

  record(milliseconds: number): void {
    this.#values[this.#next] = milliseconds;
    this.#next = (this.#next + 1) % this.#values.length;
    this.#count++;
  }

  fail(): void {
    this.#failed++;
  }

  /** `count` and `failed` since the start; the quantiles over the ring. */
  summary(): LatencySummary {
    const sorted = this.#values.slice(0, Math.min(this.#count, this.#values.length)).sort();
    const quantile = (q: number): number =>
      sorted.length === 0
        ? 0
        : sorted[Math.min(sorted.length - 1, Math.ceil(q * sorted.length) - 1)]!;
    return {
      count: this.#count,
      failed: this.#failed,
      p50Ms: round(quantile(0.5)),
      p99Ms: round(quantile(0.99)),
      maxMs: round(quantile(1)),
    };
  }
}

const round = (value: number): number => Math.round(value * 100) / 100;
