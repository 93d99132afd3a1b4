import { WireError } from './errors.ts';
import type { Endian } from './reader.ts';

const utf8 = new TextEncoder();

/**
 * Appends to a buffer that grows. A number that does not fit its field throws WireError
 * `out-of-range` instead of being cut: a wrong length on the wire is worse than an exception.
 */
export class ByteWriter {
  readonly endian: Endian;
  #bytes: Uint8Array<ArrayBuffer>;
  #view: DataView;
  #at = 0;

  constructor(endian: Endian = 'big', capacity = 64) {
    this.endian = endian;
    this.#bytes = new Uint8Array(capacity);
    this.#view = new DataView(this.#bytes.buffer);
  }

  /** Bytes written so far. */
  get length(): number {
    return this.#at;
  }

  #grow(count: number): number {
    const at = this.#at;
    if (at + count > this.#bytes.length) {
      const larger = new Uint8Array(Math.max(at + count, this.#bytes.length * 2));
      larger.set(this.#bytes.subarray(0, at));
      this.#bytes = larger;
      this.#view = new DataView(larger.buffer);
    }
    this.#at += count;
    return at;
  }

  #check(value: number, bits: number): void {
    const most = 2 ** bits - 1;
    if (!Number.isInteger(value) || value < 0 || value > most) this.#refuse(value, most);
  }

  #refuse(value: number | bigint, most: number | bigint): never {
    throw new WireError(
      'out-of-range',
      { offset: this.#at, wanted: value, left: most },
      `${value} does not fit the field at offset ${this.#at} (0 to ${most})`,
    );
  }

  u8(value: number): this {
    this.#check(value, 8);
    // The view may be another after growing, so it is looked up behind it.
    const at = this.#grow(1);
    this.#view.setUint8(at, value);
    return this;
  }

  u16(value: number): this {
    this.#check(value, 16);
    const at = this.#grow(2);
    this.#view.setUint16(at, value, this.endian === 'little');
    return this;
  }

  u24(value: number): this {
    this.#check(value, 24);
    const at = this.#grow(3);
    for (let i = 0; i < 3; i++) {
      const shift = this.endian === 'big' ? 16 - 8 * i : 8 * i;
      this.#view.setUint8(at + i, (value >>> shift) & 0xff);
    }
    return this;
  }

  u32(value: number): this {
    this.#check(value, 32);
    const at = this.#grow(4);
    this.#view.setUint32(at, value, this.endian === 'little');
    return this;
  }

  u64(value: bigint): this {
    const most = 0xffff_ffff_ffff_ffffn;
    if (value < 0n || value > most) this.#refuse(value, most);
    const at = this.#grow(8);
    this.#view.setBigUint64(at, value, this.endian === 'little');
    return this;
  }

  i32(value: number): this {
    if (!Number.isInteger(value) || value < -(2 ** 31) || value > 2 ** 31 - 1) {
      this.#refuse(value, 2 ** 31 - 1);
    }
    const at = this.#grow(4);
    this.#view.setInt32(at, value, this.endian === 'little');
    return this;
  }

  bytes(bytes: Uint8Array): this {
    const at = this.#grow(bytes.length);
    this.#bytes.set(bytes, at);
    return this;
  }

  /** UTF-8, without a terminator. */
  text(text: string): this {
    return this.bytes(utf8.encode(text));
  }

  /** UTF-8 and the terminating NUL. */
  cstring(text: string): this {
    return this.text(text).u8(0);
  }

  zeros(count: number): this {
    // The buffer may hold older bytes only below #at, so what grows is already zero.
    this.#grow(count);
    return this;
  }

  /** Zeros up to the next multiple of `unit`. */
  align(unit: number): this {
    return this.zeros((unit - (this.#at % unit)) % unit);
  }

  /** Sets a 16-bit field written earlier, such as a length known only now. */
  patchU16(offset: number, value: number): this {
    this.#checkPatch(offset, 2);
    this.#check(value, 16);
    this.#view.setUint16(offset, value, this.endian === 'little');
    return this;
  }

  patchU32(offset: number, value: number): this {
    this.#checkPatch(offset, 4);
    this.#check(value, 32);
    this.#view.setUint32(offset, value, this.endian === 'little');
    return this;
  }

  #checkPatch(offset: number, count: number): void {
    if (!Number.isInteger(offset) || offset < 0 || offset + count > this.#at) {
      throw new WireError(
        'out-of-range',
        { offset, wanted: count, left: Math.max(0, this.#at - offset) },
        `a patch of ${count} bytes at offset ${offset} is not inside the ${this.#at} written`,
      );
    }
  }

  /** A copy of what was written; the writer can go on. */
  finish(): Uint8Array<ArrayBuffer> {
    return this.#bytes.slice(0, this.#at);
  }
}
