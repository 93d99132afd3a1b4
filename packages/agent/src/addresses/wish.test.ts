import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PodRow } from '../sources/pods.ts';
import type { ReservationRow } from './sources.ts';
import { type FixedWish, ordinalOf, type Wish, wishOf } from './wish.ts';

type Pod = Pick<PodRow, 'namespace' | 'name' | 'annotations' | 'owner'>;

const FIXED = { 'causeway.io/fixed-address': 'true' };
const set = (name: string) => ({ apiVersion: 'apps/v1', kind: 'StatefulSet', name });
const pod = (name: string, more: Partial<Pod> = {}): Pod => ({
  namespace: 'shop',
  name,
  annotations: {},
  owner: undefined,
  ...more,
});
const reservation = (name: string, spec: ReservationRow['spec']): ReservationRow => ({
  namespace: 'shop',
  name,
  spec,
});
function fixed(wish: Wish): FixedWish {
  assert.equal(wish.type, 'fixed', JSON.stringify(wish));
  return wish as FixedWish;
}

test('without a wish nothing is fixed', () => {
  assert.deepEqual(wishOf(pod('a'), undefined, []), { type: 'none' });
  const workload = { namespace: 'shop', name: 'db', kind: 'StatefulSet', annotations: {} };
  assert.deepEqual(wishOf(pod('db-0', { owner: set('db') }), workload, []), { type: 'none' });
  const others = reservation('r', { workload: { kind: 'StatefulSet', name: 'db' } });
  assert.equal(wishOf(pod('web-0', { owner: set('web') }), undefined, [others]).type, 'none');
  assert.equal(
    wishOf(pod('db-0', { namespace: 'other', owner: set('db') }), undefined, [others]).type,
    'none',
  );
});

test('a pod by its name, a pod of a StatefulSet by its number, also by what its owner says', () => {
  assert.deepEqual(fixed(wishOf(pod('a', { annotations: FIXED }), undefined, [])).owner, {
    type: 'pod',
    namespace: 'shop',
    pod: 'a',
  });
  const workload = { namespace: 'shop', name: 'db', kind: 'StatefulSet', annotations: FIXED };
  const wish = fixed(wishOf(pod('db-17', { owner: set('db') }), workload, []));
  assert.deepEqual(wish.owner, {
    type: 'workload',
    namespace: 'shop',
    kind: 'StatefulSet',
    name: 'db',
    ordinal: 17,
  });
  assert.equal(wish.ttlSeconds, 86_400);
  assert.equal(ordinalOf('db-007', 'db'), undefined, 'no StatefulSet names a pod so');
  assert.equal(ordinalOf('dba-1', 'db'), undefined);
});

test('a reservation: of scattered numbers, of one pod, of a Deployment whose pods bear no numbers', () => {
  const some = reservation('some', {
    workload: { kind: 'StatefulSet', name: 'db', ordinals: '0-1,7' },
    pool: 'fast',
    ttlSeconds: 60,
    addresses: [{ ipv4: '10.1.0.9', ipv6: 'fd00::9', ordinal: 7 }],
  });
  const seven = fixed(wishOf(pod('db-7', { owner: set('db') }), undefined, [some]));
  assert.deepEqual(seven.addresses, { ipv4: '10.1.0.9', ipv6: 'fd00::9' });
  assert.deepEqual([seven.pool, seven.ttlSeconds, seven.reservation], ['fast', 60, 'shop/some']);
  assert.deepEqual(
    fixed(wishOf(pod('db-1', { owner: set('db') }), undefined, [some])).addresses,
    {},
  );
  assert.equal(wishOf(pod('db-2', { owner: set('db') }), undefined, [some]).type, 'none');

  const one = reservation('one', { podName: 'db-7', addresses: [{ ipv4: '10.1.0.8' }] });
  const exact = fixed(wishOf(pod('db-7', { owner: set('db') }), undefined, [some, one]));
  assert.deepEqual(exact.addresses, { ipv4: '10.1.0.8' }, 'the one that names the pod counts');

  const front = reservation('front', { workload: { kind: 'Deployment', name: 'front' } });
  const owner = { apiVersion: 'apps/v1', kind: 'ReplicaSet', name: 'front-6d4b75cb6d' };
  const wish = fixed(wishOf(pod('front-6d4b75cb6d-hwko5', { owner }), undefined, [front]));
  assert.deepEqual(wish.owner, {
    type: 'any-of',
    workload: { namespace: 'shop', kind: 'Deployment', name: 'front' },
  });
  const other = { ...owner, name: 'front-end-6d4b75cb6d' };
  assert.equal(wishOf(pod('x', { owner: other }), undefined, [front]).type, 'none');
});

test('annotations: addresses by name, the time to live, a machine that moves; what is wrong says so', () => {
  const asking = (annotations: Record<string, string>) =>
    wishOf(pod('a', { annotations }), undefined, []);
  const named = fixed(asking({ 'causeway.io/addresses': '10.1.2.3, fd00::3' }));
  assert.deepEqual(named.addresses, { ipv4: '10.1.2.3', ipv6: 'fd00::3' });
  assert.equal(fixed(asking({ ...FIXED, 'causeway.io/address-ttl': '5' })).ttlSeconds, 5);
  assert.deepEqual(asking({ 'causeway.io/migrating-from': 'vm-1' }), {
    type: 'hand-over',
    namespace: 'shop',
    from: 'vm-1',
  });
  for (const text of ['', 'x', '10.1.2.3,10.1.2.4', '10.1.2.0/24', '10.1.2.3,fd00::1,fd00::2']) {
    const wish = asking({ 'causeway.io/addresses': text });
    assert.equal(wish.type, 'invalid', text);
  }
  for (const text of ['-1', '1.5', 'soon', '99999999999']) {
    assert.equal(asking({ ...FIXED, 'causeway.io/address-ttl': text }).type, 'invalid', text);
  }
});
