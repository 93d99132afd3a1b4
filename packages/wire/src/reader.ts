import { WireError } from './errors.ts';

export type Endian = 'big' | 'little';

const utf8 = new TextDecoder();

/**
 * Reads a buffer front to back and never past the end: a read that wants more than is left throws
 * WireError `truncated` and moves nothing. Byte order belongs to the reader, not to each call.
 */
export class ByteReader {
  readonly endian: Endian;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  /** Where these bytes start in the outermost reader's buffer, so that errors name a real offset. */
  readonly #base: number;
  #at = 0;

  constructor(bytes: Uint8Array, endian: Endian = 'big', base = 0) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.endian = endian;
    this.#base = base;
  }

  /** Offset of the next byte, from the start of the outermost reader's buffer. */
  get offset(): number {
    return this.#base + this.#at;
  }

  get left(): number {
    return this.#bytes.length - this.#at;
  }

  get done(): boolean {
    return this.left === 0;
  }

  #take(count: number): number {
    if (!Number.isInteger(count) || count < 0 || count > this.left) {
      throw new WireError(
        'truncated',
        { offset: this.offset, wanted: count, left: this.left },
        `${count} bytes wanted at offset ${this.offset}, ${this.left} left`,
      );
    }
    const at = this.#at;
    this.#at += count;
    return at;
  }

  u8(): number {
    return this.#view.getUint8(this.#take(1));
  }

  u16(): number {
    return this.#view.getUint16(this.#take(2), this.endian === 'little');
  }

  u24(): number {
    const at = this.#take(3);
    const [a, b, c] = [0, 1, 2].map((i) => this.#view.getUint8(at + i)) as [number, number, number];
    return this.endian === 'big' ? (a << 16) | (b << 8) | c : (c << 16) | (b << 8) | a;
  }

  u32(): number {
    return this.#view.getUint32(this.#take(4), this.endian === 'little');
  }

  u64(): bigint {
    return this.#view.getBigUint64(this.#take(8), this.endian === 'little');
  }

  i8(): number {
    return this.#view.getInt8(this.#take(1));
  }

  i16(): number {
    return this.#view.getInt16(this.#take(2), this.endian === 'little');
  }

  i32(): number {
    return this.#view.getInt32(this.#take(4), this.endian === 'little');
  }

  i64(): bigint {
    return this.#view.getBigInt64(this.#take(8), this.endian === 'little');
  }

  /** A view of the next bytes, not a copy: copy it before the buffer is used again. */
  bytes(count: number): Uint8Array {
    const at = this.#take(count);
    return this.#bytes.subarray(at, at + count);
  }

  rest(): Uint8Array {
    return this.bytes(this.left);
  }

  /** The next bytes as UTF-8; malformed sequences become U+FFFD. */
  text(count: number): string {
    return utf8.decode(this.bytes(count));
  }

  /** A fixed-size field that holds a NUL-terminated string. */
  cstring(count: number): string {
    const field = this.bytes(count);
    const end = field.indexOf(0);
    return utf8.decode(end < 0 ? field : field.subarray(0, end));
  }

  skip(count: number): void {
    this.#take(count);
  }

  /** Skips to the next multiple of `unit`, counted from the start of this reader; stops at its end. */
  align(unit: number): void {
    const gap = (unit - (this.#at % unit)) % unit;
    // Netlink and TLV lists leave out the padding after their last element.
    this.#at += Math.min(gap, this.left);
  }

  /** A reader of the next `count` bytes with this one's byte order; this one moves behind them. */
  sub(count: number): ByteReader {
    const base = this.offset;
    return new ByteReader(this.bytes(count), this.endian, base);
  }

  /** The next byte without moving; throws as `u8` does. */
  peek(): number {
    const value = this.u8();
    this.#at--;
    return value;
  }

  /** Throws WireError `trailing-bytes` unless everything was read. */
  end(): void {
    if (!this.done) {
      throw new WireError(
        'trailing-bytes',
        { offset: this.offset, wanted: 0, left: this.left },
        `${this.left} bytes left over at offset ${this.offset}`,
      );
    }
  }
}
