import assert from 'node:assert/strict';
import { test } from 'node:test';
import { silentLog } from '@causeway/daemon';
import { flush, VirtualClock } from '@causeway/tables';
import { OrderedWriter } from './ordered-writer.ts';

test('a write that fails stops what is behind it, and goes on when it can', async () => {
  const clock = new VirtualClock();
  const done: number[] = [];
  let full = true;
  const writer = new OrderedWriter<number>({
    name: 'test',
    apply: (op) => {
      if (op === 2 && full) throw new Error('map is full');
      done.push(op);
    },
    clock,
    random: () => 0.5,
    log: silentLog,
  });
  assert.equal(writer.push([1, 2, 3]), false);
  assert.deepEqual(done, [1]);
  assert.match(String(writer.error), /full/);
  await clock.advance(60_000);
  assert.deepEqual([writer.idle, writer.waiting], [false, 2]);
  full = false;
  await clock.advance(60_000);
  await flush();
  assert.deepEqual(done, [1, 2, 3]);
  assert.equal(writer.error, undefined);
  assert.equal(writer.push([4]), true);
  writer[Symbol.dispose]();
});
