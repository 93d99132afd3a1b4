import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hex, toHex } from '../../testing/bytes.ts';
import { attributesOf, readable } from '../../testing/updates.ts';
import { Asn } from '../types.ts';
import { decodeAttributes, encodeAttributes } from './attribute-codec.ts';
import { hashBytes } from './hash.ts';
import type { UpdateContext } from './update.ts';
import { parseUpdate } from './update-parser.ts';

const both: UpdateContext = {
  fourOctetAs: true,
  families: ['ipv4-unicast', 'ipv6-unicast'],
  addPath: [],
  external: true,
};
const internal: UpdateContext = { ...both, external: false };
const old: UpdateContext = { ...both, fourOctetAs: false };
const sequence = (...asns: number[]) => [{ type: 'sequence', asns: asns.map(Asn.of) }];

/** An UPDATE's body around attributes and NLRI. */
function body(attributes: string, nlri = '', withdrawn = ''): Uint8Array {
  const [w, a, n] = [withdrawn, attributes, nlri].map(hex) as [Uint8Array, Uint8Array, Uint8Array];
  const length = (bytes: Uint8Array) => [bytes.length >>> 8, bytes.length & 255];
  return Uint8Array.from([...length(w), ...w, ...length(a), ...a, ...n]);
}

const origin = '40 01 01 00 ';
const path = '40 02 06 02 01 0000fdea ';
const nextHop = '40 03 04 c0000202 ';
const good = origin + path + nextHop;
const net = '18 0a0000';

/** What real routers sent. */
const captured: readonly {
  from: string;
  context: UpdateContext;
  bytes: string;
  says: ReturnType<typeof readable>;
}[] = [
  {
    from: 'BIRD 2.0.12: IPv4 with ADD-PATH and communities of all kinds',
    context: { ...both, addPath: ['ipv4-unicast'], firstAs: Asn.of(4200000002) },
    bytes: `
      0000 0039
      40 01 01 00
      40 02 06 02 01 fa56ea02
      40 03 04 c0000202
      c0 08 08 fdea0005 fdea0064
      c0 10 08 0002fdea0000004d
      c0 20 0c 0000fdea 00000001 00000002
      00000002 10 0a32       # path 2, 10.50.0.0/16`,
    says: {
      announced: [{ family: 'ipv4-unicast', prefixes: ['10.50.0.0/16#2'], nextHop: 'c0000202' }],
      attributes: {
        origin: 0,
        asPath: sequence(4200000002),
        communities: [0xfdea0005, 0xfdea0064],
        extendedCommunities: [0x0002fdea0000004dn],
        largeCommunities: [{ admin: 65002, data1: 1, data2: 2 }],
      },
    } as never,
  },
  {
    from: 'BIRD 2.0.12: IPv6',
    context: both,
    bytes: `
      0000 002d
      90 0e 001c 0002 01 10 20010db8 00000000 00000000 00000004 00 30 20010db80050
      40 01 01 00
      40 02 06 02 01 fa56ea02`,
    says: {
      announced: [
        {
          family: 'ipv6-unicast',
          prefixes: ['2001:db8:50::/48'],
          nextHop: '20010db8000000000000000000000004',
        },
      ],
      attributes: { origin: 0, asPath: sequence(4200000002) },
    } as never,
  },
  {
    from: 'FRR 8.4.4: a long length field on a short AS_PATH, an unknown attribute passed on',
    context: both,
    bytes: `
      0000 0048
      40 01 01 00
      50 02 000e 02 03 0000fdeb 0000fde9 fa56ea7b
      40 03 04 c0000203
      c0 08 08 fde90003 fde90009
      c0 20 0c 0000fde9 00000002 00000003
      c0 10 08 0002fde900000063
      e0 63 03 010203
      10 0a46 00 19 0a470080`,
    says: {
      announced: [
        {
          family: 'ipv4-unicast',
          prefixes: ['10.70.0.0/16', '0.0.0.0/0', '10.71.0.128/25'],
          nextHop: 'c0000203',
        },
      ],
      attributes: {
        origin: 0,
        asPath: sequence(65003, 65001, 4200000123),
        communities: [0xfde90003, 0xfde90009],
        extendedCommunities: [0x0002fde900000063n],
        largeCommunities: [{ admin: 65001, data1: 2, data2: 3 }],
        unknown: [{ type: 99, flags: 0xe0, value: hex('010203') }],
      },
    } as never,
  },
  {
    from: 'End-of-RIB, IPv4',
    context: both,
    bytes: '0000 0000',
    says: { endOfRib: 'ipv4-unicast' },
  },
  {
    from: 'End-of-RIB, IPv6, from FRR and GoBGP',
    context: both,
    bytes: '0000 0006 80 0f 03 0002 01',
    says: { endOfRib: 'ipv6-unicast' },
  },
  {
    from: 'withdrawals of both families at once',
    context: both,
    bytes: '0005 18 0a0000 00 000d 80 0f 0a 0002 01 30 20010db80050',
    says: {
      withdrawn: [
        { family: 'ipv4-unicast', prefixes: ['10.0.0.0/24', '0.0.0.0/0'] },
        { family: 'ipv6-unicast', prefixes: ['2001:db8:50::/48'] },
      ],
    },
  },
  {
    from: 'IPv4 with an IPv6 next hop (RFC 8950), global and link-local',
    context: both,
    bytes: `
      0000 0039
      90 0e 0028 0001 01 20 20010db8000000000000000000000001 fe800000000000000000000000000001 00 10 0a01
      40 01 01 02
      40 02 06 02 01 0000fdea`,
    says: {
      announced: [
        {
          family: 'ipv4-unicast',
          prefixes: ['10.1.0.0/16'],
          nextHop: '20010db8000000000000000000000001fe800000000000000000000000000001',
        },
      ],
      attributes: { origin: 2, asPath: sequence(65002) },
    } as never,
  },
];

