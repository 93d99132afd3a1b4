import { LoadBalancingError } from './errors.ts';

/** Greatest number of a service or a backend. */
export const MAX_ID = 0x7fff_ffff;

/**
 * Numbers for keys, counting up and around: a number that was given back is taken again as late as
 * can be, since connections still remember it.
 */
export class CountingIds {
  readonly #last: number;
  readonly #byKey = new Map<string, number>();
  readonly #used = new Set<number>();
  #next = 1;

  /** @param last greatest number; the least is 1. */
  constructor(last: number, given: Iterable<readonly [string, number]> = []) {
    this.#last = last;
    for (const [key, id] of given) {
      if (!Number.isInteger(id) || id < 1 || id > last) continue;
      if (this.#used.has(id) || this.#byKey.has(key)) continue;
      this.#byKey.set(key, id);
      this.#used.add(id);
      this.#next = Math.max(this.#next, id === last ? 1 : id + 1);
    }
  }

  get size(): number {
    return this.#byKey.size;
  }

  get(key: string): number | undefined {
    return this.#byKey.get(key);
  }

  /** Throws `ids-exhausted`. */
  take(key: string): number {
    const known = this.#byKey.get(key);
    if (known !== undefined) return known;
    if (this.#used.size >= this.#last) {
      throw new LoadBalancingError('ids-exhausted', key, `all ${this.#last} numbers are in use`);
    }
    while (this.#used.has(this.#next)) this.#next = this.#next === this.#last ? 1 : this.#next + 1;
    const id = this.#next;
    this.#next = id === this.#last ? 1 : id + 1;
    this.#byKey.set(key, id);
    this.#used.add(id);
    return id;
  }

  release(key: string): number | undefined {
    const id = this.#byKey.get(key);
    if (id === undefined) return undefined;
    this.#byKey.delete(key);
    this.#used.delete(id);
    return id;
  }

  keys(): IterableIterator<string> {
    return this.#byKey.keys();
  }
}
