import type { Rib } from '../routes/rib.ts';

/**
 * The last withdrawals of all feeds, in a ring: who else lost the same prefix at that time? Each entry pins its
 * prefix's number until it is overwritten.
 */
export class Withdrawals {
  readonly #rib: Rib;
  readonly #size: number;
  readonly #at: Float64Array;
  readonly #feed: Int32Array;
  readonly #family: Uint8Array;
  readonly #prefix: Int32Array;
  #count = 0;

  constructor(rib: Rib, size: number) {
    this.#rib = rib;
    this.#size = size;
    this.#at = new Float64Array(size);
    this.#feed = new Int32Array(size);
    this.#family = new Uint8Array(size);
    this.#prefix = new Int32Array(size);
  }

  add(at: number, feed: number, family: number, prefix: number): void {
    const place = this.#count % this.#size;
    const old = this.#prefix[place]!;
    this.#rib.tables[family]!.pin(prefix);
    const oldFamily = this.#family[place]!;
    this.#at[place] = at;
    this.#feed[place] = feed;
    this.#family[place] = family;
    this.#prefix[place] = prefix;
    this.#count += 1;
    if (old !== 0) this.#rib.tables[oldFamily]!.unpin(old);
  }

  /** From the newest back to `since` (ms since 1970). A feed's number may have been given to another meanwhile. */
  each(since: number, visit: (feed: number, family: number, prefix: number) => void): void {
    const oldest = Math.max(0, this.#count - this.#size);
    for (let entry = this.#count - 1; entry >= oldest; entry -= 1) {
      const place = entry % this.#size;
      if (this.#at[place]! < since) return;
      if (this.#feed[place] !== 0) {
        visit(this.#feed[place]!, this.#family[place]!, this.#prefix[place]!);
      }
    }
  }

  /** The feeds are gone: their numbers mean nothing any more. */
  forget(feeds: ReadonlySet<number>): void {
    for (let place = 0; place < this.#size; place += 1) {
      if (feeds.has(this.#feed[place]!)) this.#feed[place] = 0;
    }
  }
}
