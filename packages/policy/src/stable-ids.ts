import { hash32 } from '@causeway/wire';
import { PolicyError } from './refusal.ts';

/**
 * Numbers for names. A name's number comes from its hash, so that it is the same after a restart
 * without being stored; where two names meet, the later one takes the next free number. Numbers in
 * use are never given again.
 */
export class StableIds {
  readonly #first: number;
  readonly #size: number;
  readonly #byName = new Map<string, number>();
  readonly #byId = new Map<number, string>();
  readonly #given: ReadonlyMap<string, number>;

  /**
   * @param first least number to give; `last` the greatest.
   * @param given numbers of an earlier run by name: taken first, where still free and in range.
   */
  constructor(first: number, last: number, given: ReadonlyMap<string, number> = new Map()) {
    this.#first = first;
    this.#size = last - first + 1;
    this.#given = given;
  }

  get size(): number {
    return this.#byName.size;
  }

  get(name: string): number | undefined {
    return this.#byName.get(name);
  }

  /** The name's number; the same as long as the name is not released. */
  take(name: string): number {
    const known = this.#byName.get(name);
    if (known !== undefined) return known;
    if (this.#byName.size >= this.#size) {
      throw new PolicyError('ids-exhausted', name, `all ${this.#size} numbers are in use`);
    }
    const wanted = this.#given.get(name);
    let offset =
      wanted !== undefined && wanted >= this.#first && wanted < this.#first + this.#size
        ? wanted - this.#first
        : hash32(name) % this.#size;
    while (this.#byId.has(this.#first + offset)) offset = (offset + 1) % this.#size;
    const id = this.#first + offset;
    this.#byName.set(name, id);
    this.#byId.set(id, name);
    return id;
  }

  release(name: string): void {
    const id = this.#byName.get(name);
    if (id === undefined) return;
    this.#byName.delete(name);
    this.#byId.delete(id);
  }

  *[Symbol.iterator](): Generator<readonly [string, number]> {
    yield* this.#byName;
  }
}
