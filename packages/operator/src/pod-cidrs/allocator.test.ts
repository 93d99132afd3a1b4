import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Kv, memoryEtcd, systemClock } from '@causeway/etcd';
import { Prefix } from '@causeway/ip';
import { etcdStore, podCidrKey, registryKey } from '@causeway/resources';
import { VirtualClock } from '@causeway/tables';
import { breaches, pool, records, startOperator, TestNode, until } from '../../testing/world.ts';
import { RELEASE_REQUESTS, requestRelease } from '../requests.ts';

const DUAL = {
  ipv4: { cidrs: ['10.0.0.0/22'], maskSize: 24 },
  ipv6: { cidrs: ['fd00::/62'], maskSize: 64 },
};

async function world(run: (kv: Kv) => Promise<void>): Promise<void> {
  await using etcd = memoryEtcd({ clock: systemClock });
  await using kv = etcd.connect();
  await run(kv);
  assert.deepEqual(await breaches(kv), []);
}

test('a node is given what it asks for in both families, and more when it asks for more', () =>
  world(async (kv) => {
    await etcdStore(kv).apply([pool('default', DUAL)]);
    await using _operator = startOperator(kv);
    const node = new TestNode(kv, 'a');
    await node.ask('default', 10, 10);
    await until('two CIDRs', async () => (await node.allocated()).length === 2);
    assert.deepEqual(await node.allocated(), ['10.0.0.0/24', 'fd00::/64']);
    await node.ask('default', 300, 10);
    await until('three CIDRs', async () => (await node.allocated()).length === 3);
    const held = await records(kv);
    assert.deepEqual(
      held.map(({ cidr, node: holder, pool: of, state }) => [cidr, holder, of, state]),
      [
        ['10.0.0.0/24', 'a', 'default', 'given'],
        ['10.0.1.0/24', 'a', 'default', 'given'],
        ['fd00::/64', 'a', 'default', 'given'],
      ],
    );
  }));

test('what a node lets go is free for others; who asks a pool that is empty is told so, and served when it can be', () =>
  world(async (kv) => {
    await etcdStore(kv).apply([pool('small', { ipv4: { cidrs: ['10.1.0.0/24'], maskSize: 25 } })]);
    await using _operator = startOperator(kv);
    const [a, b, c] = ['a', 'b', 'c'].map((name) => new TestNode(kv, name)) as [
      TestNode,
      TestNode,
      TestNode,
    ];
    await a.ask('small', 10);
    await until('a is served', async () => (await a.allocated()).length === 1);
    await b.ask('small', 10);
    await until('b is served', async () => (await b.allocated()).length === 1);
    await c.ask('small', 10);
    await until('c is told', async () => (await c.error()).includes('pool small has no ipv4'));
    assert.match(await c.error(), /add a range to spec\.ipv4\.cidrs/);
    const [first] = await a.allocated();
    await a.ask('small', 0);
    await a.giveBack(first!);
    await until('c is served', async () => (await c.allocated())[0] === first);
    await until('c is no longer told', async () => (await c.error()) === '');
  }));

test('a range that is added serves those who wait; another pool does not', () =>
  world(async (kv) => {
    const store = etcdStore(kv);
    await store.apply([pool('one', { ipv4: { cidrs: ['10.1.0.0/26'], maskSize: 26 } })]);
    await using _operator = startOperator(kv);
    const node = new TestNode(kv, 'a');
    await node.ask('one', 100);
    await until('it is told', async () => (await node.error()).includes('pool one'));
    await store.apply([
      pool('one', { ipv4: { cidrs: ['10.1.0.0/26', '10.2.0.0/26'], maskSize: 26 } }),
    ]);
    await until('it is served', async () => (await node.allocated()).length === 2);
  }));

