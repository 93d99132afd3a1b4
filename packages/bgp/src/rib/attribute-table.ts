import { emptyHot, readHot } from './attribute-bytes.ts';
import { grown } from './grown.ts';
import type { NextHopTable } from './next-hops.ts';

/** Remembers something about attribute sets by number, and must let go of a number that is freed. */
export interface SetListener {
  forget(id: number): void;
}

const firstCapacity = 256;
/** Tables are not made smaller than this. */
const leastCapacity = 4096;
const leastArena = 1 << 18;
/** As in PrefixTable: the number below, some of the hash above. */
const idMask = 0xffffff;

/**
 * Attribute sets, each once: canonical bytes and a next hop, with a number (from 1), a reference count and the
 * fields that decisions look at in columns. Bytes stand in one arena, in blocks of multiples of 16.
 */
export class AttributeTable {
  readonly nextHops: NextHopTable;
  capacity = firstCapacity;
  size = 0;
  /** Sets with a MED other than 0: while there is none, comparing paths is a total order. */
  withMed = 0;
  /** Of sets that somebody holds. */
  liveBytes = 0;

  bytes: Uint8Array = new Uint8Array(16384);
  offset = new Uint32Array(firstCapacity);
  length = new Uint16Array(firstCapacity);
  refs = new Uint32Array(firstCapacity);
  nextHop = new Uint32Array(firstCapacity);
  localPreference = new Uint32Array(firstCapacity);
  asPathLength = new Uint16Array(firstCapacity);
  origin = new Uint8Array(firstCapacity);
  med = new Uint32Array(firstCapacity);
  neighborAs = new Uint32Array(firstCapacity);
  originatorId = new Uint32Array(firstCapacity);
  clusterListLength = new Uint16Array(firstCapacity);
  flags = new Uint16Array(firstCapacity);
  #hash = new Int32Array(firstCapacity);
  #slots = new Int32Array(firstCapacity * 2);
  #mask = this.#slots.length - 1;
  #end = 1;
  #free = 0;
  #arenaEnd = 0;
  /** Freed blocks by size in units. */
  readonly #blocks = new Map<number, number[]>();
  readonly #listeners = new Set<SetListener>();
  readonly #hot = emptyHot();

  constructor(nextHops: NextHopTable) {
    this.nextHops = nextHops;
  }

  listen(listener: SetListener): void {
    this.#listeners.add(listener);
  }

  unlisten(listener: SetListener): void {
    this.#listeners.delete(listener);
  }

  get tableBytes(): number {
    return this.bytes.byteLength + this.capacity * 44 + this.#slots.byteLength;
  }

  /**
   * The number of a set; the caller holds one reference to it, and to `nextHop` only if it did before
   * (the table takes its own). `hash` is W's hash of the bytes.
   */
  intern(b: Uint8Array, start: number, end: number, hash: number, nextHop: number): number {
    const key = (hash ^ Math.imul(nextHop, 0x9e3779b1)) | 0;
    const length = end - start;
    const mask = this.#mask;
    const slots = this.#slots;
    const tag = key & ~idMask;
    let at = spread(key) & mask;
    for (let slot = slots[at]!; slot !== 0; slot = slots[at]!) {
      const id = slot & idMask;
      if (
        ((slot ^ tag) & ~idMask) === 0 &&
        this.#hash[id] === key &&
        this.nextHop[id] === nextHop &&
        this.length[id] === length &&
        this.#equals(id, b, start, length)
      ) {
        this.refs[id]!++;
        return id;
      }
      at = (at + 1) & mask;
    }
    return this.#add(b, start, end, key, nextHop);
  }

  retain(id: number): void {
    this.refs[id]!++;
  }

  release(id: number): void {
    if (--this.refs[id]! === 0) this.#remove(id);
  }

  /** The canonical bytes; a view into the arena, good until the next `intern`. */
  view(id: number): Uint8Array {
    return this.bytes.subarray(this.offset[id]!, this.offset[id]! + this.length[id]!);
  }

  start(id: number): number {
    return this.offset[id]!;
  }

  end(id: number): number {
    return this.offset[id]! + this.length[id]!;
  }

