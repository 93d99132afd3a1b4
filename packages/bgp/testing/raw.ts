/**
 * BGP messages written byte by byte, without our codec: what benchmarks send and what the codec is held
 * against. RFC 4271 section 4; AS numbers of four octets (RFC 6793) unless told otherwise.
 */
import type { SampleAttributes, SampleSet, TableFamily } from './table.ts';

const HEADER = 19;
const LARGEST = 4096;

function message(type: number, body: readonly number[]): Buffer {
  const bytes = Buffer.alloc(HEADER + body.length, 0xff);
  bytes.writeUInt16BE(bytes.length, 16);
  bytes[18] = type;
  bytes.set(body, HEADER);
  return bytes;
}

const u16 = (value: number): number[] => [value >> 8, value & 255];
const u32 = (value: number): number[] => [
  value >>> 24,
  (value >>> 16) & 255,
  (value >>> 8) & 255,
  value & 255,
];

export interface OpenShape {
  readonly asn: number;
  readonly routerId: number;
  readonly holdTime: number;
  readonly families: readonly TableFamily[];
}

/** An OPEN with multiprotocol (RFC 4760), route refresh (RFC 2918) and four-octet AS (RFC 6793). */
export function rawOpen(shape: OpenShape): Buffer {
  const capabilities = [
    ...shape.families.flatMap((family) => [1, 4, 0, family === 'ipv4' ? 1 : 2, 0, 1]),
    2,
    0,
    65,
    4,
    ...u32(shape.asn),
  ];
  return message(1, [
    4,
    ...u16(shape.asn > 65_535 ? 23_456 : shape.asn),
    ...u16(shape.holdTime),
    ...u32(shape.routerId),
    capabilities.length + 2,
    2,
    capabilities.length,
    ...capabilities,
  ]);
}

export const rawKeepalive: Buffer = message(4, []);

/** Where a route is sent from: what the announcing speaker puts in front and beside. */
export interface Announcer {
  /** Put in front of each path; left out by an internal speaker. */
  readonly asn?: number;
  /** How often its own AS stands in front besides the one time that is due. */
  readonly prepend?: number;
  /** 4 bytes for IPv4, 16 for IPv6. */
  readonly nextHop: readonly number[];
  readonly localPreference?: number;
  readonly med?: number;
  /** False for a speaker that knows AS numbers of two octets only: AS_PATH with AS_TRANS, and AS4_PATH. */
  readonly fourOctets?: boolean;
}

function attribute(flags: number, type: number, value: readonly number[]): number[] {
  return value.length > 255
    ? [flags | 0x10, type, ...u16(value.length), ...value]
    : [flags, type, value.length, ...value];
}

const asPath = (
  segments: readonly (readonly [number, readonly number[]])[],
  width: 2 | 4,
): number[] =>
  segments.flatMap(([type, asns]) =>
    asns.length === 0
      ? []
      : [
          type,
          asns.length,
          ...asns.flatMap((asn) => (width === 4 ? u32(asn) : u16(asn > 65_535 ? 23_456 : asn))),
        ],
  );

