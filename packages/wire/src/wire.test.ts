import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { WireError } from './errors.ts';
import { ByteReader, type Endian } from './reader.ts';
import { ByteWriter } from './writer.ts';

const hex = (text: string) =>
  Uint8Array.from(text.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));

/** Field, value, big-endian bytes, little-endian bytes. */
const golden = [
  ['u8', 0xab, 'ab', 'ab'],
  ['u16', 0x0102, '0102', '0201'],
  ['u24', 0x010203, '010203', '030201'],
  ['u32', 0xfffefdfc, 'fffefdfc', 'fcfdfeff'],
  ['u64', 0x0102030405060708n, '0102030405060708', '0807060504030201'],
  ['i32', -2, 'fffffffe', 'feffffff'],
] as const;

test('golden bytes, read and written, in both byte orders', () => {
  for (const [field, value, big, little] of golden) {
    for (const [endian, bytes] of [
      ['big', big],
      ['little', little],
    ] as const) {
      const writer = new ByteWriter(endian, 1);
      (writer[field] as (value: number | bigint) => unknown).call(writer, value);
      assert.deepEqual(writer.finish(), hex(bytes), `${field} ${endian}`);
      const reader = new ByteReader(hex(bytes), endian);
      assert.equal(reader[field](), value, `${field} ${endian}`);
      reader.end();
    }
  }
  const signed = new ByteReader(hex('fffffeffffffffffffffff'));
  assert.deepEqual([signed.i8(), signed.i16(), signed.i64()], [-1, -2, -1n]);
});

test('nothing is read past the end, and the error names offset, wanted and left', () => {
  const reader = new ByteReader(hex('0102030405'), 'big', 100);
  reader.skip(3);
  assert.throws(
    () => reader.u32(),
    (error: WireError) => {
      const { code, offset, wanted, left } = error;
      assert.deepEqual(
        { code, offset, wanted, left },
        { code: 'truncated', offset: 103, wanted: 4, left: 2 },
      );
      return true;
    },
  );
  assert.equal(reader.u16(), 0x0405, 'a refused read moves nothing');
  for (const field of [
    'u8',
    'u16',
    'u24',
    'u32',
    'u64',
    'i8',
    'i16',
    'i32',
    'i64',
    'peek',
  ] as const) {
    assert.throws(() => reader[field](), WireError, field);
  }
  for (const count of [1, -1, 0.5, Number.NaN, 2 ** 40]) {
    assert.throws(() => reader.bytes(count), WireError);
    assert.throws(() => reader.sub(count), WireError);
    assert.throws(() => reader.skip(count), WireError);
    assert.throws(() => reader.text(count), WireError);
  }
});

test('a sub-reader ends at its length and counts offsets from the outermost start', () => {
  const outer = new ByteReader(hex('00020a0b0c0d'));
  const inner = outer.sub(outer.u16());
  assert.equal(inner.offset, 2);
  assert.equal(inner.u8(), 0x0a);
  const innermost = inner.sub(1);
  assert.equal(innermost.offset, 3);
  assert.throws(
    () => innermost.u16(),
    (error: WireError) => error.offset === 3 && error.left === 1,
  );
  assert.equal(outer.u8(), 0x0c);
  assert.throws(
    () => outer.end(),
    (error: WireError) => error.code === 'trailing-bytes' && error.left === 1 && error.offset === 5,
  );
  assert.equal(outer.peek(), 0x0d);
  assert.deepEqual(outer.rest(), hex('0d'));
  assert.equal(outer.done, true);
});

test('alignment skips padding, also where the last element leaves it out', () => {
  const reader = new ByteReader(hex('0100000002'), 'little');
  reader.u8();
  reader.align(4);
  assert.equal(reader.u8(), 2);
  reader.align(4);
  reader.end();
  const writer = new ByteWriter().u8(1).align(4).align(4).u8(2).align(2);
  assert.deepEqual(writer.finish(), hex('010000000200'));
});

test('text is UTF-8, terminated or counted', () => {
  const writer = new ByteWriter().cstring('eth0').text('ü').zeros(2);
  assert.deepEqual(writer.finish(), hex('6574683000c3bc0000'));
  const reader = new ByteReader(writer.finish());
  assert.equal(reader.cstring(5), 'eth0');
  assert.equal(reader.text(2), 'ü');
  assert.equal(reader.cstring(2), '');
  assert.equal(new ByteReader(hex('616263')).cstring(3), 'abc');
  assert.equal(new ByteReader(hex('ff')).text(1), '\ufffd');
});

test('a number that does not fit its field is refused, not cut', () => {
  const refused = (run: (writer: ByteWriter) => unknown) => {
    const writer = new ByteWriter();
    assert.throws(
      () => run(writer),
      (error: WireError) => error.code === 'out-of-range',
    );
    assert.equal(writer.length, 0);
  };
  refused((w) => w.u8(256));
  refused((w) => w.u8(-1));
  refused((w) => w.u16(65_536));
  refused((w) => w.u24(2 ** 24));
  refused((w) => w.u32(2 ** 32));
  refused((w) => w.u32(1.5));
  refused((w) => w.u64(-1n));
  refused((w) => w.u64(2n ** 64n));
  refused((w) => w.i32(2 ** 31));
  refused((w) => w.i32(-(2 ** 31) - 1));
  refused((w) => w.u16(Number.NaN));
});

test('lengths can be patched in once they are known, and only where something is', () => {
  const writer = new ByteWriter('little', 2).u32(0).u16(0).bytes(hex('aabbcc'));
  writer.patchU32(0, writer.length).patchU16(4, 0x0102);
  assert.deepEqual(writer.finish(), hex('090000000201aabbcc'));
  assert.throws(() => writer.patchU16(8, 1), WireError);
  assert.throws(() => writer.patchU32(-1, 1), WireError);
  assert.throws(() => writer.patchU16(0, 70_000), WireError);
  const copy = writer.finish();
  writer.u8(1);
  assert.equal(copy.length, 9);
});

test('property: what is written is read back', () => {
  const field = fc.oneof(
    fc.nat(0xff).map((value) => ({ type: 'u8' as const, value })),
    fc.nat(0xffff).map((value) => ({ type: 'u16' as const, value })),
    fc.nat(0xffffff).map((value) => ({ type: 'u24' as const, value })),
    fc.nat(0xffffffff).map((value) => ({ type: 'u32' as const, value })),
    fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }).map((value) => ({ type: 'u64' as const, value })),
    fc.integer().map((value) => ({ type: 'i32' as const, value })),
    fc.uint8Array({ maxLength: 100 }).map((value) => ({ type: 'bytes' as const, value })),
  );
  fc.assert(
    fc.property(fc.array(field), fc.constantFrom<Endian>('big', 'little'), (fields, endian) => {
      const writer = new ByteWriter(endian, 0);
      for (const item of fields) {
        if (item.type === 'bytes') writer.bytes(item.value);
        else if (item.type === 'u64') writer.u64(item.value);
        else writer[item.type](item.value);
      }
      // A view into a larger buffer must read the same as a buffer of its own.
      const shifted = new Uint8Array(writer.length + 7);
      shifted.set(writer.finish(), 5);
      const reader = new ByteReader(shifted.subarray(5, 5 + writer.length), endian);
      for (const item of fields) {
        if (item.type === 'bytes')
          assert.deepEqual([...reader.bytes(item.value.length)], [...item.value]);
        else assert.equal(reader[item.type](), item.value);
      }
      reader.end();
    }),
  );
});
