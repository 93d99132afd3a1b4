import type { PolicyLibrary } from '@causeway/bgp';
import { z } from 'zod';
import { asn, cidr, family, name } from './fields.ts';

/**
 * The shape of policies (`PolicyLibrary` of @causeway/bgp). What stands in community patterns and regular
 * expressions is checked when the core compiles them; its refusal names policy and statement.
 */

const u32 = z.int().min(0).max(0xffff_ffff);
const text = z.string().min(1).max(1024);
const range = z.strictObject({ min: u32.exactOptional(), max: u32.exactOptional() });
const bits = z.int().min(0).max(128);

const prefixRule = z.union([
  cidr,
  z.strictObject({ prefix: cidr, ge: bits.exactOptional(), le: bits.exactOptional() }),
]);
export const prefixSet = z.array(prefixRule).max(100_000);

const communityMatch = z.strictObject({
  any: z.array(text).max(1000).exactOptional(),
  all: z.array(text).max(1000).exactOptional(),
  none: z.array(text).max(1000).exactOptional(),
});

const communityChange = z.strictObject({
  remove: z.array(text).max(1000).exactOptional(),
  add: z.array(text).max(1000).exactOptional(),
  replace: z.array(text).max(1000).exactOptional(),
});

const origin = z.enum(['igp', 'egp', 'incomplete']);

const match = z.strictObject({
  prefixSets: z.array(name).max(1000).exactOptional(),
  prefixes: prefixSet.exactOptional(),
  families: z.array(family).max(2).exactOptional(),
  communities: communityMatch.exactOptional(),
  largeCommunities: communityMatch.exactOptional(),
  extendedCommunities: communityMatch.exactOptional(),
  asPath: z
    .strictObject({
      patterns: z.array(text).max(1000).exactOptional(),
      contains: z.array(asn).max(1000).exactOptional(),
      originatedBy: z.array(asn).max(1000).exactOptional(),
      receivedFrom: z.array(asn).max(1000).exactOptional(),
      length: range.exactOptional(),
    })
    .exactOptional(),
  neighbors: z.array(z.string().max(256)).max(10_000).exactOptional(),
  neighborAsns: z.array(asn).max(10_000).exactOptional(),
  origin: z.array(origin).max(3).exactOptional(),
  source: z
    .array(z.enum(['local', 'ibgp', 'ebgp']))
    .max(3)
    .exactOptional(),
  tags: z.array(text).max(10_000).exactOptional(),
  nextHop: prefixSet.exactOptional(),
  med: range.exactOptional(),
  localPreference: range.exactOptional(),
});

const set = z.strictObject({
  localPreference: u32.exactOptional(),
  med: z
    .union([
      u32,
      z.literal('none'),
      z.strictObject({ add: z.int().min(-0xffff_ffff).max(0xffff_ffff) }),
    ])
    .exactOptional(),
  origin: origin.exactOptional(),
  nextHop: text.exactOptional(),
  communities: communityChange.exactOptional(),
  largeCommunities: communityChange.exactOptional(),
  extendedCommunities: communityChange.exactOptional(),
  prepend: z
    .strictObject({ asn: asn.exactOptional(), count: z.int().min(1).max(32) })
    .exactOptional(),
});

const policy = z.strictObject({
  statements: z
    .array(
      z.strictObject({
        name: text.exactOptional(),
        match: match.exactOptional(),
        set: set.exactOptional(),
        // biome-ignore lint/suspicious/noThenProperty: the word that policies have; nothing awaits them.
        then: z.enum(['accept', 'reject', 'next']).exactOptional(),
      }),
    )
    .max(10_000),
  otherwise: z.enum(['accept', 'reject']).exactOptional(),
});

const texts = z.array(text).max(100_000);

export const libraryFields = {
  policies: z.record(name, policy).default({}),
  prefixSets: z.record(name, prefixSet).default({}),
  communitySets: z.record(name, texts).default({}),
  asPathSets: z.record(name, texts).default({}),
};

/** Does not compile when the shape here and the core's drift apart. */
({}) as z.output<z.ZodObject<typeof libraryFields>> satisfies PolicyLibrary;
