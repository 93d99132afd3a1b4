import koffi from 'koffi';

/**
 * Memory whose address stays put while it is referenced: V8 moves small typed arrays, but never the
 * store of an ArrayBuffer made as such.
 */
export function stableBytes(size: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(new ArrayBuffer(Math.max(size, 1)));
}

/** A copy of `bytes` that an address can be taken of. */
export function stableCopy(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const copy = stableBytes(bytes.length);
  copy.set(bytes);
  return copy;
}

/** The address of stable memory; of an array's own offset, too. 0 for nothing. */
export function addressOf(bytes: Uint8Array | undefined): bigint {
  return bytes === undefined ? 0n : koffi.address(bytes);
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** NUL-terminated, stable. */
export function cString(text: string): Uint8Array<ArrayBuffer> {
  const utf8 = encoder.encode(text);
  const bytes = stableBytes(utf8.length + 1);
  bytes.set(utf8);
  return bytes;
}

/** Text up to the first NUL. */
export function fromCString(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return decoder.decode(end < 0 ? bytes : bytes.subarray(0, end));
}

/**
 * A zeroed struct in stable memory with a view to fill in its fields, little endian: as every platform
 * that we run on is.
 */
export function struct(size: number): { bytes: Uint8Array<ArrayBuffer>; view: DataView } {
  const bytes = stableBytes(size);
  return { bytes, view: new DataView(bytes.buffer) };
}
