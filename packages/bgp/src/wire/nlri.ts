import { Address, Prefix } from '@causeway/ip';
import { type FamilyKey, Family as FamilyTable } from '../types.ts';
import type { NlriBlock } from './update.ts';

/**
 * RFC 4271 section 4.3, RFC 7911 section 3: [path identifier, 4] length in bits (1), the bytes that hold them.
 *
 * Checks a run of NLRI in one pass. Returns -1 when it is well-formed, else the offset of the first entry that is
 * not.
 */
export function checkNlri(
  bytes: Uint8Array,
  start: number,
  end: number,
  bits: number,
  addPath: boolean,
): number {
  const before = addPath ? 4 : 0;
  let at = start;
  while (at < end) {
    const here = at;
    at += before;
    // Past the end of the array reads undefined, which compares false: the next test sees it.
    const length = bytes[at] as number;
    if (at >= end || length > bits) return here;
    at += 1 + ((length + 7) >>> 3);
    if (at > end) return here;
  }
  return -1;
}

/**
 * Walks a block without allocating: `reset(block)`, then `next()` until false, reading the fields between. Words
 * are signed 32-bit integers, most significant first, host bits clear; IPv4 stands in `w0` alone.
 */
export class NlriCursor {
  family: FamilyKey = 'ipv4-unicast';
  /** Signed 32 bits; 0 without ADD-PATH. */
  pathId = 0;
  /** Bits. */
  length = 0;
  w0 = 0;
  w1 = 0;
  w2 = 0;
  w3 = 0;
  #bytes = new Uint8Array(0);
  #at = 0;
  #end = 0;
  #addPath = false;
  #short = true;

  /** The block must have come from a parser: its syntax is not checked again. */
  reset(block: NlriBlock): void {
    this.family = block.family;
    this.#bytes = block.bytes as Uint8Array<ArrayBuffer>;
    this.#at = block.start;
    this.#end = block.end;
    this.#addPath = block.addPath;
    this.#short = FamilyTable.row(block.family).bits === 32;
    this.pathId = 0;
    this.w1 = 0;
    this.w2 = 0;
    this.w3 = 0;
  }

  next(): boolean {
    let at = this.#at;
    if (at >= this.#end) return false;
    const b = this.#bytes;
    if (this.#addPath) {
      this.pathId = (b[at]! << 24) | (b[at + 1]! << 16) | (b[at + 2]! << 8) | b[at + 3]!;
      at += 4;
    }
    const length = b[at++]!;
    this.length = length;
    if (this.#short) {
      // RFC 4271 section 4.3: the value of trailing bits is irrelevant.
      let w = 0;
      if (length > 24) {
        w = (b[at]! << 24) | (b[at + 1]! << 16) | (b[at + 2]! << 8) | b[at + 3]!;
        at += 4;
      } else if (length > 16) {
        w = (b[at]! << 24) | (b[at + 1]! << 16) | (b[at + 2]! << 8);
        at += 3;
      } else if (length > 8) {
        w = (b[at]! << 24) | (b[at + 1]! << 16);
        at += 2;
      } else if (length > 0) {
        w = b[at]! << 24;
        at += 1;
      }
      this.w0 = length === 0 ? 0 : w & (-1 << (32 - length));
      this.#at = at;
      return true;
    }
    const end = at + ((length + 7) >>> 3);
    this.w0 = word(b, at, end, length);
    this.w1 = word(b, at + 4, end, length - 32);
    this.w2 = word(b, at + 8, end, length - 64);
    this.w3 = word(b, at + 12, end, length - 96);
    this.#at = end;
    return true;
  }
}

/** Four bytes at `at` of which those before `end` are there, masked to the first `bits`. */
function word(b: Uint8Array, at: number, end: number, bits: number): number {
  if (bits <= 0) return 0;
  let w = b[at]! << 24;
  if (at + 1 < end) w |= b[at + 1]! << 16;
  if (at + 2 < end) w |= b[at + 2]! << 8;
  if (at + 3 < end) w |= b[at + 3]!;
  return bits >= 32 ? w : w & (-1 << (32 - bits));
}

/** Writes one NLRI; the bits beyond `length` must be clear. Returns the offset behind it. At most 21 bytes. */
export function writeNlri(
  target: Uint8Array,
  offset: number,
  addPath: boolean,
  pathId: number,
  length: number,
  w0: number,
  w1: number,
  w2: number,
  w3: number,
): number {
  let at = offset;
  if (addPath) {
    target[at] = pathId >>> 24;
    target[at + 1] = pathId >>> 16;
    target[at + 2] = pathId >>> 8;
    target[at + 3] = pathId;
    at += 4;
  }
  target[at++] = length;
  if (length > 0) {
    target[at++] = w0 >>> 24;
    if (length > 8) target[at++] = w0 >>> 16;
    if (length > 16) target[at++] = w0 >>> 8;
    if (length > 24) target[at++] = w0;
    if (length > 32) at = writeRest(target, at, length - 32, w1);
    if (length > 64) at = writeRest(target, at, length - 64, w2);
    if (length > 96) at = writeRest(target, at, length - 96, w3);
  }
  return at;
}

function writeRest(target: Uint8Array, offset: number, bits: number, w: number): number {
  let at = offset;
  target[at++] = w >>> 24;
  if (bits > 8) target[at++] = w >>> 16;
  if (bits > 16) target[at++] = w >>> 8;
  if (bits > 24) target[at++] = w;
  return at;
}

const scratch = new Uint8Array(16);
const scratchView = new DataView(scratch.buffer);

/** The cursor's prefix as text. */
export function prefixOf(
  cursor: Pick<NlriCursor, 'family' | 'length' | 'w0' | 'w1' | 'w2' | 'w3'>,
): Prefix {
  scratchView.setInt32(0, cursor.w0);
  if (FamilyTable.row(cursor.family).bits === 32) {
    return Prefix.from(Address.fromBytes(scratch.subarray(0, 4)), cursor.length);
  }
  scratchView.setInt32(4, cursor.w1);
  scratchView.setInt32(8, cursor.w2);
  scratchView.setInt32(12, cursor.w3);
  // An IPv6 prefix inside ::ffff:0:0/96 is printed as the IPv4 one that @causeway/ip takes it for.
  const address = Address.fromBytes(scratch);
  return Address.isIPv4(address)
    ? Prefix.from(address, Math.max(0, cursor.length - 96))
    : Prefix.from(address, cursor.length);
}
