import assert from 'node:assert/strict';
import { test } from 'node:test';
import { silentLog } from '@causeway/daemon';
import { type MemoryEtcd, memoryEtcd } from '@causeway/etcd';
import { Balancer } from '@causeway/loadbalancing';
import { HEALTH_PREFIX } from '@causeway/mesh';
import { Database, VirtualClock } from '@causeway/tables';
import { BackendHealth } from './health.ts';

const service = (annotations: Record<string, string> = { 'causeway.io/health-check': 'tcp' }) => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name: 'web', namespace: 'shop', annotations },
  spec: { type: 'LoadBalancer', clusterIPs: ['10.96.0.1'], ports: [{ port: 80 }] },
  status: { loadBalancer: { ingress: [{ ip: '192.0.2.10' }] } },
});

const slice = (backends: Record<string, string>) => ({
  apiVersion: 'discovery.k8s.io/v1',
  kind: 'EndpointSlice',
  metadata: { name: 'web-1', namespace: 'shop', labels: { 'kubernetes.io/service-name': 'web' } },
  addressType: 'IPv4',
  ports: [{ name: '', port: 8080 }],
  endpoints: Object.entries(backends).map(([address, nodeName]) => ({
    addresses: [address],
    nodeName,
  })),
});

/** One node with its balancer; `down` are addresses that do not answer it. */
function node(name: string, etcd: MemoryEtcd, clock: VirtualClock, down: ReadonlySet<string>) {
  const balancer = new Balancer({
    node: name,
    defaultAlgorithm: 'random',
    resolveSelectors: false,
  });
  const tried = new Set<string>();
  let turns = 0;
  const health = new BackendHealth({
    node: name,
    kv: etcd.connect(),
    database: new Database(),
    balancer,
    setFailing: (from, failing) => {
      balancer.setFailing(from, failing);
      balancer.flush();
    },
    announces: () => true,
    onReach: () => turns++,
    probe: async ({ address }) => {
      tried.add(address);
      return down.has(address) ? 'connection refused' : undefined;
    },
    clock,
    random: () => 0.5,
    log: silentLog,
  });
  const feed = (...objects: { kind: string }[]) => {
    for (const object of objects) {
      const parsed =
        object.kind === 'Service'
          ? balancer.applyService(object)
          : balancer.applyEndpointSlice(object);
      assert.ok(parsed.ok);
    }
    balancer.flush();
    health.follow();
  };
  return {
    health,
    balancer,
    feed,
    tried,
    get turns() {
      return turns;
    },
    chosen: () => balancer.frontend('192.0.2.10:80/TCP')?.chosen.map(({ address }) => address),
    [Symbol.asyncDispose]: () => health[Symbol.asyncDispose](),
  };
}

test('a node finds its own backends out, and every node drains what fails', async () => {
  const clock = new VirtualClock();
  await using etcd = memoryEtcd({ clock });
  const down = new Set<string>();
  const backends = { '10.1.0.1': 'a', '10.1.0.2': 'a', '10.2.0.1': 'b' };
  await using a = node('a', etcd, clock, down);
  await using b = node('b', etcd, clock, down);
  for (const each of [a, b]) each.feed(service(), slice(backends));
  await clock.advance(10_000);
  assert.deepEqual(b.chosen(), ['10.1.0.1', '10.1.0.2', '10.2.0.1']);
  down.add('10.1.0.1');
  await clock.advance(30_000);
  for (const each of [a, b]) assert.deepEqual(each.chosen(), ['10.1.0.2', '10.2.0.1']);
  const why = b.balancer.why('192.0.2.10:80/TCP').candidates[0];
  assert.equal(
    why?.reason,
    'its health check fails (connection refused): keeps its connections, gets no new ones',
  );
  down.clear();
  await clock.advance(20_000);
  for (const each of [a, b]) assert.equal(each.chosen()?.length, 3);
  // The others' pods are tried for the path's sake; what fails there is for the pod's own node to say.
  assert.deepEqual([...a.tried].sort(), ['10.1.0.1', '10.1.0.2', '10.2.0.1']);
});

