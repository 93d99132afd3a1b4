import assert from 'node:assert/strict';
import { test } from 'node:test';
import { flush, VirtualClock } from '@causeway/tables';
import { HeldLease } from './lease.ts';

function held(ttl: number) {
  const clock = new VirtualClock();
  const renewals: number[] = [];
  const start = clock.now();
  const lease = new HeldLease('7', ttl, {
    clock,
    random: () => 0.5,
    deadline: 5000,
    keepAlive: async () => {
      renewals.push(clock.now() - start);
      return ttl;
    },
    revoke: async () => {},
    onEnded: () => {},
  });
  return { clock, lease, renewals };
}

test('a lease is renewed at each third of its life', async () => {
  const { clock, lease, renewals } = held(30);
  await clock.advance(30_000);
  assert.deepEqual(renewals, [10_000, 20_000, 30_000]);
  lease.abandon();
  await flush();
  assert.equal(clock.sleeping, 0);
});

test('a doubt renews at once; a crowd of them renews once a second, and none is lost', async () => {
  const { clock, lease, renewals } = held(900);
  lease.check();
  await flush();
  assert.deepEqual(renewals, [0]);
  for (let i = 0; i < 100; i++) {
    lease.check();
    await clock.advance(1);
  }
  assert.deepEqual(renewals, [0]);
  await clock.advance(2_000);
  assert.deepEqual(renewals, [0, 1000]);
  lease.abandon();
});
