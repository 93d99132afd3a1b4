/** A seeded generator of numbers, so that a table made today is the table made tomorrow. */
export interface Random {
  /** At least 0, below 1. */
  next(): number;
  /** A whole number of 0 to `limit - 1`. */
  below(limit: number): number;
  /** An index of `weights`, each as likely as its weight. */
  weighted(weights: readonly number[]): number;
}

/** Mulberry32: 32 bits of state, good enough for shapes, not for secrets. */
export function seeded(seed: number): Random {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 0x1_0000_0000;
  };
  return {
    next,
    below: (limit) => Math.floor(next() * limit),
    weighted: (weights) => {
      const total = weights.reduce((sum, weight) => sum + weight, 0);
      let left = next() * total;
      for (let index = 0; index < weights.length; index += 1) {
        left -= weights[index] ?? 0;
        if (left < 0) return index;
      }
      return weights.length - 1;
    },
  };
}
