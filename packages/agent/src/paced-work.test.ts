import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { PacedWork } from './paced-work.ts';

test('nothing asked for after its end is done, nor what the work itself asks for then', (t: TestContext) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  let done = 0;
  const pace = new PacedWork(20, () => {
    done++;
    pace[Symbol.dispose]();
    pace.later(20);
  });
  pace.schedule();
  t.mock.timers.tick(20);
  pace.schedule();
  t.mock.timers.tick(10_000);
  assert.equal(done, 1);
});

test('work that throws is paced by what it took all the same', (t: TestContext) => {
  const armed: { work: () => void; ms: number }[] = [];
  t.mock.method(globalThis, 'setTimeout', (work: () => void, ms: number) =>
    armed.push({ work, ms }),
  );
  const pace = new PacedWork(1, () => {
    const started = performance.now();
    while (performance.now() - started < 5);
    throw new Error('odd input');
  });
  pace.schedule();
  assert.throws(() => armed[0]!.work(), /odd input/);
  pace.schedule();
  assert.ok(armed[1]!.ms >= 50, `${armed[1]!.ms}`);
});