/** Path attributes in the order of their types, without MP_REACH_NLRI. */
export function rawAttributes(
  attributes: SampleAttributes,
  announcer: Announcer,
  family: TableFamily,
): number[] {
  const own = announcer.asn === undefined ? [] : [announcer.asn];
  const path = [
    ...own,
    ...Array.from({ length: announcer.prepend ?? 0 }).flatMap(() => own),
    ...attributes.asPath,
  ];
  const segments = [[2, path] as const, [1, attributes.asSet] as const];
  const width = announcer.fourOctets === false ? 2 : 4;
  const wide = [...path, ...attributes.asSet].some((asn) => asn > 65_535);
  const { aggregator } = attributes;
  const med = announcer.med ?? attributes.med;
  return [
    ...attribute(0x40, 1, [attributes.origin]),
    ...attribute(0x40, 2, asPath(segments, width)),
    ...(family === 'ipv4' ? attribute(0x40, 3, announcer.nextHop) : []),
    ...(med === undefined ? [] : attribute(0x80, 4, u32(med))),
    ...(announcer.localPreference === undefined
      ? []
      : attribute(0x40, 5, u32(announcer.localPreference))),
    ...(attributes.atomicAggregate ? attribute(0x40, 6, []) : []),
    ...(aggregator === undefined
      ? []
      : attribute(0xc0, 7, [
          ...(width === 4
            ? u32(aggregator.asn)
            : u16(aggregator.asn > 65_535 ? 23_456 : aggregator.asn)),
          ...u32(aggregator.address),
        ])),
    ...(attributes.communities.length === 0
      ? []
      : attribute(0xc0, 8, attributes.communities.flatMap(u32))),
    ...(attributes.extendedCommunities.length === 0
      ? []
      : attribute(
          0xc0,
          16,
          attributes.extendedCommunities.flatMap((value) => [
            ...u32(Number(value >> 32n)),
            ...u32(Number(value & 0xffff_ffffn)),
          ]),
        )),
    ...(width === 2 && wide ? attribute(0xc0, 17, asPath(segments, 4)) : []),
    ...(width === 2 && aggregator !== undefined && aggregator.asn > 65_535
      ? attribute(0xc0, 18, [...u32(aggregator.asn), ...u32(aggregator.address)])
      : []),
    ...(attributes.largeCommunities.length === 0
      ? []
      : attribute(
          0xc0,
          32,
          attributes.largeCommunities.flatMap((community) => community.flatMap(u32)),
        )),
  ];
}

/** The UPDATEs that announce one set: one, or several where 4,096 bytes do not hold all its prefixes. */
export function rawUpdates(set: SampleSet, announcer: Announcer, family: TableFamily): Buffer[] {
  const attributes = rawAttributes(set.attributes, announcer, family);
  const updates: Buffer[] = [];
  let pending: number[] = [];
  const room = LARGEST - HEADER - 4 - attributes.length - 32;
  const flush = (): void => {
    if (pending.length === 0) return;
    const all =
      family === 'ipv4'
        ? attributes
        : [
            ...attribute(0x80, 14, [
              0,
              2,
              1,
              announcer.nextHop.length,
              ...announcer.nextHop,
              0,
              ...pending,
            ]),
            ...attributes,
          ];
    updates.push(
      message(2, [0, 0, ...u16(all.length), ...all, ...(family === 'ipv4' ? pending : [])]),
    );
    pending = [];
  };
  for (const prefix of set.prefixes) {
    if (pending.length + prefix.length > room) flush();
    pending.push(...prefix);
  }
  flush();
  return updates;
}

/** UPDATEs that withdraw the prefixes, as many in each as fit. */
export function rawWithdrawals(prefixes: Iterable<Uint8Array>, family: TableFamily): Buffer[] {
  const updates: Buffer[] = [];
  let pending: number[] = [];
  const flush = (): void => {
    if (pending.length === 0) return;
    const attributes = family === 'ipv4' ? [] : attribute(0x80, 15, [0, 2, 1, ...pending]);
    const withdrawn = family === 'ipv4' ? pending : [];
    updates.push(
      message(2, [
        ...u16(withdrawn.length),
        ...withdrawn,
        ...u16(attributes.length),
        ...attributes,
      ]),
    );
    pending = [];
  };
  for (const prefix of prefixes) {
    if (pending.length + prefix.length > LARGEST - HEADER - 40) flush();
    pending.push(...prefix);
  }
  flush();
  return updates;
}

/** RFC 4724 section 2. */
export function rawEndOfRib(family: TableFamily): Buffer {
  return family === 'ipv4'
    ? message(2, [0, 0, 0, 0])
    : message(2, [0, 0, 0, 6, 0x80, 15, 3, 0, 2, 1]);
}
