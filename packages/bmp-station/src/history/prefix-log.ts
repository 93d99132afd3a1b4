import { type PrefixFields, type PrefixTable, textOf } from '@causeway/bgp';
import type { Change } from '../routes/rib.ts';

/**
 * Prefixes and what became of them, as the history keeps them: thousands to a row, some bytes each.
 *
 *     version (1)   then, for each entry:
 *     kind (1): bit 7 IPv6, low bits the change   length (1)   ceil(length / 8) bytes
 */
const VERSION = 1;
const WIDE = 0x80;

export const CHANGE_NAMES = Object.freeze(['announced', 'changed', 'withdrawn', 'lost'] as const);
export type ChangeName = (typeof CHANGE_NAMES)[number];

export interface LoggedPrefix {
  readonly prefix: string;
  readonly change: ChangeName;
}

/** A log being written. */
export class PrefixLog {
  #bytes = new Uint8Array(256);
  #length = 0;
  readonly counts: [number, number, number, number] = [0, 0, 0, 0];
  readonly #fields: PrefixFields = { length: 0, w0: 0, w1: 0, w2: 0, w3: 0 };

  get size(): number {
    return this.#length;
  }

  get entries(): number {
    return this.counts.reduce((sum, count) => sum + count, 0);
  }

  add(change: Change, table: PrefixTable, prefix: number): void {
    if (this.#length + 18 > this.#bytes.length) {
      const larger = new Uint8Array(2 * this.#bytes.length);
      larger.set(this.#bytes);
      this.#bytes = larger;
    }
    const bytes = this.#bytes;
    const fields = this.#fields;
    table.read(prefix, fields);
    let at = this.#length;
    if (at === 0) bytes[at++] = VERSION;
    bytes[at++] = change | (table.bits === 128 ? WIDE : 0);
    bytes[at++] = fields.length;
    for (let bit = 0; bit < fields.length; bit += 8) {
      const word = bit < 32 ? fields.w0 : bit < 64 ? fields.w1 : bit < 96 ? fields.w2 : fields.w3;
      bytes[at++] = word >>> (24 - (bit & 31));
    }
    this.#length = at;
    this.counts[change] += 1;
  }

  /** A copy of what was written, and a fresh start. */
  take(): Uint8Array | undefined {
    if (this.#length === 0) return undefined;
    const bytes = this.#bytes.slice(0, this.#length);
    this.#length = 0;
    this.counts.fill(0);
    if (this.#bytes.length > 65_536) this.#bytes = new Uint8Array(256);
    return bytes;
  }
}

/** Entries of a stored log; a log of another version has none. Stops at the first that is cut short. */
export function* readPrefixLog(bytes: Uint8Array): Generator<LoggedPrefix> {
  if (bytes[0] !== VERSION) return;
  for (let at = 1; at + 2 <= bytes.length; ) {
    const kind = bytes[at]!;
    const length = bytes[at + 1]!;
    const size = (length + 7) >>> 3;
    at += 2;
    const bits = (kind & WIDE) === 0 ? 32 : 128;
    if (at + size > bytes.length || length > bits) return;
    yield { prefix: textAt(bytes, at, size, bits, length), change: CHANGE_NAMES[kind & 3]! };
    at += size;
  }
}

/** The last change of one prefix in a stored log, without reading the others as text. */
export function findInPrefixLog(
  bytes: Uint8Array,
  wanted: PrefixFields & { readonly bits: 32 | 128 },
): ChangeName | undefined {
  if (bytes[0] !== VERSION) return undefined;
  const words = [wanted.w0, wanted.w1, wanted.w2, wanted.w3];
  const size = (wanted.length + 7) >>> 3;
  const family = wanted.bits === 128 ? WIDE : 0;
  let found: ChangeName | undefined;
  for (let at = 1; at + 2 <= bytes.length; ) {
    const kind = bytes[at]!;
    const length = bytes[at + 1]!;
    at += 2;
    if (length === wanted.length && (kind & WIDE) === family && at + size <= bytes.length) {
      let i = 0;
      while (i < size && bytes[at + i] === ((words[i >>> 2]! >>> (24 - 8 * (i & 3))) & 255)) i += 1;
      if (i === size) found = CHANGE_NAMES[kind & 3];
    }
    at += (length + 7) >>> 3;
  }
  return found;
}

function textAt(
  bytes: Uint8Array,
  start: number,
  size: number,
  bits: 32 | 128,
  length: number,
): string {
  const whole = new Uint8Array(16);
  whole.set(bytes.subarray(start, start + size));
  const view = new DataView(whole.buffer);
  const [w0, w1, w2, w3] = [0, 4, 8, 12].map((at) => view.getInt32(at)) as [
    number,
    number,
    number,
    number,
  ];
  return textOf(bits, { length, w0, w1, w2, w3 });
}
