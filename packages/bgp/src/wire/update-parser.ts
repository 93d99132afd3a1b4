/**
 * RFC 4271 section 4.3:
 *
 *     withdrawn length (2) | withdrawn NLRI | attributes' length (2) | attributes | NLRI to the end
 *
 * with the NLRI of other families inside of attributes 14 and 15 (RFC 4760), and the answer to each fault by RFC 7606.
 */
import { Family, type FamilyKey, familyTable } from '../types.ts';
import { AttributeScan, UpdateSubcode } from './attribute-scan.ts';
import { CanonicalAttributes } from './canonical.ts';
import { hashBytes } from './hash.ts';
import { checkNlri } from './nlri.ts';
import { ErrorCode, notification } from './notification.ts';
import type {
  NlriBlock,
  ParsedUpdate,
  UpdateAction,
  UpdateContext,
  UpdateProblem,
} from './update.ts';

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

interface Result {
  withdrawn: NlriBlock[];
  announced: NlriBlock[];
  attributeBytes: Uint8Array;
  attributesStart: number;
  attributesEnd: number;
  attributesHash: number;
  endOfRib: FamilyKey | undefined;
  problem: UpdateProblem | undefined;
}

const empty = new Uint8Array(0);
const severity: Readonly<Record<UpdateAction, number>> = {
  'attribute-discard': 1,
  'treat-as-withdraw': 2,
  'session-reset': 3,
};

function makeBlock(): Mutable<NlriBlock> {
  return {
    family: 'ipv4-unicast',
    bytes: empty,
    start: 0,
    end: 0,
    addPath: false,
    nextHopStart: 0,
    nextHopLength: 0,
  };
}

