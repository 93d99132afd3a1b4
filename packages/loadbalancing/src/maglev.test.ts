import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  LoadBalancingError,
  MAGLEV_SIZES,
  type MaglevBackend,
  maglevSize,
  maglevTable,
} from '../index.ts';

const backends = (count: number, from = 0): MaglevBackend[] =>
  Array.from({ length: count }, (_, i) => ({
    key: `10.0.${(i + from) >> 8}.${(i + from) & 255}:80/TCP`,
  }));

const holders = (list: readonly MaglevBackend[], size: number) =>
  Array.from(maglevTable(list, size), (index) => list[index]!.key);

test('sizes are primes', () => {
  for (const size of MAGLEV_SIZES) {
    for (let divisor = 2; divisor * divisor <= size; divisor++) assert.notEqual(size % divisor, 0);
  }
  assert.deepEqual(
    [0, 1, 2, 3, 10, 11, 655, 656, 5000].map((count) => maglevSize(count)),
    [251, 1, 251, 509, 1021, 2039, 65521, 131071, 131071],
  );
});

test('every slot has a holder, and shares differ by one slot', () => {
  for (const count of [1, 2, 3, 10, 100]) {
    const size = maglevSize(count);
    const shares = new Array<number>(count).fill(0);
    for (const index of maglevTable(backends(count), size)) shares[index]!++;
    assert.ok(Math.max(...shares) - Math.min(...shares) <= 1, `${count} backends: ${shares}`);
  }
});

test('the order in which backends are listed does not matter', () => {
  fc.assert(
    fc.property(fc.shuffledSubarray(backends(12), { minLength: 1 }), (list) => {
      const sorted = [...list].sort((a, b) => (a.key < b.key ? -1 : 1));
      assert.deepEqual(holders(list, 1021), holders(sorted, 1021));
    }),
    { numRuns: 30 },
  );
});

test('losing a backend moves its own slots, and few others', () => {
  for (const count of [3, 10, 40]) {
    const all = backends(count);
    const size = maglevSize(count);
    const before = holders(all, size);
    let moved = 0;
    for (const lost of all) {
      const after = holders(
        all.filter((each) => each !== lost),
        size,
      );
      moved += before.filter((key, slot) => key !== lost.key && after[slot] !== key).length;
    }
    // The paper's bound for tables a hundred times the backends: about two in a hundred.
    const share = moved / count / size;
    assert.ok(share < 0.03, `${count} backends: ${(share * 100).toFixed(2)}% moved besides`);
  }
});

test('two nodes that hear of backends in another order agree, also after a loss', () => {
  const all = backends(10);
  assert.deepEqual(holders([...all].reverse().slice(1), 1021), holders(all.slice(0, 9), 1021));
});

test('weights give shares', () => {
  const list = [
    { key: 'a', weight: 1 },
    { key: 'b', weight: 3 },
  ];
  const table = maglevTable(list, 1021);
  const share = table.filter((index) => index === 1).length / table.length;
  assert.ok(Math.abs(share - 0.75) < 0.01, String(share));
});

test('the table is the same for ever: nodes of different versions must agree', () => {
  const table = maglevTable(backends(3), 251);
  assert.equal(Array.from(table.subarray(0, 32)).join(''), GOLDEN);
});

test('impossible tables are refused', () => {
  assert.equal(maglevTable([], 251).length, 0);
  for (const [list, size] of [
    [backends(3), 2],
    [backends(1), 1.5],
    [backends(2), Number.NaN],
    [[{ key: 'a', weight: 0 }], 251],
    [[{ key: 'a', weight: Number.NaN }], 251],
  ] as const) {
    assert.throws(
      () => maglevTable(list, size),
      (error) => error instanceof LoadBalancingError && error.code === 'invalid-maglev',
    );
  }
});

const GOLDEN = '10112112101121221022012020110110';
