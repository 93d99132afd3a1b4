import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Database } from './database.ts';
import { TablesError } from './errors.ts';
import { type Operations, Reconciler, type ReconcilerOptions } from './reconciler.ts';
import { flush, VirtualClock } from './virtual-clock.ts';

interface Route {
  readonly id: string;
  readonly via: string;
}

const failure = (code: string) => Object.assign(new Error(`failed: ${code}`), { code });

/** A world that can refuse, be slow and be changed by others, and a log of what was asked of it. */
class World implements Operations<Route, string> {
  readonly routes = new Map<string, string>();
  readonly log: string[] = [];
  refuse: (key: string) => Error | undefined = () => undefined;
  throwing: Error | undefined;
  hold: Promise<void> | undefined;

  async #arrive(): Promise<void> {
    if (this.hold) await this.hold;
    if (this.throwing) throw this.throwing;
  }

  async update(batch: readonly { key: string; row: Route }[]) {
    this.log.push(`update ${batch.map(({ key }) => key).join(',')}`);
    await this.#arrive();
    return batch.map(({ key, row }) => {
      const error = this.refuse(key);
      if (!error) this.routes.set(key, row.via);
      return error;
    });
  }

  async delete(batch: readonly { key: string; row: Route }[]) {
    this.log.push(`delete ${batch.map(({ key }) => key).join(',')}`);
    await this.#arrive();
    return batch.map(({ key }) => {
      const error = this.refuse(key);
      if (!error) this.routes.delete(key);
      return error;
    });
  }

  async prune(rows: readonly Route[]) {
    const wanted = new Set(rows.map((row) => row.id));
    this.log.push(`prune ${rows.length}`);
    await this.#arrive();
    for (const key of this.routes.keys()) if (!wanted.has(key)) this.routes.delete(key);
  }
}

function setUp(options: Partial<ReconcilerOptions<Route, string>> = {}) {
  const database = new Database({ freeze: true });
  const table = database.table({ name: 'routes', key: (row: Route) => row.id });
  const world = new World();
  const clock = new VirtualClock();
  const reconciler = new Reconciler<Route>({
    name: 'kernel',
    table,
    operations: world,
    clock,
    random: () => 0.5,
    backoff: { min: 100, max: 1000 },
    ...options,
  });
  return { database, table, world, clock, reconciler };
}

test('a refresh does not wait for the time of what failed, be it a row or a deletion', async () => {
  const { table, world, clock, reconciler } = setUp({ backoff: { min: 5_000, max: 10_000 } });
  await using _reconciler = reconciler;
  table.put({ id: 'a', via: 'x' });
  await flush();
  world.refuse = () => failure('away');
  table.put({ id: 'b', via: 'x' });
  table.delete('a');
  await clock.advance(100);
  assert.deepEqual([...world.routes.keys()], ['a']);
  world.refuse = () => undefined;
  reconciler.refresh();
  await flush();
  assert.deepEqual([...world.routes.keys()], ['b']);
  assert.equal(reconciler.metrics().errors, 0);
});

test('rows are applied in batches, deletions too, and each has a status', async () => {
  const { table, world, reconciler } = setUp();
  table.put({ id: 'a', via: '1' });
  table.put({ id: 'b', via: '2' });
  assert.deepEqual(reconciler.status('a'), { type: 'pending', revision: 1 });
  await reconciler.settled();
  assert.deepEqual(world.log, ['update a,b', 'prune 2']);
  assert.equal(reconciler.status('a')?.type, 'done');
  table.put({ id: 'a', via: '3' });
  assert.equal(reconciler.status('a')?.type, 'pending');
  table.delete('b');
  await reconciler.settled();
  assert.deepEqual([...world.routes], [['a', '3']]);
  assert.equal(reconciler.status('b'), undefined);
  const { updates, deletes, prunes, pending, errors, synced } = reconciler.metrics();
  assert.deepEqual(
    { updates, deletes, prunes, pending, errors, synced },
    {
      updates: 3,
      deletes: 1,
      prunes: 1,
      pending: 0,
      errors: 0,
      synced: true,
    },
  );
  assert.deepEqual(table.print().rows, [{ id: 'a', via: '3', kernel: 'done' }]);
  await reconciler[Symbol.asyncDispose]();
});

test('nothing is pruned before every source has delivered', async () => {
  const { table, world, clock, reconciler } = setUp();
  world.routes.set('stale', 'x');
  const source = table.source('k8s');
  table.put({ id: 'a', via: '1' });
  await clock.advance(60_000);
  assert.deepEqual(world.log, ['update a']);
  assert.equal(reconciler.metrics().synced, false);
  assert.ok(world.routes.has('stale'));
  source.done();
  await clock.advance(0);
  assert.deepEqual(world.log, ['update a', 'prune 1']);
  assert.deepEqual([...world.routes.keys()], ['a']);
  await reconciler[Symbol.asyncDispose]();
});

