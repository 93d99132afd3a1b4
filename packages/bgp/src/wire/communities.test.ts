import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { BgpError } from '../errors.ts';
import { Asn, RouterId } from '../types.ts';
import { Community, ExtendedCommunity, LargeCommunity } from './communities.ts';

test('standard communities: numbers and names', () => {
  assert.equal(Community.parse('65000:100'), 0xfde80064);
  assert.equal(Community.parse('no-export'), 0xffffff01);
  assert.equal(Community.format(0xffffff01), 'no-export');
  assert.equal(Community.format(Community.parse('65535:6')), 'llgr-stale');
});

test('extended communities: the three forms of route target and origin, and the rest in digits', () => {
  for (const [text, value] of [
    ['rt:65000:100', 0x0002fde800000064n],
    ['soo:65000:4294967295', 0x0003fde8ffffffffn],
    ['rt:192.0.2.1:5', 0x0102c00002010005n],
    ['rt:4200000000:7', 0x0202fa56ea000007n],
    ['rt:65000L:7', 0x02020000fde80007n],
    ['0x4004000100020003', 0x4004000100020003n],
  ] as const) {
    assert.equal(ExtendedCommunity.parse(text), value, text);
    assert.equal(ExtendedCommunity.format(value), text);
  }
  assert.ok(ExtendedCommunity.isTransitive(ExtendedCommunity.parse('rt:1:1')));
  assert.ok(!ExtendedCommunity.isTransitive(0x4004000100020003n));
});

test('what is no community says what to write', () => {
  for (const parse of [Community.parse, LargeCommunity.parse, ExtendedCommunity.parse]) {
    for (const text of [
      '',
      '1',
      'a:b',
      '65536:',
      '1:2:3:4',
      '-1:2',
      '01:2',
      'rt:1',
      'rt:1:4294967296',
    ]) {
      assert.throws(
        () => parse(text),
        (error: BgpError) => error.code === 'invalid-community' && error.value === text,
        text,
      );
    }
  }
  assert.throws(() => Community.parse('65536:1'), BgpError);
  assert.throws(() => LargeCommunity.parse('4294967296:1:1'), BgpError);
  assert.throws(() => ExtendedCommunity.parse('rt:256.0.0.1:1'), BgpError);
});

test('property: text and back', () => {
  const u32 = fc.integer({ min: 0, max: 0xffff_ffff });
  fc.assert(
    fc.property(u32, u32, u32, fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }), (a, b, c, wide) => {
      assert.equal(Community.parse(Community.format(a)), a);
      const large = { admin: a, data1: b, data2: c };
      assert.deepEqual(LargeCommunity.parse(LargeCommunity.format(large)), large);
      assert.equal(ExtendedCommunity.parse(ExtendedCommunity.format(wide)), wide);
    }),
  );
});

test('AS numbers in both notations; identifiers', () => {
  assert.equal(Asn.parse('64086.59904'), 4200000000);
  assert.equal(Asn.parse('65000'), 65000);
  for (const text of ['0', '4294967296', '1.65536', '65536.1', 'x', '', '1.2.3']) {
    assert.throws(() => Asn.parse(text), BgpError, text);
  }
  assert.equal(RouterId.toNumber(RouterId.parse('255.0.0.1')), 0xff000001);
  assert.equal(RouterId.fromNumber(-1), '255.255.255.255');
  for (const text of ['0.0.0.0', '::1', '1.2.3'])
    assert.throws(() => RouterId.parse(text), BgpError);
});
