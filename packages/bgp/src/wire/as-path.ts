/**
 * RFC 4271 section 4.3 and RFC 5065 section 3: AS_PATH is segments of type (1), count (1), count AS numbers; each
 * four octets wide between speakers of RFC 6793, two octets wide towards others.
 */
import { Asn } from '../types.ts';
import type { AsPath, AsPathSegment, AsPathSegmentType } from './attributes.ts';

const segmentTypes: readonly (AsPathSegmentType | undefined)[] = [
  undefined,
  'set',
  'sequence',
  'confed-sequence',
  'confed-set',
];

function typeNumber(type: AsPathSegmentType): number {
  return segmentTypes.indexOf(type);
}

/** What is wrong with an AS_PATH's bytes, or undefined. RFC 7606 section 7.2, RFC 7607 (AS 0). */
export type AsPathFault = 'as-path-syntax' | 'as-path-zero' | 'as-path-confederation';

/** Checks without making anything. `width` is 2 or 4. Confederation segments from outside are a fault. */
export function checkAsPath(
  bytes: Uint8Array,
  start: number,
  end: number,
  width: 2 | 4,
  external: boolean,
): AsPathFault | undefined {
  let at = start;
  while (at < end) {
    if (end - at < 2) return 'as-path-syntax';
    const type = bytes[at]!;
    const count = bytes[at + 1]!;
    const next = at + 2 + count * width;
    if (type < 1 || type > 4 || count === 0 || next > end) return 'as-path-syntax';
    if (external && type > 2) return 'as-path-confederation';
    for (at += 2; at < next; at += width) {
      if (
        bytes[at] === 0 &&
        bytes[at + 1] === 0 &&
        (width === 2 || (bytes[at + 2] === 0 && bytes[at + 3] === 0))
      ) {
        return 'as-path-zero';
      }
    }
  }
  return undefined;
}

/** The bytes must have passed `checkAsPath`. */
export function readAsPath(
  bytes: Uint8Array,
  start: number,
  end: number,
  width: 2 | 4,
): AsPathSegment[] {
  const path: AsPathSegment[] = [];
  let at = start;
  while (at < end) {
    const type = segmentTypes[bytes[at]!]!;
    const count = bytes[at + 1]!;
    at += 2;
    const asns: Asn[] = [];
    for (let i = 0; i < count; i++, at += width) {
      const low = (bytes[at + width - 2]! << 8) | bytes[at + width - 1]!;
      const high = width === 2 ? 0 : (bytes[at]! << 8) | bytes[at + 1]!;
      asns.push((high * 0x10000 + low) as Asn);
    }
    path.push({ type, asns });
  }
  return path;
}

/** Segments of more than 255 numbers are split. Numbers that do not fit two octets become AS_TRANS. */
export function writeAsPath(path: AsPath, width: 2 | 4): Uint8Array {
  const out: number[] = [];
  for (const { type, asns } of path) {
    for (let from = 0; from < asns.length; from += 255) {
      const part = asns.slice(from, from + 255);
      out.push(typeNumber(type), part.length);
      for (const asn of part) {
        if (width === 4) out.push(asn >>> 24, (asn >>> 16) & 255);
        const low = width === 2 && !Asn.fitsTwoOctets(asn) ? Asn.trans : asn;
        out.push((low >>> 8) & 255, low & 255);
      }
    }
  }
  return Uint8Array.from(out);
}

/** RFC 4271 section 9.1.2.2 (a) and RFC 5065 section 5.3: a set counts one, confederation segments nothing. */
export function asPathLength(path: AsPath): number {
  let length = 0;
  for (const { type, asns } of path) {
    if (type === 'sequence') length += asns.length;
    else if (type === 'set') length += 1;
  }
  return length;
}

/** `65001 65002 {65003 65004} (65010) [65011]`: sets in braces, confederations in parentheses and brackets. */
export function formatAsPath(path: AsPath): string {
  const brackets = {
    sequence: ['', ''],
    set: ['{', '}'],
    'confed-sequence': ['(', ')'],
    'confed-set': ['[', ']'],
  } as const;
  return path
    .map(({ type, asns }) => `${brackets[type][0]}${asns.join(' ')}${brackets[type][1]}`)
    .join(' ');
}

/** RFC 4271 section 5.1.2: puts our number in front, `times` over. */
export function prependAsPath(path: AsPath, asn: Asn, times = 1): AsPath {
  const added = Array.from({ length: times }, () => asn);
  const first = path[0];
  if (first?.type === 'sequence' && first.asns.length + times <= 255) {
    return [{ type: 'sequence', asns: [...added, ...first.asns] }, ...path.slice(1)];
  }
  return [{ type: 'sequence', asns: added }, ...path];
}

/**
 * RFC 6793 section 4.2.3: the real path behind an old speaker. When AS4_PATH is the longer one it is ignored;
 * else the numbers that only old speakers have added are kept in front of it.
 */
export function mergeAs4Path(path: AsPath, as4: AsPath): AsPath {
  let surplus = asPathLength(path) - asPathLength(as4);
  if (surplus < 0) return path;
  const front: AsPathSegment[] = [];
  for (const segment of path) {
    if (segment.type === 'sequence') {
      if (surplus === 0) break;
      const asns = segment.asns.slice(0, surplus);
      surplus -= asns.length;
      front.push({ type: 'sequence', asns });
      if (asns.length < segment.asns.length) break;
    } else if (segment.type === 'set') {
      if (surplus === 0) break;
      surplus -= 1;
      front.push(segment);
    } else {
      // "AS_CONFED_SEQUENCE and AS_CONFED_SET ... to be prepended if ... leading or adjacent".
      front.push(segment);
    }
  }
  const last = front.at(-1);
  const next = as4[0];
  if (
    last?.type === 'sequence' &&
    next?.type === 'sequence' &&
    last.asns.length + next.asns.length <= 255
  ) {
    const joined: AsPathSegment = { type: 'sequence', asns: [...last.asns, ...next.asns] };
    return [...front.slice(0, -1), joined, ...as4.slice(1)];
  }
  return [...front, ...as4];
}

/** RFC 6793 section 4.2.2: confederation segments stay out of AS4_PATH. */
export function as4PathOf(path: AsPath): AsPath {
  return path.filter(({ type }) => type === 'set' || type === 'sequence');
}

/** Whether two octets hold every number: then no AS4_PATH is sent. */
export function fitsTwoOctets(path: AsPath): boolean {
  return path.every(({ asns }) => asns.every(Asn.fitsTwoOctets));
}
