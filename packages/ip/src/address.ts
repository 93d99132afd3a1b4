import { IpError, shown } from './errors.ts';
import {
  compareWords,
  type Family,
  formatWords,
  fromBigInt,
  parseWords,
  toBigInt,
  v4Words,
  v6Words,
  type Words,
  widthOf,
} from './words.ts';

declare const addressBrand: unique symbol;

/**
 * An IP address, held as its canonical text: dotted quad, or RFC 5952 with IPv4-mapped printed as
 * IPv4 (what Go's net.IP prints, which keys in Cilium's stores require). As a string it compares by
 * value with `===`, is a Map key, a table's index key and JSON as it stands.
 */
export type Address = string & { readonly [addressBrand]: 'Address' };

const words = (address: Address): Words => parseWords(address) as Words;
const text = (w: Words): Address => formatWords(w) as Address;

function fromBytes(bytes: Uint8Array): Address {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length === 4) return text(v4Words(view.getUint32(0)));
  if (bytes.length === 16) {
    return text(
      v6Words(view.getUint32(0), view.getUint32(4), view.getUint32(8), view.getUint32(12)),
    );
  }
  throw new IpError('invalid-address', bytes, `an address has 4 or 16 bytes, not ${bytes.length}`);
}

function fromNumber(family: Family, value: bigint): Address {
  if (value < 0n || value >> BigInt(widthOf(family)) !== 0n) {
    throw new IpError('out-of-range', value, `${value} is outside the ${family} address space`);
  }
  if (family === 'ipv6' && value >> 32n === 0xffffn) {
    return text(v4Words(Number(value & 0xffffffffn)));
  }
  return text(fromBigInt(family, value));
}

function tryParse(value: string): Address | undefined {
  const parsed = typeof value === 'string' ? parseWords(value) : undefined;
  return parsed && text(parsed);
}

export const Address = Object.freeze({
  /** Strict: no leading zeros, zones, spaces or prefix lengths. Throws IpError `invalid-address`. */
  parse(value: string): Address {
    const parsed = tryParse(value);
    if (parsed === undefined) {
      throw new IpError('invalid-address', value, `${shown(value)} is not an IPv4 or IPv6 address`);
    }
    return parsed;
  },
  tryParse,
  is: (value: string): value is Address => tryParse(value) === value,
  key: (address: Address): string => address,
  family: (address: Address): Family => (address.includes(':') ? 'ipv6' : 'ipv4'),
  isIPv4: (address: Address): boolean => !address.includes(':'),
  isIPv6: (address: Address): boolean => address.includes(':'),
  /** Bits in an address of the family. */
  width: widthOf,
  /** From 4 or 16 bytes in network order; 16 bytes that are IPv4-mapped give an IPv4 address. */
  fromBytes,
  /** 4 or 16 bytes in network order. */
  toBytes(address: Address): Uint8Array<ArrayBuffer> {
    const w = words(address);
    const bytes = new Uint8Array(w.family === 'ipv4' ? 4 : 16);
    const view = new DataView(bytes.buffer);
    view.setUint32(0, w.w0);
    if (w.family === 'ipv6') {
      view.setUint32(4, w.w1);
      view.setUint32(8, w.w2);
      view.setUint32(12, w.w3);
    }
    return bytes;
  },
  /** Always 16 bytes: IPv4 as `::ffff:a.b.c.d` (RFC 4291 section 2.5.5.2). `fromBytes` reads it back. */
  toBytes16(address: Address): Uint8Array<ArrayBuffer> {
    const bytes = new Uint8Array(16);
    Address.write16(address, bytes, 0);
    return bytes;
  },
  /** `toBytes16` into a buffer that the caller owns: 16 bytes from `offset`. */
  write16(address: Address, target: Uint8Array, offset: number): void {
    const w = words(address);
    const view = new DataView(target.buffer, target.byteOffset + offset, 16);
    const mapped = w.family === 'ipv4';
    view.setUint32(0, mapped ? 0 : w.w0);
    view.setUint32(4, mapped ? 0 : w.w1);
    view.setUint32(8, mapped ? 0xffff : w.w2);
    view.setUint32(12, mapped ? w.w0 : w.w3);
  },
  toBigInt: (address: Address): bigint => toBigInt(words(address)),
  /** Throws IpError `out-of-range`. */
  fromBigInt: fromNumber,
  /** The address `distance` after this one (negative: before). Throws IpError `out-of-range`. */
  add(address: Address, distance: bigint | number): Address {
    const w = words(address);
    return fromNumber(w.family, toBigInt(w) + BigInt(distance));
  },
  /** Number order; IPv4 before IPv6. */
  compare: (a: Address, b: Address): number => (a === b ? 0 : compareWords(words(a), words(b))),
  isUnspecified: (address: Address): boolean => address === '0.0.0.0' || address === '::',
  isLoopback: (address: Address): boolean => address.startsWith('127.') || address === '::1',
  /** 169.254.0.0/16 (RFC 3927), fe80::/10 (RFC 4291 section 2.5.6). */
  isLinkLocal(address: Address): boolean {
    const w = words(address);
    return w.family === 'ipv4' ? w.w0 >>> 16 === 0xa9fe : w.w0 >>> 22 === 0x3fa;
  },
  /** 224.0.0.0/4, ff00::/8. */
  isMulticast(address: Address): boolean {
    const w = words(address);
    return w.family === 'ipv4' ? w.w0 >>> 28 === 0xe : w.w0 >>> 24 === 0xff;
  },
});
