import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cidrLabel, cidrLabels, prefixOfCidrLabel } from './cidr.ts';
import { IdentityError } from './errors.ts';
import { formatLabel } from './labels.ts';
import { ClusterId, identityLayout, isReserved, NumericIdentity, scopeOf } from './numeric.ts';
import { identityName, RESERVED, reservedId, reservedLabels } from './reserved.ts';

test('cluster ranges for 255 and 511 clusters', () => {
  const wide = identityLayout(255);
  assert.deepEqual(wide.range(ClusterId(37)), { min: 2424832, max: 2490367 });
  assert.deepEqual(wide.allocationRange(ClusterId(37)), { min: 2424832 + 256, max: 2490367 });
  assert.equal(wide.clusterOf(NumericIdentity(2425132)), 37);
  const many = identityLayout(511);
  assert.deepEqual(many.range(ClusterId(37)), { min: 1212416, max: 1245183 });
  assert.deepEqual(wide.range(ClusterId(0)), { min: 256, max: 65535 });
  assert.equal(many.range(ClusterId(511)).max, 0x00ff_ffff);
  assert.equal(wide.contains(ClusterId(1), NumericIdentity(79151)), true);
  assert.equal(wide.contains(ClusterId(2), NumericIdentity(79151)), false);
  assert.throws(() => wide.range(ClusterId(256)), IdentityError);
  assert.throws(() => ClusterId(512), IdentityError);
  assert.throws(() => identityLayout(300 as 255), IdentityError);
});

test('scopes', () => {
  assert.equal(scopeOf(NumericIdentity(79151)), 'global');
  assert.equal(scopeOf(NumericIdentity(0x0100_0001)), 'local-cidr');
  assert.equal(scopeOf(NumericIdentity(0x0200_0001)), 'remote-node');
  assert.equal(scopeOf(NumericIdentity(0xff00_0001)), 'unknown');
  assert.equal(identityLayout().contains(ClusterId(1), NumericIdentity(0x0101_0001)), false);
  for (const bad of [-1, 1.5, 2 ** 32, Number.NaN]) {
    assert.throws(() => NumericIdentity(bad), IdentityError);
  }
});

test('names', () => {
  assert.equal(reservedId('world'), 2);
  assert.equal(reservedId('toString'), undefined);
  assert.equal(identityName(RESERVED['remote-node']), 'remote-node');
  assert.equal(identityName(NumericIdentity(102)), 'kube-dns');
  assert.equal(identityName(NumericIdentity(110)), 'kube-dns');
  assert.equal(identityName(NumericIdentity(200)), 'reserved-200');
  assert.equal(identityName(NumericIdentity(79151)), '79151');
  assert.equal(isReserved(NumericIdentity(255)), true);
  assert.deepEqual(reservedLabels(RESERVED['kube-apiserver'])?.toStrings(), [
    'reserved:kube-apiserver',
    'reserved:remote-node',
  ]);
});

test('labels of prefixes', () => {
  for (const [prefix, text] of [
    ['10.0.0.0/8', 'cidr:10.0.0.0/8'],
    ['2001:db8::/32', 'cidr:2001-db8--0/32'],
    ['::/1', 'cidr:0--0/1'],
    ['::1/128', 'cidr:0--1/128'],
    ['fd00::5/128', 'cidr:fd00--5/128'],
  ] as const) {
    assert.equal(formatLabel(cidrLabel(prefix)), text);
    assert.equal(prefixOfCidrLabel(cidrLabel(prefix)), prefix);
  }
  assert.throws(() => cidrLabel('10.0.0.0'), IdentityError);
  assert.equal(cidrLabels('10.0.0.0/8', true).text, 'cidr:10.0.0.0/8=;reserved:world-ipv4=;');
  assert.equal(cidrLabels('::/0', false).text, 'reserved:world=;');
});
