import { crc32 } from 'node:zlib';
import { z } from 'zod';
import { type ClusterConfig, decodeClusterConfig } from '../codec/cluster-config.ts';
import { MeshError } from '../errors.ts';
import { isClusterName, type StateKind } from '../keys.ts';

/**
 * A peer's state on the disk: records one after the other, each `length u32, CRC-32 u32, body`, little-endian; the body
 * is `tag u8, length of key u16, key, value`. First a header, the state as it stood, `whole`; then changes and
 * contacts as they came. Keys are what stands behind the prefix of their kind, values as in the store.
 */
export type KeptRecord =
  | { readonly type: 'header'; readonly header: KeptHeader }
  /** The peer was in contact, and all that stands before was current. */
  | { readonly type: 'contact'; readonly contact: KeptContact }
  /** What the file began with is complete. */
  | { readonly type: 'whole' }
  | {
      readonly type: 'put';
      readonly kind: StateKind;
      readonly rest: string;
      readonly value: Uint8Array;
    }
  | { readonly type: 'delete'; readonly kind: StateKind; readonly rest: string };

const FORMAT = 'causeway-peer-state';
const KEPT_VERSION = 1;

const header = z.object({
  format: z.literal(FORMAT),
  version: z.literal(KEPT_VERSION),
  /** Who read it. */
  own: z.string().refine(isClusterName),
  peer: z.string().refine(isClusterName),
  /** The peer's cluster-config as its store had it. */
  config: z.string(),
});

export interface KeptHeader {
  readonly own: string;
  readonly peer: string;
  readonly configText: string;
  readonly config: ClusterConfig;
}

const contact = z.object({
  /** Milliseconds since the epoch. */
  at: z.number().nonnegative(),
  /** The store as it was then. */
  store: z.object({ clusterId: z.string(), revision: z.number().nonnegative() }).optional(),
});

export type KeptContact = z.infer<typeof contact>;

/** Nodes first: what may be believed of entries hangs on them. */
export const KEPT_KINDS: readonly StateKind[] = [
  'nodes',
  'identities',
  'services',
  'service-backends',
  'ip',
];
const HEADER = 1;
const CONTACT = 2;
const WHOLE = 3;
const PUT = 16;
const DELETE = 32;

/** Of a record before its body. */
const FRAME = 8;
/** Of a body before its key. */
const LEAD = 3;
/** The largest value of a store is 1.5 MiB. */
const MAX_BODY = 2 * 1024 * 1024;

export const headerRecord = (own: string, peer: string, config: string): Buffer =>
  record(
    HEADER,
    '',
    Buffer.from(JSON.stringify({ format: FORMAT, version: KEPT_VERSION, own, peer, config })),
  );

export const contactRecord = (said: KeptContact): Buffer =>
  record(CONTACT, '', Buffer.from(JSON.stringify(said)));

export const wholeRecord = (): Buffer => record(WHOLE, '', new Uint8Array());

export const putRecord = (kind: StateKind, rest: string, value: Uint8Array): Buffer =>
  record(PUT + KEPT_KINDS.indexOf(kind), rest, value);

export const deleteRecord = (kind: StateKind, rest: string): Buffer =>
  record(DELETE + KEPT_KINDS.indexOf(kind), rest, new Uint8Array());

function record(tag: number, key: string, value: Uint8Array): Buffer {
  const keyLength = Buffer.byteLength(key);
  const bytes = Buffer.allocUnsafe(FRAME + LEAD + keyLength + value.length);
  bytes[FRAME] = tag;
  bytes.writeUInt16LE(keyLength, FRAME + 1);
  bytes.write(key, FRAME + LEAD);
  bytes.set(value, FRAME + LEAD + keyLength);
  bytes.writeUInt32LE(bytes.length - FRAME, 0);
  bytes.writeUInt32LE(crc32(bytes.subarray(FRAME)), 4);
  return bytes;
}

/**
 * The length of the record that begins here, with its frame; undefined while too little of it is there to say.
 * Throws MeshError `bad-kept-state`.
 */
export function lengthOf(bytes: Buffer): number | undefined {
  if (bytes.length < FRAME) return undefined;
  const length = bytes.readUInt32LE(0);
  if (length >= LEAD && length <= MAX_BODY) return FRAME + length;
  throw bad(`a record of ${length} bytes`);
}

/** One whole record. Throws MeshError `bad-kept-state`. */
export function decodeRecord(bytes: Buffer): KeptRecord {
  const body = bytes.subarray(FRAME);
  if (crc32(body) !== bytes.readUInt32LE(4)) throw bad('a checksum is wrong');
  const tag = body[0]!;
  const end = LEAD + body.readUInt16LE(1);
  if (end > body.length) throw bad(`a key of ${end - LEAD} bytes in a record of ${body.length}`);
  const value = body.subarray(end);
  if (tag === HEADER) return { type: 'header', header: decodeHeader(value.toString()) };
  if (tag === CONTACT) {
    const said = contact.safeParse(json(value.toString()));
    if (!said.success) throw bad('a contact is not understood');
    return { type: 'contact', contact: said.data };
  }
  if (tag === WHOLE) return { type: 'whole' };
  const rest = body.toString('utf8', LEAD, end);
  const put = KEPT_KINDS[tag - PUT];
  if (put !== undefined) return { type: 'put', kind: put, rest, value };
  const gone = KEPT_KINDS[tag - DELETE];
  if (gone !== undefined) return { type: 'delete', kind: gone, rest };
  throw bad(`a record of the unknown type ${tag}`);
}

function decodeHeader(text: string): KeptHeader {
  const given = json(text);
  const { version } = (given ?? {}) as { version?: unknown };
  if (version !== KEPT_VERSION)
    throw bad(`version ${String(version)}, where ${KEPT_VERSION} is understood`);
  const checked = header.safeParse(given);
  if (!checked.success) throw bad('the header is not understood');
  const { own, peer, config } = checked.data;
  try {
    return { own, peer, configText: config, config: decodeClusterConfig(config) };
  } catch (error) {
    throw bad(`its cluster-config: ${error instanceof Error ? error.message : String(error)}`);
  }
}

function json(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

export const bad = (what: string): MeshError =>
  new MeshError('bad-kept-state', `what was kept of the peer cannot be used: ${what}`, what);
