/**
 * The answer to a Range, read from its bytes without the message library: a list of a large prefix is by far the most
 * that comes in, and the library makes a dozen objects of each key. Fields by etcd.proto; wire form by
 * https://protobuf.dev/programming-guides/encoding.
 */
import { Entry } from './entry.ts';
import type { WireHeader } from './proto.ts';

export interface RangeMessage {
  readonly header: WireHeader | null;
  readonly entries: readonly Entry[];
  readonly more: boolean;
}

/** Throws RangeError where bytes end too early or are no such message. Values are views of the bytes. */
export function decodeRange(bytes: Buffer): RangeMessage {
  const fields = new Fields(bytes, 0, bytes.length);
  let header: WireHeader | null = null;
  let more = false;
  const entries: Entry[] = [];
  while (fields.next()) {
    if (fields.number === 1) header = readHeader(fields.inner());
    else if (fields.number === 2) entries.push(readEntry(fields.inner()));
    else if (fields.number === 3) more = fields.integer() !== 0;
    else fields.skip();
  }
  return { header, entries, more };
}

function readHeader(fields: Fields): WireHeader {
  const header = { cluster_id: '0', member_id: '0', revision: '0' };
  while (fields.next()) {
    if (fields.number === 1) header.cluster_id = BigInt.asUintN(64, fields.long()).toString();
    else if (fields.number === 2) header.member_id = BigInt.asUintN(64, fields.long()).toString();
    else if (fields.number === 3) header.revision = BigInt.asIntN(64, fields.long()).toString();
    else fields.skip();
  }
  return header;
}

const NOTHING = new Uint8Array();

function readEntry(fields: Fields): Entry {
  let key = '';
  let value: Uint8Array = NOTHING;
  let createRevision = 0;
  let modRevision = 0;
  let version = 0;
  let lease: string | undefined;
  while (fields.next()) {
    switch (fields.number) {
      case 1:
        key = fields.text();
        break;
      case 2:
        createRevision = fields.integer();
        break;
      case 3:
        modRevision = fields.integer();
        break;
      case 4:
        version = fields.integer();
        break;
      case 5:
        value = fields.view();
        break;
      case 6: {
        const id = BigInt.asIntN(64, fields.long());
        if (id !== 0n) lease = id.toString();
        break;
      }
      default:
        fields.skip();
    }
  }
  return new Entry({ key, value, createRevision, modRevision, version, lease });
}

/** The fields of one message, one after the other. Each is to be taken by one call, in the form that it has. */
class Fields {
  readonly #bytes: Buffer;
  readonly #end: number;
  #at: number;
  #form = 0;
  number = 0;

  constructor(bytes: Buffer, start: number, end: number) {
    this.#bytes = bytes;
    this.#at = start;
    this.#end = end;
  }

  /** Goes on to the next field; false at the end. */
  next(): boolean {
    if (this.#at === this.#end) return false;
    const tag = this.#varint();
    this.number = Math.floor(tag / 8);
    this.#form = tag % 8;
    if (this.number === 0) throw new RangeError('a field has the number 0');
    return true;
  }

  /** A number below 2^53; a greater one is not exact. */
  integer(): number {
    this.#require(0);
    return this.#varint();
  }

  /** All 64 bits. */
  long(): bigint {
    this.#require(0);
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = this.#byte();
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    throw new RangeError('a number is longer than 64 bits');
  }

  text(): string {
    const start = this.#take();
    return this.#bytes.toString('utf8', start, this.#at);
  }

  view(): Uint8Array {
    const start = this.#take();
    return this.#bytes.subarray(start, this.#at);
  }

  inner(): Fields {
    const start = this.#take();
    return new Fields(this.#bytes, start, this.#at);
  }

  /** Passes over a field that nobody asks for. */
  skip(): void {
    switch (this.#form) {
      case 0:
        this.long();
        break;
      case 1:
        this.#pass(8);
        break;
      case 2:
        this.#take();
        break;
      case 5:
        this.#pass(4);
        break;
      default:
        throw new RangeError(`field ${this.number} has the wire type ${this.#form}`);
    }
  }

  /** Passes over a field with a length and gives where its bytes begin; they end where the next field begins. */
  #take(): number {
    this.#require(2);
    const length = this.#varint();
    const start = this.#at;
    this.#pass(length);
    return start;
  }

  #pass(length: number): void {
    if (length > this.#end - this.#at) {
      throw new RangeError(`field ${this.number} goes on beyond the end of its message`);
    }
    this.#at += length;
  }

  #require(form: number): void {
    if (this.#form === form) return;
    throw new RangeError(`field ${this.number} has the wire type ${this.#form}, not ${form}`);
  }

  #varint(): number {
    let value = 0;
    for (let factor = 1, count = 0; count < 10; factor *= 128, count++) {
      const byte = this.#byte();
      if (byte < 0x80) return value + byte * factor;
      value += (byte & 0x7f) * factor;
    }
    throw new RangeError('a number is longer than 64 bits');
  }

  #byte(): number {
    if (this.#at === this.#end) throw new RangeError('a number goes on beyond the end');
    return this.#bytes[this.#at++]!;
  }
}
