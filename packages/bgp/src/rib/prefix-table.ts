import { Address, Prefix } from '@causeway/ip';
import { grown } from './grown.ts';
import { hash32, hash128 } from './prefix-hash.ts';

/** What a prefix is made of: signed words, most significant first, host bits clear (as `NlriCursor` has them). */
export interface PrefixFields {
  length: number;
  w0: number;
  w1: number;
  w2: number;
  w3: number;
}

const firstCapacity = 1024;

/** A slot holds a number in its lower bits and some of the hash above, so that most strangers are told by the slot. */
const idBits = 24;
const idMask = (1 << idBits) - 1;

/**
 * Prefixes of one family, each with a small dense number (from 1; 0 is none) that stays its own until `remove`.
 * Everything else about prefixes is kept in columns indexed by that number. Open addressing over typed
 * arrays, at most half full; neighbours in address space fall into the same cache line, because tables
 * are often announced in order. At most 16,777,215 prefixes.
 */
export class PrefixTable {
  readonly bits: 32 | 128;
  readonly #wide: boolean;
  readonly #seed: number;
  /** Columns hold numbers below this; it only grows, and `onGrow` is told. */
  capacity = firstCapacity;
  size = 0;
  /** One above the greatest number ever given: the end for whoever walks all. */
  end = 1;
  /** Words of number n at n (32 bits) or 4n .. 4n+3 (128 bits). */
  words: Int32Array;
  /** 255: the number is free. */
  lengths: Uint8Array;
  #slots: Int32Array;
  #mask: number;
  #free = 0;
  readonly #onGrow: ((capacity: number) => void)[] = [];

