import assert from 'node:assert/strict';
import { test } from 'node:test';
import { silentLog } from '@causeway/daemon';
import type { Address } from '@causeway/ip';
import { VirtualClock } from '@causeway/tables';
import type { EchoRounds } from './echo-rounds.ts';
import { GroupWatch, type OpenEcho } from './group-watch.ts';

test('one that cannot be asked hinders no round, is told once, and is asked as soon as there is a way', async () => {
  const clock = new VirtualClock();
  const told: unknown[] = [];
  let unroutable = true;
  const open: OpenEcho = (address) => {
    if (unroutable && address === '10.0.0.2') throw new Error('ENETUNREACH');
    let heard: number[] = [];
    return {
      send: (sequence) => {
        heard.push(sequence);
        return 0;
      },
      heard: () => heard.splice(0),
      [Symbol.dispose]() {
        heard = [];
      },
    };
  };
  let rounds: EchoRounds | undefined;
  let passed = 0;
  await using _watch = new GroupWatch({
    watched: () => [
      { name: 'w', address: '10.0.0.2' as Address, rival: false },
      { name: 'b', address: '10.0.0.1' as Address, rival: true },
    ],
    open,
    clock,
    onRound: async (each) => {
      rounds = each;
      passed++;
    },
    log: { ...silentLog, warn: (fields: unknown) => told.push(fields) } as never,
  });
  await clock.advance(3_000);
  assert.ok(passed > 10, `${passed} rounds`);
  assert.ok(rounds?.connected, 'the other answers');
  assert.deepEqual(told, [{ node: 'w', address: '10.0.0.2', error: 'ENETUNREACH' }]);
  unroutable = false;
  await clock.advance(1_000);
  unroutable = true;
  await clock.advance(1_000);
  assert.equal(told.length, 1, 'what is open stays open');
});
