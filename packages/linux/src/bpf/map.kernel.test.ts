import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import fc from 'fast-check';
import { openDescriptors } from '../../test/descriptors.ts';
import { type LinuxError, MapBatchError } from '../errors.ts';
import { BpfMap, possibleCpus } from './map.ts';
import { MapFlag, type MapType } from './map-types.ts';

let descriptors: number;
before(() => {
  possibleCpus();
  descriptors = openDescriptors();
});
after(() => assert.equal(openDescriptors(), descriptors, 'descriptors left open'));

const make = (type: MapType, maxEntries: number, keySize = 4, valueSize = 8) =>
  BpfMap.create({
    name: `t${process.pid}`,
    type,
    keySize,
    valueSize,
    maxEntries,
    ...(type === 'lpm_trie' && { flags: MapFlag.noPrealloc }),
  });

const word = (value: number) => {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value, true);
  return bytes;
};
const value = (low: number) => Uint8Array.from([...word(low), 0, 0, 0, 0]);
const packed = (count: number, make: (index: number) => Uint8Array) =>
  Uint8Array.from(Array.from({ length: count }, (_, i) => [...make(i)]).flat());

test('entries are set, read, found and deleted', () => {
  using map = make('hash', 16);
  assert.equal(map.info.type, 'hash');
  assert.equal(map.get(word(1)), undefined);
  map.update(word(1), value(10));
  assert.deepEqual(map.get(word(1)), value(10));
  const into = new Uint8Array(8);
  assert.equal(map.get(word(1), into), into);
  assert.deepEqual(into, value(10));
  assert.throws(() => map.update(word(1), value(11), 'create'), { code: 'exists' });
  assert.throws(() => map.update(word(2), value(11), 'replace'), { code: 'not-found' });
  assert.equal(map.tryCreate(word(1), value(1)), false);
  assert.equal(map.tryCreate(word(3), value(3)), true);
  assert.equal(map.delete(word(1)), true);
  assert.equal(map.delete(word(1)), false);
  assert.equal(map.count(), 1);
});

test('keys and values of another size never reach the kernel', () => {
  using map = make('hash', 16);
  for (const run of [
    () => map.get(new Uint8Array(3)),
    () => map.get(word(1), new Uint8Array(7)),
    () => map.update(word(1), new Uint8Array(9)),
    () => map.delete(new Uint8Array(5)),
    () => map.updateBatch(new Uint8Array(8), new Uint8Array(8)),
    () => map.deleteBatch(new Uint8Array(6)),
  ]) {
    assert.throws(run, { code: 'invalid-argument' });
  }
});

test('a full map says so and keeps what is there', () => {
  using map = make('hash', 4);
  for (let i = 0; i < 4; i++) map.update(word(i), value(i));
  assert.throws(
    () => map.update(word(9), value(9)),
    (error: LinuxError) => {
      assert.equal(error.code, 'map-full');
      assert.equal(error.errnoName, 'E2BIG');
      return true;
    },
  );
  assert.throws(
    () =>
      map.updateBatch(
        packed(3, (i) => word(i + 2)),
        packed(3, (i) => value(i)),
      ),
    (error) => {
      assert.ok(error instanceof MapBatchError);
      assert.equal(error.applied, 2);
      assert.equal(error.code, 'map-full');
      return true;
    },
  );
  assert.equal(map.count(), 4);
});

for (const type of ['hash', 'lru_hash'] as const) {
  test(`${type}: batches write, list and delete thousands`, () => {
    using map = make(type, 20_000);
    const keys = packed(5000, word);
    assert.equal(map.updateBatch(keys, packed(5000, value)), 5000);
    const seen = new Map([...map.entries(100)].map(([k, v]) => [Buffer.from(k).readUInt32LE(), v]));
    assert.equal(seen.size, 5000);
    assert.deepEqual(seen.get(4321), value(4321));
    assert.equal([...map.keys()].length, 5000);
    // Every other key is absent already: the batch goes on behind each.
    for (let i = 0; i < 100; i += 2) map.delete(word(i));
    assert.equal(map.deleteBatch(packed(100, word)), 50);
    assert.equal(map.clear(), 4900);
    assert.equal(map.count(), 0);
  });
}

test('longest prefixes are matched, listed and cleared', () => {
  using map = make('lpm_trie', 100, 8, 4);
  const prefix = (length: number, ...bytes: number[]) =>
    Uint8Array.from([...word(length), ...bytes]);
  map.update(prefix(8, 10, 0, 0, 0), word(8));
  map.update(prefix(16, 10, 1, 0, 0), word(16));
  assert.deepEqual(map.get(prefix(32, 10, 1, 2, 3)), word(16));
  assert.deepEqual(map.get(prefix(32, 10, 9, 2, 3)), word(8));
  assert.equal(map.get(prefix(32, 11, 0, 0, 1)), undefined);
  assert.equal(map.count(), 2);
  assert.equal(map.clear(), 2);
});

test('per-cpu values are split by cpu', () => {
  using map = make('percpu_array', 2, 4, 4);
  const stored = new Uint8Array(map.storedSize);
  assert.equal(map.storedSize, 8 * possibleCpus());
  for (let cpu = 0; cpu < possibleCpus(); cpu++) stored.set(word(cpu + 1), cpu * 8);
  map.update(word(1), stored);
  const values = map.perCpu(map.get(word(1))!);
  assert.deepEqual(
    values.map((v) => v[0]),
    values.map((_, cpu) => cpu + 1),
  );
  assert.equal([...map.entries()].length, 2);
});

test('types without batches are walked entry by entry', () => {
  using inner = make('array', 1);
  using outer = BpfMap.create({
    name: 'outer',
    type: 'hash_of_maps',
    keySize: 4,
    valueSize: 4,
    maxEntries: 8,
    innerMap: inner,
  });
  outer.update(word(5), word(inner.fd.number));
  assert.deepEqual([...outer.keys()], [word(5)]);
  assert.deepEqual(outer.get(word(5)), word(inner.info.id));
  assert.equal(outer.clear(), 1);
});

test('a map does what a Map does', () => {
  const command = fc.tuple(fc.constantFrom('set', 'delete', 'get'), fc.nat(20), fc.nat(1000));
  fc.assert(
    fc.property(fc.array(command, { maxLength: 60 }), (commands) => {
      using map = make('hash', 64);
      const model = new Map<number, number>();
      for (const [what, key, number] of commands) {
        if (what === 'set') {
          map.update(word(key), value(number));
          model.set(key, number);
        } else if (what === 'delete') {
          assert.equal(map.delete(word(key)), model.delete(key));
        } else {
          const expected = model.get(key);
          assert.deepEqual(
            map.get(word(key)),
            expected === undefined ? undefined : value(expected),
          );
        }
      }
      assert.equal(map.count(), model.size);
    }),
    { numRuns: 30 },
  );
});

test('a closed map is closed, and closing twice is nothing', () => {
  const map = make('hash', 1);
  map.close();
  map.close();
  assert.throws(() => map.get(word(1)), { code: 'closed' });
});
