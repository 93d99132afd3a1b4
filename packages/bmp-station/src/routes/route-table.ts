import { type AttributeTable, grown, PrefixTable } from '@causeway/bgp';

const FIRST = 1024;

/** What an announcement did. */
export type Announced = 'new' | 'changed' | 'same';

/**
 * Routes of one address family from all feeds: a slot each in columns, found by (feed, prefix, path id) through
 * open addressing, chained by prefix (who has this prefix?) and by feed (what went with this peer?). Slots and
 * prefixes are numbers from 1; 0 is none. Attribute sets and prefixes are shared by all feeds.
 */
export class RouteTable {
  readonly prefixes: PrefixTable;
  readonly #attributes: AttributeTable;
  size = 0;

  /** By slot. */
  prefix = new Int32Array(FIRST);
  feed = new Int32Array(FIRST);
  pathId = new Int32Array(FIRST);
  attributes = new Int32Array(FIRST);
  /** Seconds since 1970 at which the station learned the route as it is. */
  since = new Uint32Array(FIRST);
  nextOfPrefix = new Int32Array(FIRST);
  #previousOfPrefix = new Int32Array(FIRST);
  nextOfFeed = new Int32Array(FIRST);
  #previousOfFeed = new Int32Array(FIRST);
  #capacity = FIRST;
  #end = 1;
  #free = 0;

  /** By prefix: its first route, and how many lists outside hold on to its number. */
  firstOfPrefix: Int32Array;
  #pins: Uint32Array;
  /** By feed: its first route and the number of its routes. */
  firstOfFeed = new Int32Array(64);
  countOfFeed = new Int32Array(64);

  #index = new Int32Array(2 * FIRST);
  #mask = 2 * FIRST - 1;

  constructor(bits: 32 | 128, attributes: AttributeTable) {
    this.prefixes = new PrefixTable(bits);
    this.#attributes = attributes;
    this.firstOfPrefix = new Int32Array(this.prefixes.capacity);
    this.#pins = new Uint32Array(this.prefixes.capacity);
    this.prefixes.onGrow((capacity) => {
      this.firstOfPrefix = grown(this.firstOfPrefix, capacity);
      this.#pins = grown(this.#pins, capacity);
    });
  }

  get bytes(): number {
    return (
      this.prefixes.bytes +
      this.#capacity * 36 +
      this.#index.byteLength +
      8 * (this.prefixes.capacity + this.firstOfFeed.length)
    );
  }

