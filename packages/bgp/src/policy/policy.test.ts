import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { AttributeTable } from '../rib/attribute-table.ts';
import { NextHopTable } from '../rib/next-hops.ts';
import { fieldsOf } from '../rib/prefix-table.ts';
import { Speaker } from '../speaker.ts';
import { type Asn, RouterId } from '../types.ts';
import { decodeAttributes, encodeAttributes } from '../wire/attribute-codec.ts';
import type { PathAttributes } from '../wire/attributes.ts';
import { ExtendedCommunity, LargeCommunity } from '../wire/communities.ts';
import { hashBytes } from '../wire/hash.ts';
import { compileAsPathPattern } from './as-path-pattern.ts';
import { PolicyBinder } from './bound.ts';
import { compilePolicies } from './compile.ts';
import { PrefixMatcher } from './prefix-set.ts';
import type { PolicyLibrary, PolicyMatch, PolicySet, PolicyStatement } from './types.ts';

const decide = (verdict: 'accept' | 'reject', rest: PolicyStatement = {}): PolicyStatement => ({
  ...rest,
  // biome-ignore lint/suspicious/noThenProperty: the policy language's word
  then: verdict,
});

const pieces = fc.constantFrom(
  '65001',
  '65002',
  '6',
  '_',
  '.',
  '[0-9]',
  '[^ ]',
  '(65001|65002)',
  '(_65002)',
  '{1,2}',
  '*',
  '+',
  '?',
  '{7',
  '}',
  ' ',
  '^',
  '$',
  '|',
);
const paths = fc
  .array(fc.constantFrom('65001', '65002', '6', '{7,8}', '{65001}'), { maxLength: 5 })
  .map((parts) => parts.join(' '));

/** The language's own engine, for patterns that mean the same there. */
function oracle(pattern: string): RegExp | undefined {
  const translated = pattern
    .replaceAll('_', '(?:^|$|[ ,{}()])')
    .replace(/\{(?!\d{1,2}(,\d{0,2})?\})/g, '\\{')
    .replace(/(?<!\{\d{1,2}(,\d{0,2})?)\}/g, '\\}');
  try {
    return new RegExp(translated);
  } catch {
    return undefined;
  }
}

