import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { anyAttributes, anyNlri, type Nlri } from '../../testing/arbitrary.ts';
import { hex, toHex } from '../../testing/bytes.ts';
import { attributesOf, prefixesOf, readable } from '../../testing/updates.ts';
import type { BgpError } from '../errors.ts';
import { Asn } from '../types.ts';
import {
  as4PathOf,
  asPathLength,
  formatAsPath,
  mergeAs4Path,
  prependAsPath,
  readAsPath,
  writeAsPath,
} from './as-path.ts';
import { decodeAttributes, encodeAttributes, forExport } from './attribute-codec.ts';
import { Framer } from './framer.ts';
import { NlriCursor } from './nlri.ts';
import type { UpdateContext } from './update.ts';
import { type EncodeContext, encodeEndOfRib, UpdateEncoder } from './update-encoder.ts';
import { UpdateParser } from './update-parser.ts';

const classic: EncodeContext = {
  family: 'ipv4-unicast',
  addPath: false,
  fourOctetAs: true,
  maxMessage: 4096,
};
const attributes = encodeAttributes({
  origin: 0,
  asPath: [{ type: 'sequence', asns: [Asn.of(65001), Asn.of(4200000123)] }],
  med: 7,
  communities: [0xfde90009, 0xfde90003],
});
const v4 = hex('c0000201');
const v6 = hex('20010db8000000000000000000000001');

test('golden: IPv4, the next hop in its place', () => {
  const encoder = new UpdateEncoder(classic);
  encoder.announce(attributes, 0, attributes.length, v4);
  encoder.prefix(0, 16, 0x0a460000, 0, 0, 0);
  encoder.prefix(0, 0, 0, 0, 0, 0);
  encoder.prefix(0, 25, 0x0a470080, 0, 0, 0);
  const golden = `
    ff*16 0053 02 0000 002f
    40 01 01 00
    40 02 0a 02 02 0000fde9 fa56ea7b
    40 03 04 c0000201
    80 04 04 00000007
    c0 08 08 fde90003 fde90009
    10 0a46 00 19 0a470080`;
  const bytes = hex(golden);
  bytes[17] = bytes.length;
  bytes[22] = bytes.length - 23 - 9;
  assert.equal(toHex(encoder.take()), toHex(bytes));
});

test('golden: IPv6, MP_REACH first; withdrawals of both families', () => {
  const encoder = new UpdateEncoder({ ...classic, family: 'ipv6-unicast' });
  const short = encodeAttributes({ origin: 2, asPath: [] });
  encoder.announce(short, 0, short.length, v6);
  encoder.prefix(0, 48, 0x20010db8, 0x00700000, 0, 0);
  encoder.withdraw();
  encoder.prefix(0, 33, 0x20010db8, -0x80000000, 0, 0);
  assert.equal(
    toHex(encoder.take()),
    toHex(
      hex(`
        ff*16 003e 02 0000 0027
        90 0e 001c 0002 01 10 20010db8000000000000000000000001 00 30 20010db80070
        40 01 01 02
        40 02 00
        ff*16 0024 02 0000 000d
        90 0f 0009 0002 01 21 20010db880`),
    ),
  );
  const old = new UpdateEncoder({ ...classic, addPath: true });
  old.withdraw();
  old.prefix(7, 8, 0x0a000000, 0, 0, 0);
  assert.equal(toHex(old.take()), toHex(hex('ff*16 001d 02 0006 00000007 08 0a 0000')));
});

test('golden: an old neighbour gets AS_TRANS and the AS4 attributes (RFC 6793)', () => {
  const encoder = new UpdateEncoder({ ...classic, fourOctetAs: false });
  const wide = encodeAttributes({
    origin: 0,
    asPath: [{ type: 'sequence', asns: [Asn.of(65001), Asn.of(4200000123)] }],
    aggregator: { asn: Asn.of(4200000123), routerId: '10.0.0.1' as never },
    largeCommunities: [{ admin: 1, data1: 2, data2: 3 }],
  });
  encoder.announce(wide, 0, wide.length, v4);
  encoder.prefix(0, 8, 0x0a000000, 0, 0, 0);
  assert.equal(
    toHex(encoder.take().subarray(23)),
    toHex(
      hex(`
        40 01 01 00
        40 02 06 02 02 fde9 5ba0
        40 03 04 c0000201
        c0 07 06 5ba0 0a000001
        c0 11 0a 02 02 0000fde9 fa56ea7b
        c0 12 08 fa56ea7b 0a000001
        c0 20 0c 00000001 00000002 00000003
        08 0a`),
    ),
  );
});

