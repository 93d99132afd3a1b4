import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { occupancy } from './occupancy.ts';

test('both forms behave like a plain set', () => {
  const op = fc.record({
    type: fc.constantFrom('take', 'free', 'nextFree'),
    at: fc.nat({ max: 99 }),
  });
  const sizes = fc.constantFrom(1n, 2n, 31n, 32n, 33n, 1023n, 1024n, 1025n, 1n << 16n, 1n << 64n);
  fc.assert(
    fc.property(sizes, fc.array(op, { maxLength: 300, size: 'max' }), (size, ops) => {
      const real = occupancy(size);
      const model = new Set<bigint>();
      for (const { type, at } of ops) {
        // Half of the offsets near the start, half near the end, where the words are cut.
        const offset = (at % 2 === 0 ? BigInt(at) : size * 100n - BigInt(at)) % size;
        if (type === 'take') {
          assert.equal(real.take(offset), !model.has(offset));
          model.add(offset);
        } else if (type === 'free') {
          assert.equal(real.free(offset), model.delete(offset));
        } else {
          let expected: bigint | undefined = offset;
          if (BigInt(model.size) === size) expected = undefined;
          while (expected !== undefined && model.has(expected)) expected = (expected + 1n) % size;
          assert.equal(real.nextFree(offset), expected);
        }
        assert.equal(real.count, BigInt(model.size));
      }
    }),
  );
});

test('a bitmap of a /16 fills completely and finds its last hole from anywhere', () => {
  const all = occupancy(65536n);
  for (let i = 0n; i < 65536n; i += 1n) {
    assert.equal(all.nextFree(i), i);
    all.take(i);
  }
  assert.equal(all.nextFree(0n), undefined);
  for (const hole of [0n, 31n, 32n, 40000n, 65535n]) {
    all.free(hole);
    for (const from of [0n, hole, hole + 1n, 65535n]) assert.equal(all.nextFree(from), hole);
    all.take(hole);
  }
});
