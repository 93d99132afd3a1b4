/**
 * Tables shaped like the Internet's: prefix lengths, AS paths, communities and prefixes per attribute set
 * as the public collectors (RIPE RIS, Route Views, CIDR Report) show them, drawn from a seed. They stand in
 * for a recording: nobody's real announcements, everybody's shapes. Plain data, encoded by `raw.ts`, so
 * that our own codec is checked by bytes it did not write.
 */
import { type Random, seeded } from './random.ts';

export type TableFamily = 'ipv4' | 'ipv6';

export interface SampleAttributes {
  readonly origin: 0 | 1 | 2;
  /** From the neighbour to the origin, prepends included; the announcing speaker's own AS is not in it. */
  readonly asPath: readonly number[];
  /** An AS_SET at the origin's end, as aggregation leaves it: one path in some hundreds. */
  readonly asSet: readonly number[];
  readonly med?: number;
  readonly communities: readonly number[];
  readonly largeCommunities: readonly (readonly [number, number, number])[];
  /** Eight bytes each. */
  readonly extendedCommunities: readonly bigint[];
  readonly aggregator?: { readonly asn: number; readonly address: number };
  readonly atomicAggregate: boolean;
}

export interface SampleSet {
  readonly attributes: SampleAttributes;
  /** NLRI of RFC 4271 section 4.3: length in bits, then as many bytes as that takes. */
  readonly prefixes: readonly Uint8Array[];
}

export interface TableShape {
  readonly family: TableFamily;
  readonly routes: number;
  readonly seed: number;
  /** Mean number of prefixes that share an attribute set; 5 is what a full table has. */
  readonly prefixesPerSet?: number;
  /** Shortest and longest AS path without prepends; 2 and 6 when left out, and then most are of 3 to 5. */
  readonly pathLength?: readonly [number, number];
}

/** Share of each prefix length, in thousandths of the table. */
const LENGTHS: Readonly<Record<TableFamily, ReadonlyMap<number, number>>> = {
  ipv4: new Map([
    [8, 0.02],
    [9, 0.02],
    [10, 0.05],
    [11, 0.1],
    [12, 0.3],
    [13, 0.6],
    [14, 1.2],
    [15, 2.1],
    [16, 14],
    [17, 8.5],
    [18, 14],
    [19, 26],
    [20, 46],
    [21, 53],
    [22, 115],
    [23, 105],
    [24, 614],
  ]),
  ipv6: new Map([
    [20, 0.1],
    [24, 0.2],
    [28, 0.6],
    [29, 25],
    [30, 5],
    [31, 2],
    [32, 125],
    [33, 20],
    [34, 18],
    [35, 6],
    [36, 50],
    [38, 8],
    [40, 95],
    [42, 20],
    [44, 100],
    [45, 8],
    [46, 28],
    [47, 19],
    [48, 470],
  ]),
};

/** IPv4 space that a strict speaker refuses to take, by first byte (a few of them only in part). */
const AVOIDED = new Set([0, 10, 100, 127, 169, 172, 192, 198, 203]);

function drawPrefix(
  random: Random,
  family: TableFamily,
  lengths: number[],
  weights: number[],
): Uint8Array {
  const length = lengths[random.weighted(weights)] ?? 24;
  const bytes = new Uint8Array(1 + Math.ceil(length / 8));
  bytes[0] = length;
  for (let index = 1; index < bytes.length; index += 1) bytes[index] = random.below(256);
  if (family === 'ipv6') {
    bytes[1] = 0x20 | (random.below(4) << 2); // 2000::/3, as far as it is given out
    if (bytes.length > 3 && bytes[1] === 0x20 && bytes[2] === 1) bytes[3] = 0x40 | (bytes[3] ?? 0); // not 2001:db8::, Teredo
  } else {
    do bytes[1] = 1 + random.below(223);
    while (AVOIDED.has(bytes[1] ?? 0));
  }
  const spare = bytes.length * 8 - 8 - length;
  bytes[bytes.length - 1] = ((bytes[bytes.length - 1] ?? 0) >> spare) << spare;
  return bytes;
}

