/** Where an address stands among the columns: its four words (IPv4 under ::ffff:0:0/96) and its length. */
export interface Place {
  w0: number;
  w1: number;
  w2: number;
  w3: number;
  /** Of a prefix 0 to 128 (IPv4: 96 more than written); SINGLE for an address without a mask. */
  length: number;
}

/** `10.0.0.5` and `10.0.0.5/32` are different keys of the store. */
export const SINGLE = 129;

/** States of a slot. */
export const FREE = 0;
export const LIVE = 1;
/** Holds only its place: somebody has yet to hear that the entry went. */
export const GRAVE = 2;

const NONE = -1;

/**
 * Entries in columns: 34 bytes a slot and eight of index, none of them an object. A slot is
 * found by its place, by open addressing with linear probing; entries of several clusters for one
 * place hang behind the one that the index knows, by a side table that is empty where clusters are
 * in order. Ids of slots stay the same for as long as the slot is in use.
 */
export class Columns {
  words!: Uint32Array<ArrayBuffer>;
  length!: Uint8Array<ArrayBuffer>;
  state!: Uint8Array<ArrayBuffer>;
  encryptionKey!: Uint8Array<ArrayBuffer>;
  /** The list of its cluster that showed the entry last. */
  seen!: Uint8Array<ArrayBuffer>;
  /** One bit for each reader of changes that has yet to look. */
  dirty!: Uint8Array<ArrayBuffer>;
  cluster!: Uint16Array<ArrayBuffer>;
  identity!: Uint32Array<ArrayBuffer>;
  host!: Uint32Array<ArrayBuffer>;
  ports!: Uint32Array<ArrayBuffer>;
  readonly #next = new Map<number, number>();
  #index!: Int32Array<ArrayBuffer>;
  #mask = 0;
  #capacity = 0;
  /** Slots from here on have never been used. */
  #top = 0;
  #used = 0;
  /** The first of the free slots below `top`; each names the next in its `host`. */
  #free = NONE;

  readonly #seed: number;

  /** @param seed 32 random bits: without them a cluster could choose addresses that stand in each other's way. */
  constructor(seed = 0, capacity = 1024) {
    this.#seed = seed >>> 0;
    this.#resize(capacity);
  }

  /** Slots to walk: `state` says which are in use. */
  get top(): number {
    return this.#top;
  }

  get bytes(): number {
    return this.#capacity * 34 + this.#index.byteLength;
  }