for (const { from, context, bytes, says } of captured) {
  test(`UPDATE read: ${from}`, () => {
    assert.deepEqual(readable(parseUpdate(hex(bytes), context)), says);
  });
}

test('host bits do not count', () => {
  const update = parseUpdate(body(good, '09 0aff 00 21 0a000001 80'), both);
  assert.equal(update.problem?.reason, 'nlri-syntax'); // 33 bits
  const masked = readable(parseUpdate(body(good, '09 0aff 0f 0aff'), both));
  assert.deepEqual(masked.announced?.[0]?.prefixes, ['10.128.0.0/9', '10.254.0.0/15']);
});

/** Equal sets are equal bytes however they were written. */
test('attributes in canonical form: order, flags, lengths, communities', () => {
  const tidy = parseUpdate(body(`${good}80 04 04 00000007 c0 08 08 00010001 00010002`, net), both);
  const messy = parseUpdate(
    body(
      `d0 08 0010 00010002 00010001 00010002 00010001 90 04 0004 00000007 ${nextHop} 50 02 0006 02 01 0000fdea 40 01 01 00`,
      net,
    ),
    both,
  );
  assert.equal(tidy.problem, undefined);
  assert.equal(messy.problem, undefined);
  assert.equal(toHex(attributesOf(tidy)), toHex(attributesOf(messy)));
  assert.equal(tidy.attributesHash, messy.attributesHash);
  assert.equal(tidy.attributesHash, hashBytes(attributesOf(tidy)));
});

test('without a gap the canonical bytes are the message’s own', () => {
  const bytes = body(good, net);
  assert.equal(parseUpdate(bytes, both).attributeBytes, bytes);
  const v6 = '90 0e 001c 0002 01 10 20010db8000000000000000000000004 00 30 20010db80050';
  const other = body(`${v6} ${origin}${path}80 04 04 00000007`);
  assert.equal(parseUpdate(other, both).attributeBytes, other);
});

