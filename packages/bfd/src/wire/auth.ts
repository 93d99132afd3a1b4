import type { DiscardReason } from '../discards.ts';
import { mandatoryLength } from './control.ts';

/**
 * The authentication section, RFC 5880 sections 4.2 to 4.4 and 6.7:
 *
 *    |   Auth Type   |   Auth Len    |  Auth Key ID  |  Password...   simple, 1 to 16 bytes
 *
 *    |   Auth Type   |   Auth Len    |  Auth Key ID  |   Reserved    |
 *    |                        Sequence Number                        |
 *    |          Digest: 16 bytes (MD5) or 20 bytes (SHA-1)           |
 */
export type AuthType =
  | 'simple'
  | 'keyed-md5'
  | 'meticulous-keyed-md5'
  | 'keyed-sha1'
  | 'meticulous-keyed-sha1';

export interface AuthKey {
  readonly type: AuthType;
  /** 0 to 255; both ends name the key by it. */
  readonly keyId: number;
  /** 1 to 16 bytes; up to 20 for SHA-1. */
  readonly key: Uint8Array;
  /**
   * A second key that the peer may seal its packets with, known by another id. Keys are changed without a fall by giving
   * both ends the new one here, then making it the first, then leaving out the old one.
   */
  readonly alsoAccept?: { readonly keyId: number; readonly key: Uint8Array };
}

/** MD5 or SHA-1 of the bytes, handed in: the core imports no cryptography. */
export type Digest = (algorithm: 'md5' | 'sha1', bytes: Uint8Array) => Uint8Array;

interface AuthRow {
  /** Auth Type of section 4.1. */
  readonly code: number;
  readonly digest: { readonly algorithm: 'md5' | 'sha1'; readonly size: number } | undefined;
  /** The sequence number grows with every packet, so that none can be sent again. */
  readonly meticulous: boolean;
  readonly longestKey: number;
}

const md5 = { algorithm: 'md5', size: 16 } as const;
const sha1 = { algorithm: 'sha1', size: 20 } as const;

export const authTypes: Readonly<Record<AuthType, AuthRow>> = {
  simple: { code: 1, digest: undefined, meticulous: false, longestKey: 16 },
  'keyed-md5': { code: 2, digest: md5, meticulous: false, longestKey: 16 },
  'meticulous-keyed-md5': { code: 3, digest: md5, meticulous: true, longestKey: 16 },
  'keyed-sha1': { code: 4, digest: sha1, meticulous: false, longestKey: 20 },
  'meticulous-keyed-sha1': { code: 5, digest: sha1, meticulous: true, longestKey: 20 },
};

/** How long the section of packets under this key is. */
export function authLength(auth: AuthKey): number {
  const { digest } = authTypes[auth.type];
  return digest === undefined ? 3 + auth.key.length : 8 + digest.size;
}

/** bfd.AuthSeqKnown and bfd.RcvAuthSeq: what of the peer's sequence numbers is known. */
export interface SequenceWindow {
  known: boolean;
  last: number;
}

const start = mandatoryLength;

/** Writes the section behind the mandatory one, which is complete already; `bytes` is the whole packet. */
export function sealPacket(
  bytes: Uint8Array,
  auth: AuthKey,
  sequence: number,
  digest: Digest,
): void {
  const row = authTypes[auth.type];
  bytes[start] = row.code;
  bytes[start + 1] = authLength(auth);
  bytes[start + 2] = auth.keyId;
  if (row.digest === undefined) {
    bytes.set(auth.key, start + 3);
    return;
  }
  bytes[start + 3] = 0;
  bytes[start + 4] = sequence >>> 24;
  bytes[start + 5] = (sequence >>> 16) & 0xff;
  bytes[start + 6] = (sequence >>> 8) & 0xff;
  bytes[start + 7] = sequence & 0xff;
  // The key stands in the digest's place while it is calculated, "padded with trailing zero bytes".
  bytes.fill(0, start + 8, start + 8 + row.digest.size);
  bytes.set(auth.key, start + 8);
  bytes.set(digest(row.digest.algorithm, bytes), start + 8);
}

/**
 * Checks the section of a packet with the A bit, whose `length` is inside `bytes`; the rules of
 * sections 6.7.2 to 6.7.4 in their order. Moves the window only if the packet is genuine.
 */
export function checkPacket(
  bytes: Uint8Array,
  length: number,
  multiplier: number,
  auth: AuthKey,
  window: SequenceWindow,
  digest: Digest,
): DiscardReason | undefined {
  const row = authTypes[auth.type];
  if (bytes[start] !== row.code) return 'auth-type';
  if (row.digest === undefined) {
    // A password of another length is a wrong password, not a malformed section.
    if (length !== start + bytes[start + 1]! || bytes[start + 1]! < 4) return 'auth-length';
    const password = keyOf(auth, bytes[start + 2]!);
    if (password === undefined) return 'auth-key';
    return same(bytes.subarray(start + 3, length), password) ? undefined : 'auth-digest';
  }
  const wanted = authLength(auth);
  if (bytes[start + 1] !== wanted || length !== start + wanted) return 'auth-length';
  const key = keyOf(auth, bytes[start + 2]!);
  if (key === undefined) return 'auth-key';
  const sequence =
    ((bytes[start + 4]! << 24) |
      (bytes[start + 5]! << 16) |
      (bytes[start + 6]! << 8) |
      bytes[start + 7]!) >>>
    0;
  // "... lies outside of the range of bfd.RcvAuthSeq to bfd.RcvAuthSeq+(3*Detect Mult) inclusive (when
  // treated as an unsigned 32-bit circular number space)"; a meticulous one begins one further.
  const ahead = (sequence - window.last) >>> 0;
  if (window.known && (ahead > 3 * multiplier || (row.meticulous && ahead === 0)))
    return 'auth-sequence';
  const copy = bytes.slice(0, length);
  copy.fill(0, start + 8);
  copy.set(key, start + 8);
  if (!same(digest(row.digest.algorithm, copy), bytes.subarray(start + 8, length)))
    return 'auth-digest';
  window.known = true;
  window.last = sequence;
  return undefined;
}

/** The key of that id, if it is one that packets may come with. */
function keyOf(auth: AuthKey, keyId: number): Uint8Array | undefined {
  if (keyId === auth.keyId) return auth.key;
  return keyId === auth.alsoAccept?.keyId ? auth.alsoAccept.key : undefined;
}

/** Without a hint, by its time, of where they differ. */
function same(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  let difference = 0;
  for (let i = 0; i < a.length; i++) difference |= a[i]! ^ b[i]!;
  return difference === 0;
}
