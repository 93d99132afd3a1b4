import { hash32 } from '@causeway/wire';
import { LoadBalancingError } from './errors.ts';

/**
 * Maglev hashing (Eisenbud et al., NSDI 2016, section 3.4): every backend walks the slots in an order
 * of its own, and they take turns claiming the next free one on their walk. All nodes that know the
 * same backends compute the same table, and a backend's loss frees its slots while few others move.
 */

/** Primes just under powers of two: a table with at least 100 slots for each backend is even to 1%. */
export const MAGLEV_SIZES: readonly number[] = [
  251, 509, 1021, 2039, 4093, 8191, 16381, 32749, 65521, 131071,
];

const SLOTS_PER_BACKEND = 100;

/** What the least of unequal backends has at least, so that its share is true to a tenth. */
const SLOTS_OF_THE_LEAST = 10;

/**
 * The table size for a number of backends. It changes as seldom as it can, at each doubling, since
 * a change of the size moves most flows that are not tracked as connections. One backend needs one slot.
 */
export function maglevSize(backends: number, weights: readonly number[] = []): number {
  if (backends === 1) return 1;
  const total = weights.reduce((sum, each) => sum + each, 0);
  const least = weights.reduce((less, each) => Math.min(less, each), Number.POSITIVE_INFINITY);
  const unequal = total === least * weights.length ? 0 : (total / least) * SLOTS_OF_THE_LEAST;
  const wanted = Math.max(backends * SLOTS_PER_BACKEND, unequal);
  return MAGLEV_SIZES.find((size) => size >= wanted) ?? MAGLEV_SIZES.at(-1)!;
}

export interface MaglevBackend {
  /** Address, port and protocol: the same text on every node. */
  readonly key: string;
  /** Share relative to the others; 1 unless given. */
  readonly weight?: number;
}

/**
 * The table: for each slot an index into `backends`. Their order does not matter for who gets a slot.
 * Throws `invalid-maglev` for a size below the number of backends, or a weight that is not positive.
 */
export function maglevTable(backends: readonly MaglevBackend[], size: number): Uint32Array {
  if (backends.length === 0) return new Uint32Array(0);
  if (backends.length === 1 && size === 1) return new Uint32Array(1);
  if (!Number.isInteger(size) || size < backends.length || size < 2) {
    throw new LoadBalancingError(
      'invalid-maglev',
      size,
      `a table of ${size} slots cannot hold ${backends.length} backends`,
    );
  }
  const heaviest = backends.reduce((most, each) => Math.max(most, weightOf(each)), 0);
  const order = backends
    .map(({ key }, index) => ({ key, index }))
    .sort((a, b) => (a.key < b.key ? -1 : 1));
  // Plain arrays: a table is built for every service, and this loop is all of its cost.
  const count = order.length;
  const next = new Uint32Array(count);
  const skip = new Uint32Array(count);
  const share = new Float64Array(count);
  const credit = new Float64Array(count);
  order.forEach(({ key, index }, i) => {
    next[i] = hash32(`offset ${key}`) % size;
    skip[i] = (hash32(`skip ${key}`) % (size - 1)) + 1;
    share[i] = weightOf(backends[index]!) / heaviest;
  });
  const table = new Uint32Array(size).fill(FREE);
  for (let left = size; left > 0; ) {
    for (let i = 0; i < count && left > 0; i++) {
      // The heaviest moves in every round, the others as their credit fills.
      credit[i]! += share[i]!;
      if (credit[i]! < 1) continue;
      credit[i]! -= 1;
      let slot = next[i]!;
      const step = skip[i]!;
      // The size is prime, so a walk of any step comes by every slot.
      while (table[slot] !== FREE) {
        slot += step;
        if (slot >= size) slot -= size;
      }
      table[slot] = order[i]!.index;
      next[i] = slot;
      left--;
    }
  }
  return table;
}

function weightOf({ key, weight = 1 }: MaglevBackend): number {
  if (weight > 0 && Number.isFinite(weight)) return weight;
  throw new LoadBalancingError('invalid-maglev', weight, `${key} has weight ${weight}`);
}

const FREE = 0xffff_ffff;

/** The table for backends by their weights, of the size that they ask for. */
export function weightedTable(backends: readonly MaglevBackend[]): Uint32Array {
  return maglevTable(backends, maglevSize(backends.length, backends.map(weightOf)));
}
