import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Turns } from './turns.ts';

test('so many have a turn at a time; who is given up has none', async () => {
  const turns = new Turns(2);
  const { signal } = new AbortController();
  const first = await turns.take(signal);
  const second = await turns.take(signal);
  const impatient = new AbortController();
  const log: string[] = [];
  const third = turns.take(signal).then((giveBack) => {
    log.push('third');
    return giveBack;
  });
  const fourth = turns.take(impatient.signal).then(() => log.push('given up'));
  impatient.abort();
  await fourth;
  assert.deepEqual(log, ['given up']);
  first();
  first();
  const giveBack = await third;
  assert.deepEqual(log, ['given up', 'third']);
  const fifth = turns.take(signal);
  second();
  (await fifth)();
  giveBack();
});