test('a failed row backs off alone, with its reason, and comes good', async () => {
  const { table, world, clock, reconciler } = setUp();
  world.refuse = (key) => (key === 'bad' ? failure('ENOBUFS') : undefined);
  table.put({ id: 'bad', via: '1' });
  table.put({ id: 'good', via: '1' });
  await clock.advance(0);
  assert.equal(reconciler.status('good')?.type, 'done');
  const { nextRetry, ...status } = reconciler.status('bad') as { nextRetry: number };
  assert.deepEqual(status, {
    type: 'error',
    revision: 1,
    code: 'ENOBUFS',
    message: 'failed: ENOBUFS',
    attempts: 1,
  });
  // Half of 100 ms is fixed, half is random; random is 0.5.
  assert.equal(nextRetry, clock.now() + 75);
  assert.equal(reconciler.metrics().errors, 1);
  assert.deepEqual(
    [...reconciler.failures()].map(({ key }) => key),
    ['bad'],
  );
  assert.match(
    String(table.print().rows[0]?.kernel),
    /error: ENOBUFS: failed: ENOBUFS \(1 attempts\)/,
  );
  await clock.advance(74);
  assert.equal(world.log.filter((line) => line === 'update bad').length, 0);
  await clock.advance(1);
  assert.equal((reconciler.status('bad') as { attempts: number }).attempts, 2);
  await clock.advance(20_000);
  const attempts = (reconciler.status('bad') as { attempts: number }).attempts;
  assert.ok(attempts > 20 && attempts < 35, `${attempts} attempts with at most 1 s between them`);
  world.refuse = () => undefined;
  await clock.advance(1000);
  assert.equal(reconciler.status('bad')?.type, 'done');
  assert.equal(reconciler.metrics().errors, 0);
  assert.equal(reconciler.metrics().lastError?.key, 'bad');
  await reconciler[Symbol.asyncDispose]();
});

test('a thrown error fails the batch, a deletion as well', async () => {
  const { table, world, clock, reconciler } = setUp();
  table.put({ id: 'a', via: '1' });
  await reconciler.settled();
  world.throwing = failure('EPERM');
  table.delete('a');
  table.put({ id: 'b', via: '1' });
  await clock.advance(10);
  assert.equal(reconciler.status('a')?.type, 'error');
  assert.equal(reconciler.status('b')?.type, 'error');
  assert.equal(reconciler.metrics().errors, 2);
  world.throwing = undefined;
  await clock.advance(1000);
  assert.deepEqual([...world.routes.keys()], ['b']);
  assert.equal(reconciler.done, true);
  await reconciler[Symbol.asyncDispose]();
});

test('a row that comes back while its deletion fails is only updated', async () => {
  const { table, world, clock, reconciler } = setUp();
  table.put({ id: 'a', via: '1' });
  await reconciler.settled();
  world.throwing = failure('EBUSY');
  table.delete('a');
  await clock.advance(10);
  world.throwing = undefined;
  table.put({ id: 'a', via: '2' });
  await clock.advance(5000);
  assert.deepEqual([...world.routes], [['a', '2']]);
  assert.deepEqual(
    world.log.filter((line) => line.startsWith('delete')),
    ['delete a'],
  );
  await reconciler[Symbol.asyncDispose]();
});

test('a slow result never speaks for newer intent', async () => {
  const { table, world, clock, reconciler } = setUp();
  const { promise, resolve } = Promise.withResolvers<void>();
  world.hold = promise;
  table.put({ id: 'a', via: 'old' });
  await flush();
  table.put({ id: 'a', via: 'new' });
  world.hold = undefined;
  resolve();
  await flush(3);
  assert.notEqual(reconciler.status('a')?.type === 'done' && world.routes.get('a') === 'old', true);
  await clock.advance(0);
  assert.equal(world.routes.get('a'), 'new');
  assert.deepEqual(reconciler.status('a'), { type: 'done', revision: 2, at: clock.now() });
  await reconciler[Symbol.asyncDispose]();
});

test('the outcome of one row can be waited for', async () => {
  const { table, world, clock, reconciler } = setUp();
  table.put({ id: 'a', via: '1' });
  assert.equal((await reconciler.outcome('a'))?.type, 'done');
  world.refuse = () => failure('EINVAL');
  table.put({ id: 'a', via: '2' });
  const status = await reconciler.outcome('a');
  assert.equal(status?.type === 'error' && status.code, 'EINVAL');
  assert.equal(await reconciler.outcome('none'), undefined);
  const attempted = await reconciler.attempted();
  assert.equal(attempted.errors, 1);
  await assert.rejects(reconciler.settled(AbortSignal.timeout(1)));
  const waiting = assert.rejects(
    reconciler.settled(),
    (error: unknown) => error instanceof TablesError && error.code === 'closed',
  );
  await clock.advance(0);
  await reconciler[Symbol.asyncDispose]();
  await waiting;
});