test('AS path patterns find what regular expressions find', () => {
  fc.assert(
    fc.property(fc.array(pieces, { minLength: 1, maxLength: 6 }), paths, (parts, path) => {
      const pattern = parts.join('');
      // What follows an anchor or an edge cannot be repeated in the oracle, and nothing can be twice.
      fc.pre(!/[*+?}][*+?{]|[\^$_(|][*+?{]|^[*+?{]|\}[*+?]/.test(pattern));
      const expected = oracle(pattern);
      fc.pre(expected !== undefined);
      assert.equal(
        compileAsPathPattern(pattern, 'test')(path),
        expected.test(path),
        `${pattern} in ${path}`,
      );
    }),
    { numRuns: 2000, examples: [[['.', '{7', '}', '65001'], '65001 65001 65001']] },
  );
});

test('a pattern costs time linear in the path, whatever it is', () => {
  const hostile = compileAsPathPattern('(6*)*(6*)*(6*)*x', 'test');
  const before = process.cpuUsage();
  assert.equal(hostile('6'.repeat(3000)), false);
  assert.ok(process.cpuUsage(before).user < 1_000_000, 'a second of the processor');
});

test('what is no pattern is refused with its place', () => {
  for (const [pattern, message] of [
    ['(65001', /a parenthesis that is not closed/],
    ['65001)', /a parenthesis that was not opened at 6/],
    ['*', /nothing in front of \*/],
    ['[0-9', /a bracket that is not closed/],
    ['[9-0]', /a range whose end is before its start/],
    ['6{3,2}', /a count whose end is before its start/],
    ['((((6{99}){99}){99}){99})', /too many repetitions/],
  ] as const) {
    assert.throws(() => compileAsPathPattern(pattern, 'policy p, statement 1, asPath'), {
      code: 'invalid-config',
      message: new RegExp(`policy p, statement 1, asPath: .*${message.source}`),
    });
  }
});

test('a prefix set holds what its rules say', () => {
  const rules = fc.array(
    fc
      .tuple(
        fc.constantFrom('10.0.0.0', '10.128.0.0', '0.0.0.0'),
        fc.constantFrom(8, 9),
        fc.option(fc.integer({ min: 9, max: 32 })),
        fc.option(fc.integer({ min: 9, max: 32 })),
      )
      .filter(
        ([address, length, ge, le]) =>
          (ge ?? length) <= (le ?? 32) && !(address === '10.128.0.0' && length === 8),
      )
      .map(([address, length, ge, le]) => ({
        prefix: `${address}/${length}`,
        ...(ge === null ? {} : { ge }),
        ...(le === null ? {} : { le }),
      })),
    { maxLength: 4 },
  );
  fc.assert(
    fc.property(
      rules,
      fc.constantFrom('10.0.0.0', '10.128.0.0', '10.192.0.0', '11.0.0.0'),
      fc.integer({ min: 10, max: 32 }),
      (set, address, length) => {
        const bits = (text: string) =>
          text
            .split('.')
            .map((one) => Number(one).toString(2).padStart(8, '0'))
            .join('');
        const expected = set.some(({ prefix, ge, le }) => {
          const [base, size] = prefix.split('/') as [string, string];
          const least = ge ?? Number(size);
          const most = le ?? (ge === undefined ? Number(size) : 32);
          return (
            length >= least &&
            length <= most &&
            bits(address).startsWith(bits(base).slice(0, Number(size)))
          );
        });
        assert.equal(
          new PrefixMatcher([set], 'test').matches(fieldsOf(`${address}/${length}`), false),
          expected,
        );
      },
    ),
  );
  const wide = new PrefixMatcher([[{ prefix: '2001:db8::/32', le: 48 }, '10.0.0.0/8']], 'test');
  assert.ok(wide.matches(fieldsOf('2001:db8:7::/48'), true));
  assert.ok(!wide.matches(fieldsOf('2001:db8:7::/49'), true));
  assert.ok(wide.matches(fieldsOf('10.0.0.0/8'), false));
});

const rich: PathAttributes = {
  origin: 0,
  asPath: [
    { type: 'sequence', asns: [65001, 65002] as Asn[] },
    { type: 'set', asns: [65003, 65004] as Asn[] },
  ],
  med: 10,
  localPreference: 150,
  communities: [(65000 << 16) >>> 0, ((65000 << 16) >>> 0) + 7, 0xffffff01],
  extendedCommunities: ['rt:65000:100', 'soo:192.0.2.1:7', 'rt:65000L:5']
    .map(ExtendedCommunity.parse)
    .sort((a, b) => (a < b ? -1 : 1)),
  largeCommunities: ['65000:1:2', '65001:1:3'].map(LargeCommunity.parse),
};

function rig(attributes: PathAttributes) {
  const sets = new AttributeTable(new NextHopTable());
  const bytes = encodeAttributes(attributes);
  const hop = sets.nextHops.intern(Uint8Array.of(192, 0, 2, 1), 0, 4);
  const set = sets.intern(bytes, 0, bytes.length, hashBytes(bytes), hop);
  const context = {
    family: 'ipv4-unicast',
    neighbor: 'n1',
    neighborAsn: 65001,
    localAsn: 65000,
  } as const;
  const bind = (library: PolicyLibrary) => {
    const policy = compilePolicies(library).get('p')!;
    return new PolicyBinder(sets).bind(policy, context);
  };
  return { sets, set, bind };
}

const prefix = fieldsOf('10.1.0.0/16');

test('each condition holds for what it names and for nothing else', () => {
  const { set, bind } = rig(rich);
  const holds = (match: PolicyMatch, source = 1, tag?: string): boolean =>
    bind({
      policies: { p: { statements: [decide('accept', { match })] } },
      prefixSets: { ten: [{ prefix: '10.0.0.0/8', le: 16 }] },
      communitySets: { ours: ['65000:7', '65000:8'] },
      asPathSets: { two: ['_65002_'] },
    }).run(set, prefix, source, tag) !== 0;
  const table: readonly (readonly [PolicyMatch, boolean])[] = [
    [{}, true],
    [{ prefixSets: ['ten'] }, true],
    [{ prefixes: ['10.1.0.0/24'] }, false],
    [{ families: ['ipv6-unicast'] }, false],
    [{ communities: { any: ['65000:7', '1:1'] } }, true],
    [{ communities: { any: ['*:7'] } }, true],
    [{ communities: { any: ['@ours'] } }, true],
    [{ communities: { all: ['65000:*', 'no-export'] } }, true],
    [{ communities: { all: ['65000:7', '65000:8'] } }, false],
    [{ communities: { none: ['no-export'] } }, false],
    [{ communities: { none: ['no-advertise'] } }, true],
    [{ largeCommunities: { any: ['65001:*:3'] } }, true],
    [{ largeCommunities: { any: ['65001:*:4'] } }, false],
    [{ extendedCommunities: { any: ['rt:65000:100'] } }, true],
    [{ extendedCommunities: { any: ['rt:*:100'] } }, true],
    [{ extendedCommunities: { any: ['rt:*:99'] } }, false],
    [{ extendedCommunities: { all: ['rt:65000:*', 'soo:192.0.2.1:*'] } }, true],
    [{ extendedCommunities: { any: ['soo:192.0.2.2:*'] } }, false],
    [{ asPath: { patterns: ['^65001_', 'x'] } }, true],
    [{ asPath: { patterns: ['@two'] } }, true],
    [{ asPath: { patterns: ['_65003$'] } }, false],
    [{ asPath: { contains: [65004] } }, true],
    [{ asPath: { originatedBy: [65003] } }, true],
    [{ asPath: { originatedBy: [65002] } }, false],
    [{ asPath: { receivedFrom: [65001] } }, true],
    [{ asPath: { length: { min: 3, max: 3 } } }, true],
    [{ asPath: { length: { min: 4 } } }, false],
    [{ neighbors: ['n1'] }, true],
    [{ neighbors: ['n2'] }, false],
    [{ neighborAsns: [65001] }, true],
    [{ origin: ['egp', 'igp'] }, true],
    [{ origin: ['incomplete'] }, false],
    [{ source: ['ebgp'] }, true],
    [{ source: ['local', 'ibgp'] }, false],
    [{ nextHop: [{ prefix: '192.0.2.0/24', le: 32 }] }, true],
    [{ nextHop: ['192.0.2.0/24'] }, false],
    [{ med: { max: 9 } }, false],
    [{ med: { min: 10, max: 10 } }, true],
    [{ localPreference: { min: 151 } }, false],
    [{ tags: ['t'] }, false],
  ];
  for (const [match, expected] of table)
    assert.equal(holds(match), expected, JSON.stringify(match));
  assert.equal(holds({ tags: ['t'] }, 0, 't'), true);
});

test('each change gives what it says, and the same set gives the same number', () => {
  const { sets, set, bind } = rig(rich);
  const changed = (...changes: PolicySet[]): PathAttributes => {
    const bound = bind({
      policies: { p: { statements: [...changes.map((one) => ({ set: one })), decide('accept')] } },
    });
    const result = bound.run(set, prefix, 1, undefined);
    assert.equal(bound.run(set, prefix, 1, undefined), result);
    return decodeAttributes(sets.bytes, sets.start(result), sets.end(result));
  };
  const { med: _med, ...withoutMed } = rich;
  assert.deepEqual(changed({ localPreference: 1, med: 'none', origin: 'egp' }), {
    ...withoutMed,
    localPreference: 1,
    origin: 1,
  });
  assert.equal(changed({ med: { add: -50 } }).med, 0);
  assert.equal(changed({ med: { add: 5 } }, { med: { add: 5 } }).med, 20);
  assert.deepEqual(
    changed({ communities: { remove: ['65000:*'], add: ['1:2'] } }).communities,
    [65538, 0xffffff01],
  );
  assert.equal(changed({ communities: { remove: ['*:*'] } }).communities, undefined);
  assert.deepEqual(
    changed({ largeCommunities: { replace: ['9:9:9'] } }).largeCommunities?.map(
      LargeCommunity.format,
    ),
    ['9:9:9'],
  );
  assert.deepEqual(
    changed({ extendedCommunities: { remove: ['rt:*:*'] } }).extendedCommunities?.map(
      ExtendedCommunity.format,
    ),
    ['soo:192.0.2.1:7'],
  );
  assert.deepEqual(
    changed({ prepend: { count: 2 } }).asPath[0]?.asns,
    [65000, 65000, 65001, 65002],
  );
  assert.deepEqual(changed({ prepend: { asn: 7, count: 1 } }).asPath[0]?.asns, [7, 65001, 65002]);
  const bound = bind({
    policies: { p: { statements: [decide('accept', { set: { nextHop: '198.51.100.9' } })] } },
  });
  assert.equal(
    sets.nextHops.address(sets.nextHop[bound.run(set, prefix, 1, undefined)]!),
    '198.51.100.9',
  );
});

test('what was set is seen by the statements that follow, and the explanation names them', () => {
  const { set, bind } = rig(rich);
  const library: PolicyLibrary = {
    policies: {
      p: {
        statements: [
          {
            name: 'mark',
            match: { communities: { any: ['no-export'] } },
            set: { communities: { add: ['65000:99'] } },
          },
          decide('accept', {
            name: 'marked',
            match: { communities: { any: ['65000:99'] } },
            set: { med: 1 },
          }),
        ],
      },
    },
  };
  assert.deepEqual(bind(library).explain(set, prefix, 1, undefined), {
    policy: 'p',
    statement: 'marked',
    verdict: 'accept',
    applied: ['mark', 'marked'],
  });
  assert.deepEqual(
    bind({ policies: { p: { statements: [] } } }).explain(set, prefix, 1, undefined),
    {
      policy: 'p',
      statement: 'otherwise',
      verdict: 'reject',
      applied: [],
    },
  );
});

test('a policy that cannot be is refused with policy, statement, field and value', () => {
  const bad: readonly (readonly [PolicyStatement, RegExp])[] = [
    [{ match: { prefixSets: ['nil'] } }, /policy p, statement 1, prefixSets: "nil"/],
    [{ match: { prefixes: ['10.0.0.1/8'] } }, /policy p, statement 1, prefixes: "10.0.0.1\/8"/],
    [{ match: { prefixes: [{ prefix: '10.0.0.0/8', ge: 7 }] } }, /8 <= ge <= le <= 32/],
    [{ match: { communities: { any: ['65536:1'] } } }, /communities: "65536:1"/],
    [{ match: { communities: { any: ['@nil'] } } }, /"@nil"/],
    [{ match: { asPath: { patterns: ['('] } } }, /asPath: "\("/],
    [{ match: { med: { min: 2, max: 1 } } }, /med:/],
    [{ match: { source: ['igp' as never] } }, /source: "igp"/],
    [{ set: { localPreference: -1 } }, /set localPreference: -1/],
    [{ set: { med: 2 ** 32 } }, /set med: 4294967296/],
    [{ set: { nextHop: 'me' } }, /set nextHop: "me"/],
    [{ set: { prepend: { count: 0 } } }, /prepend count: 0/],
    [{ set: { communities: { add: ['65000:*'] } } }, /no \* here/],
    [{ set: { communities: { add: ['1:1'], replace: ['1:2'] } } }, /replace stands alone/],
  ];
  for (const [statement, message] of bad) {
    assert.throws(() => compilePolicies({ policies: { p: { statements: [statement] } } }), {
      code: 'invalid-config',
      message,
    });
  }
});

test('a policy can be tried on a route that is nowhere', () => {
  const speaker = new Speaker(
    {
      config: {
        asn: 65000 as Asn,
        routerId: RouterId.parse('192.0.2.254'),
        policies: {
          policies: {
            p: {
              statements: [
                decide('accept', {
                  name: 's',
                  match: { asPath: { patterns: ['_65002$'] } },
                  set: { localPreference: 7 },
                }),
              ],
            },
          },
        },
      },
      random: () => 0.5,
      nextConnection: () => 1,
      emit: () => {},
    },
    0,
  );
  const tried = speaker.testPolicy('p', {
    prefix: '10.0.0.0/24',
    attributes: { prefix: '10.0.0.0/24', asPath: [65001, 65002] },
  });
  assert.equal(tried.reason.statement, 's');
  assert.equal(tried.result?.attributes.localPreference, 7);
  assert.equal(
    speaker.testPolicy('p', { prefix: '10.0.0.0/24', attributes: { prefix: '10.0.0.0/24' } })
      .result,
    undefined,
  );
});
