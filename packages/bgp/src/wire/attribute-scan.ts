/**
 * One pass over the path attributes of an UPDATE: checks every row, finds the NLRI of other families, and lists
 * what is to be kept. Nothing is allocated for a message in order.
 */
import { checkAsPath } from './as-path.ts';
import { AttributeFlag, type AttributeRow, attributeTable } from './attribute-table.ts';
import type { UpdateAction } from './update.ts';

/** UPDATE Message Error subcodes (RFC 4271 section 6.3). */
export const UpdateSubcode = Object.freeze({
  malformedList: 1,
  unrecognized: 2,
  missing: 3,
  flags: 4,
  length: 5,
  origin: 6,
  nextHop: 8,
  optional: 9,
  network: 10,
  asPath: 11,
} as const);

/** What a fault is reported to. Offsets count in the buffer. */
export interface FaultSink {
  fault(
    action: UpdateAction,
    reason: string,
    attribute: number,
    at: number,
    subcode: number,
    /** The erroneous attribute: the NOTIFICATION's data. */
    dataStart: number,
    dataEnd: number,
  ): void;
}

const classBits = AttributeFlag.optional | AttributeFlag.transitive;

/**
 * Scratch of all scans: what one finds is used up before anybody scans again, and thousands of sessions would have five
 * kilobytes each. A type code that has been seen carries the number of the scan.
 */
const columns = {
  types: new Int32Array(256),
  flags: new Int32Array(256),
  starts: new Int32Array(256),
  ends: new Int32Array(256),
  seen: new Int32Array(256),
};
let lastScan = 0;

/** The attributes of one UPDATE. All fields are valid until the next `scan`, by whomever. */
export class AttributeScan {
  /** Number of attributes to keep; the columns below hold that many. */
  kept = 0;
  readonly types = columns.types;
  readonly flags = columns.flags;
  /** Of the value. */
  readonly starts = columns.starts;
  readonly ends = columns.ends;
  /** The kept attributes lie as they are to be: one after the other, in order, in canonical form. */
  canonical = true;
  /** Their type codes go up. */
  ordered = true;
  /** Where they do: of the first header, behind the last value. */
  first = 0;
  last = 0;
  /** Some attribute other than MP_UNREACH_NLRI was there (RFC 7606 section 5.2). */
  others = false;
  hasOrigin = false;
  hasAsPath = false;
  /** Values; start 0 when the attribute is not there. */
  nextHop = 0;
  reach = 0;
  reachEnd = 0;
  unreach = 0;
  unreachEnd = 0;
  asPath = 0;
  asPathEnd = 0;
  as4Path = 0;
  as4PathEnd = 0;
  aggregator = 0;
  as4Aggregator = 0;
  readonly #width: 2 | 4;
  readonly #external: boolean;
  readonly #monitored: boolean;

  constructor(fourOctetAs: boolean, external: boolean, monitored = false) {
    this.#width = fourOctetAs ? 4 : 2;
    this.#external = external;
    this.#monitored = monitored;
  }

  scan(bytes: Uint8Array, start: number, end: number, sink: FaultSink): void {
    this.#clear();
    const { seen } = columns;
    lastScan = (lastScan + 1) | 0 || 1;
    const scan = lastScan;
    let at = start;
    while (at < end) {
      const header = at;
      const flags = bytes[at]!;
      const extended = flags & AttributeFlag.extendedLength;
      // RFC 7606 section 4: the NLRI are still found by the Total Attribute Length.
      if (end - at < (extended ? 4 : 3)) {
        this.others = true;
        sink.fault(
          'treat-as-withdraw',
          'attribute-header',
          0,
          at,
          UpdateSubcode.malformedList,
          at,
          end,
        );
        return;
      }
      const type = bytes[at + 1]!;
      let length = bytes[at + 2]!;
      at += 3;
      if (extended) length = (length << 8) | bytes[at++]!;
      const next = at + length;
      if (next > end) {
        if (type !== 15) this.others = true;
        sink.fault(
          'treat-as-withdraw',
          'attribute-overrun',
          type,
          header,
          UpdateSubcode.length,
          header,
          end,
        );
        return;
      }
      if (seen[type] === scan) {
        // RFC 7606 section 3 (g): the first of two counts, except where it is not known which NLRI to believe.
        this.canonical = false;
        if (type === 14 || type === 15) {
          sink.fault(
            'session-reset',
            'attribute-twice',
            type,
            header,
            UpdateSubcode.malformedList,
            header,
            header,
          );
        }
        at = next;
        continue;
      }
      seen[type] = scan;
      if (type !== 15) this.others = true;
      const row = attributeTable[type];
      if (row === undefined) {
        this.#unknown(type, flags, header, at, next, sink);
      } else {
        // RFC 7606 section 3 (c).
        if ((flags & classBits) !== row.flags) {
          sink.fault(
            'treat-as-withdraw',
            'attribute-flags',
            type,
            header,
            UpdateSubcode.flags,
            header,
            next,
          );
        }
        this.#known(row, bytes, flags, header, at, next, sink);
      }
      at = next;
    }
  }

