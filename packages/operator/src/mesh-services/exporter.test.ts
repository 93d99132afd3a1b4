import assert from 'node:assert/strict';
import { test } from 'node:test';
import { silentLog } from '@causeway/daemon';
import { type Kv, memoryEtcd, systemClock } from '@causeway/etcd';
import {
  decodeService,
  decodeServiceShard,
  encodeHealth,
  healthKey,
  SHARDS_EXPORTED_KEY,
  serviceKey,
  serviceShardKey,
} from '@causeway/mesh';
import { etcdStore, type Pod, type ResourceStore } from '@causeway/resources';
import { until } from '../../testing/world.ts';
import { ServiceExporter } from './exporter.ts';
import { toldServices } from './views.ts';

const cluster = { name: 'east', id: 2 };

const service = (annotations: Record<string, string> = {}): object => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: {
    name: 'web',
    namespace: 'shop',
    labels: { team: 'till' },
    annotations: { 'service.cilium.io/global': 'true', ...annotations },
  },
  spec: {
    type: 'ClusterIP',
    clusterIPs: ['10.96.0.1'],
    selector: { app: 'web' },
    ports: [{ name: 'http', port: 80, protocol: 'TCP', targetPort: 8080 }],
  },
});

const pod = (i: number, ready = true): object => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: `web-${i}`, namespace: 'shop', labels: { app: 'web' } },
  spec: { nodeName: 'n1', containers: [{ name: 'web' }] },
  status: {
    phase: 'Running',
    podIPs: [{ ip: `10.1.${i >> 8}.${i & 255}` }],
    conditions: [{ type: 'Ready', status: ready ? 'True' : 'False' }],
  },
});

const CIDRS: object = {
  apiVersion: 'networking.k8s.io/v1',
  kind: 'ServiceCIDR',
  metadata: { name: 'kubernetes' },
  spec: { cidrs: ['10.96.0.0/24'] },
};

const LEADER = 'causeway/election/operator';

class World implements AsyncDisposable {
  readonly etcd = memoryEtcd({ clock: systemClock });
  readonly kv: Kv = this.etcd.connect();
  readonly store: ResourceStore = etcdStore(this.kv);
  #stop = new AbortController();
  #running: Promise<void> | undefined;
  exporter: ServiceExporter | undefined;
  /** The revision of the lead, and how often a write was told that it is over. */
  leads = 0;
  lost = 0;

  /** Somebody takes the lead, from whoever has it. */
  async elect(): Promise<void> {
    await this.kv.delete(LEADER);
    await this.kv.put(LEADER, 'somebody');
    this.leads = (await this.kv.get(LEADER))!.createRevision;
  }

  async start(): Promise<void> {
    if (this.leads === 0) await this.elect();
    const stop = new AbortController();
    this.#stop = stop;
    const revision = this.leads;
    const compare = { type: 'create', key: LEADER, operator: '=', revision } as const;
    this.exporter = new ServiceExporter({
      ...{ cluster, kv: this.etcd.connect(), store: this.store },
      fence: { key: LEADER, revision, compare },
      onFenceLost: () => this.lost++,
      ...{ clock: systemClock, random: () => 0.5, log: silentLog },
    });
    this.#running = this.exporter.run(stop.signal, () => {});
  }

  async whole(): Promise<string[] | undefined> {
    const entry = await this.kv.get(serviceKey('east', 'shop', 'web'));
    return entry && Object.keys(decodeService(entry.text).backends).sort();
  }

  async shard(number = 0): Promise<Record<string, string> | undefined> {
    const entry = await this.kv.get(serviceShardKey('east', 'shop', 'web', number));
    if (entry === undefined) return undefined;
    const { backends } = decodeServiceShard(entry.text);
    return Object.fromEntries(backends.map(({ address, state }) => [address, state]));
  }

  async apply(...objects: readonly object[]): Promise<void> {
    await this.store.apply([CIDRS]);
    await this.store.apply(objects);
    // As a kubelet does.
    for (const each of objects) {
      const { kind, metadata, status } = each as Pod;
      if (kind === 'Pod') await this.store.patchStatus('Pod', metadata, status ?? {});
    }
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
    await this.exporter?.[Symbol.asyncDispose]();
    this.exporter = undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    await this.kv[Symbol.asyncDispose]();
    await this.etcd[Symbol.asyncDispose]();
  }
}

