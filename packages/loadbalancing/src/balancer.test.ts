import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  Balancer,
  type BalancerSettings,
  LoadBalancingError,
  type MapOperation,
} from '../index.ts';
import { KernelMaps } from '../testing/kernel-maps.ts';

type Json = Record<string, unknown>;
const settings: BalancerSettings = {
  node: 'n1',
  defaultAlgorithm: 'random',
  resolveSelectors: false,
};
const service = (spec: Json = {}, name = 'web', annotations = {}) => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name, namespace: 'shop', annotations },
  spec: {
    clusterIPs: ['10.96.0.1', 'fd00:96::1'],
    ports: [{ port: 80, targetPort: 8080 }],
    selector: { app: 'web' },
    ...spec,
  },
});
const V4 = '10.96.0.1:80/TCP';
const V6 = '[fd00:96::1]:80/TCP';
type Condition = 'ready' | 'not-ready' | 'terminating' | 'leaving';
const CONDITIONS = {
  ready: { ready: true },
  'not-ready': { ready: false },
  terminating: { ready: false, serving: true, terminating: true },
  leaving: { ready: false, serving: false, terminating: true },
};
const slice = (given: Record<string, Condition>, name = 'web-a', node = 'n1', service = 'web') => ({
  apiVersion: 'discovery.k8s.io/v1',
  kind: 'EndpointSlice',
  metadata: { name, namespace: 'shop', labels: { 'kubernetes.io/service-name': service } },
  addressType: Object.keys(given)[0]?.includes(':') ? 'IPv6' : 'IPv4',
  ports: [{ port: 8080 }],
  endpoints: Object.entries(given).map(([address, state]) => ({
    addresses: [address],
    conditions: CONDITIONS[state],
    nodeName: node,
  })),
});

function start(
  objects: readonly (Json | ReturnType<typeof service> | ReturnType<typeof slice>)[],
  more: Partial<BalancerSettings> = {},
) {
  const balancer = new Balancer({ ...settings, ...more });
  const maps = new KernelMaps();
  const apply = (...list: readonly Json[]) => {
    for (const object of list) {
      const parsed =
        object.kind === 'Service'
          ? balancer.applyService(object)
          : object.kind === 'Pod'
            ? balancer.applyPod(object)
            : balancer.applyEndpointSlice(object);
      assert.ok(parsed.ok, JSON.stringify(parsed));
    }
    const operations = balancer.flush();
    maps.apply(operations);
    return operations;
  };
  apply(...objects);
  return { balancer, maps, apply };
}
const types = (operations: readonly MapOperation[]) => operations.map((each) => each.type);

test('a dual-stack service has a row in each family, with backends of its own family', () => {
  const { maps } = start([
    service(),
    slice({ '10.1.0.1': 'ready', '10.1.0.2': 'ready' }),
    slice({ 'fd00:1::1': 'ready' }, 'web-b'),
  ]);
  assert.deepEqual(maps.backendsOf(V4), ['10.1.0.1:8080', '10.1.0.2:8080']);
  assert.deepEqual(maps.backendsOf(V6), ['fd00:1::1:8080']);
  assert.equal(maps.reverse.size, 2);
});

test('a service that nobody serves keeps its rows, with no slots', () => {
  const { maps } = start([service()]);
  assert.deepEqual(
    [maps.services.get(V4)?.slots, maps.services.get(V4)?.count, maps.slots.size],
    [0, 0, 0],
  );
});

test('states: ready first; draining ones only if none is ready; the rest never', () => {
  const backends = (given: Record<string, Condition>) =>
    start([service(), slice(given)]).maps.backendsOf(V4);
  assert.deepEqual(
    backends({ '10.1.0.1': 'ready', '10.1.0.2': 'terminating', '10.1.0.3': 'not-ready' }),
    ['10.1.0.1:8080'],
  );
  assert.deepEqual(
    backends({ '10.1.0.2': 'terminating', '10.1.0.3': 'not-ready', '10.1.0.4': 'leaving' }),
    ['10.1.0.2:8080'],
  );
  assert.deepEqual(backends({ '10.1.0.3': 'not-ready', '10.1.0.4': 'leaving' }), []);
});

