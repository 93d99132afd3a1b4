import { type Place, SINGLE } from './columns.ts';

/**
 * Reads an address that is written as Go prints it, without an object in between. False for every other
 * text, be it an address in other words or none.
 */
export function canonicalPlace(text: string, place: Place): boolean {
  place.length = SINGLE;
  return text.includes(':') ? canonicalV6(text, place) : quad(text, place);
}

function quad(text: string, place: Place): boolean {
  let value = 0;
  let octet = -1;
  let dots = 0;
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c === 0x2e) {
      if (octet < 0 || ++dots > 3) return false;
      value = value * 256 + octet;
      octet = -1;
    } else if (c >= 0x30 && c <= 0x39) {
      if (octet === 0) return false;
      octet = octet < 0 ? c - 0x30 : octet * 10 + (c - 0x30);
      if (octet > 255) return false;
    } else return false;
  }
  if (dots !== 3 || octet < 0) return false;
  place.w0 = 0;
  place.w1 = 0;
  place.w2 = 0xffff;
  place.w3 = (value * 256 + octet) >>> 0;
  return true;
}

const groups = new Uint16Array(8);

/** RFC 5952, without its mixed notation; what is IPv4 in disguise is not canonical. */
function canonicalV6(text: string, place: Place): boolean {
  let count = 0;
  let gap = -1;
  let at = 0;
  if (text.startsWith('::')) {
    gap = 0;
    at = 2;
  }
  while (at < text.length) {
    if (count === 8) return false;
    const start = at;
    let value = 0;
    for (; at < text.length && at < start + 5; at++) {
      const digit = lowerHex(text.charCodeAt(at));
      if (digit < 0) break;
      value = value * 16 + digit;
    }
    const digits = at - start;
    if (digits === 0 || digits > 4 || (digits > 1 && text.charCodeAt(start) === 0x30)) return false;
    groups[count++] = value;
    if (at === text.length) break;
    if (text.charCodeAt(at++) !== 0x3a) return false;
    if (text.charCodeAt(at) === 0x3a) {
      if (gap >= 0) return false;
      gap = count;
      at++;
    } else if (at === text.length) return false;
  }
  const missing = 8 - count;
  if (gap < 0 ? missing !== 0 : missing < 2) return false;
  if (gap >= 0) {
    groups.copyWithin(gap + missing, gap, count);
    groups.fill(0, gap, gap + missing);
  }
  return isShortest(gap, missing) && write(place);
}

function lowerHex(c: number): number {
  if (c >= 0x30 && c <= 0x39) return c - 0x30;
  return c >= 0x61 && c <= 0x66 ? c - 0x57 : -1;
}

/** Whether the gap stands for the first of the longest runs of zeros, of two groups at least. */
function isShortest(gap: number, length: number): boolean {
  let best = -1;
  let bestLength = 1;
  for (let i = 0; i < 8; i++) {
    let end = i;
    while (end < 8 && groups[end] === 0) end++;
    if (end - i > bestLength) {
      best = i;
      bestLength = end - i;
    }
    if (end > i) i = end;
  }
  return best === gap && (gap < 0 || bestLength === length);
}

function write(place: Place): boolean {
  const word = (at: number) => groups[at]! * 65_536 + groups[at + 1]!;
  place.w0 = word(0);
  place.w1 = word(2);
  place.w2 = word(4);
  place.w3 = word(6);
  return !(place.w0 === 0 && place.w1 === 0 && place.w2 === 0xffff);
}
