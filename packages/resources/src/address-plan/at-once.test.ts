import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Kv, memoryEtcd } from '@causeway/etcd';
import { VirtualClock } from '@causeway/tables';
import fc from 'fast-check';
import { everyWay, startWorker, type Worker } from '../../testing/interleaving.ts';
import { prefixOf } from '../codec.ts';
import { ResourceError } from '../errors.ts';
import { etcdStore } from '../etcd-store.ts';
import { KINDS } from '../kinds.ts';
import { COMING_COUNT, COMING_RANGES } from './coming.ts';
import { PLAN_GUARD } from './guard.ts';

const POOLS = prefixOf(KINDS.CiliumPodIPPool as never);
const NODES = prefixOf(KINDS.CiliumNode as never);

const pool = (name: string, cidr = '10.0.0.0/16') => ({
  apiVersion: 'cilium.io/v2alpha1',
  kind: 'CiliumPodIPPool',
  metadata: { name },
  spec: { ipv4: { cidrs: [cidr], maskSize: 24 } },
});
const node = (name: string, ip = '10.0.0.7') => ({
  apiVersion: 'cilium.io/v2',
  kind: 'CiliumNode',
  metadata: { name },
  spec: { addresses: [{ type: 'InternalIP', ip }] },
});
type Manifest = ReturnType<typeof pool> | ReturnType<typeof node>;

/** Where it makes a difference that another comes between. */
function matters(call: string): boolean {
  const reads = [
    `get ${PLAN_GUARD} ${COMING_COUNT}`,
    ...[POOLS, NODES, COMING_RANGES].map((each) => `list ${each}`),
  ];
  return reads.includes(call) || call.startsWith('write ') || call === 'give back';
}

/** The same for pools among themselves: what they say and take back, only nodes heed. */
function mattersToPools(call: string): boolean {
  return (
    matters(call) &&
    call !== 'give back' &&
    !/^(write|list) \S*coming|^list \S*ciliumnodes/.test(call)
  );
}

interface World extends AsyncDisposable {
  readonly kv: Kv;
  readonly workers: readonly Worker[];
}

async function open(objects: readonly Manifest[], holds = matters): Promise<World> {
  const etcd = memoryEtcd({ clock: new VirtualClock() });
  const workers: Worker[] = [];
  for (const object of objects) {
    workers.push(await startWorker(etcd.connect(), holds, (kv) => etcdStore(kv).apply([object])));
  }
  return { kv: etcd.connect(), workers, [Symbol.asyncDispose]: () => etcd[Symbol.asyncDispose]() };
}

const namesIn = async (kv: Kv, prefix: string): Promise<string[]> =>
  (await kv.list(prefix)).entries.map(({ key }) => key.slice(key.lastIndexOf('/') + 1));

async function step(kv: Kv, worker: Worker): Promise<void> {
  const writes = worker.next?.startsWith('write ');
  await worker.step();
  if (writes !== true) return;
  const taken = [...(await namesIn(kv, POOLS)), ...(await namesIn(kv, NODES))];
  assert.ok(taken.length <= 1, `${taken} stand beside each other`);
}

/** Lets one after the other make a call until all have ended. */
async function runAll({ kv, workers }: World, choose: (of: number) => number): Promise<void> {
  for (let steps = 0; ; steps++) {
    assert.ok(steps < 300, 'somebody goes on for ever');
    const waiting = workers.filter(({ next }) => next !== undefined);
    if (waiting.length === 0) return;
    await step(kv, waiting[waiting.length === 1 ? 0 : choose(waiting.length)]!);
  }
}

async function assertOneWon({ kv, workers }: World): Promise<void> {
  const won = workers.filter(({ outcome }) => outcome?.status === 'fulfilled');
  for (const { outcome } of workers)
    if (outcome?.status === 'rejected') assertRefused(outcome.reason);
  assert.equal(won.length, 1, 'of those that exclude each other one is taken');
  assert.deepEqual(await namesIn(kv, COMING_RANGES), [], 'nothing is left of what was said');
}

function assertRefused(reason: unknown): void {
  assert.ok(reason instanceof ResourceError, String(reason));
  assert.equal(reason.code, 'address-overlap', reason.message);
}

for (const [title, other, holds, orders] of [
  ['a node', node('n'), matters, 210],
  ['another pool', pool('b', '10.0.0.0/8'), mattersToPools, 20],
] as const) {
  test(`of a pool and ${title} that exclude each other one is taken, in whatever order they come`, async () => {
    const ways = await everyWay(async (choose) => {
      await using world = await open([pool('a'), other], holds);
      await runAll(world, choose);
      await assertOneWon(world);
    });
    assert.ok(ways >= orders, `${ways} orders`);
  });
}

test('property: of two pools and a node that exclude each other one is taken', async () => {
  await fc.assert(
    fc.asyncProperty(fc.infiniteStream(fc.nat()), async (choices) => {
      await using world = await open([pool('a'), node('n'), pool('b', '10.0.0.0/8')]);
      await runAll(world, (of) => choices.next().value! % of);
      await assertOneWon(world);
    }),
    { numRuns: 60 },
  );
});

/** A pool and a node up to the moment at which the lease of the pool's applier runs out. */
async function untilLost(
  world: World,
  choose: (of: number) => number,
  least: number,
): Promise<void> {
  const { kv, workers } = world;
  const [applier, other] = workers as [Worker, Worker];
  const some = async (worker: Worker, from: number, to: number): Promise<void> => {
    for (let left = from + choose(to - from + 1); left > 0 && worker.next !== undefined; left--) {
      await step(kv, worker);
    }
  };
  await some(other, 0, 4);
  await some(applier, least, 5);
  await some(other, 0, 4);
  await applier.expire();
  while (other.next !== undefined) await step(kv, other);
}

test('a pool whose applier has died, at whatever step, keeps a node out for the time of a lease', async () => {
  const seen = new Set<string>();
  await everyWay(async (choose) => {
    await using world = await open([pool('a'), node('n')]);
    const { kv, workers } = world;
    await untilLost(world, choose, 0);
    assert.deepEqual(await namesIn(kv, COMING_RANGES), []);
    const [taken] = await namesIn(kv, POOLS);
    const first = workers[1]!.outcome;
    if (first?.status === 'rejected') assertRefused(first.reason);
    // Who was refused for what came to nothing is taken when he comes again.
    const [again] = await Promise.allSettled([etcdStore(kv).apply([node('n')])]);
    if (again.status === 'rejected') assertRefused(again.reason);
    assert.equal(again.status, taken === undefined ? 'fulfilled' : 'rejected');
    seen.add(`${taken ?? 'no pool'}, ${first?.status}`);
  });
  assert.deepEqual([...seen].sort(), ['a, rejected', 'no pool, fulfilled', 'no pool, rejected']);
});

test('an applier whose lease has run out while he was slow begins anew', async () => {
  await everyWay(async (choose) => {
    await using world = await open([pool('a'), node('n')]);
    await untilLost(world, choose, 1);
    await runAll(world, choose);
    await assertOneWon(world);
  });
});

test('nodes that come all the time keep no pool waiting', async () => {
  await using world = await open([pool('a', '10.7.0.0/16')]);
  const { kv, workers } = world;
  let calls = 0;
  for (const [worker] = workers; worker?.next !== undefined; calls++) {
    await etcdStore(kv).apply([node(`n${calls}`, `192.0.2.${calls + 1}`)]);
    await worker.step();
  }
  assert.equal(workers[0]?.outcome?.status, 'fulfilled');
  assert.equal(calls, 6, 'none of its calls was made twice');
});