test('established flows go on: what stops being chosen stays among the backends, under its number', () => {
  const { maps, apply, balancer } = start([
    service(),
    slice({ '10.1.0.1': 'ready', '10.1.0.2': 'ready' }),
  ]);
  const id = balancer.backendId('10.1.0.1:8080/TCP')!;
  apply(slice({ '10.1.0.1': 'terminating', '10.1.0.2': 'ready' }));
  assert.deepEqual(
    [maps.backends.get(id)?.state, maps.backendsOf(V4)],
    ['terminating', ['10.1.0.2:8080']],
  );
  apply(slice({ '10.1.0.1': 'not-ready', '10.1.0.2': 'ready' }));
  assert.equal(maps.backends.get(id)?.state, 'terminating');
  const last = apply(slice({ '10.1.0.2': 'ready' }));
  assert.deepEqual(types(last), ['backend-delete']);
});

test('the order of writes: backends, slots, row, old slots, old backends', () => {
  const { apply } = start([service({ clusterIPs: ['10.96.0.1'] }), slice({ '10.1.0.1': 'ready' })]);
  assert.deepEqual(types(apply(slice({ '10.1.0.2': 'ready' }))), [
    'backend-put',
    'slots-put',
    'service-put',
    'slots-delete',
    'backend-delete',
  ]);
});

test('what changes nothing in the maps writes nothing', () => {
  const { apply } = start([service(), slice({ '10.1.0.1': 'ready' })]);
  assert.deepEqual(apply(service({}, 'web', { note: 'x' })), []);
  assert.deepEqual(apply(slice({ '10.1.0.1': 'ready' })), []);
});

test('affinity and algorithm change the row; affinity leaves the slots', () => {
  const { maps, apply } = start([
    service({ clusterIPs: ['10.96.0.1'] }),
    slice({ '10.1.0.1': 'ready', '10.1.0.2': 'ready' }),
  ]);
  assert.deepEqual(
    types(apply(service({ clusterIPs: ['10.96.0.1'], sessionAffinity: 'ClientIP' }))),
    ['service-put'],
  );
  assert.equal(maps.services.get(V4)?.affinitySeconds, 10_800);
  const operations = apply(
    service({ clusterIPs: ['10.96.0.1'] }, 'web', { 'service.cilium.io/lb-algorithm': 'maglev' }),
  );
  assert.deepEqual(
    [maps.services.get(V4)?.algorithm, maps.services.get(V4)?.slots],
    ['maglev', 251],
  );
  assert.equal(types(operations).filter((each) => each === 'slots-put').length, 4);
});

test('internalTrafficPolicy Local keeps to this node, also if nobody serves there', () => {
  const local = service({ internalTrafficPolicy: 'Local' });
  const { maps, apply } = start([
    local,
    slice({ '10.1.0.1': 'ready' }, 'web-a', 'n1'),
    slice({ '10.2.0.1': 'ready' }, 'web-b', 'n2'),
  ]);
  assert.deepEqual(maps.backendsOf(V4), ['10.1.0.1:8080']);
  apply(slice({ '10.1.0.1': 'not-ready' }));
  assert.equal(maps.services.get(V4)?.slots, 0);
});

test('one backend change touches only its service', () => {
  const others = Array.from({ length: 50 }, (_, i) => [
    service({ clusterIPs: [`10.97.0.${i}`] }, `s${i}`),
    slice({ [`10.3.0.${i}`]: 'ready' }, `s${i}-a`, 'n1', `s${i}`),
  ]).flat();
  const { apply } = start([
    service({ clusterIPs: ['10.96.0.1'] }),
    slice({ '10.1.0.1': 'ready' }),
    ...others,
  ]);
  const operations = apply(slice({ '10.1.0.1': 'ready', '10.1.0.9': 'ready' }));
  assert.deepEqual(types(operations), ['backend-put', 'slots-put', 'service-put', 'slots-delete']);
});

