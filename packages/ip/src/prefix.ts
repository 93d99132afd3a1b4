import { Address } from './address.ts';
import { IpError, shown } from './errors.ts';
import {
  commonBits,
  compareWords,
  type Family,
  formatWords,
  fromBigInt,
  maskWords,
  parseWords,
  sameWords,
  toBigInt,
  v4Words,
  type Words,
  widthOf,
} from './words.ts';

declare const prefixBrand: unique symbol;

/** A CIDR prefix as canonical text (`10.0.0.0/8`, `2001:db8::/32`), host bits clear: compares with `===`. */
export type Prefix = string & { readonly [prefixBrand]: 'Prefix' };

export interface PrefixParseOptions {
  /** What to do with host bits: `reject` (default) throws `host-bits-set`, `clear` masks them off. */
  readonly hostBits?: 'reject' | 'clear';
}

/** The numeric form, for code that walks many prefixes. */
export interface PrefixWords {
  readonly words: Words;
  readonly length: number;
}

function build(w: Words, length: number): Prefix {
  // A prefix inside ::ffff:0:0/96 is an IPv4 prefix, as its addresses are IPv4 addresses.
  if (w.family === 'ipv6' && length >= 96 && w.w0 === 0 && w.w1 === 0 && w.w2 === 0xffff) {
    return `${formatWords(v4Words(w.w3))}/${length - 96}` as Prefix;
  }
  return `${formatWords(w)}/${length}` as Prefix;
}

export function prefixWords(prefix: Prefix): PrefixWords {
  const slash = prefix.lastIndexOf('/');
  const address = prefix.slice(0, slash);
  return { words: parseNetwork(address), length: Number(prefix.slice(slash + 1)) };
}

const parseNetwork = (address: string): Words => parseWords(address) as Words;

function checkLength(family: Family, length: number, value: unknown): void {
  if (!Number.isInteger(length) || length < 0 || length > widthOf(family)) {
    throw new IpError(
      'invalid-prefix-length',
      value,
      `${shown(value)}: an ${family} prefix length is 0 to ${widthOf(family)}`,
    );
  }
}

function parse(value: string, options: PrefixParseOptions = {}): Prefix {
  const slash = typeof value === 'string' ? value.lastIndexOf('/') : -1;
  const parsed = slash > 0 ? parseWords(value.slice(0, slash)) : undefined;
  const digits = slash > 0 ? value.slice(slash + 1) : '';
  if (!parsed || !/^(0|[1-9][0-9]{0,2})$/.test(digits)) {
    throw new IpError(
      'invalid-prefix',
      value,
      `${shown(value)} is not a prefix of the form ADDRESS/LENGTH`,
    );
  }
  let length = Number(digits);
  if (parsed.family === 'ipv4' && value.includes(':')) {
    // Written as ::ffff:a.b.c.d/96+n. A shorter length would reach beyond the mapped space.
    if (length < 96) throw new IpError('host-bits-set', value, `${shown(value)} has host bits set`);
    if (length > 128) checkLength('ipv6', length, value);
    length -= 96;
  }
  checkLength(parsed.family, length, value);
  const masked = maskWords(parsed, length);
  if (options.hostBits !== 'clear' && !sameWords(masked, parsed)) {
    throw new IpError(
      'host-bits-set',
      value,
      `${shown(value)} has bits set beyond its length; the prefix is ${build(masked, length)}`,
    );
  }
  return build(masked, length);
}

function tryParse(value: string, options?: PrefixParseOptions): Prefix | undefined {
  try {
    return parse(value, options);
  } catch {
    return undefined;
  }
}

function from(address: Address, length: number): Prefix {
  const w = parseNetwork(address);
  checkLength(w.family, length, length);
  return build(maskWords(w, length), length);
}

function sizeOf({ words, length }: PrefixWords): bigint {
  return 1n << BigInt(widthOf(words.family) - length);
}

function contains(prefix: Prefix, address: Address): boolean {
  const { words, length } = prefixWords(prefix);
  const other = parseNetwork(address);
  return words.family === other.family && commonBits(words, other, length) === length;
}

function covers(outer: Prefix, inner: Prefix): boolean {
  const a = prefixWords(outer);
  const b = prefixWords(inner);
  return (
    a.words.family === b.words.family &&
    a.length <= b.length &&
    commonBits(a.words, b.words, a.length) === a.length
  );
}

function nth(prefix: Prefix, index: bigint | number): Address {
  const p = prefixWords(prefix);
  const size = sizeOf(p);
  const at = BigInt(index);
  const position = at < 0n ? size + at : at;
  if (position < 0n || position >= size) {
    throw new IpError('out-of-range', index, `${prefix} has ${size} addresses, none at ${index}`);
  }
  return Address.fromBigInt(p.words.family, toBigInt(p.words) + position);
}

function subnetAt(prefix: Prefix, length: number, index: bigint | number): Prefix {
  const p = prefixWords(prefix);
  checkLength(p.words.family, length, length);
  const at = BigInt(index);
  if (length < p.length || at < 0n || at >> BigInt(length - p.length) !== 0n) {
    throw new IpError('out-of-range', index, `${prefix} has no /${length} subnet at ${index}`);
  }
  const step = BigInt(widthOf(p.words.family) - length);
  return build(fromBigInt(p.words.family, toBigInt(p.words) + (at << step)), length);
}

