/**
 * Canonical attribute bytes (see `ParsedUpdate`) read and changed in place: what the decision process and
 * the standard export rules need of a hundred thousand sets is a few fields, not a hundred thousand objects.
 */

import { AttributeType } from '../wire/attribute-table.ts';

const segmentSet = 1;
const segmentSequence = 2;

/** Well-known communities, signed (RFC 1997, 8326, 9494). */
export const WellKnown = Object.freeze({
  noExport: 0xffffff01 | 0,
  noAdvertise: 0xffffff02 | 0,
  noExportSubconfed: 0xffffff03 | 0,
  gracefulShutdown: 0xffff0000 | 0,
  llgrStale: 0xffff0006 | 0,
  noLlgr: 0xffff0007 | 0,
} as const);

export const SetFlag = Object.freeze({
  hasMed: 1,
  hasLocalPreference: 2,
  hasOriginator: 4,
  noExport: 8,
  noAdvertise: 16,
  noExportSubconfed: 32,
  gracefulShutdown: 64,
  llgrStale: 128,
  noLlgr: 256,
  /** An attribute that we do not know: goes on with its Partial bit set. */
  unknown: 512,
  /** AS_PATH has confederation segments. */
  confederation: 2048,
  /** An extended community that stays inside an AS (RFC 4360 section 6). */
  nonTransitive: 1024,
} as const);

const communityFlags: ReadonlyMap<number, number> = new Map([
  [WellKnown.noExport, SetFlag.noExport],
  [WellKnown.noAdvertise, SetFlag.noAdvertise],
  [WellKnown.noExportSubconfed, SetFlag.noExportSubconfed],
  [WellKnown.gracefulShutdown, SetFlag.gracefulShutdown],
  [WellKnown.llgrStale, SetFlag.llgrStale],
  [WellKnown.noLlgr, SetFlag.noLlgr],
]);

/** The fields that routes are compared by. One of these is filled again and again. */
export interface HotFields {
  origin: number;
  asPathLength: number;
  neighborAs: number;
  med: number;
  localPreference: number;
  originatorId: number;
  clusterListLength: number;
  flags: number;
}

export const emptyHot = (): HotFields => ({
  origin: 2,
  asPathLength: 0,
  neighborAs: 0,
  med: 0,
  localPreference: 100,
  originatorId: 0,
  clusterListLength: 0,
  flags: 0,
});

const u32 = (b: Uint8Array, at: number): number =>
  ((b[at]! << 24) | (b[at + 1]! << 16) | (b[at + 2]! << 8) | b[at + 3]!) >>> 0;

export function readHot(b: Uint8Array, start: number, end: number, hot: HotFields): void {
  hot.origin = 2;
  hot.asPathLength = 0;
  hot.neighborAs = 0;
  hot.med = 0;
  hot.localPreference = 100;
  hot.originatorId = 0;
  hot.clusterListLength = 0;
  hot.flags = 0;
  let flags = 0;
  let at = start;
  while (at < end) {
    const long = (b[at]! & 0x10) !== 0;
    const type = b[at + 1]!;
    const length = long ? (b[at + 2]! << 8) | b[at + 3]! : b[at + 2]!;
    at += long ? 4 : 3;
    switch (type) {
      case AttributeType.origin:
        hot.origin = b[at]!;
        break;
      case AttributeType.asPath:
        readPath(b, at, at + length, hot);
        break;
      case AttributeType.med:
        hot.med = u32(b, at);
        flags |= SetFlag.hasMed;
        break;
      case AttributeType.localPreference:
        hot.localPreference = u32(b, at);
        flags |= SetFlag.hasLocalPreference;
        break;
      case AttributeType.communities:
        for (let i = at; i < at + length; i += 4) {
          if (b[i] === 255 && b[i + 1] === 255) flags |= communityFlags.get(u32(b, i) | 0) ?? 0;
        }
        break;
      case AttributeType.originatorId:
        hot.originatorId = u32(b, at);
        flags |= SetFlag.hasOriginator;
        break;
      case AttributeType.clusterList:
        hot.clusterListLength = length >> 2;
        break;
      case AttributeType.extendedCommunities:
        for (let i = at; i < at + length; i += 8) {
          if ((b[i]! & 0x40) !== 0) flags |= SetFlag.nonTransitive;
        }
        break;
      case AttributeType.atomicAggregate:
      case AttributeType.aggregator:
      case AttributeType.ipv6ExtendedCommunities:
      case AttributeType.largeCommunities:
        break;
      default:
        flags |= SetFlag.unknown;
    }
    at += length;
  }
  hot.flags |= flags;
}