  #equals(id: number, b: Uint8Array, start: number, length: number): boolean {
    const arena = this.bytes;
    let at = this.offset[id]!;
    for (let i = start; i < start + length; i++, at++) if (arena[at] !== b[i]) return false;
    return true;
  }

  #add(b: Uint8Array, start: number, end: number, key: number, nextHop: number): number {
    let id = this.#free;
    if (id !== 0) {
      this.#free = this.offset[id]!;
    } else {
      if (this.#end === this.capacity) this.#grow();
      id = this.#end++;
    }
    const length = end - start;
    const isOwn = b === this.bytes;
    const offset = this.#allocate(length);
    const arena = this.bytes;
    // Growing leaves the old arena empty.
    const from = isOwn ? arena : b;
    if (length < 128) for (let i = 0; i < length; i++) arena[offset + i] = from[start + i]!;
    else arena.set(from.subarray(start, end), offset);
    this.offset[id] = offset;
    this.length[id] = length;
    this.refs[id] = 1;
    this.nextHop[id] = nextHop;
    this.nextHops.retain(nextHop);
    this.#hash[id] = key;
    const hot = this.#hot;
    readHot(this.bytes, offset, offset + length, hot);
    this.localPreference[id] = hot.localPreference;
    this.asPathLength[id] = hot.asPathLength;
    this.origin[id] = hot.origin;
    this.med[id] = hot.med;
    this.neighborAs[id] = hot.neighborAs;
    this.originatorId[id] = hot.originatorId;
    this.clusterListLength[id] = hot.clusterListLength;
    this.flags[id] = hot.flags;
    if (hot.med !== 0) this.withMed++;
    let at = spread(key) & this.#mask;
    while (this.#slots[at] !== 0) at = (at + 1) & this.#mask;
    this.#slots[at] = (key & ~idMask) | id;
    this.size++;
    return id;
  }

  #remove(id: number): void {
    const mask = this.#mask;
    const slots = this.#slots;
    let hole = spread(this.#hash[id]!) & mask;
    while ((slots[hole]! & idMask) !== id) hole = (hole + 1) & mask;
    for (let at = (hole + 1) & mask; slots[at] !== 0; at = (at + 1) & mask) {
      const home = spread(this.#hash[slots[at]! & idMask]!) & mask;
      if (((at - home) & mask) >= ((at - hole) & mask)) {
        slots[hole] = slots[at]!;
        hole = at;
      }
    }
    slots[hole] = 0;
    const units = unitsOf(this.length[id]!);
    this.liveBytes -= units * 16;
    const list = this.#blocks.get(units);
    if (list === undefined) this.#blocks.set(units, [this.offset[id]!]);
    else list.push(this.offset[id]!);
    if (this.med[id] !== 0) this.withMed--;
    const nextHop = this.nextHop[id]!;
    this.offset[id] = this.#free;
    this.#free = id;
    this.size--;
    this.nextHops.release(nextHop);
    for (const listener of this.#listeners) listener.forget(id);
  }

  #allocate(length: number): number {
    const units = unitsOf(length);
    this.liveBytes += units * 16;
    const reused = this.#blocks.get(units)?.pop();
    if (reused !== undefined) return reused;
    const offset = this.#arenaEnd;
    const end = offset + units * 16;
    if (end > this.bytes.length) {
      this.bytes = grown(this.bytes, Math.max(end, (this.bytes.length * 1.25) & ~15));
    }
    this.#arenaEnd = end;
    return offset;
  }

  /**
   * Gives back memory that a larger table needed: sets move together in the arena, and columns end behind the greatest
   * number in use. Views of before mean nothing then.
   */
  shrink(): void {
    if (this.bytes.length > leastArena && this.liveBytes < this.bytes.length / 4) this.#pack();
    if (this.capacity > leastCapacity && this.size < this.capacity / 4) this.#cutColumns();
  }

  #pack(): void {
    const old = this.bytes;
    const bytes = new Uint8Array(Math.max(leastArena, (this.liveBytes * 1.25) & ~15));
    let end = 0;
    for (let id = 1; id < this.#end; id++) {
      if (this.refs[id] === 0) continue;
      const start = this.offset[id]!;
      const length = this.length[id]!;
      bytes.set(old.subarray(start, start + length), end);
      this.offset[id] = end;
      end += unitsOf(length) * 16;
    }
    this.bytes = bytes;
    this.#arenaEnd = end;
    this.#blocks.clear();
    // At once, not when the collector comes by.
    (old.buffer as ArrayBuffer).transfer(0);
  }

  #cutColumns(): void {
    let end = this.#end;
    while (end > 1 && this.refs[end - 1] === 0) end--;
    const capacity = Math.max(leastCapacity, (end * 1.25 + 16) & ~15);
    if (capacity > this.capacity / 2) return;
    this.#end = end;
    this.#free = 0;
    for (let id = end - 1; id > 0; id--) {
      if (this.refs[id] !== 0) continue;
      this.offset[id] = this.#free;
      this.#free = id;
    }
    this.capacity = capacity;
    this.#resizeColumns();
    this.#fillSlots(Math.max(leastCapacity, 2 ** Math.ceil(Math.log2(capacity))) * 2);
  }

  #grow(): void {
    // Wide rows: rather often and little than half of it empty.
    this.capacity = (this.capacity * 1.25) & ~15;
    this.#resizeColumns();
    if (this.capacity > this.#slots.length / 2) this.#fillSlots(this.#slots.length * 2);
  }

  #resizeColumns(): void {
    const capacity = this.capacity;
    this.offset = grown(this.offset, capacity);
    this.length = grown(this.length, capacity);
    this.refs = grown(this.refs, capacity);
    this.nextHop = grown(this.nextHop, capacity);
    this.localPreference = grown(this.localPreference, capacity);
    this.asPathLength = grown(this.asPathLength, capacity);
    this.origin = grown(this.origin, capacity);
    this.med = grown(this.med, capacity);
    this.neighborAs = grown(this.neighborAs, capacity);
    this.originatorId = grown(this.originatorId, capacity);
    this.clusterListLength = grown(this.clusterListLength, capacity);
    this.flags = grown(this.flags, capacity);
    this.#hash = grown(this.#hash, capacity);
  }

  #fillSlots(length: number): void {
    this.#slots = new Int32Array(length);
    this.#mask = length - 1;
    for (let id = 1; id < this.#end; id++) {
      if (this.refs[id] === 0) continue;
      let at = spread(this.#hash[id]!) & this.#mask;
      while (this.#slots[at] !== 0) at = (at + 1) & this.#mask;
      this.#slots[at] = (this.#hash[id]! & ~idMask) | id;
    }
  }
}

const unitsOf = (length: number): number => Math.max(1, (length + 15) >> 4);

const spread = (h: number): number => h ^ (h >>> 16) ^ (h >>> 7);