export const Prefix = Object.freeze({
  /** Throws IpError `invalid-prefix`, `invalid-prefix-length` or `host-bits-set`. */
  parse,
  tryParse,
  is: (value: string): value is Prefix => tryParse(value) === value,
  /** The prefix of this length around the address; host bits are cleared. */
  from,
  /** /32 or /128. */
  host: (address: Address): Prefix => `${address}/${Address.isIPv4(address) ? 32 : 128}` as Prefix,
  /** An address or a prefix, as users write either: an address becomes its host prefix. */
  parseLoose(value: string): Prefix {
    const address = Address.tryParse(value);
    return address === undefined ? parse(value, { hostBits: 'clear' }) : Prefix.host(address);
  },
  key: (prefix: Prefix): string => prefix,
  /** The network address. */
  address: (prefix: Prefix): Address => prefix.slice(0, prefix.lastIndexOf('/')) as Address,
  length: (prefix: Prefix): number => Number(prefix.slice(prefix.lastIndexOf('/') + 1)),
  family: (prefix: Prefix): Family => (prefix.includes(':') ? 'ipv6' : 'ipv4'),
  contains,
  /** True if `inner` is `outer` or lies inside it. */
  covers,
  overlaps: (a: Prefix, b: Prefix): boolean => covers(a, b) || covers(b, a),
  isHost: (prefix: Prefix): boolean => prefix.endsWith(prefix.includes(':') ? '/128' : '/32'),
  /** Number of addresses. */
  size: (prefix: Prefix): bigint => sizeOf(prefixWords(prefix)),
  first: (prefix: Prefix): Address => nth(prefix, 0),
  last: (prefix: Prefix): Address => nth(prefix, -1),
  /** The address at an index from 0; a negative index counts from the end. Throws `out-of-range`. */
  nth,
  /** The index of an address inside the prefix. Throws IpError `out-of-range`. */
  indexOf(prefix: Prefix, address: Address): bigint {
    if (!contains(prefix, address)) {
      throw new IpError('out-of-range', address, `${address} is not in ${prefix}`);
    }
    return Address.toBigInt(address) - toBigInt(prefixWords(prefix).words);
  },
  /** The subnet of the given length at an index. Throws IpError `out-of-range`. */
  subnetAt,
  /** How many subnets of the given length fit. */
  subnetCount(prefix: Prefix, length: number): bigint {
    const p = prefixWords(prefix);
    checkLength(p.words.family, length, length);
    return length < p.length ? 0n : 1n << BigInt(length - p.length);
  },
  /** All subnets of the given length in order, made as they are asked for. */
  *subnets(prefix: Prefix, length: number): Generator<Prefix, void, undefined> {
    const count = Prefix.subnetCount(prefix, length);
    for (let i = 0n; i < count; i++) yield subnetAt(prefix, length, i);
  },
  /** All addresses in order, made as they are asked for. */
  *addresses(prefix: Prefix): Generator<Address, void, undefined> {
    const p = prefixWords(prefix);
    const start = toBigInt(p.words);
    const end = start + sizeOf(p);
    for (let i = start; i < end; i++) yield Address.fromBigInt(p.words.family, i);
  },
  /** The prefix one bit shorter; undefined for /0. */
  parent(prefix: Prefix): Prefix | undefined {
    const { words, length } = prefixWords(prefix);
    return length === 0 ? undefined : build(maskWords(words, length - 1), length - 1);
  },
  /** The two halves; undefined for a host prefix. */
  split(prefix: Prefix): readonly [Prefix, Prefix] | undefined {
    const { words, length } = prefixWords(prefix);
    if (length === widthOf(words.family)) return undefined;
    return [subnetAt(prefix, length + 1, 0), subnetAt(prefix, length + 1, 1)];
  },
  /** Address order, then the shorter prefix first; IPv4 before IPv6. */
  compare(a: Prefix, b: Prefix): number {
    if (a === b) return 0;
    const x = prefixWords(a);
    const y = prefixWords(b);
    return compareWords(x.words, y.words) || x.length - y.length;
  },
  /** The netmask as 4 or 16 bytes in network order. */
  maskBytes(prefix: Prefix): Uint8Array<ArrayBuffer> {
    const { words, length } = prefixWords(prefix);
    const bytes = new Uint8Array(widthOf(words.family) / 8);
    for (let i = 0; i < bytes.length; i++) {
      bytes[i] = 0xff00 >> Math.max(0, Math.min(8, length - i * 8));
    }
    return bytes;
  },
  /** The prefix of a contiguous netmask in bytes. Throws IpError `invalid-prefix-length`. */
  fromMask(address: Address, mask: Uint8Array): Prefix {
    const width = Address.isIPv4(address) ? 4 : 16;
    let length = 0;
    while (length < mask.length * 8 && ((mask[length >> 3] ?? 0) & (0x80 >> (length & 7))) !== 0) {
      length++;
    }
    const rest = mask.some(
      (byte, i) => (byte & (0xff >> Math.max(0, Math.min(8, length - i * 8)))) !== 0,
    );
    if (mask.length !== width || rest) {
      const hex = Array.from(mask.slice(0, 16), (byte) => byte.toString(16).padStart(2, '0'));
      throw new IpError(
        'invalid-prefix-length',
        mask,
        `mask ${hex.join('')} for ${address} is not ${width} bytes of leading ones`,
      );
    }
    return from(address, length);
  },
});