/** Reads the UPDATEs of one session. Its result is one object that the next call writes over. */
export class UpdateParser {
  readonly context: UpdateContext;
  readonly #enabled: readonly boolean[];
  readonly #addPath: readonly boolean[];
  readonly #scan: AttributeScan;
  readonly #canonical: CanonicalAttributes;
  // An UPDATE has at most two runs of NLRI of each kind: the classic one and that of one attribute.
  readonly #blocks = [makeBlock(), makeBlock(), makeBlock(), makeBlock()];
  #used = 0;
  #bytes: Uint8Array = empty;
  #base = 0;
  readonly #result: Result = {
    withdrawn: [],
    announced: [],
    attributeBytes: empty,
    attributesStart: 0,
    attributesEnd: 0,
    attributesHash: 0,
    endOfRib: undefined,
    problem: undefined,
  };

  constructor(context: UpdateContext) {
    this.context = context;
    this.#enabled = familyTable.map(({ key }) => context.families.includes(key));
    this.#addPath = familyTable.map(({ key }) => context.addPath.includes(key));
    this.#scan = new AttributeScan(
      context.fourOctetAs,
      context.external,
      context.monitored === true,
    );
    this.#canonical = new CanonicalAttributes(context.fourOctetAs);
  }

  /** `bytes` from `start` to `end` is the message behind its header. Never throws: see `problem`. */
  parse(bytes: Uint8Array, start = 0, end = bytes.length): ParsedUpdate {
    const result = this.#result;
    result.withdrawn.length = 0;
    result.announced.length = 0;
    result.attributeBytes = empty;
    result.attributesStart = 0;
    result.attributesEnd = 0;
    result.attributesHash = 0;
    result.endOfRib = undefined;
    result.problem = undefined;
    this.#used = 0;
    this.#bytes = bytes;
    this.#base = start;
    this.#sections(bytes, start, end);
    if (result.problem !== undefined) this.#answer(result.problem);
    if (result.announced.length > 0) this.#attributes(bytes);
    return result;
  }

  #sections(bytes: Uint8Array, start: number, end: number): void {
    // RFC 4271 section 6.3: the first check of all, and the one that RFC 7606 section 3 (a) leaves as it is.
    const withdrawn = start + 2;
    const lengths = end - start < 4 ? -1 : (bytes[start]! << 8) | bytes[start + 1]!;
    const middle = withdrawn + lengths;
    if (lengths < 0 || middle + 2 > end) {
      this.#reset('withdrawn-length', start);
      return;
    }
    const attributes = middle + 2;
    const nlri = attributes + ((bytes[middle]! << 8) | bytes[middle + 1]!);
    if (nlri > end) {
      this.#reset('attributes-length', middle);
      return;
    }

    if (middle > withdrawn) {
      this.#classic(bytes, withdrawn, middle, this.#result.withdrawn, 'withdrawn-syntax', 0);
    }
    const scan = this.#scan;
    scan.scan(bytes, attributes, nlri, this);
    if (scan.unreach !== 0) this.#unreach(bytes, scan.unreach, scan.unreachEnd);
    if (scan.reach !== 0) this.#reach(bytes, scan.reach, scan.reachEnd);
    if (nlri < end) {
      this.#classic(bytes, nlri, end, this.#result.announced, 'nlri-syntax', scan.nextHop);
    }
    if (end - start === 4 && this.#enabled[0]) this.#result.endOfRib = 'ipv4-unicast';
    if (this.#result.announced.length > 0) this.#mandatory(nlri, end);
  }

  #classic(
    bytes: Uint8Array,
    start: number,
    end: number,
    list: NlriBlock[],
    reason: string,
    nextHop: number,
  ): void {
    const bad = checkNlri(bytes, start, end, 32, this.#addPath[0] as boolean);
    if (bad >= 0) {
      this.fault('session-reset', reason, 0, bad, UpdateSubcode.network, bad, bad);
    } else if (!this.#enabled[0]) {
      this.fault(
        'attribute-discard',
        'family-not-agreed',
        0,
        start,
        UpdateSubcode.network,
        start,
        start,
      );
    } else {
      this.#block(list, bytes, 0, start, end, nextHop, nextHop === 0 ? 0 : 4);
    }
  }

  #block(
    list: NlriBlock[],
    bytes: Uint8Array,
    index: number,
    start: number,
    end: number,
    nextHop: number,
    nextHopLength: number,
  ): void {
    const block = this.#blocks[this.#used++] as Mutable<NlriBlock>;
    block.family = (familyTable[index] as { key: FamilyKey }).key;
    block.bytes = bytes;
    block.start = start;
    block.end = end;
    block.addPath = this.#addPath[index] as boolean;
    block.nextHopStart = nextHop;
    block.nextHopLength = nextHopLength;
    list.push(block);
  }

  /** RFC 4760 section 3: afi (2), safi (1), next hop's length (1), next hop, reserved (1), NLRI. */
  #reach(bytes: Uint8Array, at: number, end: number): void {
    const length = end - at < 5 ? -1 : bytes[at + 3]!;
    const nlri = at + 5 + length;
    if (length < 0 || nlri > end) {
      this.#optional('mp-reach-length', 14, at, end);
      return;
    }
    const row = Family.of((bytes[at]! << 8) | bytes[at + 1]!, bytes[at + 2]!);
    if (row === undefined || !this.#enabled[row.index]) {
      this.fault('attribute-discard', 'family-not-agreed', 14, at, UpdateSubcode.optional, at, at);
      return;
    }
    // RFC 8950 section 3 tells the next hops of IPv4 by their length, RFC 2545 section 3 those of IPv6.
    if (length !== 16 && length !== 32 && !(length === 4 && row.bits === 32)) {
      this.#optional('mp-reach-next-hop-length', 14, at, end);
      return;
    }
    const bad = checkNlri(bytes, nlri, end, row.bits, this.#addPath[row.index] as boolean);
    if (bad >= 0) {
      this.#optional('mp-reach-nlri-syntax', 14, bad, end);
      return;
    }
    if (nlri < end) {
      this.#block(this.#result.announced, bytes, row.index, nlri, end, at + 4, length);
    }
  }

  /** RFC 4760 section 4: afi (2), safi (1), NLRI. */
  #unreach(bytes: Uint8Array, at: number, end: number): void {
    if (end - at < 3) {
      this.#optional('mp-unreach-length', 15, at, end);
      return;
    }
    const row = Family.of((bytes[at]! << 8) | bytes[at + 1]!, bytes[at + 2]!);
    if (row === undefined || !this.#enabled[row.index]) {
      // An End-of-RIB of a family that was not agreed is no fault worth a word.
      if (end - at > 3) {
        this.fault(
          'attribute-discard',
          'family-not-agreed',
          15,
          at,
          UpdateSubcode.optional,
          at,
          at,
        );
      }
      return;
    }
    const bad = checkNlri(bytes, at + 3, end, row.bits, this.#addPath[row.index] as boolean);
    if (bad >= 0) {
      this.#optional('mp-unreach-nlri-syntax', 15, bad, end);
      return;
    }
    if (at + 3 < end) {
      this.#block(this.#result.withdrawn, bytes, row.index, at + 3, end, 0, 0);
    } else if (!this.#scan.others && this.#used === 0) {
      this.#result.endOfRib = row.key;
    }
  }

  /** RFC 7606 section 3 (d): what must be there for a route. */
  #mandatory(nlri: number, end: number): void {
    const scan = this.#scan;
    const missing = !scan.hasOrigin ? 1 : !scan.hasAsPath ? 2 : nlri < end && !scan.nextHop ? 3 : 0;
    if (missing !== 0) {
      this.fault(
        'treat-as-withdraw',
        'attribute-missing',
        missing,
        nlri,
        UpdateSubcode.missing,
        nlri,
        nlri,
      );
      return;
    }
    const { firstAs, fourOctetAs, external } = this.context;
    if (firstAs === undefined || !external) return;
    const at = scan.asPath;
    const b = this.#bytes;
    const low = (b[at + 2]! << 8) | b[at + 3]!;
    // An old speaker's AS_TRANS is looked through after the merge only: it passes here.
    const first = fourOctetAs ? low * 0x10000 + ((b[at + 4]! << 8) | b[at + 5]!) : low;
    const wanted = fourOctetAs || firstAs <= 0xffff ? firstAs : 23456;
    if (at === scan.asPathEnd || b[at] !== 2 || first !== wanted) {
      this.fault('treat-as-withdraw', 'as-path-first', 2, at, UpdateSubcode.asPath, at, at);
    }
  }

  #optional(reason: string, attribute: number, at: number, end: number): void {
    // RFC 4760 section 7: "Optional Attribute Error".
    this.fault('session-reset', reason, attribute, at, UpdateSubcode.optional, at, end);
  }

  #reset(reason: string, at: number): void {
    this.fault('session-reset', reason, 0, at, UpdateSubcode.malformedList, at, at);
  }

  /** Keeps the first of the strongest faults. Part of the scan's contract. */
  fault(
    action: UpdateAction,
    reason: string,
    attribute: number,
    at: number,
    subcode: number,
    dataStart: number,
    dataEnd: number,
  ): void {
    const before = this.#result.problem;
    if (before !== undefined && severity[before.action] >= severity[action]) return;
    const data = this.#bytes.slice(dataStart, dataEnd);
    this.#result.problem = {
      action,
      reason,
      attribute,
      offset: at - this.#base,
      ...(action === 'attribute-discard'
        ? {}
        : { notification: notification(ErrorCode.update, subcode, data) }),
    };
  }

  #answer(problem: UpdateProblem): void {
    const result = this.#result;
    let action = problem.action;
    // RFC 7606 section 5.2: with faulty attributes but no NLRI, one cannot know what would be withdrawn.
    if (action === 'treat-as-withdraw' && result.announced.length === 0 && this.#scan.others) {
      action = 'session-reset';
      result.problem = { ...problem, action };
    }
    switch (action) {
      case 'attribute-discard':
        return;
      case 'treat-as-withdraw':
        for (const block of result.announced as Mutable<NlriBlock>[]) {
          block.nextHopStart = 0;
          block.nextHopLength = 0;
          result.withdrawn.push(block);
        }
        break;
      case 'session-reset':
        result.withdrawn.length = 0;
        result.endOfRib = undefined;
        break;
      default:
        action satisfies never;
    }
    result.announced.length = 0;
  }

  #attributes(bytes: Uint8Array): void {
    const result = this.#result;
    const scan = this.#scan;
    if (scan.canonical && this.context.fourOctetAs) {
      result.attributeBytes = bytes;
      result.attributesStart = scan.first;
      result.attributesEnd = scan.last;
    } else {
      const canonical = this.#canonical;
      result.attributesEnd = canonical.write(bytes, scan);
      result.attributeBytes = canonical.bytes;
    }
    result.attributesHash = hashBytes(
      result.attributeBytes,
      result.attributesStart,
      result.attributesEnd,
    );
  }
}

/** One UPDATE by itself; for many, keep an `UpdateParser`. */
export function parseUpdate(body: Uint8Array, context: UpdateContext): ParsedUpdate {
  return new UpdateParser(context).parse(body);
}
