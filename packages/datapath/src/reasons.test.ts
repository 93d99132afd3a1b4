import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { REASONS, reasonOf } from './reasons.ts';

const header = readFileSync(
  join(import.meta.dirname, '..', 'bpf', 'lib', 'drop_reasons.h'),
  'utf8',
);

test('C and TypeScript have the same reasons under the same numbers', () => {
  const inC = [...header.matchAll(/^\t(DROP|COUNT)_(\w+) = (\d+),/gm)].map(
    ([, kind, name, number]) => ({
      number: Number(number),
      name: name!.toLowerCase().replaceAll('_', '-'),
      drop: kind === 'DROP',
    }),
  );
  assert.ok(inC.length > 30);
  assert.deepEqual(
    inC,
    REASONS.map(({ number, name, kind }) => ({ number, name, drop: kind === 'drop' })),
  );
  assert.equal(new Set(inC.map(({ number }) => number)).size, inC.length, 'each number once');
});

test('a number that nobody knows is shown as it is', () => {
  assert.equal(reasonOf(99).name, 'reason-99');
  assert.equal(reasonOf(99).kind, 'drop');
});