test('types beside ClusterIP have rows too, and none without an address', () => {
  const { balancer, maps } = start([
    service({
      type: 'NodePort',
      ports: [{ port: 80, targetPort: 8080, nodePort: 30080 }],
      externalIPs: ['192.0.2.1'],
      externalTrafficPolicy: 'Local',
    }),
    slice({ '10.1.0.1': 'ready' }, 'a', 'n2'),
  ]);
  const all = [...balancer.frontends()].map(
    (each) => `${each.type} ${each.key} ${each.chosen.length}`,
  );
  assert.deepEqual(all, [
    `ClusterIP ${V4} 1`,
    `ClusterIP ${V6} 0`,
    'ExternalIP 192.0.2.1:80/TCP 1',
    'NodePort *4:30080/TCP 1',
    'NodePort *6:30080/TCP 0',
  ]);
  assert.equal(maps.services.size, 5);
  const none = start([
    service({ clusterIP: 'None', clusterIPs: ['None'] }),
    service({ type: 'ExternalName', clusterIPs: [] }, 'x'),
  ]);
  assert.equal(none.maps.services.size, 0);
});

test('an address that two services claim stays with the first; nobody takes a ClusterIP by externalIPs', () => {
  const thief = service({ clusterIPs: ['10.96.9.9'], externalIPs: ['10.96.0.1'] }, 'thief');
  const { balancer, maps } = start([
    thief,
    slice({ '10.6.6.6': 'ready' }, 't', 'n1', 'thief'),
    service(),
    slice({ '10.1.0.1': 'ready' }),
  ]);
  assert.deepEqual(maps.backendsOf(V4), ['10.1.0.1:8080']);
  assert.deepEqual([...balancer.conflicts()], [{ key: V4, services: ['shop/thief', 'shop/web'] }]);
  const twin = start([
    service({}, 'a'),
    service({}, 'b'),
    slice({ '10.1.0.1': 'ready' }, 'x', 'n1', 'a'),
    slice({ '10.1.0.2': 'ready' }, 'y', 'n1', 'b'),
  ]);
  assert.deepEqual(twin.maps.backendsOf(V4), ['10.1.0.1:8080']);
  twin.balancer.deleteService({ namespace: 'shop', name: 'a' });
  twin.maps.apply(twin.balancer.flush());
  assert.deepEqual(twin.maps.backendsOf(V4), ['10.1.0.2:8080']);
});

const pod = (name: string, more: Json = {}, labels = { app: 'web' }) => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: {
    name,
    namespace: 'shop',
    labels,
    ...(more.deleted ? { deletionTimestamp: '2030-01-01T00:00:00Z' } : {}),
  },
  spec: { nodeName: 'n1', containers: [{ name: 'c', ports: (more.ports as Json[]) ?? [] }] },
  status: {
    phase: more.phase ?? 'Running',
    podIPs: more.ips ?? [{ ip: `10.1.0.${name.length}` }],
    conditions: [{ type: 'Ready', status: more.ready === false ? 'False' : 'True' }],
  },
});
const own = { resolveSelectors: true };

test('without Kubernetes, selectors are resolved to pods', () => {
  const { maps, apply, balancer } = start(
    [
      service(),
      pod('a', { ips: [{ ip: '10.1.0.1' }, { ip: 'fd00:1::1' }] }),
      pod('bb'),
      pod('ccc', {}, { app: 'db' }),
    ],
    own,
  );
  assert.deepEqual(maps.backendsOf(V4), ['10.1.0.1:8080', '10.1.0.2:8080']);
  assert.deepEqual(maps.backendsOf(V6), ['fd00:1::1:8080']);
  apply(pod('bb', { ready: false }));
  assert.deepEqual(maps.backendsOf(V4), ['10.1.0.1:8080']);
  apply(pod('a', { deleted: true }));
  assert.deepEqual(maps.backendsOf(V4), ['10.1.0.1:8080'], 'draining, and nobody else is ready');
  apply(pod('ccc'));
  assert.deepEqual(maps.backendsOf(V4), ['10.1.0.3:8080']);
  apply(pod('ccc', { phase: 'Succeeded' }));
  balancer.deletePod({ namespace: 'shop', name: 'a' });
  balancer.deletePod({ namespace: 'shop', name: 'bb' });
  maps.apply(balancer.flush());
  assert.deepEqual([maps.backendsOf(V4), maps.backends.size], [[], 0]);
});

test("named target ports are each pod's own number; a pod without the name does not serve", () => {
  const named = service({ ports: [{ port: 80, targetPort: 'http' }] });
  const ports = (containerPort: number) => ({ ports: [{ name: 'http', containerPort }] });
  const { maps } = start([named, pod('a', ports(8001)), pod('bb', ports(8002)), pod('ccc')], own);
  assert.deepEqual(maps.backendsOf(V4), ['10.1.0.1:8001', '10.1.0.2:8002']);
});