  /** The slot that the index knows for a place, or -1. */
  find(place: Place): number {
    let at = hash(this.#seed, place.w0, place.w1, place.w2, place.w3, place.length) & this.#mask;
    for (;;) {
      const slot = this.#index[at]! - 1;
      if (slot < 0 || this.#isAt(slot, place)) return slot;
      at = (at + 1) & this.#mask;
    }
  }

  /** The one behind a slot at the same place, or -1. */
  behind(slot: number): number {
    return this.#next.get(slot) ?? NONE;
  }

  get contested(): number {
    return this.#next.size;
  }

  /** A new slot at a place that has none. */
  insert(place: Place): number {
    const slot = this.#take(place);
    this.#index[this.#vacancy(slot)] = slot + 1;
    return slot;
  }

  /** A new slot at the place of another: before the first of them, or behind the last. */
  join(head: number, place: Place, before: boolean): number {
    const slot = this.#take(place);
    if (before) {
      this.#index[this.#indexOf(head)] = slot + 1;
      this.#next.set(slot, head);
      return slot;
    }
    let last = head;
    for (let next = this.behind(last); next >= 0; next = this.behind(last)) last = next;
    this.#next.set(last, slot);
    return slot;
  }

  /** Gives a slot back. Returns the first that is left at its place, or -1. */
  remove(slot: number): number {
    const head = this.#index[this.#indexOf(slot)]! - 1;
    const next = this.behind(slot);
    let left = head;
    if (slot !== head) {
      let before = head;
      while (this.behind(before) !== slot) before = this.behind(before);
      if (next >= 0) this.#next.set(before, next);
      else this.#next.delete(before);
    } else if (next >= 0) {
      this.#index[this.#indexOf(slot)] = next + 1;
      left = next;
    } else {
      this.#vacate(this.#indexOf(slot));
      left = NONE;
    }
    this.#next.delete(slot);
    this.state[slot] = FREE;
    this.host[slot] = this.#free + 1;
    this.#free = slot;
    this.#used--;
    return left;
  }

  placeOf(slot: number, place: Place): Place {
    place.w0 = this.words[slot * 4]!;
    place.w1 = this.words[slot * 4 + 1]!;
    place.w2 = this.words[slot * 4 + 2]!;
    place.w3 = this.words[slot * 4 + 3]!;
    place.length = this.length[slot]!;
    return place;
  }

  #isAt(slot: number, { w0, w1, w2, w3, length }: Place): boolean {
    const { words } = this;
    const at = slot * 4;
    return (
      words[at + 3] === w3 &&
      words[at + 2] === w2 &&
      words[at + 1] === w1 &&
      words[at] === w0 &&
      this.length[slot] === length
    );
  }

  #take(place: Place): number {
    if (this.#used === this.#capacity) this.#resize(this.#capacity * 2);
    let slot = this.#free;
    if (slot >= 0) this.#free = this.host[slot]! - 1;
    else slot = this.#top++;
    this.#used++;
    this.words[slot * 4] = place.w0;
    this.words[slot * 4 + 1] = place.w1;
    this.words[slot * 4 + 2] = place.w2;
    this.words[slot * 4 + 3] = place.w3;
    this.length[slot] = place.length;
    this.state[slot] = LIVE;
    return slot;
  }

  #hashOf(slot: number): number {
    const { words } = this;
    const at = slot * 4;
    const length = this.length[slot]!;
    return hash(this.#seed, words[at]!, words[at + 1]!, words[at + 2]!, words[at + 3]!, length);
  }

  /** Where in the index the slot's place stands; the slot itself may wait behind another. */
  #indexOf(slot: number): number {
    const place = this.placeOf(slot, { w0: 0, w1: 0, w2: 0, w3: 0, length: 0 });
    let at = this.#hashOf(slot) & this.#mask;
    while (!this.#isAt(this.#index[at]! - 1, place)) at = (at + 1) & this.#mask;
    return at;
  }

  #vacancy(slot: number): number {
    let at = this.#hashOf(slot) & this.#mask;
    while (this.#index[at] !== 0) at = (at + 1) & this.#mask;
    return at;
  }

  /** Closes the gap, so that no probe ends at it too early. */
  #vacate(gap: number): void {
    let hole = gap;
    for (let at = (gap + 1) & this.#mask; this.#index[at] !== 0; at = (at + 1) & this.#mask) {
      const home = this.#hashOf(this.#index[at]! - 1) & this.#mask;
      if (((at - home) & this.#mask) < ((at - hole) & this.#mask)) continue;
      this.#index[hole] = this.#index[at]!;
      hole = at;
    }
    this.#index[hole] = 0;
  }

  #resize(capacity: number): void {
    this.words = grown(this.words, new Uint32Array(capacity * 4));
    this.length = grown(this.length, new Uint8Array(capacity));
    this.state = grown(this.state, new Uint8Array(capacity));
    this.encryptionKey = grown(this.encryptionKey, new Uint8Array(capacity));
    this.seen = grown(this.seen, new Uint8Array(capacity));
    this.dirty = grown(this.dirty, new Uint8Array(capacity));
    this.cluster = grown(this.cluster, new Uint16Array(capacity));
    this.identity = grown(this.identity, new Uint32Array(capacity));
    this.host = grown(this.host, new Uint32Array(capacity));
    this.ports = grown(this.ports, new Uint32Array(capacity));
    const before = this.#index;
    this.#capacity = capacity;
    this.#index = new Int32Array(capacity * 2);
    this.#mask = capacity * 2 - 1;
    for (let at = 0; at < (before?.length ?? 0); at++) {
      const slot = before[at]! - 1;
      if (slot >= 0) this.#index[this.#vacancy(slot)] = slot + 1;
    }
  }
}

function grown<A extends Uint8Array | Uint16Array | Uint32Array>(old: A | undefined, made: A): A {
  if (old !== undefined) made.set(old);
  return made;
}

/** Mixes five numbers; addresses of one subnet differ in few bits, and must not stand side by side. */
function hash(
  seed: number,
  w0: number,
  w1: number,
  w2: number,
  w3: number,
  length: number,
): number {
  let h = Math.imul(seed ^ w3 ^ Math.imul(length, 0x9e3779b1), 0x85ebca6b);
  h = Math.imul((h ^ (h >>> 15)) + w2, 0xc2b2ae35);
  h = Math.imul((h ^ (h >>> 13)) + w1, 0x27d4eb2f);
  h = Math.imul((h ^ (h >>> 15)) + w0, 0x165667b1);
  return (h ^ (h >>> 16)) >>> 0;
}