const same = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b);

test('a shared service is told whole in the form of Cilium, and in shards with every state', async () => {
  await using world = new World();
  await world.apply(
    service({ 'causeway.io/expected-backends': '4' }),
    pod(1),
    pod(2),
    pod(3, false),
  );
  const report = {
    node: 'n1',
    failing: [{ service: 'shop/web', backend: '10.1.0.2:8080/TCP', reason: 'refused' }],
    more: 0,
  };
  await world.start();
  await until('all are told', async () => same(await world.whole(), ['10.1.0.1', '10.1.0.2']));
  const text = (await world.kv.get(serviceKey('east', 'shop', 'web')))!.text;
  assert.deepEqual(JSON.parse(text), {
    cluster: 'east',
    namespace: 'shop',
    name: 'web',
    frontends: { '10.96.0.1': { http: { Protocol: 'TCP', Port: 80 } } },
    backends: {
      '10.1.0.1': { http: { Protocol: 'TCP', Port: 8080 } },
      '10.1.0.2': { http: { Protocol: 'TCP', Port: 8080 } },
    },
    labels: { team: 'till' },
    selector: { app: 'web' },
    includeExternal: true,
    shared: true,
    clusterID: 2,
  });
  const shard = (await world.kv.get(serviceShardKey('east', 'shop', 'web', 0)))!;
  assert.equal(decodeServiceShard(shard.text).expected, 4);
  assert.equal(decodeServiceShard(shard.text).backends[0]?.target, 'web-1');
  assert.ok(shard.lease !== '0', 'what is told hangs on a lease');

  assert.deepEqual(
    [...world.exporter!.exported()],
    [{ service: 'shop/web', backends: 3, active: 2, expected: 4, shards: 1, left: 0 }],
  );

  // A health check speaks against one, of a service that has one.
  await world.apply(service({ 'causeway.io/health-check': 'tcp' }));
  await world.kv.put(healthKey('n1'), encodeHealth(report));
  await until('the failing one is told to fail', async () =>
    same(await world.shard(), {
      '10.1.0.1': 'active',
      '10.1.0.2': 'failing',
      '10.1.0.3': 'not-ready',
    }),
  );
  assert.deepEqual(await toldServices(world.kv), [
    {
      ...{ cluster: 'east', namespace: 'shop', name: 'web', backends: 3, active: 1 },
      ...{ others: '1 failing, 1 not-ready', expected: 0, shards: 1 },
    },
  ]);
  await until('it is not among the good ones', async () => same(await world.whole(), ['10.1.0.1']));
});

test('who no longer shares is told of no more, and namespaces may keep all to themselves', async () => {
  await using world = new World();
  await world.apply(service(), pod(1));
  await world.start();
  const told = async () => [await world.whole(), await world.shard()];
  const silent = async () => (await told()).every((each) => each === undefined);
  await until('it is told', async () => (await world.whole()) !== undefined);
  await world.apply(service({ 'service.cilium.io/shared': 'false' }));
  await until('it is not shared any more', silent);
  await world.apply(service());
  await until('it is told again', async () => (await world.whole()) !== undefined);
  const namespace = (value: string) => ({
    apiVersion: 'v1',
    kind: 'Namespace',
    metadata: { name: 'shop', annotations: { 'clustermesh.cilium.io/global': value } },
  });
  await world.apply(namespace('false'));
  await until('the namespace is closed', silent);
  await world.apply(namespace('true'));
  await until('the namespace is open', async () => (await world.whole()) !== undefined);
  await world.store.delete('Service', { namespace: 'shop', name: 'web' });
  await until('the service is gone', silent);
});

