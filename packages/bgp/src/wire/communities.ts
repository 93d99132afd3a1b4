import { BgpError } from '../errors.ts';
import type { LargeCommunityValue as Large } from './attributes.ts';

/** RFC 1997 section 4 and IANA "BGP Well-known Communities". */
const wellKnown = new Map<string, number>([
  ['graceful-shutdown', 0xffff0000],
  ['accept-own', 0xffff0001],
  ['llgr-stale', 0xffff0006],
  ['no-llgr', 0xffff0007],
  ['blackhole', 0xffff029a],
  ['no-export', 0xffffff01],
  ['no-advertise', 0xffffff02],
  ['no-export-subconfed', 0xffffff03],
  ['no-peer', 0xffffff04],
]);
const wellKnownNames = new Map([...wellKnown].map(([name, value]) => [value, name]));

function refuse(kind: string, text: string, form: string): never {
  throw new BgpError(
    'invalid-community',
    `${JSON.stringify(text)} is no ${kind} community: write ${form}`,
    { value: text },
  );
}

/** `undefined` unless the text is a decimal number up to `most`. */
function decimal(text: string | undefined, most: number): number | undefined {
  if (text === undefined || !/^(0|[1-9]\d{0,9})$/.test(text)) return undefined;
  const value = Number(text);
  return value <= most ? value : undefined;
}

/** RFC 1997: 32 bits, written `65000:100`, or by name where there is one. */
export const Community = Object.freeze({
  noExport: 0xffffff01,
  noAdvertise: 0xffffff02,
  noExportSubconfed: 0xffffff03,
  gracefulShutdown: 0xffff0000,
  llgrStale: 0xffff0006,
  noLlgr: 0xffff0007,
  /** Throws BgpError `invalid-community`. */
  parse(text: string): number {
    const named = wellKnown.get(text);
    if (named !== undefined) return named;
    const parts = text.split(':');
    const high = decimal(parts[0], 0xffff);
    const low = decimal(parts[1], 0xffff);
    if (parts.length !== 2 || high === undefined || low === undefined) {
      return refuse('standard', text, 'AS:VALUE, each 0 to 65535, or a name such as no-export');
    }
    return high * 0x10000 + low;
  },
  format: (value: number): string =>
    wellKnownNames.get(value >>> 0) ?? `${value >>> 16}:${value & 0xffff}`,
});

/** RFC 8092: three 32-bit numbers, written `65000:1:2` (section 5: canonical form). */
export const LargeCommunity = Object.freeze({
  /** Throws BgpError `invalid-community`. */
  parse(text: string): Large {
    const parts = text.split(':');
    const [admin, data1, data2] = [0, 1, 2].map((i) => decimal(parts[i], 0xffff_ffff));
    if (parts.length !== 3 || admin === undefined || data1 === undefined || data2 === undefined) {
      return refuse('large', text, 'ADMIN:DATA:DATA, each 0 to 4294967295');
    }
    return { admin, data1, data2 };
  },
  format: ({ admin, data1, data2 }: Large): string => `${admin}:${data1}:${data2}`,
  equals: (a: Large, b: Large): boolean =>
    a.admin === b.admin && a.data1 === b.data1 && a.data2 === b.data2,
  compare: (a: Large, b: Large): number =>
    a.admin - b.admin || a.data1 - b.data1 || a.data2 - b.data2,
});

/** Sub-types that are the same in the three "specific" types: IANA "BGP Extended Communities". */
const subTypes: Readonly<Record<number, string>> = { 2: 'rt', 3: 'soo' };
const subTypeNumbers: Readonly<Record<string, number>> = { rt: 2, soo: 3 };

/**
 * RFC 4360, RFC 5668: 64 bits, written `rt:65000:100`, `soo:192.0.2.1:5`, `rt:4200000000:7` (4-octet AS),
 * and the rest as `0x` and 16 hexadecimal digits. `rt:65000L:1` forces the 4-octet form for a small AS.
 */
export const ExtendedCommunity = Object.freeze({
  /** Throws BgpError `invalid-community`. */
  parse(text: string): bigint {
    if (/^0x[0-9a-f]{16}$/i.test(text)) return BigInt(text);
    const match = /^(rt|soo):(?:(\d+)(L?)|(\d+\.\d+\.\d+\.\d+)):(\d+)$/.exec(text);
    const form = 'rt:AS:VALUE, rt:IPV4:VALUE (or soo:...), or 0x and 16 hexadecimal digits';
    if (!match) return refuse('extended', text, form);
    const [, name, as, wide, address, local] = match;
    const subType = subTypeNumbers[name!]!;
    const make = (type: number, admin: number, adminBytes: 2 | 4): bigint => {
      const value = decimal(local, adminBytes === 2 ? 0xffff_ffff : 0xffff);
      if (value === undefined) return refuse('extended', text, form);
      const high = (BigInt(type) << 56n) | (BigInt(subType) << 48n);
      return adminBytes === 2
        ? high | (BigInt(admin) << 32n) | BigInt(value)
        : high | (BigInt(admin) << 16n) | BigInt(value);
    };
    if (address !== undefined) {
      const octets = address.split('.').map((octet) => decimal(octet, 255));
      if (octets.includes(undefined)) return refuse('extended', text, form);
      return make(
        1,
        (octets as number[]).reduce((sum, octet) => sum * 256 + octet, 0),
        4,
      );
    }
    const admin = decimal(as, 0xffff_ffff);
    if (admin === undefined) return refuse('extended', text, form);
    return wide === '' && admin <= 0xffff ? make(0, admin, 2) : make(2, admin, 4);
  },
  format(value: bigint): string {
    const type = Number(value >> 56n) & 0xff;
    const name = subTypes[Number(value >> 48n) & 0xff];
    if (name !== undefined) {
      const low = Number(value & 0xffff_ffffn);
      const local16 = Number(value & 0xffffn);
      const admin32 = Number((value >> 16n) & 0xffff_ffffn);
      if (type === 0) return `${name}:${Number((value >> 32n) & 0xffffn)}:${low}`;
      if (type === 1) {
        const octets = [24, 16, 8, 0].map((shift) => (admin32 >>> shift) & 255);
        return `${name}:${octets.join('.')}:${local16}`;
      }
      if (type === 2) return `${name}:${admin32}${admin32 <= 0xffff ? 'L' : ''}:${local16}`;
    }
    return `0x${value.toString(16).padStart(16, '0')}`;
  },
  /** Non-transitive ones stay inside an AS (RFC 4360 section 6). */
  isTransitive: (value: bigint): boolean => ((value >> 62n) & 1n) === 0n,
});