test('End-of-RIB of both families', () => {
  assert.equal(toHex(encodeEndOfRib('ipv4-unicast')), toHex(hex('ff*16 0017 02 0000 0000')));
  assert.equal(
    toHex(encodeEndOfRib('ipv6-unicast')),
    toHex(hex('ff*16 001d 02 0000 0006 80 0f 03 0002 01')),
  );
});

test('attributes that fill a message are refused, and the encoder goes on', () => {
  const encoder = new UpdateEncoder(classic);
  const huge = encodeAttributes({
    origin: 0,
    asPath: [],
    unknown: [{ type: 99, flags: 0xc0, value: new Uint8Array(4090) }],
  });
  assert.throws(
    () => encoder.announce(huge, 0, huge.length, v4),
    (error: BgpError) => error.code === 'too-long',
  );
  encoder.announce(attributes, 0, attributes.length, v4);
  encoder.prefix(0, 8, 0x0a000000, 0, 0, 0);
  assert.equal(messages(encoder.take()).length, 1);
  assert.throws(
    () =>
      encodeAttributes({
        origin: 0,
        asPath: [],
        unknown: [{ type: 99, flags: 0xc0, value: new Uint8Array(70_000) }],
      }),
    (error: BgpError) => error.code === 'too-long',
  );
});

test('nothing asked for is nothing sent', () => {
  const encoder = new UpdateEncoder(classic);
  encoder.withdraw();
  encoder.announce(attributes, 0, attributes.length, v4);
  assert.equal(encoder.take().length, 0);
});

test('unknown attributes go on with the Partial bit', () => {
  const unknown = [
    { type: 99, flags: 0xc0, value: hex('01') },
    { type: 25, flags: 0xc0, value: new Uint8Array(20) },
  ];
  const out = forExport({ origin: 0, asPath: [], unknown });
  assert.deepEqual(
    out.unknown?.map(({ flags }) => flags),
    [0xe0, 0xc0],
  );
});

function messages(stream: Uint8Array, maximum = 4096): Uint8Array[] {
  const framer = new Framer();
  framer.maximum = maximum;
  framer.push(stream);
  const list: Uint8Array[] = [];
  for (let one = framer.next(); one !== undefined; one = framer.next()) {
    list.push(one.bytes.slice(one.start, one.end));
  }
  assert.equal(framer.held, 0);
  return list;
}

function contextOf({ family, addPath, fourOctetAs }: EncodeContext): UpdateContext {
  return {
    fourOctetAs,
    families: ['ipv4-unicast', 'ipv6-unicast'],
    addPath: addPath ? [family] : [],
    external: false,
  };
}

const anyContext: fc.Arbitrary<EncodeContext> = fc.record({
  family: fc.constantFrom('ipv4-unicast' as const, 'ipv6-unicast' as const),
  addPath: fc.boolean(),
  fourOctetAs: fc.boolean(),
  maxMessage: fc.constantFrom(4096, 65535),
});

test('property: attributes encode to canonical bytes and decode to themselves', () => {
  fc.assert(
    fc.property(anyAttributes, (value) => {
      const bytes = encodeAttributes(value);
      const back = decodeAttributes(bytes);
      assert.deepEqual(back, value);
      assert.equal(toHex(encodeAttributes(back)), toHex(bytes));
    }),
  );
});

test('property: announcements and withdrawals arrive as they were given, within the message’s size', () => {
  fc.assert(
    fc.property(
      anyContext.chain((context) =>
        fc.tuple(
          fc.constant(context),
          anyAttributes,
          fc.array(anyNlri(context.family === 'ipv4-unicast' ? 32 : 128, context.addPath), {
            minLength: 1,
            maxLength: 40,
          }),
          fc.constantFrom(1, 40),
          fc.boolean(),
        ),
      ),
      ([context, value, some, times, long]) => {
        const all: Nlri[] = Array.from({ length: times }, () => some).flat();
        const encoder = new UpdateEncoder(context, 64);
        const bytes = encodeAttributes(value);
        const nextHop = context.family === 'ipv4-unicast' && !long ? v4 : v6;
        encoder.announce(bytes, 0, bytes.length, nextHop);
        for (const { pathId, length, w0, w1, w2, w3 } of all) {
          encoder.prefix(pathId, length, w0, w1, w2, w3);
        }
        encoder.withdraw();
        for (const { pathId, length, w0, w1, w2, w3 } of some) {
          encoder.prefix(pathId, length, w0, w1, w2, w3);
        }
        const parser = new UpdateParser(contextOf(context));
        const announced: string[] = [];
        const withdrawn: string[] = [];
        for (const message of messages(encoder.take(), context.maxMessage)) {
          assert.ok(message.length <= context.maxMessage);
          const update = parser.parse(message, 19);
          assert.equal(update.problem, undefined);
          for (const block of update.announced) {
            announced.push(...prefixesOf(block));
            assert.equal(block.nextHopLength, nextHop.length);
            if (context.fourOctetAs) assert.equal(toHex(attributesOf(update)), toHex(bytes));
            const got = decodeAttributes(attributesOf(update));
            assert.equal(asPathLength(got.asPath), asPathLength(value.asPath));
            assert.deepEqual(
              got.asPath.flatMap((one) => one.asns),
              value.asPath.flatMap((one) => one.asns),
            );
            assert.deepEqual(got.aggregator, value.aggregator);
          }
          for (const block of update.withdrawn) withdrawn.push(...prefixesOf(block));
        }
        assert.equal(announced.length, all.length);
        assert.deepEqual(withdrawn, announced.slice(0, some.length));
      },
    ),
    { numRuns: 150 },
  );
});