test('a long list of unsorted communities is sorted without trouble', () => {
  const list = Array.from({ length: 900 }, (_, i) => 0x10000 + ((i * 7919) % 450));
  const value = list.map((one) => one.toString(16).padStart(8, '0')).join('');
  const attributes = `${good}d0 08 ${(3600).toString(16).padStart(4, '0')} ${value}`;
  const { attributes: read } = readable(parseUpdate(body(attributes, net), both));
  const wanted = [...new Set(list)].sort((a, b) => a - b);
  assert.deepEqual(read?.communities, wanted);
});

/** RFC 6793: 2-octet neighbours. Attributes, and the path or aggregator that they come to. */
const merged: readonly [string, string, unknown, unknown?][] = [
  ['no AS4_PATH', '40 02 04 02 01 fdea', sequence(65002)],
  [
    'the same length: AS4_PATH is the path',
    '40 02 06 02 02 fdea 5ba0 c0 11 0a 02 02 0000fdea fa56ea02',
    sequence(65002, 4200000002),
  ],
  [
    'shorter: what old speakers added stays in front',
    '40 02 08 02 03 fdeb fdea 5ba0 c0 11 06 02 01 fa56ea02',
    sequence(65003, 65002, 4200000002),
  ],
  [
    'longer: AS4_PATH is ignored',
    '40 02 04 02 01 5ba0 c0 11 0a 02 02 0000fdea fa56ea02',
    sequence(23456),
  ],
  [
    'a set counts one',
    '40 02 0c 02 02 fdeb fdea 01 02 5ba0 5ba0 c0 11 0a 01 02 fa56ea02 fa56ea03',
    [...sequence(65003, 65002), { type: 'set', asns: [4200000002, 4200000003] }],
  ],
  [
    'an aggregator that is not AS_TRANS: both AS4 attributes are ignored',
    '40 02 04 02 01 5ba0 c0 07 06 fdea 0a000001 c0 11 06 02 01 fa56ea02 c0 12 08 fa56ea02 0a000001',
    sequence(23456),
    { asn: 65002, routerId: '10.0.0.1' },
  ],
  [
    'an aggregator of AS_TRANS: the other has the number',
    '40 02 04 02 01 5ba0 c0 07 06 5ba0 0a000001 c0 11 06 02 01 fa56ea02 c0 12 08 fa56ea02 0a000001',
    sequence(4200000002),
    { asn: 4200000002, routerId: '10.0.0.1' },
  ],
  [
    'an aggregator without AS4_AGGREGATOR says nothing about AS4_PATH',
    '40 02 04 02 01 5ba0 c0 07 06 fdea 0a000001 c0 11 06 02 01 fa56ea02',
    sequence(4200000002),
    { asn: 65002, routerId: '10.0.0.1' },
  ],
  ['a malformed AS4_PATH is dropped', '40 02 04 02 01 5ba0 c0 11 05 02 01 fa56ea', sequence(23456)],
  [
    'confederation segments in AS4_PATH are dropped',
    '40 02 04 02 01 5ba0 c0 11 0c 03 01 0000fde8 02 01 fa56ea02',
    sequence(4200000002),
  ],
];

for (const [what, attributes, asPath, aggregator] of merged) {
  test(`RFC 6793: ${what}`, () => {
    const update = parseUpdate(body(origin + attributes + nextHop, net), old);
    const { attributes: read } = readable(update);
    assert.deepEqual(read?.asPath, asPath);
    assert.deepEqual(read?.aggregator, aggregator);
    assert.equal(read?.unknown, undefined);
  });
}

test('between new speakers AS4_PATH and AS4_AGGREGATOR are dropped unread', () => {
  const update = parseUpdate(body(`${good}c0 11 01 00 c0 12 01 00`, net), both);
  assert.equal(update.problem, undefined);
  assert.equal(toHex(attributesOf(update)), toHex(hex(origin + path)));
});

test('unknown attributes: transitive ones are kept, others dropped', () => {
  const { attributes } = readable(
    parseUpdate(body(`${good}c0 63 02 0102 80 64 01 00 e0 65 00`, net), both),
  );
  assert.deepEqual(attributes?.unknown, [
    { type: 99, flags: 0xc0, value: hex('0102') },
    { type: 101, flags: 0xe0, value: hex('') },
  ]);
});

