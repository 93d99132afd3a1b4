import { Address } from '@causeway/ip';
import { BgpError } from './errors.ts';

declare const asnBrand: unique symbol;
declare const routerIdBrand: unique symbol;

/** A 4-octet AS number (RFC 6793), 0 to 4294967295. */
export type Asn = number & { readonly [asnBrand]: 'Asn' };

export const Asn = Object.freeze({
  /** Throws BgpError `invalid-asn`. AS 0 is refused: nobody may use it (RFC 7607). */
  of(value: number): Asn {
    if (!Number.isInteger(value) || value < 1 || value > 0xffff_ffff) {
      throw new BgpError('invalid-asn', `${value} is no AS number: 1 to 4294967295`, { value });
    }
    return value as Asn;
  },
  /** asplain (`4200000001`) or asdot (`64086.59905`), RFC 5396. Throws BgpError `invalid-asn`. */
  parse(text: string): Asn {
    const match = /^(?:(\d{1,5})\.)?(\d{1,10})$/.exec(text);
    const high = Number(match?.[1] ?? 0);
    const low = Number(match?.[2]);
    if (!match || (match[1] !== undefined && (high > 0xffff || low > 0xffff))) {
      throw new BgpError('invalid-asn', `${JSON.stringify(text)} is no AS number`, { value: text });
    }
    return Asn.of(high * 0x10000 + low);
  },
  /** AS_TRANS, which stands for a 4-octet number where only two octets are understood (RFC 6793). */
  trans: 23456 as Asn,
  fitsTwoOctets: (asn: Asn): boolean => asn <= 0xffff,
  /** RFC 6996. */
  isPrivate: (asn: Asn): boolean =>
    (asn >= 64512 && asn <= 65534) || (asn >= 4_200_000_000 && asn <= 4_294_967_294),
});

/** A BGP identifier (RFC 6286): four octets, not zero, as a dotted quad. Compares with `===`. */
export type RouterId = string & { readonly [routerIdBrand]: 'RouterId' };

export const RouterId = Object.freeze({
  /** Throws BgpError `invalid-router-id`. */
  parse(text: string): RouterId {
    const address = Address.tryParse(text);
    if (address === undefined || !Address.isIPv4(address) || address === '0.0.0.0') {
      throw new BgpError(
        'invalid-router-id',
        `${JSON.stringify(text)} is no BGP identifier: a dotted quad that is not 0.0.0.0`,
        { value: text },
      );
    }
    return address as string as RouterId;
  },
  /** From a 32-bit number, signed or not. Zero passes: whether it may stand is the caller's question. */
  fromNumber: (value: number): RouterId =>
    `${value >>> 24}.${(value >>> 16) & 255}.${(value >>> 8) & 255}.${value & 255}` as RouterId,
  /** Unsigned 32 bits, for comparing (RFC 4271 section 6.8). */
  toNumber(id: RouterId): number {
    const [a, b, c, d] = id.split('.').map(Number) as [number, number, number, number];
    return ((a << 24) | (b << 16) | (c << 8) | d) >>> 0;
  },
});

/** The address families that routes are exchanged for here. */
export type FamilyKey = 'ipv4-unicast' | 'ipv6-unicast';

export interface FamilyRow {
  readonly key: FamilyKey;
  /** Dense from 0: for arrays indexed by family. */
  readonly index: number;
  readonly afi: number;
  readonly safi: number;
  /** How NLRI are cut: prefixes of up to this many bits. */
  readonly bits: 32 | 128;
}

/** One row per family: a family with another NLRI syntax comes with its row's codec (EVPN, VPN). */
export const familyTable: readonly FamilyRow[] = Object.freeze([
  { key: 'ipv4-unicast', index: 0, afi: 1, safi: 1, bits: 32 },
  { key: 'ipv6-unicast', index: 1, afi: 2, safi: 1, bits: 128 },
] as const);

/** AFI and SAFI as on the wire; also of families that we do not speak. */
export interface AfiSafi {
  readonly afi: number;
  readonly safi: number;
}

const names: Readonly<Record<string, string>> = {
  '1/1': 'ipv4-unicast',
  '2/1': 'ipv6-unicast',
  '1/2': 'ipv4-multicast',
  '2/2': 'ipv6-multicast',
  '1/4': 'ipv4-labeled-unicast',
  '2/4': 'ipv6-labeled-unicast',
  '1/128': 'ipv4-vpn',
  '2/128': 'ipv6-vpn',
  '1/133': 'ipv4-flowspec',
  '2/133': 'ipv6-flowspec',
  '25/65': 'l2vpn-vpls',
  '25/70': 'l2vpn-evpn',
  '16388/71': 'link-state',
};

export const Family = Object.freeze({
  row: (key: FamilyKey): FamilyRow =>
    (key === 'ipv4-unicast' ? familyTable[0] : familyTable[1]) as FamilyRow,
  of: (afi: number, safi: number): FamilyRow | undefined =>
    safi === 1 ? (afi === 1 ? familyTable[0] : afi === 2 ? familyTable[1] : undefined) : undefined,
  /** Also for families that we do not speak: `l2vpn-evpn`, `afi 7 safi 9`. */
  name: ({ afi, safi }: AfiSafi): string => names[`${afi}/${safi}`] ?? `afi ${afi} safi ${safi}`,
  is: (key: string): key is FamilyKey => key === 'ipv4-unicast' || key === 'ipv6-unicast',
});

/** ORIGIN (RFC 4271 section 4.3): the lower is preferred. */
export const Origin = Object.freeze({ igp: 0, egp: 1, incomplete: 2 } as const);
export type Origin = (typeof Origin)[keyof typeof Origin];
