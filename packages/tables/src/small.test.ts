import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { exponentialBackoff } from './backoff.ts';
import { clockFrom } from './clock.ts';
import { TokenBucket } from './rate-limit.ts';
import { describeError, printStatus } from './status.ts';
import { deepEqual, deepFreeze, jsonable } from './values.ts';
import { VirtualClock } from './virtual-clock.ts';
import { type Work, WorkQueue } from './work.ts';

test('back-off doubles up to its maximum and spreads by its jitter', () => {
  const low = exponentialBackoff(() => 0, { min: 100, max: 1000, jitter: 0.5 });
  const high = exponentialBackoff(() => 1, { min: 100, max: 1000, jitter: 0.5 });
  assert.deepEqual([1, 2, 3, 4, 5, 5000].map(low), [50, 100, 200, 400, 500, 500]);
  assert.deepEqual([1, 2, 3, 4, 5, 5000].map(high), [100, 200, 400, 800, 1000, 1000]);
});

test('a token bucket never gives more than its rate and burst allow', () => {
  fc.assert(
    fc.property(fc.array(fc.record({ after: fc.nat(300), wanted: fc.nat(20) })), (steps) => {
      const bucket = new TokenBucket({ perSecond: 50, burst: 10 }, 0);
      let now = 0;
      let taken = 0;
      for (const { after, wanted } of steps) {
        now += after;
        taken += bucket.take(wanted, now);
        assert.ok(taken <= 10 + now * 0.05 + 1e-6);
      }
      now += bucket.wait(now);
      assert.equal(bucket.take(1, now), 1);
    }),
  );
});

test('values are equal, frozen and printed by their contents', () => {
  assert.equal(deepEqual(new Set([1, 'a']), new Set(['a', 1])), true);
  assert.equal(
    deepEqual(new Set([{}]), new Set([{}])),
    false,
    'members of a set are alike only if identical',
  );
  const plain = () => ({
    a: [1, { b: 2n }],
    m: new Map([['k', [1]]]),
    u: Uint8Array.of(1, 2),
    d: new Date(0),
    n: Number.NaN,
  });
  assert.equal(deepEqual(plain(), plain()), true);
  assert.equal(deepEqual({ a: undefined }, {}), false);
  assert.equal(deepEqual([1, 2], [1, 2, 3]), false);
  assert.equal(deepEqual({ a: 1 }, [1]), false);
  assert.equal(deepEqual(Uint8Array.of(1), Uint8Array.of(2)), false);
  const frozen = deepFreeze(plain());
  assert.throws(() => (frozen.a as unknown[]).push(1), TypeError);
  assert.deepEqual(
    jsonable({ ...plain(), gone: undefined, e: Object.assign(new Error('no'), { code: 'X' }) }),
    {
      a: [1, { b: '2' }],
      m: { k: [1] },
      u: '0102',
      d: '1970-01-01T00:00:00.000Z',
      n: 'NaN',
      e: { code: 'X', message: 'no' },
    },
  );
});

test('errors and statuses say what they are, whatever was thrown', () => {
  assert.deepEqual(describeError(Object.assign(new Error('m'), { code: 'ENOENT' })), {
    code: 'ENOENT',
    message: 'm',
  });
  assert.deepEqual(describeError(Object.assign(new Error('m'), { code: 7 })), {
    code: 'unknown',
    message: 'm',
  });
  assert.deepEqual(describeError('text'), { code: 'unknown', message: 'text' });
  assert.equal(printStatus(undefined), 'pending');
  assert.equal(printStatus({ type: 'done', revision: 1, at: 0 }), 'done');
});

test('the virtual clock wakes sleepers in order and at their time', async () => {
  const clock = new VirtualClock(0);
  const log: string[] = [];
  const run = async (name: string, ms: number) => {
    await clock.sleep(ms);
    log.push(`${name}@${clock.now()}`);
    if (name === 'b') await run('c', 5);
  };
  void run('late', 20);
  void run('b', 10);
  const stop = new AbortController();
  void clock.sleep(1e9, stop.signal).then(() => log.push('aborted'));
  await clock.advance(15);
  assert.deepEqual(log, ['b@10', 'c@15']);
  stop.abort();
  await clock.advance(5);
  assert.deepEqual(log, ['b@10', 'c@15', 'aborted', 'late@20']);
  assert.equal(clock.sleeping, 0);
});

test('a clock of the host never goes back and forgets aborted timers', async () => {
  let time = 100;
  const timers = new Map<number, () => void>();
  let next = 1;
  const clock = clockFrom({
    now: () => time,
    start: (callback, ms) => {
      assert.ok(ms >= 0 && ms < 2 ** 31);
      timers.set(next, callback);
      return next++;
    },
    stop: (handle) => timers.delete(handle),
  });
  assert.equal(clock.now(), 100);
  time = 50;
  assert.equal(clock.now(), 100);
  const stop = new AbortController();
  const sleeping = clock.sleep(1e12, stop.signal);
  stop.abort();
  await sleeping;
  assert.equal(timers.size, 0);
  await clock.sleep(5, stop.signal);
});

test('model: the work queue gives the oldest ready work and releases failed work by time', () => {
  const step = fc.oneof(
    fc.record({ type: fc.constant('add' as const), key: fc.nat(6), remove: fc.boolean() }),
    fc.record({
      type: fc.constant('take' as const),
      most: fc.integer({ min: 1, max: 3 }),
      due: fc.nat(50),
    }),
    fc.record({ type: fc.constant('pass' as const), ms: fc.nat(30) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
      const queue = new WorkQueue<string, number>();
      const ready = new Map<number, Work<string, number>>();
      const failed = new Map<number, { work: Work<string, number>; due: number }>();
      let now = 0;
      let revision = 0;
      for (const action of steps) {
        if (action.type === 'add') {
          const { key, remove } = action;
          const work = {
            type: remove ? ('delete' as const) : ('update' as const),
            key,
            row: '',
            revision: ++revision,
            attempts: 0,
          };
          queue.add(work);
          failed.delete(key);
          ready.delete(key);
          ready.set(key, work);
        } else if (action.type === 'pass') {
          now += action.ms;
          queue.release(now);
          const due = [...failed].filter(([, item]) => item.due <= now).map(([key]) => key);
          for (const key of due) {
            ready.set(key, (failed.get(key) as { work: Work<string, number> }).work);
            failed.delete(key);
          }
        } else {
          const batch = queue.take(action.most);
          assert.ok(batch.length <= action.most);
          assert.equal(new Set(batch.map((work) => work.type)).size <= 1, true);
          for (const work of batch) {
            assert.equal(ready.get(work.key), work);
            ready.delete(work.key);
            queue.defer(work, now + action.due);
            failed.set(work.key, { work, due: now + action.due });
          }
        }
        assert.equal(queue.ready, ready.size);
        assert.equal(queue.failed, failed.size);
        const next = Math.min(...[...failed.values()].map((item) => item.due));
        assert.equal(queue.nextDue() ?? Number.POSITIVE_INFINITY, next);
      }
    }),
    { numRuns: 300 },
  );
});