test('the Partial bit of a known attribute stays through reading and writing', () => {
  const update = parseUpdate(body(`${good}e0 08 04 00010001`, net), both);
  const canonical = attributesOf(update);
  assert.equal(toHex(canonical), toHex(hex(`${origin}${path}e0 08 04 00010001`)));
  const read = decodeAttributes(canonical);
  assert.deepEqual(read.partial, [8]);
  assert.equal(toHex(encodeAttributes(read)), toHex(canonical));
});

type Expected = [action: string, reason: string, offset?: number, subcode?: number];
const withdraws = 'treat-as-withdraw';
const discards = 'attribute-discard';
const resets = 'session-reset';
/** The first attribute behind `good` is at 2 + 2 + 20. */
const behind = 24;

/** RFC 7606, row by row: what is wrong, the bytes, what is made of it. */
const faults: readonly [string, Uint8Array, Expected, UpdateContext?][] = [
  ['withdrawn length over the end', hex('0009 0000'), [resets, 'withdrawn-length', 0, 1]],
  ['attributes’ length over the end', hex('0000 0009'), [resets, 'attributes-length', 2, 1]],
  [
    'withdrawn prefix of 33 bits',
    hex('0006 21 0a000000 00 0000'),
    [resets, 'withdrawn-syntax', 2, 10],
  ],
  ['withdrawn prefix cut', hex('0002 18 0a 0000'), [resets, 'withdrawn-syntax', 2, 10]],
  ['NLRI cut', body(good, '18 0a00'), [resets, 'nlri-syntax', 24, 10]],
  ['NLRI of 33 bits', body(good, '21 0a00000000'), [resets, 'nlri-syntax', 24, 10]],
  ['an attribute header cut', body(`${good}40`, net), [withdraws, 'attribute-header', behind, 1]],
  [
    'an attribute over the end',
    body(`${good}80 04 09 00`, net),
    [withdraws, 'attribute-overrun', behind, 5],
  ],
  [
    'flags: ORIGIN as optional',
    body(`c0 01 01 00 ${path}${nextHop}`, net),
    [withdraws, 'attribute-flags', 4, 4],
  ],
  [
    'flags: COMMUNITIES not transitive',
    body(`${good}80 08 04 00010001`, net),
    [withdraws, 'attribute-flags', behind, 4],
  ],
  [
    'flags: MED as well-known',
    body(`${good}40 04 04 00000001`, net),
    [withdraws, 'attribute-flags', behind, 4],
  ],
  [
    'a well-known attribute that nobody knows',
    body(`${good}40 63 00`, net),
    [resets, 'well-known-unknown', behind, 2],
  ],
  [
    'ORIGIN with two bytes',
    body(`40 01 02 0000 ${path}${nextHop}`, net),
    [withdraws, 'origin-length', 4, 5],
  ],
  ['ORIGIN 3', body(`40 01 01 03 ${path}${nextHop}`, net), [withdraws, 'origin-value', 4, 6]],
  [
    'AS_PATH with a segment type of 5',
    body(`${origin}40 02 06 05 01 0000fdea ${nextHop}`, net),
    [withdraws, 'as-path-syntax', 8, 11],
  ],
  [
    'AS_PATH with an empty segment',
    body(`${origin}40 02 02 02 00 ${nextHop}`, net),
    [withdraws, 'as-path-syntax', 8, 11],
  ],
  [
    'AS_PATH cut',
    body(`${origin}40 02 05 02 01 0000fd ${nextHop}`, net),
    [withdraws, 'as-path-syntax', 8, 11],
  ],
  [
    'AS_PATH with AS 0',
    body(`${origin}40 02 06 02 01 00000000 ${nextHop}`, net),
    [withdraws, 'as-path-zero', 8, 11],
  ],
  [
    'AS_PATH with a confederation from outside',
    body(`${origin}40 02 06 03 01 0000fdea ${nextHop}`, net),
    [withdraws, 'as-path-confederation', 8, 11],
  ],
  [
    'AS_PATH that starts with another AS',
    body(good, net),
    [withdraws, 'as-path-first', 11, 11],
    { ...both, firstAs: Asn.of(65003) },
  ],
  [
    'an empty AS_PATH from outside',
    body(`${origin}40 02 00 ${nextHop}`, net),
    [withdraws, 'as-path-first', 11, 11],
    { ...both, firstAs: Asn.of(65002) },
  ],
  [
    'NEXT_HOP with five bytes',
    body(`${origin}${path}40 03 05 c000020200`, net),
    [withdraws, 'next-hop-length', 17, 5],
  ],
  [
    'NEXT_HOP 0.0.0.0',
    body(`${origin}${path}40 03 04 00000000`, net),
    [withdraws, 'next-hop-value', 17, 8],
  ],
  [
    'NEXT_HOP multicast',
    body(`${origin}${path}40 03 04 e0000001`, net),
    [withdraws, 'next-hop-value', 17, 8],
  ],
  [
    'MED with three bytes',
    body(`${good}80 04 03 000000`, net),
    [withdraws, 'attribute-length', behind, 5],
  ],
  [
    'LOCAL_PREF with three bytes',
    body(`${good}40 05 03 000000`, net),
    [withdraws, 'attribute-length', behind, 5],
    internal,
  ],
  [
    'LOCAL_PREF from outside',
    body(`${good}40 05 04 00000064`, net),
    [discards, 'attribute-internal-only', behind],
  ],
  [
    'ATOMIC_AGGREGATE with a byte',
    body(`${good}40 06 01 00`, net),
    [discards, 'attribute-length', behind],
  ],
  [
    'AGGREGATOR with six bytes',
    body(`${good}c0 07 06 fdea0a000001`, net),
    [discards, 'attribute-length', behind],
  ],
  [
    'AGGREGATOR with AS 0',
    body(`${good}c0 07 08 00000000 0a000001`, net),
    [discards, 'aggregator-zero', behind],
  ],
  [
    'COMMUNITIES with five bytes',
    body(`${good}c0 08 05 0001000100`, net),
    [withdraws, 'attribute-length', behind, 5],
  ],
  ['COMMUNITIES empty', body(`${good}c0 08 00`, net), [withdraws, 'attribute-length', behind, 5]],
  [
    'ORIGINATOR_ID with three bytes',
    body(`${good}80 09 03 000000`, net),
    [withdraws, 'attribute-length', behind, 5],
    internal,
  ],
  [
    'ORIGINATOR_ID from outside',
    body(`${good}80 09 04 0a000001`, net),
    [discards, 'attribute-internal-only', behind],
  ],
  [
    'CLUSTER_LIST with six bytes',
    body(`${good}80 0a 06 000000000000`, net),
    [withdraws, 'attribute-length', behind, 5],
    internal,
  ],
  [
    'CLUSTER_LIST from outside',
    body(`${good}80 0a 04 0a000001`, net),
    [discards, 'attribute-internal-only', behind],
  ],
  [
    'extended communities of nine bytes',
    body(`${good}c0 10 09 000200010000000100`, net),
    [withdraws, 'attribute-length', behind, 5],
  ],
  [
    'large communities of eight bytes',
    body(`${good}c0 20 08 0000000100000001`, net),
    [withdraws, 'attribute-length', behind, 5],
  ],
  [
    'IPv6 extended communities of eight bytes',
    body(`${good}c0 19 08 0000000100000001`, net),
    [withdraws, 'attribute-length', behind, 5],
  ],
  [
    'AS4_PATH cut, from an old speaker',
    body(`${origin}40 02 04 02 01 fdea ${nextHop}c0 11 03 02 01 00`, net),
    [discards, 'as4-path-syntax', 22],
    old,
  ],
  [
    'MP_REACH of four bytes',
    body(`80 0e 04 00020110 ${origin}${path}`),
    [resets, 'mp-reach-length', 7, 9],
  ],
  [
    'MP_REACH whose next hop runs over',
    body(`80 0e 06 0002 01 10 0000 ${origin}${path}`),
    [resets, 'mp-reach-length', 7, 9],
  ],
  [
    'MP_REACH, IPv6 with a next hop of 4',
    body(`80 0e 0a 0002 01 04 c0000201 00 00 ${origin}${path}`),
    [resets, 'mp-reach-next-hop-length', 7, 9],
  ],
  [
    'MP_REACH with a prefix of 129 bits',
    body(`80 0e 16 0002 01 10 20010db8000000000000000000000004 00 81 ${origin}${path}`),
    [resets, 'mp-reach-nlri-syntax', 28, 9],
  ],
  [
    'MP_REACH twice',
    body(
      `80 0e 15 0002 01 10 20010db8000000000000000000000004 00 80 0e 15 0002 01 10 20010db8000000000000000000000004 00 ${origin}${path}`,
    ),
    [resets, 'attribute-twice', 28, 1],
  ],
  ['MP_UNREACH of two bytes', body('80 0f 02 0002'), [resets, 'mp-unreach-length', 7, 9]],
  [
    'MP_UNREACH with a cut prefix',
    body('80 0f 05 0002 01 30 20'),
    [resets, 'mp-unreach-nlri-syntax', 10, 9],
  ],
  [
    'a family that was not agreed on',
    body(`80 0f 05 0001 02 08 0a`),
    [discards, 'family-not-agreed', 7],
  ],
  ['no ORIGIN', body(`${path}${nextHop}`, net), [withdraws, 'attribute-missing', 20, 3]],
  ['no AS_PATH', body(`${origin}${nextHop}`, net), [withdraws, 'attribute-missing', 15, 3]],
  ['no NEXT_HOP', body(`${origin}${path}`, net), [withdraws, 'attribute-missing', 17, 3]],
  // RFC 7606 section 5.2: without NLRI there is nothing to withdraw instead.
  ['a fault without NLRI', body('40 01 01 09'), [resets, 'origin-value', 4, 6]],
  [
    'of several faults the strongest counts',
    body(`${good}40 06 01 00 80 04 01 00`, net),
    [withdraws, 'attribute-length', 28, 5],
  ],
];

