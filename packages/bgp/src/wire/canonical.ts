import { Asn } from '../types.ts';
import { as4PathOf, mergeAs4Path, readAsPath, writeAsPath } from './as-path.ts';
import { type AttributeScan, ascending } from './attribute-scan.ts';
import { AttributeFlag, AttributeType } from './attribute-table.ts';

/** Item widths of the attributes whose order means nothing. */
const unordered: Readonly<Record<number, number>> = {
  [AttributeType.communities]: 4,
  [AttributeType.extendedCommunities]: 8,
  [AttributeType.largeCommunities]: 12,
};

const none = new Uint8Array(0);

/** Puts scanned attributes in canonical form, in a buffer that is used again. */
export class CanonicalAttributes {
  bytes = none;
  #at = 0;
  readonly #fourOctetAs: boolean;
  readonly #order: number[] = [];

  constructor(fourOctetAs: boolean) {
    this.#fourOctetAs = fourOctetAs;
  }

  /** Returns how many of `bytes` are the attributes. */
  write(source: Uint8Array, scan: AttributeScan): number {
    this.#at = 0;
    const order = scan.ordered ? undefined : this.#sorted(scan);
    for (let i = 0; i < scan.kept; i++) {
      const n = order === undefined ? i : order[i]!;
      const type = scan.types[n]!;
      const start = scan.starts[n]!;
      const end = scan.ends[n]!;
      if (!this.#fourOctetAs && type === AttributeType.asPath) {
        this.#value(scan.flags[n]!, type, widePath(source, scan));
      } else if (!this.#fourOctetAs && type === AttributeType.aggregator) {
        this.#value(scan.flags[n]!, type, wideAggregator(source, scan));
      } else {
        this.#copy(scan.flags[n]!, type, source, start, end);
      }
    }
    return this.#at;
  }

  #sorted(scan: AttributeScan): readonly number[] {
    const order = this.#order;
    order.length = 0;
    // Insertion: they are never many.
    for (let n = 0; n < scan.kept; n++) {
      let i = n;
      while (i > 0 && scan.types[order[i - 1]!]! > scan.types[n]!) {
        order[i] = order[i - 1]!;
        i--;
      }
      order[i] = n;
    }
    return order;
  }

  #header(flags: number, type: number, length: number): number {
    const needed = this.#at + 4 + length;
    if (needed > this.bytes.length) {
      const larger = new Uint8Array(Math.max(256, 2 ** Math.ceil(Math.log2(needed))));
      larger.set(this.bytes.subarray(0, this.#at));
      this.bytes = larger;
    }
    const b = this.bytes;
    let at = this.#at;
    b[at++] = length > 255 ? flags | AttributeFlag.extendedLength : flags;
    b[at++] = type;
    if (length > 255) b[at++] = length >>> 8;
    b[at++] = length;
    this.#at = at + length;
    return at;
  }

  #value(flags: number, type: number, value: Uint8Array): void {
    const at = this.#header(flags & ~AttributeFlag.extendedLength, type, value.length);
    this.bytes.set(value, at);
  }

  #copy(flags: number, type: number, source: Uint8Array, start: number, end: number): void {
    let at = this.#header(flags, type, end - start);
    const b = this.bytes;
    // By hand: `set` of a view costs more than the few bytes that most attributes are.
    for (let i = start; i < end; i++) b[at++] = source[i]!;
    const width = unordered[type];
    const first = at - (end - start);
    if (width !== undefined && !ascending(b, first, at, width)) this.#sortItems(first, width);
  }

  /** Sorts the items from `start` to the end of what is written and drops the second of equals. */
  #sortItems(start: number, width: number): void {
    const b = this.bytes;
    const length = this.#at - start;
    if (length <= 32 * width) insertionSort(b, start, this.#at, width);
    else largeSort(b, start, this.#at, width);
    let end = start + width;
    for (let at = end; at < this.#at; at += width) {
      if (compareAt(b, at, end - width, width) === 0) continue;
      if (at !== end) b.copyWithin(end, at, at + width);
      end += width;
    }
    if (end === this.#at) return;
    // Fewer: the header may get shorter, too.
    const long = length > 255 ? 4 : 3;
    const flags = b[start - long]! & ~AttributeFlag.extendedLength;
    const type = b[start - long + 1]!;
    const value = b.slice(start, end);
    this.#at = start - long;
    this.#value(flags, type, value);
  }
}

function compareAt(b: Uint8Array, x: number, y: number, width: number): number {
  for (let i = 0; i < width; i++) if (b[x + i] !== b[y + i]) return b[x + i]! - b[y + i]!;
  return 0;
}

/** In place: what a route carries is a handful. */
function insertionSort(b: Uint8Array, start: number, end: number, width: number): void {
  for (let i = start + width; i < end; i += width) {
    for (let at = i; at > start && compareAt(b, at - width, at, width) > 0; at -= width) {
      for (let k = at; k < at + width; k++) {
        const swap = b[k]!;
        b[k] = b[k - width]!;
        b[k - width] = swap;
      }
    }
  }
}

/** For lists so long that the square of their length is an attack. */
function largeSort(b: Uint8Array, start: number, end: number, width: number): void {
  const source = b.slice(start, end);
  const order = Uint32Array.from({ length: source.length / width }, (_, i) => i * width);
  order.sort((x, y) => compareAt(source, x, y, width));
  for (const [i, from] of order.entries()) {
    b.set(source.subarray(from, from + width), start + i * width);
  }
}

/** RFC 6793 section 4.2.3: an aggregator that is not AS_TRANS says that AS4_PATH is not to be believed. */
function trusted(source: Uint8Array, scan: AttributeScan): boolean {
  const at = scan.aggregator;
  return at === 0 || ((source[at]! << 8) | source[at + 1]!) === Asn.trans;
}

function widePath(source: Uint8Array, scan: AttributeScan): Uint8Array {
  const path = readAsPath(source, scan.asPath, scan.asPathEnd, 2);
  const use = scan.as4Path !== 0 && (trusted(source, scan) || scan.as4Aggregator === 0);
  if (!use) return writeAsPath(path, 4);
  const as4 = as4PathOf(readAsPath(source, scan.as4Path, scan.as4PathEnd, 4));
  return writeAsPath(mergeAs4Path(path, as4), 4);
}

function wideAggregator(source: Uint8Array, scan: AttributeScan): Uint8Array {
  const as4 = scan.as4Aggregator;
  if (as4 !== 0 && trusted(source, scan)) return source.slice(as4, as4 + 8);
  const at = scan.aggregator;
  return Uint8Array.from([0, 0, ...source.subarray(at, at + 6)]);
}
