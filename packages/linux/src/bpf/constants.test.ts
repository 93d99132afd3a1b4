import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type ConstantValue, writeConstants } from './constants.ts';

const variables = [
  { name: 'flag', offset: 0, size: 1, type: '_Bool' },
  { name: 'port', offset: 2, size: 2, type: '__u16' },
  { name: 'index', offset: 4, size: 4, type: '__u32' },
  { name: 'big', offset: 8, size: 8, type: '__u64' },
  { name: 'mac', offset: 16, size: 6, type: '__u8[6]' },
];

test('values take the width of their variables', () => {
  const section = new Uint8Array(24).fill(0xee);
  writeConstants(section, variables, {
    flag: true,
    port: 8472,
    index: -1,
    big: 0x0102030405060708n,
    mac: Uint8Array.of(1, 2, 3, 4, 5, 6),
  });
  assert.equal(
    Buffer.from(section).toString('hex'),
    `01ee1821${'ff'.repeat(4)}0807060504030201010203040506eeee`,
  );
});

const refused: [Record<string, ConstantValue>, RegExp][] = [
  [{ nothing: 1 }, /no such variable \(it has flag, port/],
  [{ port: 65536 }, /65536 does not fit into 2 bytes/],
  [{ index: -(2 ** 31) - 1 }, /does not fit/],
  [{ index: 1.5 }, /no integer/],
  [{ mac: 5 }, /give bytes/],
  [{ mac: Uint8Array.of(1) }, /takes 6 bytes, got 1/],
];
for (const [values, message] of refused) {
  test(`refused: ${message.source}`, () => {
    const run = () => writeConstants(new Uint8Array(24), variables, values);
    assert.throws(run, (error: { code?: string; message: string }) => {
      assert.equal(error.code, 'invalid-argument');
      assert.match(error.message, message);
      return true;
    });
  });
}