test('if all fail, all are used; a service without checks is left alone', async () => {
  const clock = new VirtualClock();
  await using etcd = memoryEtcd({ clock });
  await using a = node('a', etcd, clock, new Set(['10.1.0.1', '10.1.0.2']));
  a.feed(service(), slice({ '10.1.0.1': 'a', '10.1.0.2': 'a' }));
  await clock.advance(40_000);
  assert.deepEqual(a.chosen(), ['10.1.0.1', '10.1.0.2']);
  assert.equal(a.health.table.size, 2);
  a.feed(service({}));
  assert.equal(a.health.table.size, 0);
  assert.equal(a.balancer.frontend('192.0.2.10:80/TCP')?.backends[0]?.failing, undefined);
});

test('a node that reaches no backend that others find healthy says so of itself alone', async () => {
  const clock = new VirtualClock();
  await using etcd = memoryEtcd({ clock });
  const cut = new Set<string>();
  await using a = node('a', etcd, clock, cut);
  await using b = node('b', etcd, clock, new Set());
  for (const each of [a, b]) each.feed(service(), slice({ '10.2.0.1': 'b', '10.2.0.2': 'b' }));
  await clock.advance(10_000);
  assert.equal(a.health.unreachable('shop/web'), undefined);
  cut.add('10.2.0.1');
  await clock.advance(30_000);
  assert.equal(a.health.unreachable('shop/web'), undefined, 'one of two is reached');
  cut.add('10.2.0.2');
  await clock.advance(30_000);
  assert.match(a.health.unreachable('shop/web')!, /connection refused/);
  assert.equal(a.turns, 1);
  assert.deepEqual(b.chosen(), ['10.2.0.1', '10.2.0.2'], 'nobody is drained for it');
  cut.clear();
  await clock.advance(30_000);
  assert.equal(a.health.unreachable('shop/web'), undefined);
});

test('what a node said goes with its lease; what nobody of us wrote is passed over', async () => {
  const clock = new VirtualClock();
  await using etcd = memoryEtcd({ clock });
  await using b = node('b', etcd, clock, new Set());
  b.feed(service(), slice({ '10.1.0.1': 'a', '10.1.0.2': 'c' }));
  const kv = etcd.connect();
  const lease = await kv.lease(60);
  const failing = (backend: string) =>
    JSON.stringify({ failing: [{ service: 'shop/web', backend, reason: 'x' }] });
  await kv.put(`${HEALTH_PREFIX}a`, failing('10.1.0.1:8080/TCP'), { lease: lease.id });
  // A node speaks of its own backends only.
  await kv.put(`${HEALTH_PREFIX}evil`, failing('10.1.0.2:8080/TCP'));
  for (const [key, text] of Object.entries({ x: '{', y: '[]', z: '{"failing":7}' })) {
    await kv.put(HEALTH_PREFIX + key, text);
  }
  await clock.advance(10_000);
  assert.deepEqual(b.chosen(), ['10.1.0.2']);
  await lease.revoke();
  await clock.advance(10_000);
  assert.deepEqual(b.chosen(), ['10.1.0.1', '10.1.0.2']);
});

test('what an earlier run said counts until all was tried again', async () => {
  const clock = new VirtualClock();
  await using etcd = memoryEtcd({ clock });
  const down = new Set(['10.1.0.1']);
  const objects = [service(), slice({ '10.1.0.1': 'a', '10.1.0.2': 'a' })] as const;
  {
    await using before = node('a', etcd, clock, down);
    before.feed(...objects);
    await clock.advance(30_000);
    assert.deepEqual(before.chosen(), ['10.1.0.2']);
  }
  await using after = node('a', etcd, clock, down);
  after.feed(...objects);
  await clock.advance(200);
  assert.deepEqual(after.chosen(), ['10.1.0.2']);
  for (let i = 0; i < 20; i++) {
    await clock.advance(2_000);
    assert.deepEqual(after.chosen(), ['10.1.0.2'], `after ${2 * i} s`);
  }
});
