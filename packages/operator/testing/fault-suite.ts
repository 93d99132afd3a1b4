/** What an operator's death, doubt and loss may not do, over the memory store and over a real etcd. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { silentLog } from '@causeway/daemon';
import { type Kv, systemClock } from '@causeway/etcd';
import { EmptyStoreGuard, etcdStore } from '@causeway/resources';
import { operatorConfig } from '../src/config.ts';
import { Lead } from '../src/lead.ts';
import { KnownStore } from '../src/memory.ts';
import { ELECTION_KEY } from '../src/operator.ts';
import { dyingKv } from './faulty-kv.ts';
import {
  breaches,
  disagreements,
  memoryRecords,
  pool,
  records,
  startOperator,
  TestNode,
  until,
} from './world.ts';

export interface StoreForFaults extends AsyncDisposable {
  connect(): Kv;
  wipe(): Promise<void>;
}

/** More calls than an operator makes in the run below; the test says if it is not. */
const MOST_CALLS = 60;

export function faultSuite(name: string, open: () => Promise<StoreForFaults>): void {
  test(`${name}: an operator that dies at any step of an allocation leaves nothing twice and nothing lost`, async () => {
    await using store = await open();
    await using kv = store.connect();
    await until('the store answers', () => kv.health().connected);
    let steps = 0;
    for (const when of ['before', 'after'] as const) {
      for (let at = 1; at <= MOST_CALLS; at++) {
        const died = await allocateThroughDeath(kv, at, when);
        if (!died) break;
        steps++;
        assert.ok(at < MOST_CALLS, 'the run takes more calls than are tried');
      }
    }
    assert.ok(steps >= 10, `died at ${steps} steps only`);
  });

  test(`${name}: who has lost the lead without knowing it writes nothing`, async () => {
    await using store = await open();
    await using kv = store.connect();
    await etcdStore(kv).apply([
      pool('default', { ipv4: { cidrs: ['10.0.0.0/16'], maskSize: 24 } }),
    ]);
    await using operator = startOperator(kv, { name: 'real' });
    await until('it leads', () => operator.lead !== undefined);
    const { fence } = operator.leading();
    const lost: number[] = [];
    // The fence of an earlier lead, as a process has it that stood still meanwhile.
    const revision = fence.revision - 1;
    await using _stale = new Lead({
      guard: new EmptyStoreGuard(systemClock, new AbortController().signal),
      config: operatorConfig.parse({ name: 'stale', claims: { checkSeconds: 1 } }),
      kv,
      store: etcdStore(kv),
      tables: operator.tables,
      known: new KnownStore(memoryRecords()),
      fence: { key: ELECTION_KEY, revision, compare: { ...fence.compare, revision } as never },
      onFenceLost: () => lost.push(1),
      clock: systemClock,
      wall: Date.now,
      random: Math.random,
      log: silentLog,
    });
    const nodes = Array.from({ length: 20 }, (_, index) => new TestNode(kv, `n${index}`));
    await Promise.all(nodes.map((node) => node.ask('default', 300)));
    await until('all are served', async () => (await records(kv)).length === 40);
    await until('the stale one has noticed', () => lost.length > 0);
    assert.deepEqual(await disagreements(kv, nodes), []);
  });

  test(`${name}: in a store that was emptied nothing is given before its nodes have said what they hold`, async () => {
    await using store = await open();
    await using kv = store.connect();
    await until('the store answers', () => kv.health().connected);
    const pools = [pool('default', { ipv4: { cidrs: ['10.0.0.0/22'], maskSize: 24 } })];
    let ahead = 0;
    const clock = { now: () => systemClock.now() + ahead, sleep: systemClock.sleep };
    const settings = { emptiedGraceSeconds: 3600, records: memoryRecords(), clock };
    await etcdStore(kv).apply(pools);
    await using operator = startOperator(kv, settings);
    const [a, b, c] = ['a', 'b', 'c'].map((each) => new TestNode(kv, each)) as [
      TestNode,
      TestNode,
      TestNode,
    ];
    for (const node of [a, b]) await node.ask('default', 10);
    await until('both are served', async () => (await records(kv)).length === 2);
    const held = new Map([
      [a, await a.allocated()],
      [b, await b.allocated()],
    ]);
    await store.wipe();
    await until('the store is back', async () => {
      try {
        await etcdStore(kv).apply(pools);
        return true;
      } catch {
        return false;
      }
    });
    // The first who comes is one that wants something; those that have something come after it.
    await c.ask('default', 10);
    await until('it leads again', () => operator.status().giving === false);
    for (const node of [a, b]) {
      await node.change((each) => {
        each.requested = [{ pool: 'default', needed: { 'ipv4-addrs': 10 } }];
        each.allocated = [{ pool: 'default', cidrs: held.get(node)! }];
      });
    }
    await until('both are known again', async () => (await records(kv)).length === 2);
    assert.deepEqual(await c.allocated(), []);
    ahead = 3_600_000;
    await c.ask('default', 20);
    await until('c is served', async () => (await c.allocated()).length === 1);
    assert.deepEqual(await disagreements(kv, [a, b, c]), []);
    assert.deepEqual([await a.allocated(), await b.allocated()], [...held.values()]);
  });

  test(`${name}: many nodes ask at once, the leader goes in the middle, and each is served once`, async () => {
    await using store = await open();
    await using kv = store.connect();
    await until('the store answers', () => kv.health().connected);
    await etcdStore(kv).apply([
      pool('default', {
        ipv4: { cidrs: ['10.0.0.0/12'], maskSize: 25 },
        ipv6: { cidrs: ['fd00::/48'], maskSize: 64 },
      }),
    ]);
    const one = startOperator(kv, { name: 'one' });
    await until('one leads', () => one.lead !== undefined);
    await using _two = startOperator(kv, { name: 'two' });
    const nodes = Array.from({ length: 500 }, (_, index) => new TestNode(kv, `n${index}`));
    const asking = Promise.all(nodes.map((node) => node.ask('default', 200, 200)));
    await until('some are served', async () => (await records(kv)).length >= 100);
    await one[Symbol.asyncDispose]();
    await asking;
    await until('all are served', async () => (await records(kv)).length === 1500);
    assert.deepEqual(await disagreements(kv, nodes), []);
  });
}

