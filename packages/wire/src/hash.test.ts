import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hash32 } from './hash.ts';

test('hash32 gives what it gave: tables and ids of older versions stand on it', () => {
  assert.deepEqual(
    ['', 'a', 'offset 10.0.0.1:80', 'é', '日本'].map(hash32),
    [2872998923, 2448022055, 1421438191, 2705881783, 3490853225],
  );
});
