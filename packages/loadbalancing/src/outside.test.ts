import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Address } from '@causeway/ip';
import fc from 'fast-check';
import { Balancer, type BalancerSettings, type MapOperation } from '../index.ts';
import { KernelMaps } from '../testing/kernel-maps.ts';

// What clients outside of the cluster meet: NodePorts, external addresses, both traffic policies, weights, health.

type Json = Record<string, unknown>;

const VIP = '192.0.2.10:80/TCP';
const CLUSTER = '10.96.0.1:80/TCP';

const service = (
  spec: Json = {},
  annotations: Json = {},
  vip: string | undefined = '192.0.2.10',
) => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name: 'web', namespace: 'shop', annotations },
  spec: {
    type: 'LoadBalancer',
    clusterIPs: ['10.96.0.1'],
    selector: { app: 'web' },
    ports: [{ port: 80, targetPort: 8080, nodePort: 30080 }],
    ...spec,
  },
  status: { loadBalancer: { ingress: vip === undefined ? [] : [{ ip: vip }] } },
});

type Condition = 'ready' | 'draining' | 'gone';

const pod = (
  host: number,
  node: string,
  condition: Condition = 'ready',
  weight: number | undefined = undefined,
) => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: {
    name: `web-${host}`,
    namespace: 'shop',
    labels: { app: 'web' },
    annotations: weight === undefined ? {} : { 'causeway.io/weight': String(weight) },
    ...(condition === 'ready' ? {} : { deletionTimestamp: '2026-01-01T00:00:00Z' }),
  },
  spec: { nodeName: node, containers: [] },
  status: {
    podIPs: [{ ip: `10.1.0.${host}` }],
    conditions: [{ type: 'Ready', status: condition === 'gone' ? 'False' : 'True' }],
  },
});

function start(objects: readonly Json[], more: Partial<BalancerSettings> = {}) {
  const balancer = new Balancer({
    node: 'a',
    defaultAlgorithm: 'random',
    resolveSelectors: true,
    ...more,
  });
  balancer.markSynced();
  const maps = new KernelMaps();
  const flush = (): MapOperation[] => {
    const operations = balancer.flush();
    maps.apply(operations);
    return operations;
  };
  const apply = (...list: readonly Json[]) => {
    for (const object of list) {
      const parsed =
        object.kind === 'Service' ? balancer.applyService(object) : balancer.applyPod(object);
      assert.ok(parsed.ok, JSON.stringify(parsed));
    }
    return flush();
  };
  apply(...objects);
  return { balancer, maps, apply, flush };
}

const share = (slots: readonly string[], socket: string) =>
  slots.filter((each) => each === socket).length / slots.length;

test('every kind of frontend has its row, and says what it is', () => {
  const { maps } = start([
    service({ externalIPs: ['198.51.100.1'], loadBalancerSourceRanges: ['203.0.113.0/24'] }),
    pod(1, 'a'),
    pod(2, 'b'),
  ]);
  const row = (key: string) => {
    const { external, nodePort, sourceRanges, algorithm, localExternal } = maps.services.get(key)!;
    return { external, nodePort, sourceRanges, algorithm, localExternal };
  };
  const open = { external: true, algorithm: 'maglev', localExternal: false };
  assert.deepEqual(row(VIP), { ...open, nodePort: false, sourceRanges: true });
  assert.deepEqual(row('198.51.100.1:80/TCP'), { ...open, nodePort: false, sourceRanges: false });
  assert.deepEqual(row('*4:30080/TCP'), { ...open, nodePort: true, sourceRanges: false });
  assert.deepEqual(row(CLUSTER), {
    external: false,
    nodePort: false,
    sourceRanges: false,
    algorithm: 'random',
    localExternal: false,
  });
  assert.deepEqual([...maps.ranges], [`${maps.services.get(VIP)!.serviceId} 203.0.113.0/24`]);
});

test('ranges come before the row that asks for them and go behind it', () => {
  const ranges = (...list: string[]) => service({ loadBalancerSourceRanges: list });
  const { maps, apply } = start([ranges('203.0.113.0/24'), pod(1, 'a')]);
  const types = apply(ranges('203.0.113.0/24', '2001:db8::/32')).map(({ type }) => type);
  assert.deepEqual(types, ['source-range-put']);
  apply(ranges('2001:db8::/32'));
  assert.equal(maps.ranges.size, 1);
  const open = apply(service()).map(({ type }) => type);
  assert.deepEqual(open, ['service-put', 'source-range-delete']);
  assert.equal(maps.ranges.size, 0);
});

