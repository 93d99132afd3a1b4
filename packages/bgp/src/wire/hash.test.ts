import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hashBytes } from './hash.ts';

/** murmur3's own factors and their inverses modulo 2^32. */
const inverse = (factor: number): number => {
  let x = factor;
  for (let i = 0; i < 5; i++) x = Math.imul(x, 2 - Math.imul(factor, x));
  return x;
};
const rotate = (word: number, by: number): number => (word << by) | (word >>> (32 - by));
const mix = (word: number): number =>
  Math.imul(rotate(Math.imul(word, 0xcc9e2d51), 15), 0x1b873593);
const unmix = (mixed: number): number =>
  Math.imul(rotate(Math.imul(mixed, inverse(0x1b873593)), 17), inverse(0xcc9e2d51));
const step = (hash: number, word: number): number =>
  (Math.imul(rotate(hash ^ mix(word), 13), 5) + 0xe6546b64) | 0;

test('who knows murmur3 cannot write many texts of one hash', () => {
  const bytes = new Uint8Array(8);
  const view = new DataView(bytes.buffer);
  const hashes = new Set<number>();
  for (let i = 0; i < 1000; i++) {
    view.setInt32(0, i, true);
    view.setInt32(4, unmix(12345 ^ step(bytes.length, i)), true);
    hashes.add(hashBytes(bytes));
  }
  assert.ok(hashes.size > 990, `${hashes.size} hashes of 1,000 texts`);
});

test('equal bytes have equal hashes wherever they lie, others mostly have others', () => {
  const text = Uint8Array.from({ length: 100 }, (_, i) => i * 7);
  const hashes = new Set<number>();
  for (let length = 0; length < 90; length++) {
    const shifted = new Uint8Array(200);
    shifted.set(text.subarray(0, length), 33);
    assert.equal(hashBytes(text, 0, length), hashBytes(shifted, 33, 33 + length));
    hashes.add(hashBytes(text, 0, length));
  }
  assert.equal(hashes.size, 90);
});
