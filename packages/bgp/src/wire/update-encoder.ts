/**
 * Writes UPDATEs: attributes once, then NLRI one by one; a message that is full is closed and the next begun. RFC
 * 4271 section 4.3 for IPv4 with IPv4 next hops, MP_REACH and MP_UNREACH (RFC 4760) for everything else, with
 * MP_REACH as the first attribute (RFC 7606 section 5.1).
 */
import { BgpError } from '../errors.ts';
import { Family, type FamilyKey } from '../types.ts';
import { AttributeFlag } from './attribute-table.ts';
import { frame, headerLength, MessageType, writeHeader } from './message.ts';
import { narrow } from './narrow.ts';
import { writeNlri } from './nlri.ts';

export interface EncodeContext {
  readonly family: FamilyKey;
  readonly addPath: boolean;
  readonly fourOctetAs: boolean;
  /** Negotiated.maxMessage. */
  readonly maxMessage: number;
}

const closed = 0;
const classicAnnounce = 1;
const multiAnnounce = 2;
const classicWithdraw = 3;
const multiWithdraw = 4;

export class UpdateEncoder {
  readonly context: EncodeContext;
  readonly #afi: number;
  readonly #safi: number;
  readonly #classicFamily: boolean;
  #buffer: Uint8Array;
  /** End of what is written. */
  #at = 0;
  /** Start of the message that is open. */
  #start = 0;
  #mode = closed;
  /** Bytes of the message that follow the NLRI. */
  #tail = 0;
  #empty = true;
  /** Whole ones since the last `take`. */
  messages = 0;
  /** The attributes of the announcements to come, without NLRI. */
  #attributes: Uint8Array = new Uint8Array(256);
  #attributesLength = 0;
  #nextHop = new Uint8Array(0);

  constructor(context: EncodeContext, capacity = 16_384) {
    this.context = context;
    const { afi, safi } = Family.row(context.family);
    this.#afi = afi;
    this.#safi = safi;
    this.#classicFamily = context.family === 'ipv4-unicast';
    this.#buffer = new Uint8Array(capacity);
  }

  /** Bytes of whole messages and the open one. */
  get length(): number {
    return this.#at + (this.#mode === closed ? 0 : this.#tail);
  }

  /**
   * The prefixes that follow are announced with these canonical attributes and this next hop of 4, 16 or 32
   * bytes. Throws BgpError `too-long` when they leave no room for a prefix in a message.
   */
  announce(attributes: Uint8Array, start: number, end: number, nextHop: Uint8Array): void {
    this.#close();
    const classic = this.#classicFamily && nextHop.length === 4;
    this.#nextHop = nextHop as Uint8Array<ArrayBuffer>;
    if (this.context.fourOctetAs) this.#prepare(attributes, start, end, classic);
    else {
      const own = narrow(attributes.subarray(start, end));
      this.#prepare(own, 0, own.length, classic);
    }
    const room = this.context.maxMessage - headerLength - 4 - 9 - nextHop.length - 21;
    if (this.#attributesLength > room) {
      throw new BgpError(
        'too-long',
        `${this.#attributesLength} bytes of path attributes leave no room in a message of ${this.context.maxMessage}`,
        { value: this.#attributesLength },
      );
    }
    this.#open(classic ? classicAnnounce : multiAnnounce);
  }

  /** Keeps the attributes, NEXT_HOP (3) in its place: RFC 4271 section 5 asks for the order of type codes. */
  #prepare(from: Uint8Array, start: number, end: number, classic: boolean): void {
    if (end - start + 7 > this.#attributes.length) {
      this.#attributes = new Uint8Array((end - start + 7) * 2);
    }
    const to = this.#attributes;
    let place = end;
    if (classic) {
      place = start;
      while (place < end && from[place + 1]! < 3) {
        const extended = from[place]! & AttributeFlag.extendedLength;
        place += extended ? 4 + ((from[place + 2]! << 8) | from[place + 3]!) : 3 + from[place + 2]!;
      }
    }
    let at = 0;
    for (let i = start; i < place; i++) to[at++] = from[i]!;
    if (classic) {
      to[at++] = AttributeFlag.transitive;
      to[at++] = 3;
      to[at++] = 4;
      for (let i = 0; i < 4; i++) to[at++] = this.#nextHop[i]!;
      for (let i = place; i < end; i++) to[at++] = from[i]!;
    }
    this.#attributesLength = at;
  }