test('pools of a place serve their nodes only; sizes follow what the node may run', () =>
  world(async (kv) => {
    const store = etcdStore(kv);
    await store.apply([
      pool('rack-1', { ipv4: { cidrs: ['10.1.0.0/16'], maskSize: 26 } }),
      {
        apiVersion: 'causeway.io/v1',
        kind: 'PodIPPoolOptions',
        metadata: { name: 'rack-1' },
        spec: {
          nodeSelector: { matchLabels: { rack: 'r1' } },
          blockSizes: [{ minPods: 200, ipv4MaskSize: 24 }],
        },
      },
      {
        apiVersion: 'v1',
        kind: 'Node',
        metadata: { name: 'big' },
        status: { allocatable: { pods: '250' } },
      },
    ]);
    await using _operator = startOperator(kv);
    const nodes = ['big', 'small', 'away'].map((name) => new TestNode(kv, name));
    const [big, small, away] = nodes as [TestNode, TestNode, TestNode];
    await big.ask('rack-1', 10, 0, { rack: 'r1' });
    await small.ask('rack-1', 10, 0, { rack: 'r1' });
    await away.ask('rack-1', 10, 0, { rack: 'r2' });
    await until('big is served', async () => (await big.allocated()).length === 1);
    await until('small is served', async () => (await small.allocated()).length === 1);
    await until('away is told', async () => (await away.error()).includes('rack=r1'));
    assert.match((await big.allocated())[0]!, /\/24$/);
    assert.match((await small.allocated())[0]!, /\/26$/);
    assert.deepEqual(await away.allocated(), []);
  }));

test('what a node names as its own is adopted if it is free, and refused if it is another’s', () =>
  world(async (kv) => {
    await etcdStore(kv).apply([pool('default', DUAL)]);
    const [a, b] = ['a', 'b'].map((name) => new TestNode(kv, name)) as [TestNode, TestNode];
    for (const node of [a, b]) {
      await node.change((pools) => {
        pools.allocated.push({ pool: 'default', cidrs: ['10.0.2.0/24'] });
      });
    }
    await using _operator = startOperator(kv);
    await until('one has it', async () => (await records(kv)).length === 1);
    const [record] = await records(kv);
    assert.equal(record?.state, 'adopted');
    const loser = record?.node === 'a' ? b : a;
    await until('the other is told', async () =>
      (await loser.error()).includes(`10.0.2.0/24 of pool default belongs to node ${record?.node}`),
    );
  }));

test('a node that is deleted gives its CIDRs after its grace; by force a living one does, and asks anew', () =>
  world(async (kv) => {
    await etcdStore(kv).apply([pool('default', DUAL)]);
    await using operator = startOperator(kv);
    const [a, b] = ['a', 'b'].map((name) => new TestNode(kv, name)) as [TestNode, TestNode];
    await a.ask('default', 10);
    await b.ask('default', 10);
    await until('both are served', async () => (await records(kv)).length === 2);
    await etcdStore(kv).delete('CiliumNode', { name: 'a' });
    await until('a is gone', async () => (await records(kv)).every(({ node }) => node === 'b'));
    const allocator = await operator.leading().whenAllocating(AbortSignal.timeout(10_000));
    assert.equal(await allocator?.forceRelease('b'), true);
    assert.deepEqual(await b.allocated(), []);
    assert.deepEqual(await records(kv), []);
    // Its wishes have gone too: until it asks anew it is given nothing.
    await b.change(() => {});
    await new TestNode(kv, 'c').ask('default', 10);
    await until('c is served', async () => (await records(kv)).length === 1);
    assert.equal((await records(kv))[0]?.node, 'c');
    await b.ask('default', 10);
    await until('b is served again', async () => (await b.allocated()).length === 1);
  }));

test('objects that cannot be read stop nobody, and keep what they hold', () =>
  world(async (kv) => {
    await etcdStore(kv).apply([pool('default', DUAL)]);
    await using _operator = startOperator(kv);
    const [a, b] = ['a', 'b'].map((name) => new TestNode(kv, name)) as [TestNode, TestNode];
    await a.ask('default', 10);
    await until('a is served', async () => (await a.allocated()).length === 1);
    const key = 'causeway/registry/cilium.io/ciliumnodes/-/a';
    await kv.put(key, '{"kind":"CiliumNode","spec":7}');
    await kv.put('causeway/registry/cilium.io/ciliumpodippools/-/broken', 'not json');
    await kv.put('causeway/allocations/pod-cidrs/ipv4/nonsense', '[]');
    await b.ask('default', 10);
    await until('b is served', async () => (await b.allocated()).length === 1);
    const held = await kv.get('causeway/allocations/pod-cidrs/ipv4/10.0.0.0/24');
    assert.equal(JSON.parse(held?.text ?? '{}').node, 'a');
    await kv.delete('causeway/allocations/pod-cidrs/ipv4/nonsense');
  }));

