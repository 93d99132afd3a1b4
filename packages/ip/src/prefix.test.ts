import assert from 'node:assert/strict';
import { BlockList } from 'node:net';
import { test } from 'node:test';
import fc from 'fast-check';
import { Address } from './address.ts';
import { IpError } from './errors.ts';
import { Prefix } from './prefix.ts';
import { aggregate, boundsOf, countAddresses, rangeToPrefixes, subtract } from './sets.ts';
import { PrefixTrie } from './trie.ts';

const p = (text: string) => Prefix.parse(text);
const a = (text: string) => Address.parse(text);
const code = (expected: string) => (error: unknown) =>
  error instanceof IpError && error.code === expected;

test('prefixes parse strictly and say what is wrong', () => {
  assert.equal(p('10.0.0.0/8'), '10.0.0.0/8');
  assert.equal(p('2001:DB8:0::/48'), '2001:db8::/48');
  assert.equal(p('0.0.0.0/0'), '0.0.0.0/0');
  assert.equal(p('::/0'), '::/0');
  assert.equal(p('::ffff:10.0.0.0/104'), '10.0.0.0/8');
  assert.equal(Prefix.parse('10.1.2.3/8', { hostBits: 'clear' }), '10.0.0.0/8');
  assert.equal(Prefix.parse('2001:db8::1/64', { hostBits: 'clear' }), '2001:db8::/64');
  assert.throws(
    () => p('10.0.0.1/8'),
    (error: IpError) => {
      assert.equal(error.code, 'host-bits-set');
      assert.match(error.message, /the prefix is 10\.0\.0\.0\/8/);
      return true;
    },
  );
  for (const text of [
    '',
    '/',
    '10.0.0.0',
    '10.0.0.0/',
    '10.0.0.0/08',
    '10.0.0.0/+8',
    '10.0.0.0/8/8',
    '/8',
    '10.0.0/8',
    ' 10.0.0.0/8',
    '10.0.0.0/8 ',
    '10.0.0.0/255.0.0.0',
    '::1%a/128',
  ]) {
    assert.throws(() => p(text), code('invalid-prefix'), text);
    assert.equal(Prefix.tryParse(text), undefined);
  }
  assert.throws(() => p('10.0.0.0/33'), code('invalid-prefix-length'));
  assert.throws(() => p('::/129'), code('invalid-prefix-length'));
  assert.throws(() => p('::ffff:10.0.0.0/129'), code('invalid-prefix-length'));
  assert.throws(() => p('::ffff:10.0.0.0/95'), code('host-bits-set'));
  assert.throws(() => Prefix.from(a('10.0.0.0'), 8.5), code('invalid-prefix-length'));
  assert.throws(() => Prefix.parse(7 as never), code('invalid-prefix'));
  assert.equal(Prefix.is('10.0.0.0/8'), true);
  assert.equal(Prefix.is('2001:DB8::/32'), false);
  assert.equal(Prefix.parseLoose('10.0.0.7'), '10.0.0.7/32');
  assert.equal(Prefix.parseLoose('2001:db8::7/64'), '2001:db8::/64');
});

test('addresses of a prefix by index, from either end', () => {
  const net = p('10.0.0.0/24');
  assert.equal(Prefix.first(net), '10.0.0.0');
  assert.equal(Prefix.last(net), '10.0.0.255');
  assert.equal(Prefix.nth(net, 10), '10.0.0.10');
  assert.equal(Prefix.nth(net, -2), '10.0.0.254');
  assert.equal(Prefix.nth(p('2001:db8::/32'), 2n ** 64n), '2001:db8:0:1::');
  assert.equal(Prefix.indexOf(net, a('10.0.0.9')), 9n);
  assert.equal(Prefix.size(p('::/0')), 2n ** 128n);
  assert.throws(() => Prefix.nth(net, 256), code('out-of-range'));
  assert.throws(() => Prefix.nth(net, -257), code('out-of-range'));
  assert.throws(() => Prefix.indexOf(net, a('10.0.1.0')), code('out-of-range'));
  assert.deepEqual(
    [...Prefix.addresses(p('10.0.0.252/30'))],
    ['10.0.0.252', '10.0.0.253', '10.0.0.254', '10.0.0.255'],
  );
});

test('subnets, halves and parents', () => {
  const net = p('10.0.0.0/22');
  assert.deepEqual(
    [...Prefix.subnets(net, 24)],
    ['10.0.0.0/24', '10.0.1.0/24', '10.0.2.0/24', '10.0.3.0/24'],
  );
  assert.deepEqual([...Prefix.subnets(net, 22)], [net]);
  assert.deepEqual([...Prefix.subnets(net, 21)], []);
  assert.equal(Prefix.subnetAt(p('2001:db8::/32'), 64, 2n ** 32n - 1n), '2001:db8:ffff:ffff::/64');
  assert.throws(() => Prefix.subnetAt(net, 24, 4), code('out-of-range'));
  assert.throws(() => Prefix.subnetAt(net, 33, 0), code('invalid-prefix-length'));
  assert.deepEqual(Prefix.split(net), ['10.0.0.0/23', '10.0.2.0/23']);
  assert.equal(Prefix.split(p('10.0.0.1/32')), undefined);
  assert.equal(Prefix.parent(p('10.0.2.0/23')), net);
  assert.equal(Prefix.parent(p('::/0')), undefined);
  // The iteration is lazy: nobody has 2^96 of anything.
  assert.equal(Prefix.subnets(p('::/0'), 96).next().value, '::/96');
});