  /** `seed`: a number that neighbours do not know. */
  constructor(bits: 32 | 128, seed = 0) {
    this.bits = bits;
    this.#seed = seed | 0;
    this.#wide = bits === 128;
    this.words = new Int32Array(this.capacity * (this.#wide ? 4 : 1));
    this.lengths = new Uint8Array(this.capacity).fill(255);
    this.#slots = new Int32Array(this.capacity * 2);
    this.#mask = this.#slots.length - 1;
  }

  /** Called after the capacity grew; columns must follow before the next number is used. */
  onGrow(listener: (capacity: number) => void): void {
    this.#onGrow.push(listener);
  }

  offGrow(listener: (capacity: number) => void): void {
    const at = this.#onGrow.indexOf(listener);
    if (at >= 0) this.#onGrow.splice(at, 1);
  }

  get bytes(): number {
    return this.words.byteLength + this.lengths.byteLength + this.#slots.byteLength;
  }

  has(id: number): boolean {
    return id > 0 && id < this.end && this.lengths[id] !== 255;
  }

  /** Number of the prefix, 0 if it is not there. */
  find(length: number, w0: number, w1: number, w2: number, w3: number): number {
    const slots = this.#slots;
    const mask = this.#mask;
    const lengths = this.lengths;
    const words = this.words;
    if (!this.#wide) {
      const hash = hash32(length, w0, this.#seed);
      const tag = hash & ~idMask;
      let at = (hash ^ (hash >>> idBits)) & mask;
      for (let slot = slots[at]!; slot !== 0; slot = slots[at]!) {
        if (((slot ^ tag) & ~idMask) === 0) {
          const id = slot & idMask;
          if (words[id] === w0 && lengths[id] === length) return id;
        }
        at = (at + 1) & mask;
      }
      return 0;
    }
    const hash = hash128(length, w0, w1, w2, w3, this.#seed);
    const tag = hash & ~idMask;
    let at = (hash ^ (hash >>> idBits)) & mask;
    for (let slot = slots[at]!; slot !== 0; slot = slots[at]!) {
      if (((slot ^ tag) & ~idMask) === 0) {
        const id = slot & idMask;
        const base = id << 2;
        if (
          words[base + 1] === w1 &&
          words[base] === w0 &&
          words[base + 2] === w2 &&
          words[base + 3] === w3 &&
          lengths[id] === length
        ) {
          return id;
        }
      }
      at = (at + 1) & mask;
    }
    return 0;
  }

  /** Number of the prefix, which is added if it is not there. */
  insert(length: number, w0: number, w1: number, w2: number, w3: number): number {
    if (this.#wide) {
      const found = this.find(length, w0, w1, w2, w3);
      if (found !== 0) return found;
      const id = this.#take();
      const base = id << 2;
      this.lengths[id] = length;
      this.words[base] = w0;
      this.words[base + 1] = w1;
      this.words[base + 2] = w2;
      this.words[base + 3] = w3;
      this.#place(id);
      return id;
    }
    // As `find`, but the empty slot at which the search ends is the one to take.
    const hash = hash32(length, w0, this.#seed);
    const tag = hash & ~idMask;
    const slots = this.#slots;
    const mask = this.#mask;
    const words = this.words;
    let at = (hash ^ (hash >>> idBits)) & mask;
    for (let slot = slots[at]!; slot !== 0; slot = slots[at]!) {
      if (((slot ^ tag) & ~idMask) === 0) {
        const id = slot & idMask;
        if (words[id] === w0 && this.lengths[id] === length) return id;
      }
      at = (at + 1) & mask;
    }
    const id = this.#take();
    this.lengths[id] = length;
    this.words[id] = w0;
    if (slots === this.#slots) slots[at] = tag | id;
    else this.#place(id);
    return id;
  }

  #take(): number {
    this.size++;
    const id = this.#free;
    if (id !== 0) {
      this.#free = this.words[this.#wide ? id << 2 : id]!;
      return id;
    }
    if (this.end === this.capacity) this.#grow();
    return this.end++;
  }

  /** The number may be given to another prefix from now on. */
  remove(id: number): void {
    const mask = this.#mask;
    const slots = this.#slots;
    let hole = this.#home(this.#hash(id));
    while ((slots[hole]! & idMask) !== id) hole = (hole + 1) & mask;
    // What follows in the run moves up, unless its own place lies behind the hole.
    for (let at = (hole + 1) & mask; slots[at] !== 0; at = (at + 1) & mask) {
      const home = this.#home(this.#hash(slots[at]! & idMask));
      if (((at - home) & mask) >= ((at - hole) & mask)) {
        slots[hole] = slots[at]!;
        hole = at;
      }
    }
    slots[hole] = 0;
    this.lengths[id] = 255;
    this.words[this.#wide ? id << 2 : id] = this.#free;
    this.#free = id;
    this.size--;
  }

  read(id: number, into: PrefixFields): void {
    into.length = this.lengths[id]!;
    if (this.#wide) {
      const base = id << 2;
      into.w0 = this.words[base]!;
      into.w1 = this.words[base + 1]!;
      into.w2 = this.words[base + 2]!;
      into.w3 = this.words[base + 3]!;
    } else {
      into.w0 = this.words[id]!;
      into.w1 = 0;
      into.w2 = 0;
      into.w3 = 0;
    }
  }

  text(id: number): Prefix {
    const fields = { length: 0, w0: 0, w1: 0, w2: 0, w3: 0 };
    this.read(id, fields);
    return textOf(this.bits, fields);
  }

  /** Longest prefix that covers the given one (itself too) for which `holds`; 0 if none. */
  longestMatch(fields: PrefixFields, holds: (id: number) => boolean): number {
    for (let length = fields.length; length >= 0; length--) {
      const id = this.find(
        length,
        fields.w0 & maskWord(length),
        fields.w1 & maskWord(length - 32),
        fields.w2 & maskWord(length - 64),
        fields.w3 & maskWord(length - 96),
      );
      if (id !== 0 && holds(id)) return id;
    }
    return 0;
  }

  /** Is `id` the outer prefix or inside it? */
  isInside(id: number, outer: PrefixFields): boolean {
    if (this.lengths[id]! < outer.length || this.lengths[id] === 255) return false;
    if (!this.#wide) return ((this.words[id]! ^ outer.w0) & maskWord(outer.length)) === 0;
    const base = id << 2;
    const w = this.words;
    return (
      ((w[base]! ^ outer.w0) & maskWord(outer.length)) === 0 &&
      ((w[base + 1]! ^ outer.w1) & maskWord(outer.length - 32)) === 0 &&
      ((w[base + 2]! ^ outer.w2) & maskWord(outer.length - 64)) === 0 &&
      ((w[base + 3]! ^ outer.w3) & maskWord(outer.length - 96)) === 0
    );
  }

  #hash(id: number): number {
    if (!this.#wide) return hash32(this.lengths[id]!, this.words[id]!, this.#seed);
    const b = id << 2;
    const w = this.words;
    return hash128(this.lengths[id]!, w[b]!, w[b + 1]!, w[b + 2]!, w[b + 3]!, this.#seed);
  }

  #home(hash: number): number {
    return (hash ^ (hash >>> idBits)) & this.#mask;
  }

  #place(id: number): void {
    const mask = this.#mask;
    const hash = this.#hash(id);
    let at = this.#home(hash);
    while (this.#slots[at] !== 0) at = (at + 1) & mask;
    this.#slots[at] = (hash & ~idMask) | id;
  }

  #grow(): void {
    this.capacity *= 2;
    this.words = grown(this.words, this.capacity * (this.#wide ? 4 : 1));
    const old = this.lengths.length;
    this.lengths = grown(this.lengths, this.capacity);
    this.lengths.fill(255, old);
    this.#slots = new Int32Array(this.capacity * 2);
    this.#mask = this.#slots.length - 1;
    for (let id = 1; id < this.end; id++) if (this.lengths[id] !== 255) this.#place(id);
    for (const listener of this.#onGrow) listener(this.capacity);
  }
}

/** All ones in the first `length` bits; nothing for 0 and less, everything for 32 and more. */
export function maskWord(length: number): number {
  return length <= 0 ? 0 : length >= 32 ? -1 : -1 << (32 - length);
}

export function textOf(bits: 32 | 128, fields: PrefixFields): Prefix {
  const bytes = new Uint8Array(bits / 8);
  const view = new DataView(bytes.buffer);
  view.setInt32(0, fields.w0);
  if (bits === 128) {
    view.setInt32(4, fields.w1);
    view.setInt32(8, fields.w2);
    view.setInt32(12, fields.w3);
  }
  const address = Address.fromBytes(bytes);
  // A prefix inside ::ffff:0:0/96 is written as the IPv4 prefix that it stands for.
  const mapped = bits === 128 && Address.isIPv4(address);
  return Prefix.from(address, mapped ? fields.length - 96 : fields.length);
}

/** Throws IpError for what is no prefix. */
export function fieldsOf(prefix: string): PrefixFields & { readonly bits: 32 | 128 } {
  const parsed = Prefix.parse(prefix);
  const bytes = Address.toBytes(Prefix.address(parsed));
  const view = new DataView(bytes.buffer);
  const wide = bytes.length === 16;
  return {
    bits: wide ? 128 : 32,
    length: Prefix.length(parsed),
    w0: view.getInt32(0),
    w1: wide ? view.getInt32(4) : 0,
    w2: wide ? view.getInt32(8) : 0,
    w3: wide ? view.getInt32(12) : 0,
  };
}
