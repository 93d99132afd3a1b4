import fc from 'fast-check';
import {
  Asn,
  type AsPathSegment,
  type NlriCursor,
  type Origin,
  type PathAttributes,
  RouterId,
} from '../index.ts';

const u32 = fc.oneof(fc.integer({ min: 0, max: 0xffff_ffff }), fc.nat(70_000));
const anyAsn = u32.map((value) => Asn.of(Math.max(1, value)));
const id = u32.map(RouterId.fromNumber);

const segment: fc.Arbitrary<AsPathSegment> = fc
  .tuple(
    fc.constantFrom('sequence' as const, 'set' as const),
    fc.array(anyAsn, { minLength: 1, maxLength: 6 }),
  )
  .map(([type, asns]) => ({ type, asns }));

const optional = <T>(one: fc.Arbitrary<T>) => fc.option(one, { nil: undefined });

/** Lists without order are in order here, as in what decodes. */
export const anyAttributes: fc.Arbitrary<PathAttributes> = fc
  .record({
    origin: fc.constantFrom<Origin>(0, 1, 2),
    asPath: fc.array(segment, { maxLength: 4 }),
    med: optional(u32),
    localPreference: optional(u32),
    atomicAggregate: optional(fc.constant(true as const)),
    aggregator: optional(fc.tuple(anyAsn, id).map(([asn, routerId]) => ({ asn, routerId }))),
    communities: optional(fc.uniqueArray(u32, { minLength: 1, maxLength: 80 })),
    originatorId: optional(id),
    clusterList: optional(fc.array(id, { minLength: 1, maxLength: 4 })),
    extendedCommunities: optional(
      fc.uniqueArray(fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }), { minLength: 1, maxLength: 5 }),
    ),
    largeCommunities: optional(
      fc.uniqueArray(
        fc.tuple(u32, u32, u32).map(([admin, data1, data2]) => ({ admin, data1, data2 })),
        { minLength: 1, maxLength: 5, selector: (one) => `${one.admin}:${one.data1}:${one.data2}` },
      ),
    ),
    unknown: optional(
      fc
        .uniqueArray(
          fc
            .tuple(
              fc.integer({ min: 40, max: 255 }),
              fc.constantFrom(0xc0, 0xe0),
              fc.uint8Array({ maxLength: 300 }),
            )
            .map(([type, flags, value]) => ({ type, flags, value })),
          { minLength: 1, maxLength: 2, selector: ({ type }) => type },
        )
        .map((list) => list.sort((a, b) => a.type - b.type)),
    ),
  })
  .map(({ communities, extendedCommunities, largeCommunities, ...rest }) => {
    const all = {
      ...rest,
      communities: communities?.sort((a, b) => a - b),
      extendedCommunities: extendedCommunities?.sort((a, b) => (a < b ? -1 : 1)),
      largeCommunities: largeCommunities?.sort(
        (a, b) => a.admin - b.admin || a.data1 - b.data1 || a.data2 - b.data2,
      ),
    };
    const entries = Object.entries(all).filter(([, value]) => value !== undefined);
    return Object.fromEntries(entries) as unknown as PathAttributes;
  });

export type Nlri = Pick<NlriCursor, 'pathId' | 'length' | 'w0' | 'w1' | 'w2' | 'w3'>;

const word = (value: number, bits: number): number =>
  bits <= 0 ? 0 : bits >= 32 ? value | 0 : value & (-1 << (32 - bits));

/** Prefixes as the cursor gives them, host bits clear. */
export const anyNlri = (bits: 32 | 128, addPath: boolean): fc.Arbitrary<Nlri> =>
  fc
    .tuple(fc.nat(bits), fc.array(fc.integer(), { minLength: 4, maxLength: 4 }), fc.integer())
    .map(([length, words, pathId]) => {
      const [w0, w1, w2, w3] = words.map((one, i) => word(one, length - 32 * i)) as [
        number,
        number,
        number,
        number,
      ];
      return { pathId: addPath ? pathId : 0, length, w0, w1, w2, w3 };
    });
