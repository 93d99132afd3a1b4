/**
 * The numeric form behind the text: four 32-bit words, most significant first. IPv4 stands in `w0`
 * alone, left-aligned, so that bit `i` of an address is the same bit in either family's trie.
 */

export type Family = 'ipv4' | 'ipv6';

export interface Words {
  readonly family: Family;
  readonly w0: number;
  readonly w1: number;
  readonly w2: number;
  readonly w3: number;
}

export const widthOf = (family: Family): 32 | 128 => (family === 'ipv4' ? 32 : 128);

export const v4Words = (value: number): Words => ({
  family: 'ipv4',
  w0: value >>> 0,
  w1: 0,
  w2: 0,
  w3: 0,
});

/** An IPv4-mapped address (RFC 4291 section 2.5.5.2) is the IPv4 address itself, as in Go's net.IP. */
export function v6Words(w0: number, w1: number, w2: number, w3: number): Words {
  if (w0 === 0 && w1 === 0 && w2 === 0xffff) return v4Words(w3);
  return { family: 'ipv6', w0: w0 >>> 0, w1: w1 >>> 0, w2: w2 >>> 0, w3: w3 >>> 0 };
}

/** Parses dotted-quad or RFC 4291 text; undefined if it is neither. Zones and leading zeros are refused. */
export function parseWords(text: string): Words | undefined {
  // 45 is the longest legal spelling: six full groups and a dotted quad.
  if (text.length < 2 || text.length > 45) return undefined;
  if (!text.includes(':')) {
    const value = parseQuad(text, 0);
    return value < 0 ? undefined : v4Words(value);
  }
  return parseV6(text);
}

/** Dotted quad from `start` to the end of the text; -1 if it is not one. */
function parseQuad(text: string, start: number): number {
  let value = 0;
  let octet = -1;
  let dots = 0;
  for (let i = start; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c === 0x2e) {
      if (octet < 0 || ++dots > 3) return -1;
      value = value * 256 + octet;
      octet = -1;
    } else if (c >= 0x30 && c <= 0x39) {
      // A leading zero is read as octal elsewhere: refusing it leaves nobody with another address.
      if (octet === 0) return -1;
      octet = octet < 0 ? c - 0x30 : octet * 10 + (c - 0x30);
      if (octet > 255) return -1;
    } else return -1;
  }
  return dots === 3 && octet >= 0 ? value * 256 + octet : -1;
}

/** The groups of the text that is being read: an array for each address would be most of the work. */
const groups = new Uint16Array(8);

function parseV6(text: string): Words | undefined {
  let count = 0;
  let gap = -1;
  let i = 0;
  if (text.charCodeAt(0) === 0x3a) {
    if (text.charCodeAt(1) !== 0x3a) return undefined;
    gap = 0;
    i = 2;
  }
  while (i < text.length) {
    if (count === 8) return undefined;
    const start = i;
    let value = 0;
    while (i < text.length) {
      const digit = hexDigit(text.charCodeAt(i));
      if (digit < 0) break;
      value = value * 16 + digit;
      i++;
    }
    if (i < text.length && text.charCodeAt(i) === 0x2e) {
      const quad = parseQuad(text, start);
      if (quad < 0 || count > 6) return undefined;
      groups[count++] = quad >>> 16;
      groups[count++] = quad & 0xffff;
      i = text.length;
      break;
    }
    if (i === start || i - start > 4) return undefined;
    groups[count++] = value;
    if (i === text.length) break;
    if (text.charCodeAt(i) !== 0x3a) return undefined;
    i++;
    if (i < text.length && text.charCodeAt(i) === 0x3a) {
      if (gap >= 0) return undefined;
      gap = count;
      i++;
    } else if (i === text.length) return undefined;
  }
  if (gap >= 0) {
    if (count > 7) return undefined;
    const zeros = 8 - count;
    for (let at = count - 1; at >= gap; at--) groups[at + zeros] = groups[at]!;
    for (let at = gap; at < gap + zeros; at++) groups[at] = 0;
  } else if (count !== 8) return undefined;
  return v6Words(word(0), word(2), word(4), word(6));
}

const word = (group: number): number => groups[group]! * 65536 + groups[group + 1]!;