test('a range that is closed is given no more, empties, and leaves its pool by itself', () =>
  world(async (kv) => {
    const store = etcdStore(kv);
    const closing = (closed: string[]) => ({
      apiVersion: 'causeway.io/v1',
      kind: 'PodIPPoolOptions',
      metadata: { name: 'one' },
      spec: { closed },
    });
    await store.apply([pool('one', { ipv4: { cidrs: ['10.1.0.0/22'], maskSize: 24 } })]);
    await using _operator = startOperator(kv);
    const [a, b] = ['a', 'b'].map((name) => new TestNode(kv, name)) as [TestNode, TestNode];
    await a.ask('one', 10);
    await until('a is served', async () => (await a.allocated()).length === 1);
    assert.deepEqual(await a.allocated(), ['10.1.0.0/24']);
    // Half of a range closes: what is held there counts as no capacity, so that another block comes first.
    await store.apply([closing(['10.1.0.0/23'])]);
    await until('a has another', async () => (await a.allocated()).length === 2);
    assert.deepEqual(await a.allocated(), ['10.1.0.0/24', '10.1.2.0/24']);
    await b.ask('one', 10);
    await until('b is served', async () => (await b.allocated()).length === 1);
    assert.deepEqual(await b.allocated(), ['10.1.3.0/24']);
    const ranges = async () =>
      (await store.get('CiliumPodIPPool', { name: 'one' })).spec.ipv4?.cidrs;
    assert.deepEqual(await ranges(), ['10.1.0.0/22']);
    await a.giveBack('10.1.0.0/24');
    await until('the range has gone', async () => (await ranges())?.join() === '10.1.2.0/23');
    const { spec } = await store.get('PodIPPoolOptions', { name: 'one' });
    assert.deepEqual(spec.closed, []);
  }));

test('a record that cannot be read keeps its own CIDR from use and no other, also one that comes later', () =>
  world(async (kv) => {
    const odd = ['10.0.0.0/24', '10.0.2.0/24'].map((text) => podCidrKey(Prefix.parse(text)));
    await kv.put(odd[0]!, 'nobody knows');
    await etcdStore(kv).apply([pool('default', DUAL)]);
    await using _operator = startOperator(kv);
    const node = new TestNode(kv, 'a');
    await node.ask('default', 10);
    await until('it is served', async () => (await node.allocated()).length === 1);
    await kv.put(odd[1]!, '{}');
    await node.ask('default', 300);
    await until('it is served again', async () => (await node.allocated()).length === 2);
    assert.deepEqual(await node.allocated(), ['10.0.1.0/24', '10.0.3.0/24']);
    for (const key of odd) await kv.txn({ compare: [], success: [{ type: 'delete', key }] });
  }));

test('the CIDR of a record that could not be read is free again soon after somebody deletes the record', async () => {
  const clock = new VirtualClock();
  await using etcd = memoryEtcd({ clock });
  await using kv = etcd.connect();
  const odd = podCidrKey(Prefix.parse('10.1.0.0/24'));
  await kv.put(odd, 'nobody knows');
  await etcdStore(kv).apply([pool('one', { ipv4: { cidrs: ['10.1.0.0/24'], maskSize: 24 } })]);
  await using _operator = startOperator(kv, { clock });
  const node = new TestNode(kv, 'a');
  await node.ask('one', 10);
  const passing = async (what: string, holds: () => Promise<boolean>) => {
    for (let turn = 0; !(await holds()); turn++) {
      assert.ok(turn < 1_000, what);
      await clock.advance(100);
    }
  };
  await passing('it is told', async () => (await node.error()) !== '');
  assert.deepEqual(await node.allocated(), []);
  await kv.delete(odd);
  await passing('it is served', async () => (await node.allocated()).length === 1);
});