const family = fc.constantFrom('ipv4' as const, 'ipv6' as const);
/** Prefixes of a small corner of the space, so that they meet. */
const prefix = family.chain((f) => {
  const width = f === 'ipv4' ? 32 : 128;
  const base = f === 'ipv4' ? 0x0a000000n : 0x20010db8n << 96n;
  return fc
    .record({ host: fc.nat(255), length: fc.integer({ min: width - 9, max: width }) })
    .map(({ host, length }) => Prefix.from(Address.fromBigInt(f, base + BigInt(host)), length));
});
const near = family.chain((f) =>
  fc
    .nat(300)
    .map((n) =>
      Address.fromBigInt(f, (f === 'ipv4' ? 0x0a000000n : 0x20010db8n << 96n) + BigInt(n)),
    ),
);

test('containment agrees with Node and with arithmetic', () => {
  fc.assert(
    fc.property(prefix, prefix, near, (x, y, address) => {
      const list = new BlockList();
      list.addSubnet(Prefix.address(x), Prefix.length(x), Prefix.family(x));
      assert.equal(Prefix.contains(x, address), list.check(address, Address.family(address)));
      const [bx, by] = [boundsOf(x), boundsOf(y)];
      const same = Prefix.family(x) === Prefix.family(y);
      assert.equal(Prefix.covers(x, y), same && bx.first <= by.first && by.last <= bx.last);
      assert.equal(Prefix.overlaps(x, y), same && bx.first <= by.last && by.first <= bx.last);
      assert.equal(Prefix.parse(x), x);
      assert.equal(Prefix.fromMask(Prefix.last(x), Prefix.maskBytes(x)), x);
      assert.equal(Prefix.compare(x, y) === 0, x === y);
      assert.equal(Math.sign(Prefix.compare(x, y)) + Math.sign(Prefix.compare(y, x)), 0);
    }),
    { numRuns: 1000 },
  );
});

test('a mask is leading ones or refused', () => {
  assert.equal(Prefix.fromMask(a('10.1.2.3'), Uint8Array.of(255, 255, 255, 0)), '10.1.2.0/24');
  assert.equal(Prefix.fromMask(a('10.1.2.3'), new Uint8Array(4)), '0.0.0.0/0');
  for (const mask of [[255, 0, 255, 0], [254, 255, 0, 0], [255, 255], [], [0, 0, 0, 1]]) {
    assert.throws(
      () => Prefix.fromMask(a('10.0.0.0'), Uint8Array.from(mask)),
      code('invalid-prefix-length'),
      String(mask),
    );
  }
  assert.throws(
    () => Prefix.fromMask(a('::'), Uint8Array.of(255, 0, 0, 0)),
    code('invalid-prefix-length'),
  );
});

test('a set less its exceptions holds exactly the rest', () => {
  assert.deepEqual(subtract([p('10.0.0.0/8')], [p('10.1.0.0/16')]), [
    '10.0.0.0/16',
    '10.2.0.0/15',
    '10.4.0.0/14',
    '10.8.0.0/13',
    '10.16.0.0/12',
    '10.32.0.0/11',
    '10.64.0.0/10',
    '10.128.0.0/9',
  ]);
  assert.deepEqual(subtract([p('10.0.0.0/8')], [p('0.0.0.0/0')]), []);
  assert.deepEqual(subtract([p('::/0')], [p('0.0.0.0/0')]), ['::/0']);
  fc.assert(
    fc.property(
      fc.array(prefix, { maxLength: 6 }),
      fc.array(prefix, { maxLength: 6 }),
      fc.array(near, { minLength: 20 }),
      (from, excepts, probes) => {
        const rest = subtract(from, excepts);
        const inside = (set: readonly Prefix[], address: Address) =>
          set.some((item) => Prefix.contains(item, address));
        for (const probe of probes) {
          assert.equal(inside(rest, probe), inside(from, probe) && !inside(excepts, probe));
        }
        assert.deepEqual(aggregate(rest), rest, 'the result is as short as it can be, and sorted');
        const kept = countAddresses(from) - countAddresses(rest);
        assert.equal(countAddresses([...rest, ...subtract(from, rest)]), countAddresses(from));
        assert.ok(kept >= 0n);
      },
    ),
    { numRuns: 300 },
  );
});

