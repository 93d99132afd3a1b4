import { Address } from './address.ts';
import { IpError, shown } from './errors.ts';

declare const macBrand: unique symbol;

/** A 48-bit MAC address as canonical text: lower case, colons. Compares by value with `===`. */
export type Mac = string & { readonly [macBrand]: 'Mac' };

const pattern = /^[0-9a-f]{2}(?:([:-])[0-9a-f]{2}(?:\1[0-9a-f]{2}){4})$/i;

function fromBytes(bytes: Uint8Array): Mac {
  if (bytes.length !== 6) {
    throw new IpError('invalid-mac', bytes, `a MAC address has 6 bytes, not ${bytes.length}`);
  }
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join(':') as Mac;
}

function toBytes(mac: Mac): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(mac.split(':'), (part) => Number.parseInt(part, 16));
}

export const Mac = Object.freeze({
  /** Six pairs of hex digits joined by `:` or by `-`. Throws IpError `invalid-mac`. */
  parse(value: string): Mac {
    if (typeof value !== 'string' || !pattern.test(value)) {
      throw new IpError('invalid-mac', value, `${shown(value)} is not a MAC address`);
    }
    return value.toLowerCase().replaceAll('-', ':') as Mac;
  },
  is: (value: string): value is Mac =>
    pattern.test(value) && value === value.toLowerCase() && value.includes(':'),
  key: (mac: Mac): string => mac,
  fromBytes,
  toBytes,
  isMulticast: (mac: Mac): boolean => ((toBytes(mac)[0] ?? 0) & 1) === 1,
  /** A unicast, locally administered address from six bytes that the caller drew or hashed. */
  local(bytes: Uint8Array): Mac {
    const copy = Uint8Array.from(bytes);
    copy[0] = ((copy[0] ?? 0) & 0xfc) | 0x02;
    return fromBytes(copy);
  },
  /** The link-local address of the interface by modified EUI-64 (RFC 4291 appendix A). */
  linkLocal(mac: Mac): Address {
    const [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0] = toBytes(mac);
    return Address.fromBytes(
      Uint8Array.of(0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 0x02, b, c, 0xff, 0xfe, d, e, f),
    );
  },
});
