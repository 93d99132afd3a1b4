import { grown } from './grown.ts';

export const PathFlag = Object.freeze({
  /** Kept over the peer's restart (RFC 4724), not brought again yet. */
  stale: 1,
  /** Kept beyond that (RFC 9494). */
  llgr: 2,
  /** Withdrawn, but a monitor has not been told yet. */
  gone: 4,
  /** In the prefix's equal-cost set. */
  multipath: 8,
  /** Was there before the refresh that is going on (RFC 7313) and has not been brought again. */
  unrefreshed: 16,
} as const);

const firstCapacity = 1024;

/** Paths of one family: a slot each, chained by prefix. Slots are numbers from 1; columns only grow. */
export class PathTable {
  capacity = firstCapacity;
  size = 0;
  /** One above the greatest slot ever used. */
  end = 1;
  /** Next path of the prefix, 0 at the end; of a free slot: the next free one. */
  next = new Int32Array(firstCapacity);
  /** 0: the slot is free. */
  prefix = new Int32Array(firstCapacity);
  peer = new Uint16Array(firstCapacity);
  /** Attribute set as received, and after import policy (0: no candidate, `why` says why). */
  received = new Int32Array(firstCapacity);
  accepted = new Int32Array(firstCapacity);
  flags = new Uint8Array(firstCapacity);
  why = new Uint8Array(firstCapacity);
  /** Only once there is a path identifier other than 0 (RFC 7911). */
  #ids: Int32Array | undefined;
  #free = 0;
  readonly #onGrow: ((capacity: number) => void)[] = [];

  onGrow(listener: (capacity: number) => void): void {
    this.#onGrow.push(listener);
  }

  get bytes(): number {
    return this.capacity * 20 + (this.#ids?.byteLength ?? 0);
  }

  /** Unsigned. */
  idOf(path: number): number {
    return this.#ids === undefined ? 0 : this.#ids[path]! >>> 0;
  }

  /** Signed, as cursors have it. */
  isId(path: number, id: number): boolean {
    return this.#ids === undefined ? id === 0 : this.#ids[path] === id;
  }

  add(prefix: number, peer: number, id: number): number {
    let slot = this.#free;
    if (slot !== 0) this.#free = this.next[slot]!;
    else {
      if (this.end === this.capacity) this.#grow();
      slot = this.end++;
    }
    this.size++;
    this.prefix[slot] = prefix;
    this.peer[slot] = peer;
    this.flags[slot] = 0;
    this.why[slot] = 0;
    this.received[slot] = 0;
    this.accepted[slot] = 0;
    if (id !== 0 && this.#ids === undefined) this.#ids = new Int32Array(this.capacity);
    if (this.#ids !== undefined) this.#ids[slot] = id;
    return slot;
  }

  /** The caller has unchained it. */
  remove(slot: number): void {
    this.prefix[slot] = 0;
    this.next[slot] = this.#free;
    this.#free = slot;
    this.size--;
  }

  #grow(): void {
    // Wide rows: rather often and little than half of it empty.
    this.capacity = (this.capacity * 1.25) & ~15;
    const capacity = this.capacity;
    this.next = grown(this.next, capacity);
    this.prefix = grown(this.prefix, capacity);
    this.peer = grown(this.peer, capacity);
    this.received = grown(this.received, capacity);
    this.accepted = grown(this.accepted, capacity);
    this.flags = grown(this.flags, capacity);
    this.why = grown(this.why, capacity);
    if (this.#ids !== undefined) this.#ids = grown(this.#ids, capacity);
    for (const listener of this.#onGrow) listener(capacity);
  }
}
