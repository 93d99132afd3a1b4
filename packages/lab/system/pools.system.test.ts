import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Address, Prefix } from '@causeway/ip';
import { Attempts, podPlace, until } from '../index.ts';
import {
  agreed,
  held,
  hostRoute,
  plainPods,
  records,
  routed,
  startAll,
  stopAll,
} from './address-book.ts';
import { apply, expectSoon, useLab } from './support.ts';

const RACK_A = [Prefix.parse('10.60.0.0/20'), Prefix.parse('fd60:1::/112')];
/** Two blocks of sixteen addresses and more. */
const BURST = 24;
const SETTLE_MS = 90_000;
const SERVED = [{ port: 8080, type: 'http' }] as const;

const lab = useLab('pools', {
  shipped: 'pools',
  change: (file) => ({
    ...file,
    clusters: file.clusters.map((cluster) => ({
      ...cluster,
      // A released address rests for a second, so that blocks empty while a test looks.
      agent: { ...cluster.agent, ipam: { quarantineSeconds: 1 } },
      operator: { election: { ttlSeconds: 2 } },
    })),
  }),
});

const burst = plainPods('a2', 'burst', BURST, { serve: SERVED });

test('a node that runs out is given more of its rack’s pool ahead of need, and routers know it before pods use it', async () => {
  const before = await held(lab(), 'a2');
  const addresses = await startAll(lab(), burst);
  const blocks = await held(lab(), 'a2');
  for (const family of ['ipv4', 'ipv6'] as const) {
    const of = (cidrs: readonly Prefix[]) => cidrs.filter((cidr) => Prefix.family(cidr) === family);
    assert.ok(of(blocks).length > of(before).length, `${family}: ${blocks.join(', ')}`);
  }
  for (const block of blocks)
    assert.ok(
      RACK_A.some((range) => Prefix.covers(range, block)),
      `${block} is rack-a's`,
    );
  await routed(lab(), 'leaf-a', blocks, ['a2']);
  await routed(lab(), 'spine', blocks, ['leaf-a']);
  await agreed(lab());
  const outsideFirst = addresses
    .at(-1)!
    .filter((ip) => !before.some((cidr) => Prefix.contains(cidr, Address.parse(ip))));
  assert.ok(outsideFirst.length > 0, 'the last pod is in a block that came later');
  await expectSoon(
    addresses.at(-1)!.map((address) => ({
      what: `the last pod at ${address} from outside`,
      wanted: 'answered',
      answer: /^burst-24$/,
      attempt: () => lab().traffic.http('outside', address, 8080),
    })),
  );
});

test('what it does not need any more goes back: out of the routers, out of the records', async () => {
  const many = await held(lab(), 'a2');
  await stopAll(lab(), burst);
  await until(
    'blocks of a2 go back',
    async () => {
      const now = await held(lab(), 'a2');
      return now.length < many.length ? undefined : now.join(', ');
    },
    { timeoutMs: SETTLE_MS },
  );
  await agreed(lab());
  const now = await held(lab(), 'a2');
  assert.ok(now.length > 0, 'it keeps what it needs ahead');
  const gone = many.filter((cidr) => !now.includes(cidr));
  await routed(lab(), 'leaf-a', gone, []);
  await routed(lab(), 'spine', gone, []);
});

test('a closed range takes no new pods, and is empty when its last pod has gone', async () => {
  const closed = await held(lab(), 'b1');
  await apply(lab(), 'main', {
    apiVersion: 'causeway.io/v1',
    kind: 'PodIPPoolOptions',
    metadata: { name: 'rack-b' },
    spec: {
      nodeSelector: { matchLabels: { rack: 'rack-b' } },
      preAllocate: 4,
      marks: { high: 0.8, low: 0.3, lowForSeconds: 1 },
      closed,
    },
  });
  await until(
    'b1 has blocks beside the closed ones',
    async () => {
      const now = (await held(lab(), 'b1')).filter((cidr) => !closed.includes(cidr));
      return now.length >= 2 ? undefined : now.join(', ');
    },
    { timeoutMs: SETTLE_MS },
  );
  const pods = plainPods('b1', 'after', 2);
  for (const address of (await startAll(lab(), pods)).flat())
    assert.ok(
      !closed.some((cidr) => Prefix.contains(cidr, Address.parse(address))),
      `${address} is in a closed range`,
    );
  const [first] = await lab().addresses('main/default/first-b');
  assert.ok(closed.some((cidr) => Prefix.contains(cidr, Address.parse(first!))));
  await lab().removePod('main/default/first-b');
  await until(
    'the closed blocks are nobody’s',
    async () => {
      const left = (await records(lab())).filter(({ cidr }) => closed.includes(cidr));
      return left.length === 0 ? undefined : left.map(({ cidr }) => cidr).join(', ');
    },
    { timeoutMs: SETTLE_MS },
  );
  await agreed(lab());
  await stopAll(lab(), pods);
});