test('publishNotReadyAddresses takes every pod, ready or not', () => {
  const { maps } = start(
    [
      service({ publishNotReadyAddresses: true }),
      pod('a', { ready: false }),
      pod('bb', { deleted: true }),
    ],
    own,
  );
  assert.deepEqual(maps.backendsOf(V4), ['10.1.0.1:8080', '10.1.0.2:8080']);
});

test('a pod that changes its labels leaves the one service and comes to the other', () => {
  const { maps, apply } = start(
    [service(), service({ clusterIPs: ['10.96.0.2'], selector: { app: 'db' } }, 'db'), pod('a')],
    own,
  );
  apply(pod('a', {}, { app: 'db' }));
  assert.deepEqual(
    [maps.backendsOf(V4), maps.backendsOf('10.96.0.2:80/TCP')],
    [[], ['10.1.0.1:8080']],
  );
});

test('a restart goes on with its numbers, flips to new slots and clears what nobody claims', () => {
  const first = start([
    service(),
    slice({ '10.1.0.1': 'ready' }),
    service({ clusterIPs: ['10.96.0.7'] }, 'gone'),
    slice({ '10.1.0.7': 'ready' }, 'g', 'n1', 'gone'),
  ]);
  const rows = new Map(first.maps.services);
  const second = new Balancer(settings, JSON.parse(JSON.stringify(first.balancer.assignment())));
  second.applyService(service());
  second.applyEndpointSlice(slice({ '10.1.0.1': 'ready' }));
  first.maps.apply(second.flush());
  assert.equal(first.maps.services.get(V4)?.serviceId, rows.get(V4)?.serviceId);
  assert.equal(first.maps.services.size, 3, 'nothing goes before everything has been listed');
  second.markSynced();
  first.maps.apply(second.flush());
  assert.equal(first.maps.services.size, 2);
  assert.equal(first.maps.backends.size, 1);
  assert.equal(first.maps.slots.size, 1);
  assert.equal(
    first.balancer.backendId('10.1.0.1:8080/TCP'),
    second.backendId('10.1.0.1:8080/TCP'),
  );
});

test('why explains: who is eligible, who is not, and which slot a hash meets', () => {
  const { balancer } = start([
    service(
      { clusterIPs: ['10.96.0.1'], internalTrafficPolicy: 'Local', sessionAffinity: 'ClientIP' },
      'web',
      { 'service.cilium.io/lb-algorithm': 'maglev' },
    ),
    slice({ '10.1.0.1': 'ready', '10.1.0.2': 'ready', '10.1.0.3': 'terminating' }),
    slice({ '10.2.0.1': 'ready' }, 'web-b', 'n2'),
  ]);
  const found = balancer.why(V4, { hash: 12345 });
  assert.deepEqual(
    found.candidates.map((each) => [each.key, each.eligible]),
    [
      ['10.1.0.1:8080/TCP', true],
      ['10.1.0.2:8080/TCP', true],
      ['10.1.0.3:8080/TCP', false],
      ['10.2.0.1:8080/TCP', false],
    ],
  );
  assert.match(found.candidates[2]!.reason, /terminating/);
  assert.match(found.candidates[3]!.reason, /node n2/);
  assert.equal(found.slot, 12345 % 251);
  assert.ok(Math.abs(found.candidates.reduce((sum, each) => sum + each.share, 0) - 1) < 1e-9);
  const sticky = balancer.why(V4, { affinityBackendId: balancer.backendId('10.1.0.2:8080/TCP')! });
  assert.equal(sticky.chosen, '10.1.0.2:8080/TCP');
  assert.throws(
    () => balancer.why('10.9.9.9:80/TCP'),
    (error) => error instanceof LoadBalancingError && error.code === 'unknown-frontend',
  );
  assert.match(
    start([service()]).balancer.why(V4).explanation,
    /no endpoint serves this port: connections are refused/,
  );
});

test('a refused object changes nothing', () => {
  const { balancer } = start([service(), slice({ '10.1.0.1': 'ready' })]);
  assert.equal(balancer.applyService(service({ ports: [{ port: 0 }] })).ok, false);
  assert.deepEqual(balancer.flush(), []);
});
