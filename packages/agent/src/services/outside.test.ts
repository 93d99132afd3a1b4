import assert from 'node:assert/strict';
import { test } from 'node:test';
import { silentLog } from '@causeway/daemon';
import { memoryEtcd, systemClock } from '@causeway/etcd';
import { freePort } from '@causeway/etcd/testing';
import { Address } from '@causeway/ip';
import { Balancer, type MapOperation } from '@causeway/loadbalancing';
import { meshTables } from '@causeway/mesh';
import type { EndpointSlice, Service } from '@causeway/resources';
import { Database } from '@causeway/tables';
import { type NodeRow, type NodeTable, nodeKey } from '../cluster/tables.ts';
import { ownNodeTable } from '../node/own-node.ts';
import { podTable } from '../sources/pods.ts';
import { ServiceController } from './controller.ts';
import { OutsideServices } from './outside.ts';
import { endpointSliceTable, serviceTable } from './tables.ts';

async function until(what: string, ask: () => boolean | Promise<boolean>): Promise<void> {
  const end = performance.now() + 60_000;
  while (!(await ask())) {
    assert.ok(performance.now() < end, `still not: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

const service = (healthCheckNodePort: number): Service =>
  ({
    apiVersion: 'v1',
    kind: 'Service',
    metadata: {
      name: 'web',
      namespace: 'shop',
      annotations: {
        'causeway.io/health-check': 'http:/ready',
        'causeway.io/health-check-interval': '500ms',
        'causeway.io/health-check-unhealthy': '1',
        'causeway.io/health-check-healthy': '1',
      },
    },
    spec: {
      type: 'LoadBalancer',
      clusterIP: '10.96.0.1',
      clusterIPs: ['10.96.0.1'],
      sessionAffinity: 'None',
      externalTrafficPolicy: 'Local',
      healthCheckNodePort,
      ports: [{ port: 80, protocol: 'TCP' }],
    },
    status: { loadBalancer: { ingress: [{ ip: '192.0.2.10' }] } },
  }) as Service;

const slice = {
  apiVersion: 'discovery.k8s.io/v1',
  kind: 'EndpointSlice',
  metadata: { name: 'web-1', namespace: 'shop', labels: { 'kubernetes.io/service-name': 'web' } },
  addressType: 'IPv4',
  ports: [{ name: '', port: 8080, protocol: 'TCP' }],
  endpoints: [
    { addresses: ['10.1.0.1'], nodeName: 'a' },
    { addresses: ['10.1.0.2'], nodeName: 'a' },
    { addresses: ['10.2.0.1'], nodeName: 'b' },
  ],
} as EndpointSlice;

/** The services of node `a`, with a store and a kernel in memory. */
async function setUp(down: ReadonlySet<string> = new Set()) {
  const etcd = memoryEtcd({ clock: systemClock });
  const database = new Database();
  const operations: MapOperation[] = [];
  const tables = {
    services: serviceTable(database),
    slices: endpointSliceTable(database),
    pods: podTable(database),
  };
  const initial = [
    tables.services.source('test'),
    tables.slices.source('test'),
    tables.pods.source('test'),
  ];
  const shared = { clock: systemClock, random: () => 0.1, log: silentLog };
  const controller = new ServiceController({
    balancer: new Balancer({ node: 'a', defaultAlgorithm: 'random', resolveSelectors: true }),
    ...tables,
    remote: meshTables(database),
    apply: (operation) => operations.push(operation),
    ...shared,
  });
  const ownNode = ownNodeTable(database);
  const nodes: NodeTable = database.table({
    name: 'nodes',
    key: (row: NodeRow) => nodeKey(row.cluster, row.name),
    indexes: { address: { keys: (row) => row.addresses.map(({ address }) => address) } },
  });
  const asked: Address[] = [];
  const outside = new OutsideServices({
    node: 'a',
    cluster: 'main',
    kv: etcd.connect(),
    database,
    services: controller,
    ownNode,
    nodes,
    announces: true,
    probe: async ({ address }) => (down.has(address) ? 'HTTP status 503' : undefined),
    echoes: (address) => ({
      send: () => {
        asked.push(address);
        return 0;
      },
      heard: () => [],
      [Symbol.dispose]() {},
    }),
    words: () => ({ ask: async () => false, async [Symbol.asyncDispose]() {} }),
    ...shared,
  });
  /** The labels of a node as the store has them. */
  const label = (name: string, labels: Record<string, string>) => {
    const described = { name, addresses: [], podCIDRs: [], labels };
    nodes.put({ cluster: 'main', ...described });
    if (name === 'a') ownNode.put({ ...described, pools: [] });
  };
  return {
    kv: etcd.connect(),
    tables,
    outside,
    nodes,
    asked,
    label,
    read: () => {
      for (const each of initial) each.done();
    },
    async [Symbol.asyncDispose]() {
      await outside[Symbol.asyncDispose]();
      controller[Symbol.dispose]();
      await etcd[Symbol.asyncDispose]();
    },
  };
}

test('the health check port tells of healthy backends on this node, down to none', async () => {
  const down = new Set<string>();
  await using t = await setUp(down);
  const port = await freePort('::');
  t.label('a', {});
  t.tables.services.put(service(port));
  t.tables.slices.put(slice);
  t.read();
  const answers = (status: number, count: number) =>
    until(`${status} with ${count}`, async () => {
      const response = await fetch(`http://127.0.0.1:${port}/`).catch(() => undefined);
      const body = (await response?.json()) as { localEndpoints: number } | undefined;
      return response?.status === status && body?.localEndpoints === count;
    });
  await answers(200, 2);
  down.add('10.1.0.1');
  await answers(200, 1);
  down.add('10.1.0.2');
  await answers(503, 0);
  await until('it is said', async () => {
    const said = await t.kv.get('causeway/state/backend-health/a');
    return said?.text.includes('"backend":"10.1.0.2:8080/TCP","reason":"HTTP status 503"') === true;
  });
  down.clear();
  await answers(200, 2);
  await until('it is taken back', async () => {
    return (await t.kv.get('causeway/state/backend-health/a')) === undefined;
  });
  t.tables.services.delete('shop/web');
  await until('the port is closed', async () => {
    return (await fetch(`http://127.0.0.1:${port}/`).catch(() => undefined)) === undefined;
  });
});

