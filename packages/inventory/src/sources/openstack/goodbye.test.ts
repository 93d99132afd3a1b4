import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import { test } from 'node:test';
import { flush, VirtualClock } from '@causeway/tables';
import type { ChannelModel } from 'amqplib';
import { closeQuietly } from './goodbye.ts';

function silentBroker() {
  const clock = new VirtualClock();
  let destroyed = false;
  const model = Object.assign(new EventEmitter(), {
    close: () => new Promise<void>(() => {}),
    connection: {
      stream: {
        destroy: () => {
          destroyed = true;
        },
      },
    },
  });
  let left = false;
  const leaving = closeQuietly(model as unknown as ChannelModel, clock).then(() => {
    left = true;
  });
  return { clock, model, leaving, seen: () => [left, destroyed] };
}

test('who takes leave of a broker does not wait for one that does not answer', async () => {
  const { clock, leaving, seen } = silentBroker();
  await clock.advance(1_900);
  assert.deepEqual(seen(), [false, false]);
  await clock.advance(100);
  assert.deepEqual(seen(), [true, true]);
  await leaving;
});

test('nor for one whose connection breaks before it answers', async () => {
  const { model, leaving, seen } = silentBroker();
  await flush();
  model.emit('close', new Error('Unexpected close'));
  await flush();
  assert.deepEqual(seen(), [true, true]);
  await leaving;
});
