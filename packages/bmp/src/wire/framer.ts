import { BmpError } from '../errors.ts';

/**
 * RFC 7854 section 4.1, the common header:
 *
 *      0               1               2               3
 *     +---------------+---------------+---------------+---------------+
 *     |    Version    |                Message Length                 |
 *     +---------------+-----------------------------------------------+
 *     | Length (cont) |   Msg. Type   |
 *     +---------------+---------------+
 */
export const VERSION = 3;
export const COMMON_HEADER = 6;

/** IANA, BMP Message Types. */
export const MESSAGE_TYPE = Object.freeze({
  routeMonitoring: 0,
  statisticsReport: 1,
  peerDown: 2,
  peerUp: 3,
  initiation: 4,
  termination: 5,
  routeMirroring: 6,
});

/** Room for a Peer Up with two OPENs of 4,096 bytes, and for any extended BGP message in Route Mirroring. */
export const DEFAULT_MAX_MESSAGE = 256 * 1024;

/** A whole message, or how many bytes are missing at least. Bytes that never become one are thrown as an error. */
export type Framed =
  | { readonly type: 'frame'; readonly frame: Uint8Array }
  | { readonly type: 'more'; readonly wanted: number };

/**
 * Looks for one message at the front of the bytes. The frame is a view with the common header.
 * Throws BmpError `bad-version`, `bad-length` or `too-large` as soon as the bytes at hand decide it.
 */
export function frameAt(bytes: Uint8Array, offset: number, maxMessage: number): Framed {
  const left = bytes.length - offset;
  if (left > 0 && bytes[offset] !== VERSION) {
    throw new BmpError(
      'bad-version',
      bytes[offset],
      `a BMP message starts with version ${VERSION}, not ${bytes[offset]}`,
      { offset: 0 },
    );
  }
  if (left < 5) return { type: 'more', wanted: COMMON_HEADER - Math.max(left, 0) };
  const length =
    bytes[offset + 1]! * 0x1_00_00_00 +
    ((bytes[offset + 2]! << 16) | (bytes[offset + 3]! << 8) | bytes[offset + 4]!);
  if (length < COMMON_HEADER) {
    throw new BmpError(
      'bad-length',
      length,
      `a BMP message has at least ${COMMON_HEADER} bytes, this one says ${length}`,
      { offset: 1 },
    );
  }
  if (length > maxMessage) {
    throw new BmpError(
      'too-large',
      length,
      `a BMP message of ${length} bytes is beyond the limit of ${maxMessage}`,
      { offset: 1 },
    );
  }
  if (left < length) return { type: 'more', wanted: length - left };
  return { type: 'frame', frame: bytes.subarray(offset, offset + length) };
}

const NOTHING = new Uint8Array(0);

/**
 * Cuts a stream of any chunks into messages. Holds at most one message that is not whole yet, and never
 * more than `maxMessage` of it: what a peer claims as a length reserves nothing.
 */
export class Framer {
  readonly #maxMessage: number;
  #kept: Uint8Array = NOTHING;
  #length = 0;

  constructor(maxMessage: number = DEFAULT_MAX_MESSAGE) {
    this.#maxMessage = maxMessage;
  }

  /** Bytes of the message that is not whole yet. */
  get buffered(): number {
    return this.#length;
  }

  /**
   * Calls `each` with every message that these bytes complete. Frames are views of the chunk or of a buffer
   * that the next call writes to: `each` copies what it keeps. Throws as `frameAt` does; then the stream is
   * out of step for good.
   */
  push(chunk: Uint8Array, each: (frame: Uint8Array) => void): void {
    let at = 0;
    while (this.#length > 0) {
      const framed = frameAt(this.#kept.subarray(0, this.#length), 0, this.#maxMessage);
      if (framed.type === 'frame') {
        this.#length = 0;
        each(framed.frame);
        break;
      }
      if (at === chunk.length) return;
      const count = Math.min(framed.wanted, chunk.length - at);
      this.#keep(chunk.subarray(at, at + count));
      at += count;
    }
    for (;;) {
      const framed = frameAt(chunk, at, this.#maxMessage);
      if (framed.type === 'more') break;
      at += framed.frame.length;
      each(framed.frame);
    }
    if (at < chunk.length) this.#keep(chunk.subarray(at));
  }

  #keep(bytes: Uint8Array): void {
    const length = this.#length + bytes.length;
    if (length > this.#kept.length) {
      const larger = new Uint8Array(Math.max(length, 2 * this.#kept.length, 4096));
      larger.set(this.#kept.subarray(0, this.#length));
      this.#kept = larger;
    }
    this.#kept.set(bytes, this.#length);
    this.#length = length;
  }
}