function hexDigit(c: number): number {
  if (c >= 0x30 && c <= 0x39) return c - 0x30;
  const lower = c | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}

/** Canonical text: dotted quad, or RFC 5952 (section 4: lower case, longest run of zeros as `::`). */
export function formatWords(w: Words): string {
  if (w.family === 'ipv4') {
    return `${w.w0 >>> 24}.${(w.w0 >>> 16) & 255}.${(w.w0 >>> 8) & 255}.${w.w0 & 255}`;
  }
  const parts = [
    w.w0 >>> 16,
    w.w0 & 0xffff,
    w.w1 >>> 16,
    w.w1 & 0xffff,
    w.w2 >>> 16,
    w.w2 & 0xffff,
    w.w3 >>> 16,
    w.w3 & 0xffff,
  ];
  let best = -1;
  // A single zero group is not shortened (section 4.2.2); of equal runs the first is (4.2.3).
  let bestLength = 1;
  for (let i = 0; i < 8; i++) {
    let end = i;
    while (end < 8 && parts[end] === 0) end++;
    if (end - i > bestLength) {
      best = i;
      bestLength = end - i;
    }
    if (end > i) i = end;
  }
  if (best < 0) return hexOf(parts, 0, 8);
  return `${hexOf(parts, 0, best)}::${hexOf(parts, best + bestLength, 8)}`;
}

function hexOf(parts: readonly number[], from: number, to: number): string {
  let text = '';
  for (let i = from; i < to; i++)
    text += i === from ? parts[i]!.toString(16) : `:${parts[i]!.toString(16)}`;
  return text;
}

const keep = (bits: number): number => (bits <= 0 ? 0 : bits >= 32 ? -1 : -1 << (32 - bits));

/** The first `length` bits kept, the rest cleared. The family stays, also for `::ffff:0:0` and above. */
export function maskWords(w: Words, length: number): Words {
  return {
    family: w.family,
    w0: (w.w0 & keep(length)) >>> 0,
    w1: (w.w1 & keep(length - 32)) >>> 0,
    w2: (w.w2 & keep(length - 64)) >>> 0,
    w3: (w.w3 & keep(length - 96)) >>> 0,
  };
}

export function sameWords(a: Words, b: Words): boolean {
  return a.w0 === b.w0 && a.w1 === b.w1 && a.w2 === b.w2 && a.w3 === b.w3 && a.family === b.family;
}

/** Number order within a family; IPv4 before IPv6. */
export function compareWords(a: Words, b: Words): number {
  if (a.family !== b.family) return a.family === 'ipv4' ? -1 : 1;
  return a.w0 - b.w0 || a.w1 - b.w1 || a.w2 - b.w2 || a.w3 - b.w3;
}

export function bitOf(w: Words, index: number): 0 | 1 {
  const word = index < 32 ? w.w0 : index < 64 ? w.w1 : index < 96 ? w.w2 : w.w3;
  return ((word >>> (31 - (index & 31))) & 1) as 0 | 1;
}

/** How many leading bits two addresses of one family share, at most `limit`. */
export function commonBits(a: Words, b: Words, limit: number): number {
  let bits = Math.clz32(a.w0 ^ b.w0);
  if (bits === 32 && limit > 32) {
    bits += Math.clz32(a.w1 ^ b.w1);
    if (bits === 64 && limit > 64) {
      bits += Math.clz32(a.w2 ^ b.w2);
      if (bits === 96 && limit > 96) bits += Math.clz32(a.w3 ^ b.w3);
    }
  }
  return Math.min(bits, limit);
}

export function toBigInt(w: Words): bigint {
  if (w.family === 'ipv4') return BigInt(w.w0);
  return (((((BigInt(w.w0) << 32n) | BigInt(w.w1)) << 32n) | BigInt(w.w2)) << 32n) | BigInt(w.w3);
}

/** The caller has checked the range. */
export function fromBigInt(family: Family, value: bigint): Words {
  if (family === 'ipv4') return v4Words(Number(value));
  const word = (shift: bigint) => Number((value >> shift) & 0xffffffffn);
  return { family, w0: word(96n), w1: word(64n), w2: word(32n), w3: word(0n) };
}