test('external policy Local: clients outside stay on the node, those inside go anywhere', () => {
  const local = service({ externalTrafficPolicy: 'Local' });
  const { maps, apply, balancer } = start([local, pod(1, 'a'), pod(2, 'b')]);
  for (const key of [VIP, '*4:30080/TCP']) {
    assert.deepEqual(maps.backendsOf(key, 'local'), ['10.1.0.1:8080']);
    assert.deepEqual(maps.backendsOf(key), ['10.1.0.1:8080', '10.1.0.2:8080']);
  }
  assert.equal(maps.services.get(CLUSTER)?.localExternal, false);
  // The last local one drains: as with kube-proxy it serves on while nobody else can.
  apply(pod(1, 'a', 'draining'));
  assert.deepEqual(maps.backendsOf(VIP, 'local'), ['10.1.0.1:8080']);
  assert.deepEqual(maps.backendsOf(VIP), ['10.1.0.2:8080']);
  balancer.deletePod({ namespace: 'shop', name: 'web-1' });
  maps.apply(balancer.flush());
  const { localSlots, localExternal, slots } = maps.services.get(VIP)!;
  assert.deepEqual([localSlots, localExternal, slots], [0, true, 1]);
  assert.equal(
    balancer.why(VIP).explanation,
    'the external traffic policy is Local and this node has no backend: connections are dropped here',
  );
  assert.match(balancer.why(VIP, { from: 'inside' }).explanation, /one of 1 backends/);
});

test('what is drained keeps its row and takes nothing new, with affinity and DSR too', () => {
  // cilium#20382 and #27096: backends that went from the maps, or stayed bound to clients, while they drained.
  const sticky = service(
    { sessionAffinity: 'ClientIP' },
    { 'service.cilium.io/forwarding-mode': 'dsr' },
  );
  const { maps, apply } = start([sticky, pod(1, 'a'), pod(2, 'b')]);
  apply(pod(1, 'a', 'draining'));
  assert.deepEqual(maps.backendsOf(VIP), ['10.1.0.2:8080']);
  const state = (socket: string) =>
    [...maps.backends.values()].find((each) => each.socket === socket)?.state;
  assert.equal(state('10.1.0.1:8080'), 'terminating');
  apply(pod(1, 'a', 'gone'));
  assert.equal(state('10.1.0.1:8080'), 'terminating', 'its flows go on until the pod is gone');
  assert.equal(maps.services.get(VIP)?.forwarding, 'dsr');
  assert.equal(maps.services.get(VIP)?.affinitySeconds, 10_800);
});

test('weights: shares follow them, by chance and by Maglev; 0 drains', () => {
  const { maps, apply } = start([service(), pod(1, 'a', 'ready', 50), pod(2, 'b')]);
  for (const key of [VIP, CLUSTER]) {
    const part = share(maps.slotsOf(key), '10.1.0.1:8080');
    assert.ok(Math.abs(part - 1 / 3) < 0.02, `${key}: ${part}`);
  }
  apply(pod(1, 'a', 'ready', 1));
  const least = share(maps.slotsOf(VIP), '10.1.0.1:8080');
  assert.ok(least > 0.008 && least < 0.012, `${least}`);
  apply(pod(1, 'a', 'ready', 0));
  assert.deepEqual(maps.backendsOf(VIP), ['10.1.0.2:8080']);
  apply(pod(2, 'b', 'ready', 0));
  assert.equal(maps.services.get(VIP)?.slots, 0, 'also if nobody else is left');
});

test('health: what fails is drained on its own node’s word; if all fail, none is', () => {
  const checked = service({}, { 'causeway.io/health-check': 'tcp' });
  const { balancer, maps, flush } = start([checked, pod(1, 'a'), pod(2, 'b')]);
  const says = (node: string, ...sockets: string[]) => {
    const failing = new Map(sockets.map((each) => [`${each}/TCP`, 'no answer'] as const));
    balancer.setFailing(node, new Map(failing.size === 0 ? [] : [['shop/web', failing]]));
    return flush();
  };
  says('b', '10.1.0.1:8080');
  assert.equal(maps.backendsOf(VIP).length, 2, 'it runs on another node');
  says('a', '10.1.0.1:8080');
  assert.deepEqual(maps.backendsOf(VIP), ['10.1.0.2:8080']);
  assert.deepEqual(says('a', '10.1.0.1:8080'), [], 'the same again is nothing new');
  says('b', '10.1.0.2:8080');
  assert.equal(maps.backendsOf(VIP).length, 2);
  assert.match(balancer.why(VIP).candidates[0]!.reason, /but so do all others/);
  says('a');
  assert.deepEqual(maps.backendsOf(VIP), ['10.1.0.1:8080']);
});

