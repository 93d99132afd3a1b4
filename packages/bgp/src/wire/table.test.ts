// Tables shaped like the Internet's, written by code that is not the codec's (../../testing/raw.ts), read by it,
// written by it, and read again: every prefix and every attribute must come through, both families, both AS widths.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  makeTable,
  rawUpdates,
  rawWithdrawals,
  type SampleAttributes,
  type SampleSet,
} from '../../testing/index.ts';
import type { FamilyKey } from '../types.ts';
import { decodeAttributes, encodeAttributes } from './attribute-codec.ts';
import type { PathAttributes } from './attributes.ts';
import { NlriCursor } from './nlri.ts';
import type { NlriBlock, UpdateContext } from './update.ts';
import { UpdateEncoder } from './update-encoder.ts';
import { UpdateParser } from './update-parser.ts';

const ROUTES = 8_000;
const OUR_ASN = 4_200_000_010;
const NEXT_HOPS = {
  ipv4: [192, 0, 2, 1],
  ipv6: [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
} as const;

/** As the sample's own words: what any reader of its bytes must understand. */
function expected(sample: SampleAttributes): unknown {
  const sorted = [...sample.communities].sort((a, b) => a - b);
  return {
    origin: sample.origin,
    asPath: [OUR_ASN, ...sample.asPath],
    asSet: [...sample.asSet].sort((a, b) => a - b),
    med: sample.med,
    communities: sorted.length === 0 ? undefined : sorted,
    large: sample.largeCommunities.map((each) => each.join(':')).sort(),
    extended: [...sample.extendedCommunities].sort().map(String),
    aggregator: sample.aggregator?.asn,
    atomic: sample.atomicAggregate,
  };
}

function understood(attributes: PathAttributes): unknown {
  const of = (type: string): number[] =>
    attributes.asPath
      .filter((segment) => segment.type === type)
      .flatMap((segment) => [...segment.asns]);
  return {
    origin: attributes.origin,
    asPath: of('sequence'),
    asSet: of('set').sort((a, b) => a - b),
    med: attributes.med,
    communities: attributes.communities === undefined ? undefined : [...attributes.communities],
    large: (attributes.largeCommunities ?? [])
      .map(({ admin, data1, data2 }) => `${admin}:${data1}:${data2}`)
      .sort(),
    extended: [...(attributes.extendedCommunities ?? [])].sort().map(String),
    aggregator: attributes.aggregator?.asn,
    atomic: attributes.atomicAggregate === true,
  };
}

/** Length and address of each prefix of a block, in hexadecimal. */
function prefixesOf(blocks: readonly NlriBlock[]): string[] {
  const cursor = new NlriCursor();
  const all: string[] = [];
  for (const block of blocks) {
    cursor.reset(block);
    while (cursor.next()) {
      const words = [cursor.w0, cursor.w1, cursor.w2, cursor.w3].map((word) =>
        (word >>> 0).toString(16).padStart(8, '0'),
      );
      all.push(`${cursor.length}/${words.join('')}`);
    }
  }
  return all;
}

function textOf(prefix: Uint8Array): string {
  return `${prefix[0]}/${Buffer.from(prefix.subarray(1)).toString('hex').padEnd(32, '0')}`;
}

const bodies = function* (messages: Uint8Array): Generator<Uint8Array> {
  for (let at = 0; at < messages.length; ) {
    const length = (messages[at + 16]! << 8) | messages[at + 17]!;
    yield messages.subarray(at + 19, at + length);
    at += length;
  }
};

for (const family of ['ipv4', 'ipv6'] as const)
  for (const fourOctets of [true, false])
    test(`a table of ${family} with AS numbers of ${fourOctets ? 'four' : 'two'} octets survives reading and writing`, () => {
      const key: FamilyKey = `${family}-unicast`;
      const context: UpdateContext = {
        fourOctetAs: fourOctets,
        families: [key],
        addPath: [],
        external: true,
      };
      const parser = new UpdateParser(context);
      const encoder = new UpdateEncoder({
        family: key,
        addPath: false,
        fourOctetAs: fourOctets,
        maxMessage: 4096,
      });
      const announcer = { asn: OUR_ASN, nextHop: NEXT_HOPS[family], fourOctets };
      for (const set of makeTable({ family, routes: ROUTES, seed: 7 })) {
        const wanted = set.prefixes.map(textOf);
        const first = read(parser, Buffer.concat(rawUpdates(set, announcer, family)));
        assert.deepEqual(first.prefixes, wanted);
        // An old speaker cannot tell an AS_SET behind AS4_PATH from before; only the sequence is compared then.
        assert.deepEqual(understood(first.attributes), expected(set.attributes));

        const canonical = encodeAttributes(first.attributes);
        assert.deepEqual(canonical, first.bytes, 'equal sets are equal bytes');
        encoder.announce(canonical, 0, canonical.length, Uint8Array.from(NEXT_HOPS[family]));
        write(encoder, set);
        const again = read(parser, encoder.take());
        assert.deepEqual(again.prefixes, wanted);
        assert.deepEqual(again.bytes, first.bytes);
        assert.deepEqual(again.nextHop, [...NEXT_HOPS[family]]);
      }
    });

test('withdrawals of a table survive reading', () => {
  for (const family of ['ipv4', 'ipv6'] as const) {
    const key: FamilyKey = `${family}-unicast`;
    const parser = new UpdateParser({
      fourOctetAs: true,
      families: [key],
      addPath: [],
      external: true,
    });
    const prefixes = [...makeTable({ family, routes: ROUTES, seed: 8 })].flatMap(
      (set) => set.prefixes,
    );
    const read: string[] = [];
    for (const body of bodies(Buffer.concat(rawWithdrawals(prefixes, family)))) {
      const update = parser.parse(body);
      assert.equal(update.problem, undefined);
      read.push(...prefixesOf(update.withdrawn));
    }
    assert.deepEqual(read, prefixes.map(textOf));
  }
});

function read(
  parser: UpdateParser,
  messages: Uint8Array,
): { prefixes: string[]; attributes: PathAttributes; bytes: Uint8Array; nextHop: number[] } {
  const prefixes: string[] = [];
  let bytes = new Uint8Array(0);
  let nextHop: number[] = [];
  for (const body of bodies(messages)) {
    const update = parser.parse(body);
    assert.equal(update.problem, undefined, JSON.stringify(update.problem));
    prefixes.push(...prefixesOf(update.announced));
    bytes = Uint8Array.from(
      update.attributeBytes.subarray(update.attributesStart, update.attributesEnd),
    );
    for (const block of update.announced)
      nextHop = [
        ...block.bytes.subarray(block.nextHopStart, block.nextHopStart + block.nextHopLength),
      ];
  }
  return { prefixes, attributes: decodeAttributes(bytes), bytes, nextHop };
}

function write(encoder: UpdateEncoder, set: SampleSet): void {
  for (const prefix of set.prefixes) {
    const words = Buffer.alloc(16);
    words.set(prefix.subarray(1));
    encoder.prefix(
      0,
      prefix[0]!,
      words.readInt32BE(0),
      words.readInt32BE(4),
      words.readInt32BE(8),
      words.readInt32BE(12),
    );
  }
}
