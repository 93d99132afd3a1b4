import { grown } from './grown.ts';

/**
 * What a group's neighbours have been sent, or will be: an item each, with the attribute set (0: withdrawn) and
 * the peer it came from. Without ADD-PATH the item is the prefix's number; with it, an own one, several of
 * which are chained by prefix.
 */
export class OutTable {
  readonly isAddPath: boolean;
  capacity: number;
  set: Int32Array;
  /** Peer + 1; 0: it has never been sent. */
  #source: Uint16Array;
  /** 1: it has had more than one source, so that its own source may have it from before. */
  mixed: Uint8Array;
  /** Items with a set. */
  live = 0;
  #isUsed = false;
  readonly #bySource: number[] = [];
  // ADD-PATH only.
  #prefix = new Int32Array(0);
  #pathId = new Int32Array(0);
  #next = new Int32Array(0);
  #heads = new Int32Array(0);
  #free = 0;
  #end = 1;

  constructor(isAddPath: boolean, prefixes: number) {
    this.isAddPath = isAddPath;
    this.capacity = isAddPath ? 256 : prefixes;
    this.set = new Int32Array(this.capacity);
    this.#source = new Uint16Array(this.capacity);
    this.mixed = new Uint8Array(this.capacity);
    if (isAddPath) {
      this.#prefix = new Int32Array(this.capacity);
      this.#pathId = new Int32Array(this.capacity);
      this.#next = new Int32Array(this.capacity);
      this.#heads = new Int32Array(prefixes);
    }
  }

  get bytes(): number {
    return this.capacity * (this.isAddPath ? 19 : 7) + this.#heads.byteLength;
  }

  /** Prefixes have numbers below `prefixes` from now on. */
  resize(prefixes: number): void {
    if (this.isAddPath) this.#heads = grown(this.#heads, prefixes);
    else this.#grow(prefixes);
  }

  #grow(capacity: number): void {
    this.capacity = capacity;
    if (!this.#isUsed) {
      // Many a group is never sent anything: pages that nobody touched cost nothing.
      this.set = new Int32Array(capacity);
      this.#source = new Uint16Array(capacity);
      this.mixed = new Uint8Array(capacity);
      return;
    }
    this.set = grown(this.set, capacity);
    this.#source = grown(this.#source, capacity);
    this.mixed = grown(this.mixed, capacity);
    if (!this.isAddPath) return;
    this.#prefix = grown(this.#prefix, capacity);
    this.#pathId = grown(this.#pathId, capacity);
    this.#next = grown(this.#next, capacity);
  }

  /** One above the greatest item. `prefixEnd`: of the prefix table. */
  end(prefixEnd: number): number {
    return this.isAddPath ? this.#end : prefixEnd;
  }

  /** The peer that the item came from last. */
  sourceOf(item: number): number {
    return this.#source[item]! - 1;
  }

  prefixOf(item: number): number {
    return this.isAddPath ? this.#prefix[item]! : item;
  }

  /** Signed, as encoders take it. */
  pathIdOf(item: number): number {
    return this.isAddPath ? this.#pathId[item]! : 0;
  }

  first(prefix: number): number {
    return this.isAddPath ? this.#heads[prefix]! : prefix;
  }

  next(item: number): number {
    return this.isAddPath ? this.#next[item]! : 0;
  }

  find(prefix: number, pathId: number): number {
    let item = this.#heads[prefix]!;
    while (item !== 0 && this.#pathId[item] !== pathId) item = this.#next[item]!;
    return item;
  }

  /** ADD-PATH only. The capacity may grow. */
  add(prefix: number, pathId: number): number {
    this.#isUsed = true;
    let item = this.#free;
    if (item !== 0) this.#free = this.#next[item]!;
    else {
      if (this.#end === this.capacity) this.#grow(this.capacity * 2);
      item = this.#end++;
    }
    this.#prefix[item] = prefix;
    this.#pathId[item] = pathId;
    this.#next[item] = this.#heads[prefix]!;
    this.#heads[prefix] = item;
    return item;
  }

  /** The item, or without ADD-PATH the prefix, means nothing any more. */
  remove(item: number): void {
    this.#source[item] = 0;
    this.mixed[item] = 0;
    if (!this.isAddPath) return;
    const prefix = this.#prefix[item]!;
    if (this.#heads[prefix] === item) this.#heads[prefix] = this.#next[item]!;
    else {
      let before = this.#heads[prefix]!;
      while (this.#next[before] !== item) before = this.#next[before]!;
      this.#next[before] = this.#next[item]!;
    }
    this.#prefix[item] = 0;
    this.#next[item] = this.#free;
    this.#free = item;
  }

  /** References to sets are the caller's business. False: it is that already. */
  put(item: number, set: number, source: number): boolean {
    const old = this.set[item]!;
    const before = this.#source[item]!;
    if (old === set && (set === 0 || before === source + 1)) return false;
    this.#isUsed = true;
    if (old !== 0) {
      this.live--;
      this.#bySource[before - 1]!--;
    }
    this.set[item] = set;
    if (set !== 0) {
      this.live++;
      this.#bySource[source] = (this.#bySource[source] ?? 0) + 1;
      if (before !== source + 1) {
        if (before !== 0) this.mixed[item] = 1;
        this.#source[item] = source + 1;
      }
    }
    return true;
  }

  /** Items that a peer is sent: its own are cut out. */
  countFor(peer: number): number {
    return this.live - (this.#bySource[peer] ?? 0);
  }
}
