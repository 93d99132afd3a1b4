import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { consumeRecords, type RingMemory } from './ring-records.ts';

const size = 256;

/** A ring as the kernel would write it: the second half of the data mirrors the first. */
class FakeRing implements RingMemory {
  readonly consumer = new BigUint64Array(1);
  readonly producer = new BigUint64Array(1);
  readonly data = new Uint8Array(2 * size);

  free(): number {
    return size - Number(this.producer[0]! - this.consumer[0]!);
  }

  write(payload: Uint8Array, flags = 0): boolean {
    const total = 8 + ((payload.length + 7) & ~7);
    if (total > this.free()) return false;
    const at = Number(this.producer[0]!) % size;
    const record = new Uint8Array(total);
    new DataView(record.buffer).setUint32(0, (payload.length | flags) >>> 0, true);
    record.set(payload, 8);
    for (const [i, byte] of record.entries()) {
      this.data[(at + i) % size] = byte;
      this.data[((at + i) % size) + size] = byte;
    }
    this.producer[0]! += BigInt(total);
    return true;
  }
}

const read = (ring: FakeRing, limit = 1000) => {
  const records: Uint8Array[] = [];
  consumeRecords(ring, limit, (record) => records.push(record) > 0);
  return records;
};

test('reserved records stop the reader, discarded ones are skipped', () => {
  const ring = new FakeRing();
  ring.write(Uint8Array.of(1));
  ring.write(Uint8Array.of(9, 9), 0x4000_0000);
  ring.write(Uint8Array.of(2, 3));
  ring.write(Uint8Array.of(4), 0x8000_0000);
  ring.write(Uint8Array.of(5));
  assert.deepEqual(read(ring), [Uint8Array.of(1), Uint8Array.of(2, 3)]);
  assert.deepEqual(read(ring), []);
});

test('the limit leaves the rest for the next turn', () => {
  const ring = new FakeRing();
  for (let i = 0; i < 5; i++) ring.write(Uint8Array.of(i));
  assert.equal(read(ring, 2).length, 2);
  assert.deepEqual(read(ring, 1), [Uint8Array.of(2)]);
  assert.equal(read(ring).length, 2);
});

test('a callback that says stop, or throws, has had its record', () => {
  const ring = new FakeRing();
  for (let i = 0; i < 3; i++) ring.write(Uint8Array.of(i));
  consumeRecords(ring, 10, () => false);
  assert.throws(() =>
    consumeRecords(ring, 10, () => {
      throw new Error('no');
    }),
  );
  assert.deepEqual(read(ring), [Uint8Array.of(2)]);
});

test('positions beyond 32 bits work', () => {
  const ring = new FakeRing();
  ring.consumer[0] = ring.producer[0] = 2n ** 40n + 248n;
  ring.write(Uint8Array.of(1, 2, 3));
  assert.deepEqual(read(ring), [Uint8Array.of(1, 2, 3)]);
});

test('whatever is written comes out once, whole and in order', () => {
  const step = fc.oneof(
    fc.uint8Array({ maxLength: 60 }).map((payload) => Uint8Array.from(payload)),
    fc.integer({ min: 1, max: 5 }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const ring = new FakeRing();
      const written: Uint8Array[] = [];
      const got: Uint8Array[] = [];
      for (const item of steps) {
        if (typeof item === 'number') got.push(...read(ring, item));
        else if (ring.write(item)) written.push(item);
      }
      got.push(...read(ring));
      assert.deepEqual(got, written);
    }),
  );
});