test('what a deleted node had by podCIDRs is kept for its grace, since its pods may still run', async () => {
  const clock = new VirtualClock();
  await using etcd = memoryEtcd({ clock });
  await using kv = etcd.connect();
  const store = etcdStore(kv);
  await store.apply([
    pool('one', { ipv4: { cidrs: ['10.1.0.0/24'], maskSize: 24 } }),
    {
      apiVersion: 'cilium.io/v2',
      kind: 'CiliumNode',
      metadata: { name: 'old' },
      spec: { ipam: { podCIDRs: ['10.1.0.0/24'] } },
    },
  ]);
  await using _operator = startOperator(kv, { clock, nodeGoneSeconds: 30 });
  const node = new TestNode(kv, 'a');
  await node.ask('one', 10);
  const turns = async (most: number, holds: () => Promise<boolean>): Promise<number> => {
    for (let turn = 0; turn < most; turn++) {
      if (await holds()) return turn;
      await clock.advance(100);
    }
    return most;
  };
  assert.ok((await turns(1_000, async () => (await node.error()) !== '')) < 1_000);
  await store.delete('CiliumNode', { name: 'old' });
  const served = await turns(1_000, async () => (await node.allocated()).length === 1);
  assert.ok(served > 250 && served < 1_000, `served after ${served * 100} ms`);
});

test('a release that nobody waits for any more is not carried out by a leader that comes later', () =>
  world(async (kv) => {
    await etcdStore(kv).apply([pool('default', DUAL)]);
    const node = new TestNode(kv, 'a');
    await node.ask('default', 10);
    {
      await using _operator = startOperator(kv);
      await until('it is served', async () => (await records(kv)).length === 1);
    }
    assert.equal(await requestRelease(kv, 'a', AbortSignal.timeout(50)), undefined);
    assert.deepEqual((await kv.list(RELEASE_REQUESTS)).entries, []);
    await using _operator = startOperator(kv);
    await new TestNode(kv, 'b').ask('default', 10);
    await until('another leads', async () => (await records(kv)).length === 2);
  }));

test('a node that is gone and has nothing left is not looked at again and again', async () => {
  const clock = new VirtualClock();
  await using etcd = memoryEtcd({ clock });
  await using kv = etcd.connect();
  const store = etcdStore(kv);
  await store.apply([pool('default', DUAL)]);
  let looks = 0;
  const counting = {
    now: () => clock.now(),
    sleep: (ms: number, signal?: AbortSignal) => {
      if (ms === 10) looks++;
      return clock.sleep(ms, signal);
    },
  };
  await using _operator = startOperator(kv, { clock: counting, nodeGoneSeconds: 5 });
  const passing = async (what: string, holds: () => Promise<boolean>) => {
    for (let turn = 0; !(await holds()); turn++) {
      assert.ok(turn < 1_000, what);
      await clock.advance(100);
    }
  };
  const node = new TestNode(kv, 'a');
  await node.ask('default', 10);
  await passing('it is served', async () => (await node.allocated()).length === 1);
  await store.delete('CiliumNode', { name: 'a' });
  await passing('its CIDR is free', async () => (await records(kv)).length === 0);
  await clock.advance(5_000);
  looks = 0;
  await clock.advance(60_000);
  assert.ok(looks <= 2, `${looks} looks in a minute in which nothing happened`);
});

test('a node whose object cannot be read is released by force too, and holds nobody up', () =>
  world(async (kv) => {
    await etcdStore(kv).apply([pool('default', DUAL)]);
    await using _operator = startOperator(kv);
    const [a, b] = [new TestNode(kv, 'a'), new TestNode(kv, 'b')];
    for (const node of [a, b]) await node.ask('default', 10);
    await until('both are served', async () => (await records(kv)).length === 2);
    await kv.put(registryKey('CiliumNode', { name: 'a' }), 'nobody knows');
    const { signal } = new AbortController();
    assert.equal(await requestRelease(kv, 'a', signal), 'done');
    assert.deepEqual(
      (await records(kv)).map(({ node }) => node),
      ['b'],
    );
    assert.equal(await requestRelease(kv, 'b', signal), 'done');
    assert.deepEqual(await records(kv), []);
  }));