test('a full pass comes at every interval and repairs what others changed', async () => {
  const { table, world, clock, reconciler } = setUp({ refreshInterval: 10_000 });
  table.put({ id: 'a', via: '1' });
  await reconciler.settled();
  world.routes.set('a', 'changed');
  world.routes.set('foreign', 'x');
  await clock.advance(9_999);
  assert.equal(world.routes.get('a'), 'changed');
  await clock.advance(1);
  assert.deepEqual([...world.routes], [['a', '1']]);
  world.routes.set('a', 'changed');
  assert.equal(reconciler.reapply('a'), true);
  assert.equal(reconciler.reapply('none'), false);
  await clock.advance(0);
  assert.equal(world.routes.get('a'), '1');
  reconciler.refresh();
  await clock.advance(0);
  assert.equal(reconciler.metrics().refreshes, 2);
  await reconciler[Symbol.asyncDispose]();
});

test('a world that says it is unchanged is not compared, and rows that change are applied all the same', async () => {
  let unchanged = true;
  const world = new World();
  const { table, clock, reconciler } = setUp({
    refreshInterval: 10_000,
    operations: Object.assign(world, { unchanged: () => unchanged }),
  });
  table.put({ id: 'a', via: '1' });
  await reconciler.settled();
  world.log.length = 0;
  await clock.advance(10_000);
  reconciler.refresh();
  table.put({ id: 'b', via: '2' });
  await clock.advance(0);
  assert.deepEqual(world.log, ['update b']);
  unchanged = false;
  await clock.advance(10_000);
  assert.deepEqual(world.log, ['update b', 'update a,b', 'prune 2']);
  assert.equal(reconciler.metrics().refreshes, 3);
  await reconciler[Symbol.asyncDispose]();
});

test('a called-for refresh tries again what failed though the world says it is unchanged; a timed one does not', async () => {
  const world = new World();
  const { table, clock, reconciler } = setUp({
    refreshInterval: 10_000,
    backoff: { min: 60_000, max: 60_000 },
    operations: Object.assign(world, { unchanged: () => true }),
  });
  await using _reconciler = reconciler;
  world.refuse = (key) => (key === 'bad' ? failure('away') : undefined);
  table.put({ id: 'good', via: '1' });
  table.put({ id: 'bad', via: '1' });
  await flush();
  world.log.length = 0;
  await clock.advance(10_000);
  assert.deepEqual(world.log, []);
  reconciler.refresh();
  await flush();
  assert.deepEqual(world.log, ['update bad']);
});

test('a called-for refresh does not wait for the time of a prune that failed', async () => {
  const world = new World();
  const { clock, reconciler } = setUp({
    backoff: { min: 60_000, max: 60_000 },
    operations: Object.assign(world, { unchanged: () => true }),
  });
  await using _reconciler = reconciler;
  world.throwing = failure('EPERM');
  await clock.advance(0);
  assert.equal(reconciler.metrics().synced, false);
  world.throwing = undefined;
  reconciler.refresh();
  await flush();
  assert.equal(reconciler.metrics().synced, true);
});

test('what failed is tried again once a second at most, however often a refresh is called for', async () => {
  for (const unchanged of [true, false]) {
    const world = new World();
    const { table, clock, reconciler } = setUp({
      backoff: { min: 60_000, max: 60_000 },
      operations: Object.assign(world, { unchanged: () => unchanged }),
    });
    await using _reconciler = reconciler;
    world.refuse = () => failure('away');
    table.put({ id: 'bad', via: '1' });
    await flush();
    world.log.length = 0;
    for (let i = 0; i < 100; i++) {
      reconciler.refresh();
      await clock.advance(100);
    }
    const tries = world.log.filter((each) => each === 'update bad').length;
    assert.ok(tries >= 10 && tries <= 11, `${tries} in ten seconds`);
    // The last call is heard too, when its second is over.
    world.refuse = () => undefined;
    reconciler.refresh();
    await clock.advance(1000);
    assert.equal(world.routes.get('bad'), '1');
  }
});

test('a failed prune is tried again and is not a sync', async () => {
  const { world, clock, reconciler } = setUp();
  world.throwing = failure('EIO');
  await clock.advance(10);
  assert.equal(reconciler.metrics().pruneFailures, 1);
  assert.equal(reconciler.done, false);
  world.throwing = undefined;
  await clock.advance(1000);
  assert.equal(reconciler.metrics().synced, true);
  await reconciler[Symbol.asyncDispose]();
});