function readPath(b: Uint8Array, start: number, end: number, hot: HotFields): void {
  let first = true;
  for (let at = start; at < end; ) {
    const type = b[at]!;
    const count = b[at + 1]!;
    // RFC 4271 section 9.1.2.2 a: a set counts as one; RFC 5065 section 5.3: confederation segments not at all.
    if (type === segmentSequence) hot.asPathLength += count;
    else if (type === segmentSet) hot.asPathLength++;
    else hot.flags |= SetFlag.confederation;
    if (type === segmentSequence || type === segmentSet) {
      if (first && type === segmentSequence) hot.neighborAs = u32(b, at + 2);
      first = false;
    }
    at += 2 + count * 4;
  }
}

/** Where an attribute's value stands: `start` and `end` of the value, or -1. */
export function findAttribute(
  b: Uint8Array,
  start: number,
  end: number,
  wanted: number,
  found: { start: number; end: number },
): boolean {
  let at = start;
  while (at < end) {
    const long = (b[at]! & 0x10) !== 0;
    const type = b[at + 1]!;
    const length = long ? (b[at + 2]! << 8) | b[at + 3]! : b[at + 2]!;
    at += long ? 4 : 3;
    if (type === wanted) {
      found.start = at;
      found.end = at + length;
      return true;
    }
    if (type > wanted) break;
    at += length;
  }
  found.start = -1;
  found.end = -1;
  return false;
}

const scratchRange = { start: 0, end: 0 };

/** How often the number stands in the path, confederation segments included. */
export function countAs(b: Uint8Array, start: number, end: number, asn: number): number {
  if (!findAttribute(b, start, end, AttributeType.asPath, scratchRange)) return 0;
  let count = 0;
  for (let at = scratchRange.start; at < scratchRange.end; ) {
    const numbers = b[at + 1]!;
    at += 2;
    for (let i = 0; i < numbers; i++, at += 4) if (u32(b, at) === asn) count++;
  }
  return count;
}

/** Is the cluster id in CLUSTER_LIST? */
export function hasCluster(b: Uint8Array, start: number, end: number, cluster: number): boolean {
  if (!findAttribute(b, start, end, AttributeType.clusterList, scratchRange)) return false;
  for (let at = scratchRange.start; at < scratchRange.end; at += 4) {
    if (u32(b, at) === cluster) return true;
  }
  return false;
}

/** What becomes of one attribute: `undefined` value removes it. */
export interface AttributeEdit {
  readonly type: number;
  /** Flags of the header without the length bit. */
  readonly flags: number;
  readonly value: Uint8Array | undefined;
}

/**
 * Copies a set with some attributes put in, replaced or removed; edits in ascending order of type. Gives
 * a view into a buffer that the next call uses again.
 */
export class AttributeWriter {
  #buffer = new Uint8Array(4096);
  #length = 0;

  edit(b: Uint8Array, start: number, end: number, edits: readonly AttributeEdit[]): Uint8Array {
    this.#length = 0;
    let at = start;
    let next = 0;
    while (at < end) {
      const long = (b[at]! & 0x10) !== 0;
      const type = b[at + 1]!;
      const length = (long ? 4 : 3) + (long ? (b[at + 2]! << 8) | b[at + 3]! : b[at + 2]!);
      while (next < edits.length && edits[next]!.type < type) this.#put(edits[next++]!);
      if (next < edits.length && edits[next]!.type === type) this.#put(edits[next++]!);
      else this.#copy(b, at, at + length);
      at += length;
    }
    while (next < edits.length) this.#put(edits[next++]!);
    return this.#buffer.subarray(0, this.#length);
  }

  /**
   * What an external neighbour is sent, in one pass: our number in front of the path, no LOCAL_PREF, ORIGINATOR_ID
   * and CLUSTER_LIST, and no MED unless it is to be kept. For sets without confederation segments.
   */
  external(b: Uint8Array, start: number, end: number, asn: number, keepsMed: boolean): Uint8Array {
    this.#length = 0;
    this.#room(end - start + 16);
    let at = start;
    let hasPath = false;
    while (at < end) {
      const long = (b[at]! & 0x10) !== 0;
      const type = b[at + 1]!;
      const header = long ? 4 : 3;
      const size = long ? (b[at + 2]! << 8) | b[at + 3]! : b[at + 2]!;
      const next = at + header + size;
      if (type >= AttributeType.asPath && !hasPath) {
        hasPath = true;
        const isPath = type === AttributeType.asPath;
        this.#putPath(b, isPath ? at + header : at, isPath ? next : at, asn);
        if (isPath) {
          at = next;
          continue;
        }
      }
      const dropped =
        type === AttributeType.localPreference ||
        type === AttributeType.originatorId ||
        type === AttributeType.clusterList ||
        (type === AttributeType.med && !keepsMed);
      if (!dropped) this.#copy(b, at, next);
      at = next;
    }
    if (!hasPath) this.#putPath(b, end, end, asn);
    return this.#buffer.subarray(0, this.#length);
  }

