import assert from 'node:assert/strict';
import { test } from 'node:test';
import { WireError } from '@causeway/wire';
import fc from 'fast-check';
import {
  attributeAt,
  be16,
  bool8,
  bytes,
  encodeAttributes,
  nested,
  readAttributes,
  row,
  text,
  u8,
  u16,
  u32,
} from './attributes.ts';

const inner = { kind: row(1, text), data: row(2, bytes) } as const;
const table = {
  name: row(3, text),
  mtu: row(4, u32),
  small: row(5, u8),
  middle: row(6, u16),
  port: row(15, be16),
  flag: row(25, bool8),
  info: row(18, nested(inner)),
} as const;

const golden = Uint8Array.from([
  ...[0x09, 0x00, 0x03, 0x00, 0x65, 0x74, 0x68, 0x30, 0x00, 0, 0, 0], // name "eth0", padded
  ...[0x08, 0x00, 0x04, 0x00, 0x78, 0x05, 0x00, 0x00], // mtu 1400
  ...[0x06, 0x00, 0x0f, 0x00, 0x21, 0x18, 0, 0], // port 8472, network order
  ...[0x10, 0x00, 0x12, 0x80], // info, nested
  ...[0x09, 0x00, 0x01, 0x00, 0x76, 0x65, 0x74, 0x68, 0x00, 0, 0, 0], //   kind "veth"
]);

test('attributes are written and read as the kernel lays them out', () => {
  const value = { name: 'eth0', mtu: 1400, port: 8472, info: { kind: 'veth' } };
  assert.deepEqual(encodeAttributes(table, value), golden);
  assert.deepEqual(readAttributes(golden, table), value);
});

test('unknown attributes and missing padding at the end are passed over', () => {
  const bytes = Uint8Array.from([8, 0, 99, 0, 1, 2, 3, 4, 5, 0, 5, 0, 7]);
  assert.deepEqual(readAttributes(bytes, table), { small: 7 });
});

test('a length that lies is an error, not a guess', () => {
  for (const lie of [
    [3, 0, 4, 0], // below the header's own size
    [9, 0, 4, 0, 1, 2, 3, 4], // beyond the end
    [6, 0, 4, 0, 1, 2], // a u32 of two bytes
  ]) {
    assert.throws(() => readAttributes(Uint8Array.from(lie), table), WireError);
  }
});

test('the attribute at an offset is named by its path', () => {
  assert.equal(attributeAt(golden, table, 0), 'name');
  assert.equal(attributeAt(golden, table, 12), 'mtu');
  assert.equal(attributeAt(golden, table, 28), 'info');
  assert.equal(attributeAt(golden, table, 32), 'info.kind');
  assert.equal(attributeAt(golden, table, 400), undefined);
});

const anyValue = fc.record(
  {
    name: fc.stringMatching(/^[a-z0-9]{0,20}$/),
    mtu: fc.nat(0xffff_ffff),
    small: fc.nat(255),
    middle: fc.nat(65535),
    port: fc.nat(65535),
    flag: fc.boolean(),
    info: fc.record(
      {
        kind: fc.stringMatching(/^[a-z]{0,9}$/),
        data: fc.uint8Array({ maxLength: 40 }).map((array) => Uint8Array.from(array)),
      },
      { requiredKeys: [], noNullPrototype: true },
    ),
  },
  { requiredKeys: [], noNullPrototype: true },
);

test('what is encoded decodes to itself', () => {
  fc.assert(
    fc.property(anyValue, (value) => {
      assert.deepEqual(readAttributes(encodeAttributes(table, value), table), value);
    }),
  );
});

test('any bytes decode or throw WireError', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 80 }), (garbage) => {
      try {
        readAttributes(garbage, table);
      } catch (error) {
        assert.ok(error instanceof WireError, String(error));
      }
    }),
  );
});
