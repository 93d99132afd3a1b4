/**
 * Which offsets of a range are occupied. Two forms behind one contract: a two-level bitmap for ranges up to
 * 2^20 (a /12 of IPv4, a /108 of IPv6), a set of what is occupied for larger ones, where a bitmap would be
 * mostly empty and unboundedly large.
 */
export interface Occupancy {
  readonly size: bigint;
  /** How many offsets are occupied. */
  readonly count: bigint;
  has(offset: bigint): boolean;
  /** Marks a free offset; false if it was occupied already. */
  take(offset: bigint): boolean;
  /** Frees an occupied offset; false if it was free already. */
  free(offset: bigint): boolean;
  /** The first free offset at `from` or after it, going round the end once; undefined when all are occupied. */
  nextFree(from: bigint): bigint | undefined;
}

const BITMAP_LIMIT = 1n << 20n;

export function occupancy(size: bigint): Occupancy {
  return size <= BITMAP_LIMIT ? new BitmapOccupancy(Number(size)) : new SparseOccupancy(size);
}

/** Bits in words of 32; a second level has one bit for each word that is full. */
class BitmapOccupancy implements Occupancy {
  readonly size: bigint;
  readonly #bits: number;
  readonly #words: Uint32Array;
  readonly #full: Uint32Array;
  #count = 0;

  constructor(bits: number) {
    this.size = BigInt(bits);
    this.#bits = bits;
    const words = Math.ceil(bits / 32);
    this.#words = new Uint32Array(words);
    this.#full = new Uint32Array(Math.ceil(words / 32));
    // Bits past the end never become free, so that a search cannot find them.
    if (bits % 32 !== 0) this.#words[words - 1] = (0xffff_ffff << (bits % 32)) >>> 0;
    if (words % 32 !== 0) {
      this.#full[this.#full.length - 1] = (0xffff_ffff << (words % 32)) >>> 0;
    }
  }

  get count(): bigint {
    return BigInt(this.#count);
  }

  has(offset: bigint): boolean {
    const bit = Number(offset);
    return (((this.#words[bit >>> 5] as number) >>> (bit & 31)) & 1) === 1;
  }

  take(offset: bigint): boolean {
    if (this.has(offset)) return false;
    const bit = Number(offset);
    const word = bit >>> 5;
    const filled = ((this.#words[word] as number) | (1 << (bit & 31))) >>> 0;
    this.#words[word] = filled;
    if (filled === 0xffff_ffff) this.#full[word >>> 5]! |= 1 << (word & 31);
    this.#count += 1;
    return true;
  }

  free(offset: bigint): boolean {
    if (!this.has(offset)) return false;
    const bit = Number(offset);
    const word = bit >>> 5;
    this.#words[word]! &= ~(1 << (bit & 31));
    this.#full[word >>> 5]! &= ~(1 << (word & 31));
    this.#count -= 1;
    return true;
  }

  nextFree(from: bigint): bigint | undefined {
    if (this.#count === this.#bits) return undefined;
    const start = Number(from % this.size);
    const found = this.#search(start) ?? this.#search(0);
    return found === undefined ? undefined : BigInt(found);
  }

  #search(from: number): number | undefined {
    let word = from >>> 5;
    const rest = (~(this.#words[word] as number) & (0xffff_ffff << (from & 31))) >>> 0;
    if (rest !== 0) return (word << 5) + lowestBit(rest);
    word += 1;
    let group = word >>> 5;
    let mask = 0xffff_ffff << (word & 31);
    for (; group < this.#full.length; group += 1, mask = 0xffff_ffff) {
      const open = (~(this.#full[group] as number) & mask) >>> 0;
      if (open === 0) continue;
      const at = (group << 5) + lowestBit(open);
      return (at << 5) + lowestBit(~(this.#words[at] as number) >>> 0);
    }
    return undefined;
  }
}

function lowestBit(word: number): number {
  return 31 - Math.clz32(word & -word);
}

class SparseOccupancy implements Occupancy {
  readonly size: bigint;
  readonly #taken = new Set<bigint>();

  constructor(size: bigint) {
    this.size = size;
  }

  get count(): bigint {
    return BigInt(this.#taken.size);
  }

  has(offset: bigint): boolean {
    return this.#taken.has(offset);
  }

  take(offset: bigint): boolean {
    if (this.#taken.has(offset)) return false;
    this.#taken.add(offset);
    return true;
  }

  free(offset: bigint): boolean {
    return this.#taken.delete(offset);
  }

  nextFree(from: bigint): bigint | undefined {
    if (this.count === this.size) return undefined;
    let offset = from % this.size;
    while (this.#taken.has(offset)) offset = offset + 1n === this.size ? 0n : offset + 1n;
    return offset;
  }
}
