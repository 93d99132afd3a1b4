import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Kv, memoryEtcd } from '@causeway/etcd';
import { VirtualClock } from '@causeway/tables';
import { ResourceError } from './errors.ts';
import { etcdStore } from './etcd-store.ts';
import type { Service } from './schema/service.ts';
import { pickNodePort } from './service-ports.ts';
import type { ResourceStore } from './store.ts';

const manifest = (spec: object, name = 'web') => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name, namespace: 'shop' },
  spec: { type: 'NodePort', clusterIP: 'None', ports: [{ port: 80 }], ...spec },
});

async function withStore(run: (store: ResourceStore, kv: Kv) => Promise<void>): Promise<void> {
  const etcd = memoryEtcd({ clock: new VirtualClock() });
  await using _etcd = { [Symbol.asyncDispose]: () => etcd[Symbol.asyncDispose]() };
  const kv = etcd.connect();
  let turn = 0;
  await run(etcdStore(kv, { random: () => (turn++ % 100) / 100 }), kv);
}

async function claims(kv: Kv): Promise<string[]> {
  const prefix = 'causeway/allocations/node-ports/';
  const keys: string[] = [];
  for await (const { entries } of kv.pages(prefix)) {
    for (const { key, text } of entries) {
      keys.push(`${key.slice(prefix.length)} ${(JSON.parse(text) as { owner: string }).owner}`);
    }
  }
  return keys;
}

async function apply(store: ResourceStore, ...objects: object[]): Promise<Service['spec'][]> {
  const { results } = await store.apply(objects);
  return results.map(({ object }) => (object as Service).spec);
}

const ports = (spec: Service['spec'] | undefined) => spec?.ports?.map(({ nodePort }) => nodePort);

const refusal =
  (code: string, ...texts: string[]) =>
  (error: unknown) => {
    assert.ok(error instanceof ResourceError);
    assert.equal(error.code, code);
    for (const text of texts) assert.ok(error.message.includes(text), error.message);
    return true;
  };

test('ports are given, kept, asked for by name and given back with the service', async () => {
  await withStore(async (store, kv) => {
    const [first] = await apply(store, manifest({}));
    const [given] = ports(first)!;
    assert.ok(given! >= 30_086 && given! <= 32_767, 'people ask for the first ones');
    assert.deepEqual(await claims(kv), [`tcp/${given} Service shop/web`]);
    const [again] = await apply(
      store,
      manifest({
        ports: [{ port: 80 }, { name: 'b', port: 81 }].map((each, i) => ({
          name: `p${i}`,
          ...each,
        })),
      }),
    );
    assert.equal(ports(again)![0], given, 'a port that was given stays');
    assert.equal(new Set(ports(again)).size, 2);
    const [asked] = await apply(store, manifest({ ports: [{ port: 80, nodePort: 30_007 }] }));
    assert.deepEqual(ports(asked), [30_007]);
    assert.deepEqual(await claims(kv), ['tcp/30007 Service shop/web']);
    // The manifest may name it still after the type has changed.
    const [closed] = await apply(
      store,
      manifest({ type: 'ClusterIP', ports: [{ port: 80, nodePort: 30_007 }] }),
    );
    assert.deepEqual([ports(closed), await claims(kv)], [[undefined], []]);
    await apply(store, manifest({}));
    await store.delete('Service', { namespace: 'shop', name: 'web' });
    assert.deepEqual(await claims(kv), []);
  });
});