test('of many backends one that changes writes its shard at once and the whole at most once a second', async () => {
  await using world = new World();
  const pods = Array.from({ length: 150 }, (_, i) => pod(i));
  await world.apply(service(), ...pods);
  await world.start();
  await until('all are told', async () => (await world.whole())?.length === 150);
  const revisions = async () => {
    const { entries } = await world.kv.list('causeway/state/service-backends/');
    return new Map(entries.map(({ key, modRevision }) => [key, modRevision]));
  };
  const before = await revisions();
  assert.equal(before.size, 3);
  let wholes = 0;
  const begin = performance.now();
  const stop = new AbortController();
  const watching = (async () => {
    await using watch = world.kv.watch(serviceKey('east', 'shop', 'web'), { signal: stop.signal });
    for await (const event of watch) if (event.type === 'put') wholes++;
  })();
  for (let i = 0; i < 13; i++) {
    await world.apply(pod(70, i % 2 === 1));
    const wanted = i % 2 === 1 ? 'active' : 'not-ready';
    await until('the shard says so', async () =>
      [await world.shard(0), await world.shard(1), await world.shard(2)].some(
        (each) => each?.['10.1.0.70'] === wanted,
      ),
    );
  }
  await until('the whole value follows', async () => (await world.whole())?.length === 149);
  const seconds = (performance.now() - begin) / 1000;
  const after = await revisions();
  const touched = [...after].filter(([key, revision]) => before.get(key) !== revision);
  assert.equal(touched.length, 1, 'the other shards are not written');
  stop.abort();
  await watching;
  // One is what the watch lists first.
  assert.ok(wholes <= 2 + seconds, `${wholes} whole values in ${seconds} s`);
});

test('the next operator goes on with what is told, and takes away what nobody shares', async () => {
  await using world = new World();
  await world.apply(service(), pod(1), pod(2));
  await world.start();
  await until('it is told', async () => (await world.whole())?.length === 2);
  await world.stop();
  assert.equal((await world.whole())?.length, 2, 'the keys outlive their writer');

  const stale = serviceKey('east', 'shop', 'gone');
  const foreign = serviceKey('west', 'shop', 'gone');
  const text = (await world.kv.get(serviceKey('east', 'shop', 'web')))!.text;
  for (const key of [stale, foreign]) await world.kv.put(key, text);
  await world.apply(pod(2, false));
  await world.start();
  await until('it is told anew', async () => same(await world.whole(), ['10.1.0.1']));
  await until('what is stale is gone', async () => (await world.kv.get(stale)) === undefined);
  assert.ok(await world.kv.get(foreign), "another cluster's keys are not ours");
});

test('who no longer leads writes nothing: its late value loses, and it is told so', async () => {
  await using world = new World();
  await world.apply(service(), pod(1));
  await world.start();
  await until('told', async () => same(await world.shard(), { '10.1.0.1': 'active' }));
  await world.elect();
  await world.apply(pod(2));
  await until('it is told', async () => world.lost > 0);
  assert.deepEqual(await world.shard(), { '10.1.0.1': 'active' });
  await world.kv.delete(serviceShardKey('east', 'shop', 'web', 0));
  const before = world.lost;
  await until('nor does it mend what another takes away', async () => world.lost > before);
  assert.equal(await world.shard(), undefined);
  await world.stop();
  await world.start();
  const both = { '10.1.0.1': 'active', '10.1.0.2': 'active' };
  await until('the next leader tells all', async () => same(await world.shard(), both));
});

test('readers are told of shards once all of them stand, and go on so under the next leader', async () => {
  await using world = new World();
  await world.apply(service(), pod(1));
  const order: string[] = [];
  await using watch = world.kv.watch('causeway/');
  const watching = (async () => {
    for await (const event of watch) {
      if (event.type === 'put') order.push(event.entry.key);
      if (event.type === 'delete') order.push(`gone ${event.key}`);
    }
  })();
  await world.start();
  await until('told', async () => (await world.kv.get(SHARDS_EXPORTED_KEY)) !== undefined);
  await world.stop();
  await world.elect();
  await world.start();
  await world.apply(pod(2));
  await until('the next one', async () => Object.keys((await world.shard()) ?? {}).length === 2);
  await watch[Symbol.asyncDispose]();
  await watching;
  const shard = serviceShardKey('east', 'shop', 'web', 0);
  assert.ok(order.indexOf(shard) < order.indexOf(SHARDS_EXPORTED_KEY), order.join());
  assert.ok(!order.includes(`gone ${SHARDS_EXPORTED_KEY}`), order.join());
});