test('aggregation keeps the addresses and leaves nothing to merge', () => {
  assert.deepEqual(
    aggregate([p('10.0.1.0/24'), p('10.0.0.0/24'), p('10.0.0.7/32'), p('10.0.2.0/23')]),
    ['10.0.0.0/22'],
  );
  assert.deepEqual(aggregate([p('::/1'), p('8000::/1'), p('0.0.0.0/1'), p('128.0.0.0/1')]), [
    '0.0.0.0/0',
    '::/0',
  ]);
  fc.assert(
    fc.property(fc.array(prefix, { maxLength: 12 }), near, (list, probe) => {
      const short = aggregate(list);
      assert.equal(
        short.some((item) => Prefix.contains(item, probe)),
        list.some((item) => Prefix.contains(item, probe)),
      );
      for (const [i, x] of short.entries()) {
        for (const y of short.slice(i + 1)) {
          assert.equal(Prefix.overlaps(x, y), false);
          assert.notEqual(
            Prefix.parent(x) ?? x,
            Prefix.parent(y) ?? y,
            `${x} and ${y} are halves of one`,
          );
        }
      }
    }),
    { numRuns: 500 },
  );
});

test('a range becomes the fewest prefixes', () => {
  assert.deepEqual(rangeToPrefixes(a('10.0.0.1'), a('10.0.0.6')), [
    '10.0.0.1/32',
    '10.0.0.2/31',
    '10.0.0.4/31',
    '10.0.0.6/32',
  ]);
  assert.deepEqual(rangeToPrefixes(a('::'), a('ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff')), [
    '::/0',
  ]);
  assert.throws(() => rangeToPrefixes(a('10.0.0.1'), a('::1')), code('family-mismatch'));
  assert.throws(() => rangeToPrefixes(a('10.0.0.2'), a('10.0.0.1')), code('out-of-range'));
  fc.assert(
    fc.property(fc.nat(1000), fc.nat(1000), (x, y) => {
      const [low, high] = [Math.min(x, y), Math.max(x, y)].map((n) =>
        Address.fromBigInt('ipv4', BigInt(n)),
      ) as [Address, Address];
      const list = rangeToPrefixes(low, high);
      assert.equal(list.length, aggregate(list).length);
      assert.equal(countAddresses(list), BigInt(Math.abs(x - y) + 1));
      assert.equal(Prefix.first(list[0] as Prefix), low);
      assert.equal(Prefix.last(list.at(-1) as Prefix), high);
    }),
  );
});

test('model: the trie answers as a search through all entries does', () => {
  const step = fc.record({ add: fc.boolean(), prefix, value: fc.nat() });
  fc.assert(
    fc.property(
      fc.array(step, { maxLength: 60 }),
      fc.array(near, { maxLength: 10 }),
      prefix,
      (steps, probes, around) => {
        const trie = new PrefixTrie<number>();
        const model = new Map<Prefix, number>();
        for (const { add, prefix: at, value } of steps) {
          if (add) {
            assert.equal(trie.set(at, value), model.get(at));
            model.set(at, value);
          } else {
            assert.equal(trie.delete(at), model.get(at));
            model.delete(at);
          }
          assert.equal(trie.size, model.size);
        }
        const sorted = [...model.keys()].sort(Prefix.compare);
        assert.deepEqual(
          [...trie].map((entry) => entry.prefix),
          sorted,
        );
        for (const { prefix: at } of steps) {
          assert.equal(trie.get(at), model.get(at));
          assert.equal(trie.has(at), model.has(at));
        }
        for (const probe of probes) {
          const containing = sorted
            .filter((item) => Prefix.contains(item, probe))
            .sort((x, y) => Prefix.length(x) - Prefix.length(y));
          assert.deepEqual(
            trie.covering(probe).map((entry) => entry.prefix),
            containing,
          );
          assert.equal(trie.lookup(probe)?.prefix, containing.at(-1));
        }
        assert.deepEqual(
          [...trie.covered(around)].map((entry) => entry.prefix),
          sorted.filter((item) => Prefix.covers(around, item)),
        );
        assert.deepEqual(
          trie.covering(around).map((entry) => entry.prefix),
          sorted
            .filter((item) => Prefix.covers(item, around))
            .sort((x, y) => Prefix.length(x) - Prefix.length(y)),
        );
        for (const at of sorted) trie.delete(at);
        assert.deepEqual([trie.size, [...trie]], [0, []]);
      },
    ),
    { numRuns: 500 },
  );
});

test('the trie holds default routes of both families and is emptied at once', () => {
  const trie = new PrefixTrie<string>();
  trie.set(p('0.0.0.0/0'), 'four');
  trie.set(p('::/0'), 'six');
  assert.equal(trie.lookup(a('192.0.2.1'))?.value, 'four');
  assert.equal(trie.lookup(a('2001:db8::1'))?.value, 'six');
  trie.clear();
  assert.equal(trie.lookup(a('192.0.2.1')), undefined);
  assert.equal(trie.size, 0);
});