  #writeAttributes(at: number): number {
    const from = this.#attributes;
    const to = this.#buffer;
    const length = this.#attributesLength;
    for (let i = 0; i < length; i++) to[at + i] = from[i]!;
    return at + length;
  }

  /** The prefixes that follow are withdrawn. */
  withdraw(): void {
    this.#close();
    this.#open(this.#classicFamily ? classicWithdraw : multiWithdraw);
  }

  /** As NlriCursor gives it; after `announce` or `withdraw`. */
  prefix(pathId: number, length: number, w0: number, w1: number, w2: number, w3: number): void {
    const room = this.context.maxMessage - this.#tail - (this.context.addPath ? 5 : 1);
    if (this.#at - this.#start + ((length + 7) >>> 3) > room) {
      const mode = this.#mode;
      this.#close();
      this.#open(mode);
    }
    this.#ensure(21);
    this.#at = writeNlri(
      this.#buffer,
      this.#at,
      this.context.addPath,
      pathId,
      length,
      w0,
      w1,
      w2,
      w3,
    );
    this.#empty = false;
  }

  /** Ends the message that is open; where the next one will begin. */
  finish(): number {
    this.#close();
    return this.#at;
  }

  /** Whole messages so far; the encoder starts anew, without attributes. */
  take(): Uint8Array {
    this.#close();
    const bytes = this.#buffer.slice(0, this.#at);
    this.#at = 0;
    this.messages = 0;
    return bytes;
  }

  #ensure(more: number): void {
    if (this.#at + more + this.#tail <= this.#buffer.length) return;
    const larger = new Uint8Array(Math.max(this.#buffer.length * 2, this.#at + more + this.#tail));
    larger.set(this.#buffer.subarray(0, this.#at));
    this.#buffer = larger;
  }

  #open(mode: number): void {
    const length = this.#attributesLength;
    this.#mode = mode;
    this.#start = this.#at;
    this.#empty = true;
    this.#tail = mode === multiAnnounce ? length : mode === classicWithdraw ? 2 : 0;
    this.#ensure(headerLength + 4 + length + 9 + 32);
    const b = this.#buffer;
    let at = this.#at + headerLength;
    b[at++] = 0; // withdrawn routes' length
    b[at++] = 0;
    if (mode !== classicWithdraw) {
      b[at++] = length >>> 8; // of the classic form; of the others written at the end
      b[at++] = length;
    }
    if (mode === classicAnnounce) {
      at = this.#writeAttributes(at);
    } else if (mode === multiAnnounce || mode === multiWithdraw) {
      b[at++] = AttributeFlag.optional | AttributeFlag.extendedLength;
      b[at++] = mode === multiAnnounce ? 14 : 15;
      at += 2; // length
      b[at++] = this.#afi >>> 8;
      b[at++] = this.#afi;
      b[at++] = this.#safi;
      if (mode === multiAnnounce) {
        b[at++] = this.#nextHop.length;
        b.set(this.#nextHop, at);
        at += this.#nextHop.length;
        b[at++] = 0; // reserved
      }
    }
    this.#at = at;
  }

  #close(): void {
    const mode = this.#mode;
    if (mode === closed) return;
    this.#mode = closed;
    if (this.#empty) {
      this.#at = this.#start;
      return;
    }
    const body = this.#start + headerLength;
    switch (mode) {
      case classicWithdraw:
        this.#u16(body, this.#at - body - 2);
        this.#u16(this.#at, 0);
        this.#at += 2;
        break;
      case multiAnnounce:
      case multiWithdraw: {
        // Behind the withdrawn length (2), the attributes' length (2), flags, type and length (2).
        this.#u16(body + 6, this.#at - body - 8);
        if (mode === multiAnnounce) {
          this.#at = this.#writeAttributes(this.#at);
        }
        this.#u16(body + 2, this.#at - body - 4);
        break;
      }
    }
    this.#tail = 0;
    this.messages++;
    writeHeader(this.#buffer, this.#start, this.#at - this.#start, MessageType.update);
  }

  #u16(at: number, value: number): void {
    this.#buffer[at] = value >>> 8;
    this.#buffer[at + 1] = value;
  }
}

/** RFC 4724 section 2: the End-of-RIB marker, a whole message. */
export function encodeEndOfRib(family: FamilyKey): Uint8Array {
  if (family === 'ipv4-unicast') return frame(MessageType.update, new Uint8Array(4));
  const { afi, safi } = Family.row(family);
  return frame(
    MessageType.update,
    Uint8Array.of(0, 0, 0, 6, AttributeFlag.optional, 15, 3, afi >>> 8, afi & 255, safi),
  );
}