test('a second service of the same pods does not keep the first one’s clients at a backend that drains', () => {
  const checked = service({ sessionAffinity: 'ClientIP' }, { 'causeway.io/health-check': 'tcp' });
  const twin = {
    ...service({ clusterIPs: ['10.96.0.2'], sessionAffinity: 'ClientIP' }, {}, '192.0.2.20'),
    metadata: { name: 'twin', namespace: 'shop' },
  };
  const { balancer, maps, flush } = start([checked, twin, pod(1, 'a'), pod(2, 'b')]);
  const state = () =>
    [...maps.backends.values()].find((each) => each.socket === '10.1.0.1:8080')?.state;
  assert.equal(state(), 'active');
  const failing = new Map([['10.1.0.1:8080/TCP', 'no answer']]);
  balancer.setFailing('a', new Map([['shop/web', failing]]));
  flush();
  assert.equal(state(), 'terminating');
  assert.equal(maps.backendsOf('192.0.2.20:80/TCP').length, 2, 'the other spreads over it still');
  balancer.setFailing('a', new Map());
  flush();
  assert.equal(state(), 'active');
});

test('an address that was given and is taken away, or is another kind’s by now, is served no more', () => {
  const { maps, apply } = start([service(), pod(1, 'a')]);
  assert.ok(maps.services.has(VIP));
  apply(service({}, {}, '192.0.2.11'));
  assert.deepEqual([maps.services.has(VIP), maps.services.has('192.0.2.11:80/TCP')], [false, true]);
  apply(service({ type: 'NodePort' }, {}, '192.0.2.11'));
  assert.equal(maps.services.has('192.0.2.11:80/TCP'), false);
  apply(service({ type: 'ClusterIP' }));
  assert.deepEqual([...maps.services.keys()], [CLUSTER]);
});

test('why, for clients outside', () => {
  const { balancer } = start([
    service({ loadBalancerSourceRanges: ['203.0.113.0/24'] }),
    pod(1, 'a'),
    pod(2, 'b'),
  ]);
  const ask = (key: string, client: string) =>
    balancer.why(key, { client: Address.parse(client) }).explanation;
  assert.match(ask(VIP, '203.0.113.9'), /picks one of 2 backends/);
  assert.match(ask(VIP, '198.51.100.9'), /is in none of loadBalancerSourceRanges 203.0.113.0\/24/);
  assert.match(ask(CLUSTER, '203.0.113.9'), /for clients in the cluster/);
  assert.match(ask('*4:30080/TCP', '198.51.100.9'), /picks one of 2 backends/);
  assert.match(balancer.why(VIP, { from: 'inside' }).explanation, /picks one of 2/);
  const open = start([service(), pod(1, 'a')], { externalClusterIPs: true });
  assert.match(open.balancer.why(CLUSTER, { from: 'outside' }).explanation, /picks one of 1/);
});

test('forwarding: the annotation, then the setting', () => {
  const of = (annotations: Json, more: Partial<BalancerSettings>, protocol = 'TCP') => {
    const ports = [{ port: 80, targetPort: 8080, protocol }];
    const { maps } = start([service({ ports }, annotations), pod(1, 'a')], more);
    return maps.services.get(`192.0.2.10:80/${protocol}`)?.forwarding;
  };
  const dsr = { 'service.cilium.io/forwarding-mode': 'dsr' };
  assert.deepEqual(
    [of({}, {}), of(dsr, {}), of({}, { forwarding: 'dsr' }), of({}, { forwarding: 'hybrid' })],
    ['snat', 'dsr', 'dsr', 'dsr'],
  );
  assert.equal(of({}, { forwarding: 'hybrid' }, 'UDP'), 'snat');
});

test('every node has the same table, whatever it learned in which order', () => {
  const change = fc.record({
    host: fc.integer({ min: 1, max: 12 }),
    node: fc.constantFrom('a', 'b', 'c'),
    condition: fc.constantFrom<Condition>('ready', 'ready', 'ready', 'draining', 'gone'),
    weight: fc.option(fc.integer({ min: 0, max: 100 }), { nil: undefined }),
  });
  fc.assert(
    fc.property(
      fc.array(change, { minLength: 1, maxLength: 30 }),
      fc.infiniteStream(fc.nat()),
      (changes, order) => {
        const one = start([service()], { node: 'a' });
        for (const { host, node, condition, weight } of changes) {
          one.apply(pod(host, node, condition, weight));
        }
        const last = new Map(changes.map((each) => [each.host, each]));
        const shuffled = [...last.values()]
          .map((each) => ({ each, at: order.next().value as number }))
          .sort((x, y) => x.at - y.at)
          .map(({ each }) => each);
        // This one comes late, hears only how things are, and has another name.
        const two = start(
          [
            ...shuffled.map(({ host, node, condition, weight }) =>
              pod(host, node, condition, weight),
            ),
            service(),
          ],
          { node: 'b' },
        );
        for (const key of [VIP, '*4:30080/TCP']) {
          assert.deepEqual(one.maps.slotsOf(key), two.maps.slotsOf(key));
        }
      },
    ),
    { numRuns: 25 },
  );
});
