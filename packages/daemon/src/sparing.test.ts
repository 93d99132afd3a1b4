import assert from 'node:assert/strict';
import { test } from 'node:test';
import { silentLog } from './log.ts';
import { sparingLog } from './sparing.ts';

test('what comes too often is counted in place of being said, each message for itself', () => {
  const lines: object[] = [];
  let now = 0;
  const log = sparingLog({ ...silentLog, warn: (fields) => lines.push(fields) }, () => now);
  for (let i = 0; i < 10_000; i++) log.warn({ i }, 'refused');
  assert.equal(lines.length, 20);
  log.warn({}, 'something else');
  assert.equal(lines.length, 21);
  now = 1000;
  for (let i = 0; i < 10; i++) log.warn({ i }, 'refused');
  assert.deepEqual(lines.slice(21), [{ i: 0, leftOut: 9980 }]);
});