test('a port has one holder of its protocol, also among the objects of one manifest', async () => {
  await withStore(async (store, kv) => {
    const asks = { ports: [{ port: 80, nodePort: 31_000 }] };
    await apply(store, manifest(asks, 'first'));
    await assert.rejects(
      apply(store, manifest(asks, 'second')),
      refusal('port-taken', 'spec.ports[0].nodePort 31000/TCP', 'Service shop/first'),
    );
    const udp = { ports: [{ port: 80, protocol: 'UDP', nodePort: 31_000 }] };
    await apply(store, manifest(udp, 'second'));
    const same = { ports: [{ port: 80, nodePort: 31_001 }] };
    await assert.rejects(
      apply(store, manifest(same, 'a'), manifest(same, 'b')),
      refusal('port-taken', 'another Service of this manifest'),
    );
    assert.deepEqual(await claims(kv), [
      'tcp/31000 Service shop/first',
      'udp/31000 Service shop/second',
    ]);
  });
});

test('two applies at once are never given one port', async () => {
  await withStore(async (store) => {
    const all = await Promise.all(
      Array.from({ length: 12 }, (_, i) => apply(store, manifest({}, `s${i}`))),
    );
    assert.equal(new Set(all.flat().flatMap((spec) => ports(spec)!)).size, 12);
  });
});

test('load balancers: without node ports if asked, with a health check port where clients are kept', async () => {
  await withStore(async (store, kv) => {
    const balancer = { type: 'LoadBalancer', allocateLoadBalancerNodePorts: false };
    const [bare] = await apply(store, manifest(balancer));
    assert.deepEqual([ports(bare), bare?.healthCheckNodePort], [[undefined], undefined]);
    const local = { ...balancer, externalTrafficPolicy: 'Local' };
    const [checked] = await apply(store, manifest(local));
    const { healthCheckNodePort } = checked!;
    assert.deepEqual(await claims(kv), [`tcp/${healthCheckNodePort} Service shop/web`]);
    await assert.rejects(
      apply(
        store,
        manifest({
          ...local,
          healthCheckNodePort: healthCheckNodePort! === 32_000 ? 32_001 : 32_000,
        }),
      ),
      refusal('immutable', 'spec.healthCheckNodePort', `must stay ${healthCheckNodePort}`),
    );
    const [back] = await apply(store, manifest({ ...balancer, healthCheckNodePort }));
    assert.equal(back?.healthCheckNodePort, undefined);
    assert.deepEqual(await claims(kv), []);
  });
});

test('ports of one number and two protocols share a node port', async () => {
  await withStore(async (store) => {
    const dns = [
      { name: 'tcp', port: 53, protocol: 'TCP' },
      { name: 'udp', port: 53, protocol: 'UDP' },
    ];
    const [spec] = await apply(store, manifest({ ports: dns }));
    const [tcp, udp] = ports(spec)!;
    assert.equal(tcp, udp);
  });
});

test('what Kubernetes refuses', async () => {
  await withStore(async (store, kv) => {
    const cases: [object, string][] = [
      [{ ports: [{ port: 80, nodePort: 29_999 }] }, 'spec.ports[0].nodePort'],
      [{ type: 'ClusterIP', ports: [{ port: 80, nodePort: 30_001 }] }, 'must be absent'],
      [{ healthCheckNodePort: 30_001 }, 'spec.healthCheckNodePort'],
      [
        {
          ports: [
            { name: 'a', port: 80, nodePort: 30_001 },
            { name: 'b', port: 81, nodePort: 30_001 },
          ],
        },
        'repeats 30001/TCP',
      ],
    ];
    for (const [spec, text] of cases) {
      await assert.rejects(apply(store, manifest(spec)), refusal('invalid', text));
    }
    assert.deepEqual(await claims(kv), []);
  });
});

test('the last ports are the ones that people ask for, and then there are none', () => {
  const used = new Set<number>();
  const order: number[] = [];
  for (let i = 0; i < 2_768; i++) {
    const { port } = pickNodePort('TCP', used, () => 0.3, 'Service shop/web');
    used.add(port);
    order.push(port);
  }
  assert.ok(order.slice(0, -86).every((port) => port >= 30_086));
  assert.throws(
    () => pickNodePort('TCP', used, () => 0.3, 'Service shop/web'),
    refusal('exhausted', 'Service shop/web', '30000 to 32767'),
  );
});