test('a pool in use is not deleted, nor a range of it taken away: who uses it is named', async () => {
  const store = await lab().cluster().store();
  const named = (error: Error): boolean => {
    assert.match(error.message, /rack-a/);
    assert.match(JSON.stringify(error, ['message', 'hint', 'value']), /\ba1\b/);
    return true;
  };
  await assert.rejects(store.delete('CiliumPodIPPool', { name: 'rack-a' }), named);
  const pool = await store.get('CiliumPodIPPool', { name: 'rack-a' });
  const shrunk = {
    ...pool,
    spec: { ...pool.spec, ipv4: { cidrs: ['10.60.8.0/21'], maskSize: 28 } },
  };
  await assert.rejects(store.apply([shrunk]), named);
  await agreed(lab());
});

test('a pod of a StatefulSet moves to another rack and keeps its addresses, under attempts to reach it', async () => {
  const place = 'main/default/db-1';
  const before = await lab().addresses(place);
  assert.equal(before.length, 2);
  const targets = before.map((address) => ({ name: 'db-1', address, port: 7000 }));
  await using attempts = await Attempts.start(lab(), 'outside', targets);
  assert.deepEqual((await lab().movePod(place, 'b1')).toSorted(), before.toSorted());
  await routed(lab(), 'leaf-b', before.map(hostRoute), ['b1']);
  await routed(lab(), 'spine', before.map(hostRoute), ['leaf-b']);
  const reached = before.flatMap((address) =>
    ['outside', 'main/default/first-a', 'main/default/db-0'].map((from) => ({
      what: `${from} reaches it at ${address}`,
      wanted: 'answered' as const,
      answer: /^db-1$/,
      attempt: () => lab().traffic.http(from, address, 8080),
    })),
  );
  await expectSoon(reached);
  const results = await attempts.stop();
  assert.deepEqual(
    results.map(({ backends }) => Object.keys(backends)),
    [['db-1'], ['db-1']],
    'nobody else answered meanwhile',
  );
  // Its first node starts pods until every address of its block is used: this one stays its owner's.
  const pods = plainPods('a1', 'filler', 14);
  const others = (await startAll(lab(), pods)).flat();
  assert.deepEqual(
    others.filter((address) => before.includes(address)),
    [],
  );
  await agreed(lab());
  await stopAll(lab(), pods);
  assert.deepEqual((await lab().movePod(place, 'a1')).toSorted(), before.toSorted());
  await routed(lab(), 'spine', before.map(hostRoute), []);
  await expectSoon(reached);
});

test('an exhausted pool is named with what would help, and a pod gets its address once it has room', async () => {
  const pool = (cidrs: readonly string[], six: readonly string[]) => ({
    apiVersion: 'cilium.io/v2alpha1',
    kind: 'CiliumPodIPPool',
    metadata: { name: 'tiny' },
    spec: { ipv4: { cidrs, maskSize: 29 }, ipv6: { cidrs: six, maskSize: 125 } },
  });
  await apply(lab(), 'main', pool(['10.60.240.0/29'], ['fd60:1:0:f::/125']));
  await apply(lab(), 'main', {
    apiVersion: 'causeway.io/v1',
    kind: 'PodIPPoolOptions',
    metadata: { name: 'tiny' },
    spec: { preAllocate: 0 },
  });
  const annotations = { 'ipam.cilium.io/ip-pool': 'tiny' };
  const pods = plainPods('a1', 'tiny', 5, { annotations });
  await startAll(lab(), pods);
  const [sixth] = plainPods('a1', 'one-more', 1, { annotations });
  await assert.rejects(lab().addPods([sixth!]), (error: Error) => {
    assert.match(error.message, /\btiny\b/);
    return true;
  });
  await apply(
    lab(),
    'main',
    pool(['10.60.240.0/29', '10.60.240.8/29'], ['fd60:1:0:f::/125', 'fd60:1:0:f::8/125']),
  );
  await until(
    'a1 has a second block of the pool',
    async () => {
      const now = await held(lab(), 'a1', 'tiny');
      return now.length >= 4 ? undefined : now.join(', ');
    },
    { timeoutMs: SETTLE_MS },
  );
  await lab().removePod(podPlace(sixth!));
  await startAll(lab(), [sixth!]);
  await agreed(lab());
});
