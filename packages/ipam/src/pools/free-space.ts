import { Address, type Family, Prefix, PrefixTrie, subtract } from '@causeway/ip';
import { MinHeap } from './heap.ts';

/** The free prefixes of one length; the heap may name prefixes that are no longer free. */
interface Shelf {
  readonly heap: MinHeap;
  live: number;
}

/** Stale names that a heap may hold beside the live ones before it is swept. */
const STALE = 64;

/**
 * The free part of a pool's ranges, as the fewest aligned prefixes (a buddy system). Blocks come from the smallest
 * piece that has room, the lowest of these: large pieces stay whole, and what is given stays dense, so that ranges
 * can be aggregated. Each call costs the width of an address times a logarithm.
 */
export class FreeSpace {
  readonly family: Family;
  readonly #pieces = new PrefixTrie<true>();
  readonly #shelves = new Map<number, Shelf>();
  #size = 0n;

  constructor(family: Family) {
    this.family = family;
  }

  /** Free addresses. */
  get size(): bigint {
    return this.#size;
  }

  /** The shortest length that `take` has a block of; undefined when nothing is free. */
  get largest(): number | undefined {
    let best: number | undefined;
    for (const [length, shelf] of this.#shelves) {
      if (shelf.live > 0 && (best === undefined || length < best)) best = length;
    }
    return best;
  }

  has(prefix: Prefix): boolean {
    return this.#pieces.covering(prefix).length > 0;
  }

  /** Makes the prefix free, whatever of it is free already. */
  add(prefix: Prefix): void {
    if (this.has(prefix)) return;
    const inside = Array.from(this.#pieces.covered(prefix), (piece) => piece.prefix);
    for (const piece of inside) this.#drop(piece);
    let whole = prefix;
    for (;;) {
      const parent = Prefix.parent(whole);
      if (parent === undefined) break;
      const [low, high] = Prefix.split(parent) as readonly [Prefix, Prefix];
      const buddy = low === whole ? high : low;
      if (!this.#pieces.has(buddy)) break;
      this.#drop(buddy);
      whole = parent;
    }
    this.#put(whole);
  }

  /** Makes the prefix not free, whatever of it was. */
  remove(prefix: Prefix): void {
    const around = this.#pieces.covering(prefix)[0];
    if (around !== undefined) {
      this.#drop(around.prefix);
      for (const rest of subtract([around.prefix], [prefix])) this.#put(rest);
      return;
    }
    const inside = Array.from(this.#pieces.covered(prefix), (piece) => piece.prefix);
    for (const piece of inside) this.#drop(piece);
  }

  /** A block of the length, no longer free; undefined when no piece has room for it. */
  take(length: number): Prefix | undefined {
    for (let size = length; size >= 0; size -= 1) {
      const base = this.#lowest(size);
      if (base === undefined) continue;
      const piece = Prefix.from(base, size);
      const block = Prefix.from(base, length);
      this.#drop(piece);
      for (let rest = piece, at = size; at < length; at += 1) {
        const [low, high] = Prefix.split(rest) as readonly [Prefix, Prefix];
        this.#put(high);
        rest = low;
      }
      return block;
    }
    return undefined;
  }

  #lowest(length: number): Address | undefined {
    const shelf = this.#shelves.get(length);
    if (shelf === undefined) return undefined;
    for (let base = shelf.heap.peek(); base !== undefined; base = shelf.heap.peek()) {
      const address = Address.fromBigInt(this.family, base);
      if (this.#pieces.has(Prefix.from(address, length))) return address;
      shelf.heap.pop();
    }
    return undefined;
  }

  #put(piece: Prefix): void {
    const length = Prefix.length(piece);
    let shelf = this.#shelves.get(length);
    if (shelf === undefined) {
      shelf = { heap: new MinHeap(), live: 0 };
      this.#shelves.set(length, shelf);
    }
    this.#pieces.set(piece, true);
    this.#size += Prefix.size(piece);
    shelf.live += 1;
    shelf.heap.push(Address.toBigInt(Prefix.address(piece)));
    // A name may stand in the heap twice when a piece came and went; a sweep leaves each once.
    if (shelf.heap.size > 2 * shelf.live + STALE) this.#sweep(length, shelf);
  }

  #drop(piece: Prefix): void {
    this.#pieces.delete(piece);
    this.#size -= Prefix.size(piece);
    const shelf = this.#shelves.get(Prefix.length(piece));
    if (shelf !== undefined) shelf.live -= 1;
  }

  #sweep(length: number, { heap }: Shelf): void {
    const seen = new Set<bigint>();
    heap.keep((base) => {
      if (seen.has(base)) return false;
      seen.add(base);
      return this.#pieces.has(Prefix.from(Address.fromBigInt(this.family, base), length));
    });
  }
}
