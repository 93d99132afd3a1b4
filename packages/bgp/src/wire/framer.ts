import { BgpError } from '../errors.ts';
import { classicMaximum, headerLength, MessageType } from './message.ts';
import { ErrorCode, notification } from './notification.ts';

/** One message where it lies: the framer's own until the next call of `next` or `push`. */
export interface Frame {
  type: MessageType;
  bytes: Uint8Array;
  /** Of the header. */
  start: number;
  body: number;
  end: number;
}

/** Shortest whole message by type (RFC 4271 sections 4.2 to 4.5, RFC 2918 section 3). */
const minimum = [0, 29, 23, 21, 19, 23];

const none = new Uint8Array(0);

/**
 * Cuts a byte stream into messages: `push` a chunk, then `next` until it has no more. A message that lies whole
 * in a chunk is not copied; what is left of a chunk is, so a chunk may be used again after the last `next`.
 */
export class Framer {
  /** Largest message, of UPDATE, NOTIFICATION and ROUTE-REFRESH: 65535 once agreed (RFC 8654). */
  maximum = classicMaximum;
  #chunk = none;
  #at = 0;
  #held = none;
  #heldLength = 0;
  readonly #frame: Frame = { type: 4, bytes: this.#chunk, start: 0, body: 0, end: 0 };

  /** Everything of the chunk before must have been taken with `next`. */
  push(chunk: Uint8Array): void {
    this.#chunk = chunk as Uint8Array<ArrayBuffer>;
    this.#at = 0;
  }

  /** The next message, or undefined: more bytes are needed. Throws BgpError `header-error`: never. */
  next(): Frame | undefined {
    if (this.#heldLength > 0) return this.#nextHeld();
    const chunk = this.#chunk;
    const at = this.#at;
    const left = chunk.length - at;
    if (left < headerLength) return this.#hold();
    const length = this.#check(chunk, at);
    if (left < length) return this.#hold();
    this.#at = at + length;
    return this.#give(chunk, at, length);
  }

  /** Bytes that wait for the rest of their message. */
  get held(): number {
    return this.#heldLength;
  }

  #nextHeld(): Frame | undefined {
    if (!this.#fill(headerLength)) return undefined;
    const length = this.#check(this.#held, 0);
    if (!this.#fill(length)) return undefined;
    this.#heldLength = 0;
    return this.#give(this.#held, 0, length);
  }

  /** Moves bytes of the chunk behind the held ones until there are `wanted`. */
  #fill(wanted: number): boolean {
    const missing = wanted - this.#heldLength;
    if (missing <= 0) return true;
    this.#take(Math.min(missing, this.#chunk.length - this.#at));
    return this.#heldLength >= wanted;
  }

  #take(count: number): void {
    const needed = this.#heldLength + count;
    if (this.#held.length < needed) {
      // Powers of two: a session that only ever holds keep-alives costs 64 bytes.
      const larger = new Uint8Array(Math.max(64, 2 ** Math.ceil(Math.log2(needed))));
      larger.set(this.#held.subarray(0, this.#heldLength));
      this.#held = larger;
    }
    this.#held.set(this.#chunk.subarray(this.#at, this.#at + count), this.#heldLength);
    this.#heldLength = needed;
    this.#at += count;
  }

  #hold(): undefined {
    this.#take(this.#chunk.length - this.#at);
    return undefined;
  }

  #give(bytes: Uint8Array, start: number, length: number): Frame {
    const frame = this.#frame;
    frame.type = bytes[start + 18] as MessageType;
    frame.bytes = bytes;
    frame.start = start;
    frame.body = start + headerLength;
    frame.end = start + length;
    return frame;
  }

  /** RFC 4271 section 6.1. */
  #check(bytes: Uint8Array, at: number): number {
    for (let i = at; i < at + 16; i++) {
      if (bytes[i] !== 0xff) {
        throw new BgpError('header-error', 'the marker of a message is not all ones', {
          value: bytes.slice(at, at + 16),
          offset: i - at - headerLength,
          notification: notification(ErrorCode.header, 1),
        });
      }
    }
    const length = (bytes[at + 16]! << 8) | bytes[at + 17]!;
    const type = bytes[at + 18]!;
    const least = minimum[type];
    if (type === 0 || least === undefined) {
      throw new BgpError('header-error', `message type ${type} is none that BGP has`, {
        value: type,
        offset: -1,
        notification: notification(ErrorCode.header, 3, Uint8Array.of(type)),
      });
    }
    // RFC 8654 section 4: OPEN and KEEPALIVE stay within 4096.
    const most =
      type === MessageType.keepalive
        ? headerLength
        : type === MessageType.open
          ? classicMaximum
          : this.maximum;
    if (length < least || length > most) {
      throw new BgpError('header-error', `a message of type ${type} with ${length} bytes`, {
        value: length,
        offset: -3,
        notification: notification(ErrorCode.header, 2, Uint8Array.of(length >>> 8, length & 255)),
      });
    }
    return length;
  }
}
