import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { ByteReader, ByteWriter, WireError } from '../index.ts';

test('the README’s example runs, and is this one', () => {
  // example
  const writer = new ByteWriter('little').u16(0).u16(3).cstring('eth0');
  writer.patchU16(0, writer.length).align(4);

  const reader = new ByteReader(writer.finish(), 'little');
  const attribute = reader.sub(reader.u16() - 2); // its own end: nothing is read beyond it
  const type = attribute.u16(); // 3
  const name = attribute.cstring(attribute.left); // 'eth0'
  let refusal: unknown;
  try {
    attribute.u32();
  } catch (error) {
    refusal = error; // WireError truncated: offset 9, wanted 4, left 0
  }
  // end
  assert.deepEqual([type, name], [3, 'eth0']);
  assert.ok(refusal instanceof WireError);
  assert.deepEqual(
    [refusal.code, refusal.offset, refusal.wanted, refusal.left],
    ['truncated', 9, 4, 0],
  );
  const own = readFileSync(import.meta.filename, 'utf8');
  const example =
    /\/\/ example\n([\s\S]*?) {2}\/\/ end/.exec(own)?.[1]?.replaceAll(/^ {2}/gm, '') ?? '?';
  assert.ok(readFileSync(`${import.meta.dirname}/../README.md`, 'utf8').includes(example));
});