test('property: any bytes give an answer, and every block lies inside of them', () => {
  const parsers = [true, false].flatMap((fourOctetAs) =>
    [true, false].map(
      (external) =>
        new UpdateParser({
          fourOctetAs,
          external,
          families: ['ipv4-unicast', 'ipv6-unicast'],
          addPath: external ? ['ipv6-unicast'] : [],
        }),
    ),
  );
  const cursor = new NlriCursor();
  const check = (bytes: Uint8Array) => {
    for (const parser of parsers) {
      const update = parser.parse(bytes);
      for (const block of [...update.announced, ...update.withdrawn]) {
        assert.ok(block.start < block.end && block.end <= bytes.length);
        cursor.reset(block);
        while (cursor.next()) assert.ok(cursor.length <= 128);
      }
      if (update.announced.length > 0) {
        // What passes is canonical: it decodes, and encodes to the same bytes.
        const canonical = attributesOf(update);
        assert.equal(toHex(encodeAttributes(decodeAttributes(canonical))), toHex(canonical));
      }
      readable(update);
    }
  };
  fc.assert(fc.property(fc.uint8Array({ maxLength: 120 }), check), { numRuns: 1000 });
  const mutated = fc
    .tuple(
      anyAttributes,
      fc.array(anyNlri(32, false), { minLength: 1, maxLength: 5 }),
      fc.boolean(),
    )
    .map(([value, prefixes, wide]) => {
      const encoder = new UpdateEncoder({
        ...classic,
        maxMessage: 65535,
        family: wide ? 'ipv6-unicast' : 'ipv4-unicast',
      });
      const bytes = encodeAttributes(value);
      encoder.announce(bytes, 0, bytes.length, wide ? v6 : v4);
      for (const { length, w0 } of prefixes) encoder.prefix(0, length, w0, 0, 0, 0);
      return encoder.take().subarray(19);
    })
    .chain((bytes) =>
      fc.array(fc.tuple(fc.nat(bytes.length - 1), fc.nat(255)), { maxLength: 3 }).map((changes) => {
        for (const [at, value] of changes) bytes[at] = value;
        return bytes;
      }),
    );
  fc.assert(fc.property(mutated, check), { numRuns: 1000 });
});

test('property: AS paths: bytes and back, prepending, and the way through an old speaker', () => {
  const asn = fc.integer({ min: 1, max: 0xffff_ffff }).map(Asn.of);
  const segment = fc
    .tuple(
      fc.constantFrom('sequence' as const, 'set' as const),
      fc.array(asn, { minLength: 1, maxLength: 300 }),
    )
    .map(([type, asns]) => ({ type, asns: type === 'set' ? asns.slice(0, 255) : asns }));
  fc.assert(
    fc.property(fc.array(segment, { maxLength: 4 }), asn, fc.nat(5), (path, own, times) => {
      const bytes = writeAsPath(path, 4);
      const back = readAsPath(bytes, 0, bytes.length, 4);
      assert.equal(
        formatAsPath(back).replaceAll('} {', '}{'),
        formatAsPath(path).replaceAll('} {', '}{'),
      );
      const longer = prependAsPath(path, own, times + 1);
      assert.equal(asPathLength(longer), asPathLength(path) + times + 1);
      assert.ok(longer.every(({ asns }) => asns.length > 0));
      // Two octets for everybody, then an old speaker puts its own number in front.
      const narrow = writeAsPath(path, 2);
      const seen = prependAsPath(readAsPath(narrow, 0, narrow.length, 2), Asn.of(64512));
      const merged = mergeAs4Path(seen, as4PathOf(back));
      assert.deepEqual(
        merged.flatMap(({ asns }) => asns),
        [64512, ...path.flatMap(({ asns }) => asns)],
      );
    }),
    { numRuns: 100 },
  );
});