function keyOf(prefix: Uint8Array): string {
  return String.fromCharCode(...prefix);
}

function drawAsn(random: Random): number {
  // A quarter of the AS numbers seen need four octets.
  if (random.next() < 0.25) return 196_608 + random.below(206_000);
  const asn = 1 + random.below(64_000);
  return asn === 23_456 ? 23_457 : asn; // AS_TRANS stands for somebody else
}

function drawAttributes(random: Random, shortest: number, longest: number): SampleAttributes {
  const wanted = shortest + random.weighted([6, 24, 36, 22, 12].slice(0, longest - shortest + 1));
  const asPath: number[] = [];
  while (asPath.length < wanted) {
    const asn = drawAsn(random);
    if (!asPath.includes(asn)) asPath.push(asn);
  }
  if (random.next() < 0.13) {
    const repeated = asPath.at(-1) ?? 1;
    for (let times = 1 + random.weighted([50, 30, 12, 8]); times > 0; times -= 1)
      asPath.push(repeated);
  }
  const communities = new Set<number>();
  for (
    let count = random.weighted([18, 12, 14, 13, 11, 9, 7, 5, 4, 3, 2, 1, 0.5, 0.5]);
    count > 0;
    count -= 1
  )
    communities.add(((1 + random.below(64_000)) * 65_536 + random.below(10_000)) >>> 0);
  const large: [number, number, number][] = [];
  if (random.next() < 0.12)
    for (let count = 1 + random.below(4); count > 0; count -= 1)
      large.push([drawAsn(random), random.below(2000), random.below(100_000)]);
  const extended: bigint[] = [];
  if (random.next() < 0.04)
    // route targets of two-octet AS (RFC 4360)
    for (let count = 1 + random.below(2); count > 0; count -= 1)
      extended.push(
        (0x0002n << 48n) |
          (BigInt(1 + random.below(64_000)) << 32n) |
          BigInt(random.below(1_000_000)),
      );
  const aggregated = random.next() < 0.06;
  return {
    origin: ([0, 2, 1] as const)[random.weighted([92, 7.5, 0.5])] ?? 0,
    asPath,
    asSet: random.next() < 0.003 ? [drawAsn(random), drawAsn(random)] : [],
    ...(random.next() < 0.25 ? { med: random.below(3) === 0 ? random.below(1_000_000) : 0 } : {}),
    communities: [...communities],
    largeCommunities: large,
    extendedCommunities: extended,
    ...(aggregated
      ? {
          aggregator: {
            asn: asPath.at(-1) ?? 1,
            address: (0x01_00_00_00 + random.below(0xdf_00_00_00)) >>> 0,
          },
        }
      : {}),
    atomicAggregate: aggregated && random.next() < 0.5,
  };
}

/** Attribute sets with their prefixes; no prefix comes twice, nor in two families' tables by accident. */
export function* makeTable(shape: TableShape): Generator<SampleSet> {
  const random = seeded(shape.seed);
  const table = LENGTHS[shape.family];
  const lengths = [...table.keys()];
  const weights = [...table.values()];
  const [shortest, longest] = shape.pathLength ?? [2, 6];
  const mean = shape.prefixesPerSet ?? 5;
  const seen = new Set<string>();
  let left = shape.routes;
  while (left > 0) {
    // Geometric: half of all sets stand for one or a few prefixes, some for dozens.
    const drawn = 1 + Math.floor(Math.log(1 - random.next()) / Math.log(1 - 1 / mean) || 0);
    const prefixes: Uint8Array[] = [];
    while (prefixes.length < Math.min(drawn, left, 200)) {
      const prefix = drawPrefix(random, shape.family, lengths, weights);
      const key = keyOf(prefix);
      if (seen.has(key)) continue;
      seen.add(key);
      prefixes.push(prefix);
    }
    left -= prefixes.length;
    yield { attributes: drawAttributes(random, shortest, longest), prefixes };
  }
}