for (const [what, bytes, [action, reason, offset, subcode], context = both] of faults) {
  test(`RFC 7606: ${what}`, () => {
    const update = parseUpdate(bytes, context);
    const { problem } = update;
    assert.equal(`${problem?.action} ${problem?.reason}`, `${action} ${reason}`);
    if (offset !== undefined) assert.equal(problem?.offset, offset);
    if (action === discards) {
      assert.equal(problem?.notification, undefined);
      return;
    }
    assert.equal(update.announced.length, 0);
    assert.equal(problem?.notification?.code, 3);
    assert.equal(problem?.notification?.subcode, subcode);
    const nlri = action === withdraws ? 1 : 0;
    assert.equal(update.withdrawn.length, nlri);
    assert.equal(update.attributesEnd - update.attributesStart, 0);
  });
}

test('a discarded attribute leaves the rest of the route as it is', () => {
  const { announced, attributes } = readable(
    parseUpdate(body(`${good}40 05 04 00000064 80 04 04 00000007`, net), both),
  );
  assert.deepEqual(announced?.[0]?.prefixes, ['10.0.0.0/24']);
  assert.deepEqual(attributes, { origin: 0, asPath: sequence(65002), med: 7 });
});

test('an attribute twice: the first counts', () => {
  const { attributes, problem } = readable(
    parseUpdate(body(`${good}80 04 04 00000001 80 04 04 00000002`, net), both),
  );
  assert.equal(problem, undefined);
  assert.equal(attributes?.med, 1);
});

test('a session without IPv4 skips the classic fields', () => {
  const update = parseUpdate(body(good, net), { ...both, families: ['ipv6-unicast'] });
  assert.deepEqual(readable(update), { problem: 'attribute-discard family-not-agreed' });
});
