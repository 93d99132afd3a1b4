import assert from 'node:assert/strict';
import { test } from 'node:test';
import { VirtualClock } from '@causeway/tables';
import { ListSchedule } from './list-schedule.ts';

const HOUR = 3_600_000;
const poll = {
  ...{ changesSeconds: 7200, rollCallSeconds: 7200, resyncSeconds: 86_400 },
  ...{ rollCallShare: 0.1, overlapSeconds: 30 },
};

/** How often everything is asked for in an hour in which each answer takes a second and more is missed meanwhile. */
async function resyncsOfAnHour(fails: boolean): Promise<number> {
  const clock = new VirtualClock();
  const schedule = new ListSchedule(poll, clock);
  const stop = new AbortController();
  let count = 0;
  const work = async () => {
    while (!stop.signal.aborted && count < 1000) {
      const list = await schedule.due(stop.signal);
      if (list === undefined) continue;
      const made = schedule.making(list);
      if (list === 'resync') {
        count++;
        await clock.sleep(1000, stop.signal);
        schedule.call('resync');
      }
      if (list === 'resync' && fails && schedule.synced) {
        schedule.resyncFailed();
        schedule.call('resync');
      } else made();
    }
  };
  const working = work();
  await clock.advance(HOUR);
  stop.abort();
  await working;
  return count;
}

test('everything is not asked for without pause, however often it is called for', async () => {
  for (const fails of [false, true]) {
    const count = await resyncsOfAnHour(fails);
    assert.ok(count >= 55 && count <= 61, `${count} in an hour`);
  }
});

test('a single call for everything is answered at once', async () => {
  const clock = new VirtualClock();
  const schedule = new ListSchedule(poll, clock);
  const { signal } = new AbortController();
  for (const list of ['resync', 'changes', 'roll'] as const) schedule.making(list)();
  await clock.advance(1000);
  schedule.call('resync');
  assert.equal(await schedule.due(signal), 'resync');
});