  /** AS_PATH with a number in front of the value from `from` to `to`. */
  #putPath(b: Uint8Array, from: number, to: number, asn: number): void {
    const joins = to > from && b[from] === segmentSequence && b[from + 1]! < 255;
    const size = to - from + (joins ? 4 : 6);
    const buffer = this.#buffer;
    let at = this.#length;
    buffer[at++] = size > 255 ? 0x50 : 0x40;
    buffer[at++] = AttributeType.asPath;
    if (size > 255) buffer[at++] = size >> 8;
    buffer[at++] = size & 255;
    buffer[at++] = segmentSequence;
    buffer[at++] = joins ? b[from + 1]! + 1 : 1;
    buffer[at++] = asn >>> 24;
    buffer[at++] = (asn >>> 16) & 255;
    buffer[at++] = (asn >>> 8) & 255;
    buffer[at++] = asn & 255;
    this.#length = at;
    this.#copy(b, joins ? from + 2 : from, to);
  }

  #room(bytes: number): void {
    if (this.#length + bytes <= this.#buffer.length) return;
    const bigger = new Uint8Array(Math.max(this.#buffer.length * 2, this.#length + bytes));
    bigger.set(this.#buffer.subarray(0, this.#length));
    this.#buffer = bigger;
  }

  #copy(b: Uint8Array, start: number, end: number): void {
    this.#room(end - start);
    if (end - start < 64) {
      for (let i = start; i < end; i++) this.#buffer[this.#length++] = b[i]!;
    } else {
      this.#buffer.set(b.subarray(start, end), this.#length);
      this.#length += end - start;
    }
  }

  #put({ type, flags, value }: AttributeEdit): void {
    if (value === undefined) return;
    const long = value.length > 255;
    this.#room(value.length + 4);
    this.#buffer[this.#length++] = long ? flags | 0x10 : flags;
    this.#buffer[this.#length++] = type;
    if (long) this.#buffer[this.#length++] = value.length >> 8;
    this.#buffer[this.#length++] = value.length & 255;
    this.#copy(value, 0, value.length);
  }
}

/** The AS_PATH value with a number in front, `count` times (RFC 4271 section 5.1.2 b). */
export function prependPath(path: Uint8Array, asn: number, count: number): Uint8Array {
  let rest = path;
  let numbers = new Uint8Array(0);
  // A leading sequence takes the new numbers in; it holds at most 255.
  if (path.length >= 2 && path[0] === segmentSequence && path[1]! + count <= 255) {
    const end = 2 + path[1]! * 4;
    numbers = path.slice(2, end);
    rest = path.subarray(end);
  }
  const value = new Uint8Array(2 + count * 4 + numbers.length + rest.length);
  value[0] = segmentSequence;
  value[1] = count + numbers.length / 4;
  let at = 2;
  for (let i = 0; i < count; i++, at += 4) {
    value[at] = asn >>> 24;
    value[at + 1] = (asn >>> 16) & 255;
    value[at + 2] = (asn >>> 8) & 255;
    value[at + 3] = asn & 255;
  }
  value.set(numbers, at);
  value.set(rest, at + numbers.length);
  return value;
}

/** Without its leading or only confederation segments (RFC 5065 section 5.3: none leaves the confederation). */
export function withoutConfederation(path: Uint8Array): Uint8Array {
  const kept: number[] = [];
  for (let at = 0; at < path.length; ) {
    const length = 2 + path[at + 1]! * 4;
    if (path[at] === segmentSequence || path[at] === segmentSet) {
      for (let i = at; i < at + length; i++) kept.push(path[i]!);
    }
    at += length;
  }
  return kept.length === path.length ? path : Uint8Array.from(kept);
}

export function u32Bytes(value: number): Uint8Array {
  return Uint8Array.of(value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255);
}
