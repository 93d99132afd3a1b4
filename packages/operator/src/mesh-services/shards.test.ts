import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Address } from '@causeway/ip';
import { SHARD_SIZE, type ShardBackend } from '@causeway/mesh';
import fc from 'fast-check';
import { type ShardHead, ShardPlaces } from './shards.ts';

const head: ShardHead = {
  cluster: 'east',
  clusterId: 2,
  namespace: 'shop',
  name: 'web',
  expected: 7,
};
const ports = { '': { protocol: 'TCP', port: 80 } } as const;
const address = (i: number): Address => Address.parse(`10.0.${i >> 8}.${i & 255}`);
const backend = (i: number): ShardBackend => ({
  ...{ address: address(i), ports, state: 'active', weight: 100, zone: '', target: '' },
});

test('shard 0 is there without backends, and says what is expected', () => {
  const { shards } = new ShardPlaces().place(head, []);
  assert.deepEqual(shards, [{ ...head, shard: 0, backends: [] }]);
});

test('property: every backend is in one shard, and in the same one as long as it is there', () => {
  const set = fc.uniqueArray(fc.nat(399), { maxLength: 300 });
  fc.assert(
    fc.property(fc.array(set, { maxLength: 6 }), (sets) => {
      const places = new ShardPlaces();
      let before = new Map<Address, number>();
      for (const wanted of sets) {
        const { shards, left } = places.place(head, wanted.map(backend));
        assert.equal(left, 0);
        assert.equal(shards[0]?.shard, 0);
        const now = new Map<Address, number>();
        for (const { shard, expected, backends } of shards) {
          assert.ok(backends.length <= SHARD_SIZE && (backends.length > 0 || shard === 0));
          assert.equal(expected, shard === 0 ? 7 : 0);
          for (const each of backends) {
            assert.ok(!now.has(each.address));
            now.set(each.address, shard);
          }
        }
        assert.deepEqual([...now.keys()].sort(), wanted.map(address).sort());
        for (const [each, shard] of now) assert.equal(before.get(each) ?? shard, shard);
        before = now;
      }
    }),
  );
});

test('another operator puts backends where they were', () => {
  const first = new ShardPlaces();
  const all = Array.from({ length: 150 }, (_, i) => backend(i));
  first.place(head, all);
  const { shards } = first.place(head, all.slice(70));
  const second = new ShardPlaces();
  for (const { shard, backends } of shards) {
    for (const each of backends) second.adopt(each.address, shard);
  }
  assert.deepEqual(second.place(head, all.slice(70)).shards, shards);
});
