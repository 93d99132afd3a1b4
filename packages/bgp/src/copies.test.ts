import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Copies } from './copies.ts';

test('a copy is what was there, whatever comes to stand there later; a buffer given back is used again', () => {
  const copies = new Copies();
  const shared = Uint8Array.of(1, 2, 3);
  const first = copies.of(shared);
  shared.fill(9);
  assert.deepEqual([...first], [1, 2, 3]);
  const { buffer } = first;
  copies.giveBack(first);
  const second = copies.of(new Uint8Array(1024).fill(7));
  assert.equal(second.buffer, buffer);
  assert.equal(second.length, 1024);
  assert.notEqual(copies.of(shared).buffer, buffer);
  assert.equal(copies.of(new Uint8Array(70_000)).buffer.byteLength, 131_072);
  for (let i = 0; i < 100; i++) copies.giveBack(new Uint8Array(2048));
  const kept = new Set(Array.from({ length: 100 }, () => copies.of(new Uint8Array(2000)).buffer));
  assert.equal(kept.size, 100);
});
