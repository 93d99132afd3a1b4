/**
 * What a monitor has learned, at the price of some tens of nanoseconds a prefix: each distinct prefix with the class of
 * its latest attributes, and how many prefixes are in each class. IPv4 unicast only, which is what the load is.
 */

/** Puts the attributes of an UPDATE (a range of `bytes`) into a class from 1 to 255. */
export type Classify = (bytes: Buffer, start: number, end: number) => number;

export const anyRoute: Classify = () => 1;

/** Class 2 with this standard community, 1 without. */
export function byCommunity(community: number): Classify {
  return (bytes, start, end) => {
    for (let at = start; at + 3 <= end; ) {
      const long = (bytes[at]! & 0x10) !== 0;
      const length = long ? bytes.readUInt16BE(at + 2) : bytes[at + 2]!;
      const value = at + (long ? 4 : 3);
      if (bytes[at + 1] === 8)
        for (let place = value; place < value + length; place += 4)
          if (bytes.readUInt32BE(place) === community) return 2;
      at = value + length;
    }
    return 1;
  };
}

/** The AS that stands behind the sender's own in the path, as a number from 1: `asn - base`. */
export function byTester(base: number): Classify {
  return (bytes, start, end) => {
    for (let at = start; at + 3 <= end; ) {
      const long = (bytes[at]! & 0x10) !== 0;
      const length = long ? bytes.readUInt16BE(at + 2) : bytes[at + 2]!;
      const value = at + (long ? 4 : 3);
      if (bytes[at + 1] === 2 && length >= 10) return bytes.readUInt32BE(value + 6) - base;
      at = value + length;
    }
    return 255;
  };
}

export class Counter {
  readonly #classify: Classify;
  readonly #mask: number;
  readonly #addresses: Uint32Array;
  /** Length + 1 in the low byte, class above; 0 is an empty place. */
  readonly #states: Uint16Array;
  readonly #counts = new Uint32Array(256);
  /** Prefixes seen in UPDATEs, repetitions included. */
  announced = 0;
  withdrawn = 0;

  constructor(capacity: number, classify: Classify = anyRoute) {
    this.#classify = classify;
    let size = 1024;
    while (size < capacity * 2) size *= 2;
    this.#mask = size - 1;
    this.#addresses = new Uint32Array(size);
    this.#states = new Uint16Array(size);
  }

  clear(): void {
    this.#states.fill(0);
    this.#counts.fill(0);
    this.announced = 0;
    this.withdrawn = 0;
  }

  /** Prefixes that are there now, in the given class or in any. */
  count(ofClass?: number): number {
    if (ofClass !== undefined) return this.#counts[ofClass] ?? 0;
    let sum = 0;
    for (let index = 1; index < 256; index += 1) sum += this.#counts[index]!;
    return sum;
  }

  #set(address: number, length: number, ofClass: number): void {
    const key = length + 1;
    let place = (Math.imul(address ^ (length << 3), 0x9e37_79b1) >>> 7) & this.#mask;
    for (;;) {
      const state = this.#states[place]!;
      if (state === 0) break;
      if (this.#addresses[place] === address && (state & 255) === key) {
        this.#counts[state >> 8]! -= 1;
        break;
      }
      place = (place + 1) & this.#mask;
    }
    this.#addresses[place] = address;
    this.#states[place] = key | (ofClass << 8);
    this.#counts[ofClass]! += 1;
  }

  #range(bytes: Buffer, start: number, end: number, ofClass: number): number {
    let seen = 0;
    for (let at = start; at < end; seen += 1) {
      const length = bytes[at]!;
      let address = 0;
      if (length > 0) address = bytes[at + 1]! << 24;
      if (length > 8) address |= bytes[at + 2]! << 16;
      if (length > 16) address |= bytes[at + 3]! << 8;
      if (length > 24) address |= bytes[at + 4]!;
      this.#set(address >>> 0, length, ofClass);
      at += 1 + ((length + 7) >> 3);
    }
    return seen;
  }

  /** One UPDATE: `start` is where its header begins. */
  update(bytes: Buffer, start: number, end: number): void {
    const withdrawn = start + 21;
    const attributes = withdrawn + bytes.readUInt16BE(start + 19) + 2;
    const nlri = attributes + bytes.readUInt16BE(attributes - 2);
    if (attributes - 2 > withdrawn)
      this.withdrawn += this.#range(bytes, withdrawn, attributes - 2, 0);
    if (nlri >= end) return;
    const ofClass = this.#classify(bytes, attributes, nlri);
    this.announced += this.#range(bytes, nlri, end, ofClass);
  }
}

/**
 * One bit a route of `10.90.0.0/16`, told apart by its last two bytes: what a reflector's client learns. The client's
 * own route, which a reflector may send back, is not counted.
 */
export class HostCounter {
  readonly #bits: Uint8Array;
  readonly own: number;
  #present = 0;
  announced = 0;
  withdrawn = 0;

  constructor(capacity: number, own = -1) {
    this.#bits = new Uint8Array((capacity + 7) >> 3);
    this.own = own;
  }

  clear(): void {
    this.#bits.fill(0);
    this.#present = 0;
    this.announced = 0;
    this.withdrawn = 0;
  }

  count(_ofClass?: number): number {
    return this.#present;
  }

  #range(bytes: Buffer, start: number, end: number, there: boolean): number {
    let seen = 0;
    for (let at = start; at < end; at += 1 + ((bytes[at]! + 7) >> 3)) {
      if (bytes[at] !== 32) continue;
      seen += 1;
      const index = (bytes[at + 3]! << 8) | bytes[at + 4]!;
      if (index === this.own) continue;
      const bit = 1 << (index & 7);
      const byte = this.#bits[index >> 3]!;
      if (((byte & bit) !== 0) === there) continue;
      this.#bits[index >> 3] = byte ^ bit;
      this.#present += there ? 1 : -1;
    }
    return seen;
  }

  update(bytes: Buffer, start: number, end: number): void {
    const withdrawn = start + 21;
    const attributes = withdrawn + ((bytes[start + 19]! << 8) | bytes[start + 20]!) + 2;
    const nlri = attributes + ((bytes[attributes - 2]! << 8) | bytes[attributes - 1]!);
    if (attributes - 2 > withdrawn)
      this.withdrawn += this.#range(bytes, withdrawn, attributes - 2, false);
    if (nlri < end) this.announced += this.#range(bytes, nlri, end, true);
  }
}