  /**
   * Takes over one reference to the attribute set: `same` gives it back. The prefix's number comes from
   * `prefixes.insert`.
   */
  announce(
    feed: number,
    prefix: number,
    pathId: number,
    attributes: number,
    since: number,
  ): Announced {
    const known = this.find(feed, prefix, pathId);
    if (known !== 0) {
      const before = this.attributes[known]!;
      this.#attributes.release(before);
      if (before === attributes) return 'same';
      this.attributes[known] = attributes;
      this.since[known] = since;
      return 'changed';
    }
    const slot = this.#take();
    this.prefix[slot] = prefix;
    this.feed[slot] = feed;
    this.pathId[slot] = pathId;
    this.attributes[slot] = attributes;
    this.since[slot] = since;
    this.#chain(slot);
    this.#place(slot);
    this.size += 1;
    if (2 * this.size > this.#mask) this.#rehash();
    return 'new';
  }

  /** The number of the prefix stays good until `settle` or `pin`. False: there was no such route. */
  withdraw(feed: number, prefix: number, pathId: number): boolean {
    const slot = this.find(feed, prefix, pathId);
    if (slot === 0) return false;
    this.#remove(slot);
    return true;
  }

  /** Removes all routes of a feed; `each` sees the prefix of every one while its number is good. */
  clear(feed: number, each: (prefix: number) => void): void {
    for (let slot = this.firstOf(feed); slot !== 0; slot = this.firstOf(feed)) {
      const prefix = this.prefix[slot]!;
      this.#remove(slot);
      each(prefix);
      this.settle(prefix);
    }
  }

  firstOf(feed: number): number {
    return feed < this.firstOfFeed.length ? this.firstOfFeed[feed]! : 0;
  }

  countOf(feed: number): number {
    return feed < this.countOfFeed.length ? this.countOfFeed[feed]! : 0;
  }

  /** Keeps a prefix's number from being given to another prefix. */
  pin(prefix: number): void {
    this.#pins[prefix]! += 1;
  }

  unpin(prefix: number): void {
    this.#pins[prefix]! -= 1;
    this.settle(prefix);
  }

  /** Frees the number of a prefix that nobody has any more. */
  settle(prefix: number): void {
    if (this.firstOfPrefix[prefix] === 0 && this.#pins[prefix] === 0) this.prefixes.remove(prefix);
  }

  /** Slot of a route, 0 if there is none. */
  find(feed: number, prefix: number, pathId: number): number {
    let at = hash(feed, prefix, pathId) & this.#mask;
    for (let slot = this.#index[at]!; slot !== 0; slot = this.#index[at]!) {
      if (
        this.prefix[slot] === prefix &&
        this.feed[slot] === feed &&
        this.pathId[slot] === pathId
      ) {
        return slot;
      }
      at = (at + 1) & this.#mask;
    }
    return 0;
  }

  #take(): number {
    let slot = this.#free;
    if (slot !== 0) this.#free = this.nextOfPrefix[slot]!;
    else {
      if (this.#end === this.#capacity) this.#grow();
      slot = this.#end;
      this.#end += 1;
    }
    return slot;
  }

  #chain(slot: number): void {
    const prefix = this.prefix[slot]!;
    const feed = this.feed[slot]!;
    const afterPrefix = this.firstOfPrefix[prefix]!;
    this.nextOfPrefix[slot] = afterPrefix;
    this.#previousOfPrefix[slot] = 0;
    this.#previousOfPrefix[afterPrefix] = slot;
    this.firstOfPrefix[prefix] = slot;
    if (feed >= this.firstOfFeed.length) {
      this.firstOfFeed = grown(this.firstOfFeed, 2 * feed);
      this.countOfFeed = grown(this.countOfFeed, 2 * feed);
    }
    const afterFeed = this.firstOfFeed[feed]!;
    this.nextOfFeed[slot] = afterFeed;
    this.#previousOfFeed[slot] = 0;
    this.#previousOfFeed[afterFeed] = slot;
    this.firstOfFeed[feed] = slot;
    this.countOfFeed[feed]! += 1;
  }

  #remove(slot: number): void {
    const prefix = this.prefix[slot]!;
    const feed = this.feed[slot]!;
    this.#unplace(slot);
    const [previous, next] = [this.#previousOfPrefix[slot]!, this.nextOfPrefix[slot]!];
    if (previous === 0) this.firstOfPrefix[prefix] = next;
    else this.nextOfPrefix[previous] = next;
    this.#previousOfPrefix[next] = previous;
    const [before, after] = [this.#previousOfFeed[slot]!, this.nextOfFeed[slot]!];
    if (before === 0) this.firstOfFeed[feed] = after;
    else this.nextOfFeed[before] = after;
    this.#previousOfFeed[after] = before;
    this.countOfFeed[feed]! -= 1;
    this.#attributes.release(this.attributes[slot]!);
    this.prefix[slot] = 0;
    this.nextOfPrefix[slot] = this.#free;
    this.#free = slot;
    this.size -= 1;
  }

  #home(slot: number): number {
    return hash(this.feed[slot]!, this.prefix[slot]!, this.pathId[slot]!) & this.#mask;
  }

  #place(slot: number): void {
    let at = this.#home(slot);
    while (this.#index[at] !== 0) at = (at + 1) & this.#mask;
    this.#index[at] = slot;
  }

  #unplace(slot: number): void {
    const index = this.#index;
    const mask = this.#mask;
    let hole = this.#home(slot);
    while (index[hole] !== slot) hole = (hole + 1) & mask;
    // What follows in the run moves up, unless its own place lies behind the hole.
    for (let at = (hole + 1) & mask; index[at] !== 0; at = (at + 1) & mask) {
      if (((at - this.#home(index[at]!)) & mask) >= ((at - hole) & mask)) {
        index[hole] = index[at]!;
        hole = at;
      }
    }
    index[hole] = 0;
  }

  #rehash(): void {
    this.#index = new Int32Array(2 * this.#index.length);
    this.#mask = this.#index.length - 1;
    for (let slot = 1; slot < this.#end; slot += 1) if (this.prefix[slot] !== 0) this.#place(slot);
  }

  #grow(): void {
    this.#capacity *= 2;
    const capacity = this.#capacity;
    this.prefix = grown(this.prefix, capacity);
    this.feed = grown(this.feed, capacity);
    this.pathId = grown(this.pathId, capacity);
    this.attributes = grown(this.attributes, capacity);
    this.since = grown(this.since, capacity);
    this.nextOfPrefix = grown(this.nextOfPrefix, capacity);
    this.#previousOfPrefix = grown(this.#previousOfPrefix, capacity);
    this.nextOfFeed = grown(this.nextOfFeed, capacity);
    this.#previousOfFeed = grown(this.#previousOfFeed, capacity);
  }
}

function hash(feed: number, prefix: number, pathId: number): number {
  // Prefixes are numbered in the order in which a feed brings them, so neighbours stay neighbours.
  let h = Math.imul(feed, 0x9e3779b1) ^ Math.imul(pathId, 0x85ebca6b);
  h ^= h >>> 15;
  h = Math.imul(h, 0xc2b2ae35);
  return (h ^ (h >>> 13)) + prefix;
}
