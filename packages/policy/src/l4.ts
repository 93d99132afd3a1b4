import type { Direction } from './model.ts';

/**
 * Direction, protocol, port prefix length and port of a policy entry in one 30-bit number: what is
 * left of the kernel's key beside the identity.
 *
 *     29      22 21     17 16            1 0
 *     | proto   | plen    | port          | dir |
 */
export type L4 = number;

export interface L4Parts {
  readonly direction: Direction;
  /** IANA number; 0 = any. */
  readonly protocol: number;
  /** Leading bits of `port` that count: 0..16. */
  readonly prefixLength: number;
  /** Host byte order, bits beyond the prefix length clear. */
  readonly port: number;
}

export const directionBit = (direction: Direction): 0 | 1 => (direction === 'ingress' ? 0 : 1);

export const packL4 = (dir: 0 | 1, protocol: number, prefixLength: number, port: number): L4 =>
  (protocol << 22) | (prefixLength << 17) | (port << 1) | dir;

export const unpackL4 = (l4: L4): L4Parts => ({
  direction: (l4 & 1) === 0 ? 'ingress' : 'egress',
  protocol: l4 >>> 22,
  prefixLength: (l4 >>> 17) & 0x1f,
  port: (l4 >>> 1) & 0xffff,
});

/** The port with the bits beyond a prefix length cleared. */
export const maskPort = (port: number, prefixLength: number): number =>
  port & (0xffff << (16 - prefixLength)) & 0xffff;

/**
 * The fewest port prefixes that hold exactly `first` to `last`: at most 30, as for any range of
 * 16-bit numbers. Each goes as wide as its alignment and the rest of the range let it.
 */
export function portPrefixes(
  first: number,
  last: number,
): { readonly port: number; readonly prefixLength: number }[] {
  const result: { port: number; prefixLength: number }[] = [];
  for (let port = first; port <= last; ) {
    let size = port === 0 ? 0x10000 : port & -port;
    while (size > last - port + 1) size >>>= 1;
    result.push({ port, prefixLength: 16 - Math.log2(size) });
    port += size;
  }
  return result;
}