test('batches are bounded, and the rate is limited over time', async () => {
  const { table, world, clock, reconciler } = setUp({
    batchSize: 4,
    rateLimit: { perSecond: 10, burst: 5 },
  });
  for (let i = 0; i < 20; i++) table.put({ id: `r${i}`, via: '1' });
  await clock.advance(0);
  assert.equal(world.routes.size, 5);
  await clock.advance(500);
  assert.equal(world.routes.size, 10);
  await clock.advance(1000);
  assert.equal(world.routes.size, 20);
  for (const line of world.log) assert.ok(line.split(',').length <= 4, line);
  await reconciler[Symbol.asyncDispose]();
});

test('work gathers for the settle time', async () => {
  const { table, world, clock, reconciler } = setUp({ settle: 20 });
  await clock.advance(0);
  table.put({ id: 'a', via: '1' });
  await clock.advance(10);
  table.put({ id: 'b', via: '1' });
  await clock.advance(20);
  assert.deepEqual(
    world.log.filter((line) => line.startsWith('update')),
    ['update a,b'],
  );
  await reconciler[Symbol.asyncDispose]();
});

test('disposal waits for what is in flight, starts nothing else and leaves nothing', async () => {
  const { table, world, clock, reconciler } = setUp({ refreshInterval: 1000 });
  const { promise, resolve } = Promise.withResolvers<void>();
  world.hold = promise;
  table.put({ id: 'a', via: '1' });
  await flush();
  table.put({ id: 'b', via: '1' });
  let closed = false;
  const closing = reconciler[Symbol.asyncDispose]().then(() => {
    closed = true;
  });
  await flush();
  assert.equal(closed, false);
  resolve();
  await closing;
  await reconciler[Symbol.asyncDispose]();
  assert.deepEqual(world.log, ['update a']);
  assert.equal(clock.sleeping, 0);
  assert.deepEqual(table.trackers(), []);
  assert.deepEqual(table.print().columns, ['id', 'via']);
});

test('options out of range are refused by name', () => {
  const code = (error: unknown) => error instanceof TablesError && error.code === 'invalid-option';
  assert.throws(() => setUp({ batchSize: 0 }), code);
  assert.throws(() => setUp({ refreshInterval: 0 }), code);
  assert.throws(() => setUp({ backoff: { min: 0 } }), code);
  assert.throws(() => setUp({ rateLimit: { perSecond: 0 } }), code);
});

test('model: whatever fails and whenever, the world becomes the table', async () => {
  const step = fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({ type: fc.constant('put' as const), id: fc.nat(5), via: fc.nat(3) }),
    },
    { weight: 3, arbitrary: fc.record({ type: fc.constant('delete' as const), id: fc.nat(5) }) },
    { weight: 3, arbitrary: fc.record({ type: fc.constant('wait' as const), ms: fc.nat(400) }) },
    {
      weight: 2,
      arbitrary: fc.record({
        type: fc.constant('fail' as const),
        ids: fc.array(fc.nat(5)),
        all: fc.boolean(),
      }),
    },
    { weight: 1, arbitrary: fc.record({ type: fc.constant('foreign' as const), id: fc.nat(8) }) },
  );
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { maxLength: 30 }),
      fc.integer({ min: 1, max: 5 }),
      async (steps, batchSize) => {
        const { table, world, clock, reconciler } = setUp({ batchSize, refreshInterval: 5000 });
        const source = table.source('test');
        for (const action of steps) {
          if (action.type === 'put') table.put({ id: `r${action.id}`, via: String(action.via) });
          else if (action.type === 'delete') table.delete(`r${action.id}`);
          else if (action.type === 'wait') await clock.advance(action.ms);
          else if (action.type === 'foreign') world.routes.set(`r${action.id}`, 'foreign');
          else {
            const bad = new Set(action.ids.map((id) => `r${id}`));
            world.refuse = (key) => (bad.has(key) ? failure('EBAD') : undefined);
            world.throwing = action.all ? failure('EALL') : undefined;
          }
        }
        assert.ok(
          !world.log.some((line) => line.startsWith('prune')),
          'no prune before the source is done',
        );
        source.done();
        world.refuse = () => undefined;
        world.throwing = undefined;
        await clock.advance(12_000);
        assert.deepEqual(world.routes, new Map([...table].map((row) => [row.id, row.via])));
        for (const row of table) assert.equal(reconciler.status(row.id)?.type, 'done');
        const { errors, pending } = reconciler.metrics();
        assert.deepEqual({ errors, pending }, { errors: 0, pending: 0 });
        await reconciler[Symbol.asyncDispose]();
        assert.equal(table.graves, 0);
        assert.equal(clock.sleeping, 0);
      },
    ),
    { numRuns: 60 },
  );
});
