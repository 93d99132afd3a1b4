import assert from 'node:assert/strict';
import { test } from 'node:test';
import { silentLog } from '@causeway/daemon';
import { systemClock } from '@causeway/etcd';
import { Address } from '@causeway/ip';
import { type Assignment, Balancer, type MapOperation } from '@causeway/loadbalancing';
import {
  meshTables,
  type ServiceRow,
  type ServiceShardRow,
  type ShardBackendState,
} from '@causeway/mesh';
import type { Service } from '@causeway/resources';
import { Database } from '@causeway/tables';
import { podTable } from '../sources/pods.ts';
import { ServiceController } from './controller.ts';
import { endpointSliceTable, serviceTable } from './tables.ts';

const web = {
  apiVersion: 'v1',
  kind: 'Service',
  metadata: {
    name: 'web',
    namespace: 'shop',
    annotations: { 'service.cilium.io/global': 'true', 'service.cilium.io/affinity': 'local' },
  },
  spec: {
    type: 'ClusterIP',
    clusterIPs: ['10.96.0.1'],
    ports: [{ port: 80, protocol: 'TCP', targetPort: 8080 }],
  },
} as unknown as Service;

const whole = (...addresses: string[]): ServiceRow => ({
  cluster: 'east',
  clusterId: 2,
  namespace: 'shop',
  name: 'web',
  frontends: {},
  backends: Object.fromEntries(
    addresses.map((each) => [each, { http: { protocol: 'TCP', port: 8080 } }]),
  ),
  hostnames: {},
  zones: { '10.2.0.1': { zone: 'z1', forZones: [] } },
  labels: {},
  selector: {},
  includeExternal: true,
  shared: true,
});

const shard = (given: Record<string, ShardBackendState>): ServiceShardRow => ({
  cluster: 'west',
  clusterId: 3,
  namespace: 'shop',
  name: 'web',
  shard: 0,
  expected: 4,
  backends: Object.entries(given).map(([address, state]) => ({
    address: Address.parse(address),
    ports: { http: { protocol: 'TCP', port: 8080 } },
    state,
    weight: 100,
    zone: '',
    target: 'web-1',
  })),
});

function setUp(previous?: Assignment) {
  const database = new Database();
  const operations: MapOperation[] = [];
  const remote = meshTables(database);
  const tables = {
    services: serviceTable(database),
    slices: endpointSliceTable(database),
    pods: podTable(database),
  };
  const peers = remote.services.source('peers');
  const balancer = new Balancer(
    { node: 'a', cluster: 'home', defaultAlgorithm: 'random', resolveSelectors: true },
    previous,
  );
  const controller = new ServiceController({
    balancer,
    ...tables,
    remote,
    apply: (operation) => operations.push(operation),
    clock: systemClock,
    random: () => 0.5,
    log: silentLog,
  });
  const until = async (done: () => boolean): Promise<void> => {
    for (let i = 0; !done() && i < 2000; i++) await systemClock.sleep(5);
    assert.ok(done());
  };
  const chosen = () =>
    balancer.frontend('10.96.0.1:80/TCP')?.chosen.map(({ key }) => key.split(':')[0]) ?? [];
  return { remote, ...tables, peers, balancer, controller, operations, until, chosen };
}

test("rows of other clusters' services become backends, by cluster and tier, and go with the rows", async () => {
  const t = setUp();
  using controller = t.controller;
  t.peers.done();
  t.services.put(web);
  t.remote.services.put(whole('10.2.0.1'));
  t.remote.serviceShards.put(shard({ '10.3.0.1': 'active', '10.3.0.2': 'terminating' }));
  await t.until(() => t.chosen().length === 2);
  const [listed] = controller.list() as [{ tiers: unknown; backends: Record<string, unknown>[] }];
  assert.deepEqual(listed.tiers, [['home'], ['east', 'west']]);
  assert.deepEqual(
    listed.backends.map(({ backend, cluster, tier, state, target }) => [
      ...[backend, cluster, tier, state, target],
    ]),
    [
      ['10.2.0.1:8080/TCP', 'east', 2, 'active', undefined],
      ['10.3.0.1:8080/TCP', 'west', 2, 'active', 'shop/web-1'],
      ['10.3.0.2:8080/TCP', 'west', 2, 'terminating', 'shop/web-1'],
    ],
  );
  const [why] = controller.why({ namespace: 'shop', name: 'web' }) as [
    { tiers: { tier: number; share: number; healthy: number; expected: number }[] },
  ];
  assert.deepEqual(
    why.tiers.map(({ tier, healthy, expected, share }) => [tier, healthy, expected, share]),
    [
      [1, 0, 0, 0],
      [2, 2, 5, 1],
    ],
  );
  t.remote.serviceShards.delete('west/shop/web/0');
  await t.until(() => t.chosen().length === 1);
  t.remote.services.delete('east/shop/web');
  await t.until(() => t.chosen().length === 0);
});

test('after a restart a global service stays as it was until the other clusters are heard', async () => {
  const first = setUp();
  first.peers.done();
  first.services.put(web);
  first.remote.services.put(whole('10.2.0.1'));
  await first.until(() => first.chosen().length === 1);
  first.controller[Symbol.dispose]();

  const t = setUp(first.balancer.assignment());
  using _controller = t.controller;
  t.services.put(web);
  t.services.put({
    ...web,
    metadata: { ...web.metadata, name: 'other' },
    spec: { ...web.spec, clusterIPs: ['10.96.0.2'] },
  } as Service);
  await t.until(() => t.balancer.frontend('10.96.0.2:80/TCP') !== undefined);
  const ofWeb = () =>
    t.operations.filter((each) => each.type === 'service-put' && each.key.address === '10.96.0.1');
  assert.deepEqual(ofWeb(), []);
  assert.ok(!t.operations.some(({ type }) => type.endsWith('-delete')));
  t.remote.services.put(whole('10.2.0.1'));
  t.peers.done();
  await t.until(() => t.chosen().length === 1);
  assert.equal(ofWeb().length, 1);
});
