/** The internet checksum (RFC 1071), its incremental update (RFC 1624) and the pseudo headers that it covers. */

import { WireError } from './errors.ts';

/** The 16-bit ones' complement sum without the final inversion: chain it over the parts of a packet. */
export function onesSum(bytes: Uint8Array, initial = 0): number {
  let sum = initial;
  // A sum of 16-bit words stays an exact number for any buffer that there can be.
  const even = bytes.length & ~1;
  for (let i = 0; i < even; i += 2) {
    sum += ((bytes[i] as number) << 8) | (bytes[i + 1] as number);
  }
  if (even < bytes.length) sum += (bytes[even] as number) << 8;
  return fold(sum);
}

function fold(sum: number): number {
  let folded = sum;
  while (folded > 0xffff) folded = (folded & 0xffff) + Math.floor(folded / 0x10000);
  return folded;
}

/**
 * RFC 1071: the checksum field's value, with that field zero in `bytes`. Over data whose field is
 * filled in, 0 means intact. `initial` is the `onesSum` of a pseudo header; only the last part of a
 * chain may have an odd length.
 */
export function internetChecksum(bytes: Uint8Array, initial = 0): number {
  return ~onesSum(bytes, initial) & 0xffff;
}

/**
 * RFC 1624 equation 3: HC' = ~(~HC + ~m + m'). The checksum after one 16-bit field changed.
 * Equation 3 and not RFC 1141's: that one can give 0xffff where 0 is right.
 */
export function updateChecksum(checksum: number, before: number, after: number): number {
  return ~fold((~checksum & 0xffff) + (~before & 0xffff) + (after & 0xffff)) & 0xffff;
}

/** RFC 1624 over a field of an even number of bytes, such as an address. */
export function updateChecksumBytes(
  checksum: number,
  before: Uint8Array,
  after: Uint8Array,
): number {
  if (before.length !== after.length || before.length % 2 !== 0) {
    throw new WireError(
      'out-of-range',
      { offset: 0, wanted: after.length, left: before.length },
      `a field of ${before.length} bytes cannot become ${after.length} bytes in a checksum`,
    );
  }
  let sum = ~checksum & 0xffff;
  for (let i = 0; i < before.length; i += 2) {
    sum += ~(((before[i] as number) << 8) | (before[i + 1] as number)) & 0xffff;
    sum += ((after[i] as number) << 8) | (after[i + 1] as number);
  }
  return ~fold(sum) & 0xffff;
}

export interface PseudoHeader {
  /** Network order; both 4 bytes or both 16. */
  readonly source: Uint8Array;
  readonly destination: Uint8Array;
  /** IP protocol number of the upper layer (the last next-header in IPv6). */
  readonly protocol: number;
  /** Bytes of upper-layer header and data. */
  readonly length: number;
}

/** The `onesSum` of the pseudo header: RFC 9293 section 3.1 for IPv4, RFC 8200 section 8.1 for IPv6. */
export function pseudoHeaderSum({ source, destination, protocol, length }: PseudoHeader): number {
  const width = source.length;
  if ((width !== 4 && width !== 16) || destination.length !== width) {
    throw new WireError(
      'out-of-range',
      { offset: 0, wanted: destination.length, left: width },
      `pseudo header addresses of ${width} and ${destination.length} bytes`,
    );
  }
  // Both layouts sum to the same words: the IPv6 length's upper half is zero below 64 KiB.
  return fold(
    onesSum(source) + onesSum(destination) + protocol + (length >>> 16) + (length & 0xffff),
  );
}
