import type { KvEntry, LeaseId } from './types.ts';

const utf8 = new TextDecoder();
const encoder = new TextEncoder();

export interface EntryFields {
  readonly key: string;
  readonly value: Uint8Array;
  readonly createRevision: number;
  readonly modRevision: number;
  readonly version: number;
  readonly lease: LeaseId | undefined;
}

/** An entry whose text is decoded only if somebody asks. */
export class Entry implements KvEntry {
  readonly key: string;
  readonly value: Uint8Array;
  readonly createRevision: number;
  readonly modRevision: number;
  readonly version: number;
  readonly lease: LeaseId | undefined;

  constructor(fields: EntryFields) {
    this.key = fields.key;
    this.value = fields.value;
    this.createRevision = fields.createRevision;
    this.modRevision = fields.modRevision;
    this.version = fields.version;
    this.lease = fields.lease;
  }

  get text(): string {
    return utf8.decode(this.value);
  }
}

export const bytesOf = (value: string | Uint8Array): Uint8Array =>
  typeof value === 'string' ? encoder.encode(value) : value;

export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

/** Byte order of the UTF-8 forms, which is etcd's order; JavaScript's `<` differs above U+FFFF. */
export function compareKeys(a: string, b: string): number {
  if (a === b) return 0;
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const x = a.charCodeAt(i);
    const y = b.charCodeAt(i);
    if (x === y) continue;
    const high = (c: number) => c >= 0xd800 && c <= 0xdfff;
    // A surrogate stands for a code point above every other code unit.
    if (high(x) !== high(y)) return high(x) ? 1 : -1;
    return x - y;
  }
  return a.length - b.length;
}