/** One run of asking, growing and giving back; the first operator dies at its call `at`. False if it made fewer. */
async function allocateThroughDeath(
  kv: Kv,
  at: number,
  when: 'before' | 'after',
): Promise<boolean> {
  await kv.deletePrefix('causeway/allocations/');
  await kv.deletePrefix('causeway/registry/');
  await etcdStore(kv).apply([
    pool('default', {
      ipv4: { cidrs: ['10.0.0.0/22'], maskSize: 24 },
      ipv6: { cidrs: ['fd00::/62'], maskSize: 64 },
    }),
  ]);
  const [a, b] = ['a', 'b'].map((each) => new TestNode(kv, each)) as [TestNode, TestNode];
  let died = false;
  const death = Promise.withResolvers<void>();
  const faulty = dyingKv(kv, at, when, () => {
    died = true;
    death.resolve();
  });
  const first = startOperator(faulty.kv, { name: 'first' });
  await Promise.race([
    until('the first leads', () => died || first.lead !== undefined),
    death.promise,
  ]);
  await using second = startOperator(kv, { name: 'second' });
  // A dead process's lease runs out; closing the object is that, for no call of it reaches the store any more.
  const burial = death.promise.then(() => first[Symbol.asyncDispose]());
  await a.ask('default', 10, 10);
  await until('a is served', async () => (await a.allocated()).length === 2);
  await a.ask('default', 300, 10);
  await b.ask('default', 10, 10);
  await until(
    'both are served',
    async () => (await a.allocated()).length === 3 && (await b.allocated()).length === 2,
  );
  const given = (await a.allocated())[1]!;
  await a.ask('default', 10, 10);
  await a.giveBack(given);
  await until('what is given back is free', async () =>
    (await records(kv)).every(({ cidr }) => cidr !== given),
  );
  assert.deepEqual(await breaches(kv), []);
  await until('all agree', async () => (await disagreements(kv, [a, b])).length === 0);
  if (died) await burial;
  else await first[Symbol.asyncDispose]();
  await second[Symbol.asyncDispose]();
  return died;
}