  #clear(): void {
    this.kept = 0;
    this.canonical = true;
    this.ordered = true;
    this.first = 0;
    this.last = 0;
    this.others = false;
    this.hasOrigin = false;
    this.hasAsPath = false;
    this.nextHop = 0;
    this.reach = 0;
    this.unreach = 0;
    this.as4Path = 0;
    this.aggregator = 0;
    this.as4Aggregator = 0;
  }

  #unknown(
    type: number,
    flags: number,
    header: number,
    at: number,
    next: number,
    sink: FaultSink,
  ): void {
    if ((flags & AttributeFlag.optional) === 0) {
      sink.fault(
        'session-reset',
        'well-known-unknown',
        type,
        header,
        UpdateSubcode.unrecognized,
        header,
        next,
      );
    } else if ((flags & AttributeFlag.transitive) !== 0) {
      this.#keep(type, flags & ~0x0f, header, at, next, flags);
    }
    // RFC 4271 section 5: unrecognized and non-transitive is quietly ignored and not passed along.
  }

  #keep(
    type: number,
    canonicalFlags: number,
    header: number,
    at: number,
    next: number,
    flags: number,
  ): void {
    const n = this.kept++;
    const long = next - at > 255 ? AttributeFlag.extendedLength : 0;
    const wanted = (canonicalFlags & ~AttributeFlag.extendedLength) | long;
    this.types[n] = type;
    this.flags[n] = wanted;
    this.starts[n] = at;
    this.ends[n] = next;
    if (n === 0) {
      this.first = header;
    } else if (type < this.types[n - 1]!) {
      this.ordered = false;
      this.canonical = false;
    } else if (header !== this.last) {
      this.canonical = false;
    }
    if (wanted !== flags) this.canonical = false;
    this.last = next;
  }

  #known(
    row: AttributeRow,
    bytes: Uint8Array,
    flags: number,
    header: number,
    at: number,
    next: number,
    sink: FaultSink,
  ): void {
    const type = row.type;
    const length = next - at;
    if (row.internalOnly && this.#external) {
      sink.fault(
        'attribute-discard',
        'attribute-internal-only',
        type,
        header,
        UpdateSubcode.optional,
        header,
        next,
      );
      return;
    }
    let reason: string | undefined;
    let subcode: number = UpdateSubcode.length;
    switch (row.check) {
      case 'origin':
        if (length !== 1) reason = 'origin-length';
        else if (bytes[at]! > 2) {
          reason = 'origin-value';
          subcode = UpdateSubcode.origin;
        }
        this.hasOrigin = true;
        break;
      case 'as-path':
        reason = checkAsPath(bytes, at, next, this.#width, this.#external);
        subcode = UpdateSubcode.asPath;
        this.hasAsPath = true;
        this.asPath = at;
        this.asPathEnd = next;
        break;
      case 'next-hop':
        if (length !== 4) reason = 'next-hop-length';
        else if (!this.#monitored && !isHost(bytes, at)) {
          reason = 'next-hop-value';
          subcode = UpdateSubcode.nextHop;
        }
        this.nextHop = at;
        break;
      case 'four':
        if (length !== 4) reason = 'attribute-length';
        break;
      case 'empty':
        if (length !== 0) reason = 'attribute-length';
        break;
      case 'aggregator':
        if (length !== 4 + this.#width) reason = 'attribute-length';
        else if (zeroAs(bytes, at, this.#width)) reason = 'aggregator-zero';
        else this.aggregator = at;
        break;
      case 'fours':
        if (length === 0 || length % 4 !== 0) reason = 'attribute-length';
        else if (type === 8 && !ascending(bytes, at, next, 4)) this.canonical = false;
        break;
      case 'eights':
        if (length === 0 || length % 8 !== 0) reason = 'attribute-length';
        else if (!ascending(bytes, at, next, 8)) this.canonical = false;
        break;
      case 'twelves':
        if (length === 0 || length % 12 !== 0) reason = 'attribute-length';
        else if (!ascending(bytes, at, next, 12)) this.canonical = false;
        break;
      case 'twenties':
        if (length === 0 || length % 20 !== 0) reason = 'attribute-length';
        break;
      case 'mp-reach':
        this.reach = at;
        this.reachEnd = next;
        return;
      case 'mp-unreach':
        this.unreach = at;
        this.unreachEnd = next;
        return;
      case 'as4-path':
        // RFC 6793 section 3: between new speakers it is discarded; section 6: a malformed one as well.
        if (this.#width === 4) return;
        if (checkAsPath(bytes, at, next, 4, false) === undefined) {
          this.as4Path = at;
          this.as4PathEnd = next;
          return;
        }
        reason = 'as4-path-syntax';
        break;
      case 'as4-aggregator':
        if (this.#width === 4) return;
        if (length === 8 && !zeroAs(bytes, at, 4)) {
          this.as4Aggregator = at;
          return;
        }
        reason = 'attribute-length';
        break;
      default:
        row.check satisfies never;
    }
    if (reason !== undefined) {
      sink.fault(row.action, reason, type, header, subcode, header, next);
      return;
    }
    if (type !== 3) {
      const optional = row.flags === classBits ? flags & AttributeFlag.partial : 0;
      this.#keep(type, row.flags | optional, header, at, next, flags);
    }
  }
}

/** RFC 4271 section 6.3: a next hop is a host's address, not 0.0.0.0 and not of class D or E. */
function isHost(bytes: Uint8Array, at: number): boolean {
  const first = bytes[at]!;
  return first !== 0 && first < 224;
}

function zeroAs(bytes: Uint8Array, at: number, width: number): boolean {
  for (let i = 0; i < width; i++) if (bytes[at + i] !== 0) return false;
  return true;
}

/** Whether items of `width` bytes go up, each once. */
export function ascending(bytes: Uint8Array, start: number, end: number, width: number): boolean {
  for (let at = start + width; at < end; at += width) {
    let i = 0;
    while (i < width && bytes[at + i] === bytes[at - width + i]) i++;
    if (i === width || bytes[at + i]! < bytes[at - width + i]!) return false;
  }
  return true;
}
