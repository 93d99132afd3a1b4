/** What a watch has told: each key with the round that saw it last and the revision seen then. */

interface Known {
  readonly round: number;
  readonly revision: number;
}

/**
 * - `new`: not told before
 * - `known`: told before, and not older now
 * - `older`: told before with a later revision, which one history cannot show: the store was replaced
 * - `refused`: one key too many
 */
export type Admission = 'new' | 'known' | 'older' | 'refused';

export class KnownKeys {
  readonly #keys = new Map<string, Known>();
  readonly #most: number;
  #round = 0;
  #refused = 0;

  constructor(most: number, before: Iterable<string>) {
    this.#most = most;
    for (const key of before) this.#keys.set(key, { round: 0, revision: 0 });
  }

  get size(): number {
    return this.#keys.size;
  }

  /** Keys refused since the last list began. */
  get refused(): number {
    return this.#refused;
  }

  get round(): number {
    return this.#round;
  }

  /** A list begins: what it does not show will be stale. */
  begin(): number {
    this.#refused = 0;
    return ++this.#round;
  }

  admit(key: string, revision: number): Admission {
    const known = this.#keys.get(key);
    if (!known && this.#keys.size >= this.#most) {
      this.#refused++;
      return 'refused';
    }
    this.#keys.set(key, { round: this.#round, revision });
    if (!known) return 'new';
    return revision < known.revision ? 'older' : 'known';
  }

  forget(key: string): void {
    this.#keys.delete(key);
  }

  /** Forgets, one by one, the keys that this round has not seen. */
  *stale(): Generator<string, void, undefined> {
    for (const [key, { round }] of this.#keys) {
      if (round === this.#round) continue;
      this.#keys.delete(key);
      yield key;
    }
  }
}
