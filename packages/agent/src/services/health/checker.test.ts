import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Address } from '@causeway/ip';
import type { HealthCheck } from '@causeway/loadbalancing';
import { VirtualClock } from '@causeway/tables';
import fc from 'fast-check';
import { Checker, type CheckTarget } from './checker.ts';
import { judge, UNJUDGED } from './judge.ts';
import type { Probe } from './probe.ts';

const check: HealthCheck = {
  type: 'tcp',
  path: '',
  port: undefined,
  intervalMs: 1_000,
  timeoutMs: 500,
  healthyAfter: 2,
  unhealthyAfter: 3,
};

const target = (host: number, over: Partial<HealthCheck> = {}): CheckTarget => ({
  service: 'shop/web',
  backend: `10.1.0.${host}:80/TCP`,
  address: Address.parse(`10.1.0.${host}`),
  port: 80,
  check: { ...check, ...over },
});

function setUp(probe: Probe, options: { concurrency?: number; maxTargets?: number } = {}) {
  const clock = new VirtualClock();
  const told: string[] = [];
  const checker = new Checker({
    probe,
    clock,
    random: () => 0.5,
    concurrency: 64,
    maxTargets: 1_000,
    onVerdict: ({ backend }, { verdict }) => told.push(`${backend.split(':')[0]} ${verdict}`),
    ...options,
  });
  return { clock, told, checker };
}

test('a verdict turns after as many tries in a row, and not before', () => {
  fc.assert(
    fc.property(
      fc.array(fc.boolean(), { maxLength: 40 }),
      fc.integer({ min: 1, max: 5 }),
      fc.integer({ min: 1, max: 5 }),
      (tries, healthyAfter, unhealthyAfter) => {
        let now = UNJUDGED;
        for (const [index, good] of tries.entries()) {
          const before = now;
          now = judge(now, good ? undefined : 'no answer', { healthyAfter, unhealthyAfter });
          const inRow = (wanted: boolean, count: number) =>
            index + 1 >= count &&
            tries.slice(index + 1 - count, index + 1).every((t) => t === wanted);
          if (now.verdict === before.verdict) continue;
          if (now.verdict === 'failing') assert.ok(inRow(false, unhealthyAfter));
          else assert.ok(before.verdict === 'unknown' || inRow(true, healthyAfter));
        }
        if (tries.length >= unhealthyAfter && tries.every((good) => !good)) {
          assert.equal(now.verdict, 'failing');
          assert.equal(now.reason, 'no answer');
        }
      },
    ),
  );
});

test('backends are tried each at its interval, fail and come back', async () => {
  const down = new Set<string>();
  const tried: string[] = [];
  const t = setUp(async ({ address }) => {
    tried.push(address);
    return down.has(address) ? 'connection refused' : undefined;
  });
  using checker = t.checker;
  checker.setTargets([target(1), target(2)]);
  assert.equal(checker.complete, false);
  await t.clock.advance(1_000);
  assert.equal(checker.complete, true);
  assert.deepEqual(t.told, ['10.1.0.1 healthy', '10.1.0.2 healthy']);
  down.add('10.1.0.1');
  await t.clock.advance(2_000);
  assert.equal(checker.judgement('shop/web', '10.1.0.1:80/TCP').verdict, 'healthy', 'two of three');
  await t.clock.advance(1_000);
  assert.deepEqual(t.told.slice(2), ['10.1.0.1 failing']);
  assert.equal(checker.judgement('shop/web', '10.1.0.1:80/TCP').reason, 'connection refused');
  down.clear();
  await t.clock.advance(3_000);
  assert.deepEqual(t.told.slice(3), ['10.1.0.1 healthy']);
  // What is not asked for any more is not tried any more.
  checker.setTargets([]);
  tried.length = 0;
  await t.clock.advance(10_000);
  assert.deepEqual(tried, []);
});

test('a bounded number is tried at once, none twice, and a slow one keeps no other waiting', async () => {
  let running = 0;
  let most = 0;
  const busy = new Set<string>();
  const counts = new Map<string, number>();
  const t = setUp(
    async ({ address, check: { timeoutMs } }, signal) => {
      assert.ok(!busy.has(address), 'never twice at once');
      busy.add(address);
      most = Math.max(most, ++running);
      counts.set(address, (counts.get(address) ?? 0) + 1);
      await t.clock.sleep(address.endsWith('.1') ? timeoutMs : 50, signal);
      running--;
      busy.delete(address);
      return undefined;
    },
    { concurrency: 4 },
  );
  using checker = t.checker;
  checker.setTargets(Array.from({ length: 40 }, (_, i) => target(i + 1)));
  for (let i = 0; i < 100; i++) await t.clock.advance(100);
  assert.equal(most, 4);
  assert.equal(counts.size, 40);
  assert.ok([...counts.values()].every((count) => count >= 5));
});

test('a target that goes while it waits for its turn gives the turn on', async () => {
  const started: string[] = [];
  const open: (() => void)[] = [];
  const t = setUp(
    ({ address }) =>
      new Promise((resolve) => {
        started.push(address);
        open.push(() => resolve(undefined));
      }),
    { concurrency: 1 },
  );
  using checker = t.checker;
  checker.setTargets([target(1), target(2), target(3)]);
  await t.clock.advance(1_000);
  checker.setTargets([target(1), target(3)]);
  open[0]!();
  await t.clock.advance(1);
  assert.deepEqual(started, ['10.1.0.1', '10.1.0.3']);
});

test('another check of the same backend keeps the verdict; too many targets are counted', async () => {
  const t = setUp(async () => 'no route', { maxTargets: 2 });
  using checker = t.checker;
  checker.setTargets([target(1), target(2), target(3)]);
  assert.equal(checker.passedOver, 1);
  await t.clock.advance(4_000);
  checker.setTargets([target(1, { intervalMs: 2_000 })]);
  assert.equal(checker.judgement('shop/web', '10.1.0.1:80/TCP').verdict, 'failing');
  assert.equal(checker.passedOver, 0);
});