test('the place at the edge follows labels, leases and the gateways’ policies', async () => {
  await using t = await setUp();
  const living = (name: string) => t.kv.put(`causeway/state/edge/${name}`, '{}');
  const view = () => JSON.stringify(t.outside.view());
  t.label('a', {});
  t.label('b', { 'causeway.io/edge': '' });
  t.label('c', { 'causeway.io/edge': 'draining' });
  t.label('d', {});
  for (const name of ['b', 'c', 'd']) await living(name);
  // c drains and d is none, whatever they say of their life.
  await until('b is seen', () => view() === '{"role":"none","others":["b"]}');
  const before = t.outside.view();
  assert.equal(t.outside.view(), before, 'the same object as long as it says the same');
  assert.equal(await t.kv.get('causeway/state/edge/a'), undefined);
  t.label('a', { 'causeway.io/edge': 'true' });
  await until('a says that it lives', async () => {
    return (await t.kv.get('causeway/state/edge/a'))?.lease !== undefined;
  });
  assert.equal(view(), '{"role":"edge","others":["b"]}');
  await t.kv.delete('causeway/state/edge/b');
  await until('b is gone', () => view() === '{"role":"edge","others":[]}');
  t.label('a', {});
  await until('a takes it back', async () => {
    return (await t.kv.get('causeway/state/edge/a')) === undefined;
  });
  t.outside.setGateway(true);
  await until('a is a gateway', async () => {
    return (await t.kv.get('causeway/state/edge/a')) !== undefined;
  });
});

test('whom the node watches is worked out anew when nodes or the living change, not in every round', async () => {
  await using t = await setUp();
  const put = (name: string, last: number, cluster = 'main') => {
    const address = Address.parse(`192.0.2.${last}`);
    const addresses = [{ type: 'InternalIP' as const, address }];
    t.nodes.put({ cluster, name, addresses, podCIDRs: [], labels: {} });
  };
  let read = 0;
  const rows = t.nodes.rows.bind(t.nodes);
  t.nodes.rows = () => {
    read++;
    return rows();
  };
  /** Those asked in the next rounds. */
  const askedNow = () => {
    t.asked.length = 0;
    return () => [...new Set(t.asked)].sort().join();
  };
  t.label('a', { 'causeway.io/edge': '' });
  put('b', 2);
  put('c', 3);
  put('d', 4);
  put('e', 5, 'other');
  let now = askedNow();
  await until('two witnesses are asked', () => now() === '192.0.2.2,192.0.2.3');
  await until('a lives', async () => t.outside.presence.living.has('a'));
  now = askedNow();
  await until('more rounds pass', () => t.asked.length >= 4);
  read = 0;
  await until('many rounds pass', () => t.asked.length >= 10);
  assert.equal(read, 0);
  put('b', 6);
  now = askedNow();
  await until('b has moved', () => now().includes('192.0.2.6'));
  await t.kv.put('causeway/state/edge/c', '{}');
  now = askedNow();
  await until('c lives, and d is a witness', () => now().includes('192.0.2.4'));
});
