import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Kv, KvError, memoryEtcd } from '@causeway/etcd';
import { VirtualClock } from '@causeway/tables';
import { decodeClusterConfig } from './codec/cluster-config.ts';
import { MeshError } from './errors.ts';
import { ClusterKeeper, checkStore } from './keeper.ts';
import { clusterConfigKey, SHARDS_EXPORTED_KEY, syncedKey } from './keys.ts';

const config = {
  id: 1,
  syncedCanaries: false,
  cached: false,
  maxConnectedClusters: 255,
  serviceExportsEnabled: undefined,
} as const;

test('one of several keepers writes config and heartbeat; another takes over', async () => {
  const clock = new VirtualClock(Date.UTC(2026, 0, 1));
  const etcd = memoryEtcd({ clock });
  await using _ = { [Symbol.asyncDispose]: () => etcd[Symbol.asyncDispose]() };
  const keepers = [1, 2, 3].map(
    (n) =>
      new ClusterKeeper({
        kv: etcd.connect(),
        clock,
        random: () => 0.5,
        cluster: 'cla',
        config,
        settled: () => true,
        node: `n${n}`,
      }),
  );
  const kv = etcd.connect();
  await clock.advance(1000);
  assert.equal(keepers.filter((each) => each.status().leading).length, 1);
  assert.equal(
    (await kv.get('cilium/cluster-config/cla'))?.text,
    '{"id":1,"capabilities":{"maxConnectedClusters":255}}',
  );
  const first = await kv.get('cilium/.heartbeat');
  assert.match(first!.text, /^2026-01-01T00:00:\d\dZ$/);
  assert.notEqual(first?.lease, undefined);
  await clock.advance(60_000);
  const second = await kv.get('cilium/.heartbeat');
  assert.ok(second!.modRevision > first!.modRevision);
  assert.ok(second!.version - first!.version <= 2, 'one writer, not three');
  const leader = keepers.find((each) => each.status().leading)!;
  await leader[Symbol.asyncDispose]();
  await clock.advance(20_000);
  assert.equal(keepers.filter((each) => each.status().leading).length, 1);
  await clock.advance(60_000);
  assert.ok((await kv.get('cilium/.heartbeat'))!.modRevision > second!.modRevision);
  await kv.delete('cilium/cluster-config/cla');
  await clock.advance(5000);
  assert.notEqual(
    await kv.get('cilium/cluster-config/cla'),
    undefined,
    'a deleted config comes back',
  );
  for (const each of keepers) await each[Symbol.asyncDispose]();
});

test('that services are told in shards is said while the operator says so, and without a gap between leaders', async () => {
  const clock = new VirtualClock(Date.UTC(2026, 0, 1));
  const etcd = memoryEtcd({ clock });
  await using _ = { [Symbol.asyncDispose]: () => etcd[Symbol.asyncDispose]() };
  const keeper = () =>
    new ClusterKeeper({
      ...{ kv: etcd.connect(), clock, random: () => 0.5 },
      ...{ cluster: 'cla', config, node: 'n', settled: () => true },
    });
  const kv = etcd.connect();
  const says = async () =>
    decodeClusterConfig((await kv.get('cilium/cluster-config/cla'))!.text).causeway;
  let one = keeper();
  await clock.advance(2000);
  assert.equal(await says(), undefined, 'nobody exports');
  await kv.put(SHARDS_EXPORTED_KEY, 'true');
  await clock.advance(2000);
  assert.deepEqual(await says(), { serviceBackends: true });
  const seen: string[] = [];
  await using watch = kv.watch('cilium/cluster-config/cla');
  const watching = (async () => {
    for await (const event of watch) if (event.type === 'put') seen.push(event.entry.text);
  })();
  await one[Symbol.asyncDispose]();
  one = keeper();
  await clock.advance(20_000);
  assert.ok(
    seen.every((text) => text.includes('serviceBackends')),
    seen.join(),
  );
  await kv.delete(SHARDS_EXPORTED_KEY);
  await clock.advance(2000);
  assert.equal(await says(), undefined);
  await one[Symbol.asyncDispose]();
  await watch[Symbol.asyncDispose]();
  await watching;
});

test('markers stand at once in a new store, and in one that was emptied when it has settled', async () => {
  const clock = new VirtualClock(Date.UTC(2026, 0, 1));
  const etcd = memoryEtcd({ clock });
  await using _ = { [Symbol.asyncDispose]: () => etcd[Symbol.asyncDispose]() };
  let settled = true;
  const keeper = new ClusterKeeper({
    ...{ kv: etcd.connect(), clock, random: () => 0.5, cluster: 'cla', node: 'n' },
    config: { ...config, syncedCanaries: true },
    settled: () => settled,
  });
  const kv = etcd.connect();
  const markers = async () =>
    (await kv.list('cilium/synced/cla/')).entries.map(({ key }) => key.split('/').at(-2));
  const KINDS = ['identities', 'ip', 'nodes', 'services'];
  await clock.advance(1000);
  assert.deepEqual(await markers(), KINDS);
  await kv.put(SHARDS_EXPORTED_KEY, 'true');
  await clock.advance(1000);
  assert.deepEqual(await markers(), ['service-backends', ...KINDS]);
  const { capabilities } = JSON.parse((await kv.get('cilium/cluster-config/cla'))!.text);
  assert.equal(capabilities.syncedCanaries, true);
  settled = false;
  for (const { key } of (await kv.list('c')).entries) await kv.delete(key);
  await clock.advance(60_000);
  assert.deepEqual(await markers(), [], 'readers are not to believe what is missing');
  assert.notEqual(await kv.get('cilium/cluster-config/cla'), undefined);
  settled = true;
  await clock.advance(5000);
  assert.deepEqual(await markers(), KINDS);
  await keeper[Symbol.asyncDispose]();
});

/** Refuses as many puts of this key as are left. */
const refusing = (kv: Kv, key: string, left: { count: number }): Kv =>
  new Proxy(kv, {
    get(target, name) {
      if (name === 'put')
        return (...put: Parameters<Kv['put']>) =>
          put[0] === key && left.count-- > 0
            ? Promise.reject(new KvError('deadline', key, 'too slow'))
            : target.put(...put);
      const value = Reflect.get(target, name) as unknown;
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });

test('a leader whose markers the store did not take goes on trying, and a former one’s config stands meanwhile', async () => {
  for (const kind of ['service-backends', 'identities'] as const) {
    const clock = new VirtualClock(Date.UTC(2026, 0, 1));
    const etcd = memoryEtcd({ clock });
    await using _ = { [Symbol.asyncDispose]: () => etcd[Symbol.asyncDispose]() };
    const kv = etcd.connect();
    await kv.put(SHARDS_EXPORTED_KEY, 'true');
    await kv.put(clusterConfigKey('cla'), '{"id":1}');
    const left = { count: 20 };
    const keeper = new ClusterKeeper({
      ...{ clock, random: () => 0.5, cluster: 'cla', node: 'n', settled: () => true },
      kv: refusing(etcd.connect(), syncedKey('cla', kind), left),
      config: { ...config, syncedCanaries: true },
    });
    const configText = async () => (await kv.get(clusterConfigKey('cla')))?.text ?? 'nothing';
    await clock.advance(30_000);
    assert.deepEqual(keeper.status(), { leading: true, lastError: 'too slow' });
    assert.ok(left.count > 0);
    assert.match(await configText(), kind === 'identities' ? /serviceBackends/ : /^\{"id":1\}$/);
    await clock.advance(90_000);
    assert.deepEqual(keeper.status(), { leading: true, lastError: undefined });
    assert.match(await configText(), /serviceBackends/);
    assert.notEqual(await kv.get(syncedKey('cla', kind)), undefined);
    await keeper[Symbol.asyncDispose]();
  }
});

test('the store of another cluster is refused', async () => {
  const clock = new VirtualClock();
  const etcd = memoryEtcd({ clock });
  await using _ = { [Symbol.asyncDispose]: () => etcd[Symbol.asyncDispose]() };
  const kv = etcd.connect();
  await checkStore(kv, 'cla', config);
  await kv.put('cilium/cluster-config/clx', '{"id":9,"capabilities":{"cached":true}}');
  await kv.put('cilium/cluster-config/cla', '{"id":1,"capabilities":{"maxConnectedClusters":255}}');
  await checkStore(kv, 'cla', config);
  const foreign = (e: unknown) => e instanceof MeshError && e.code === 'foreign-store';
  await assert.rejects(checkStore(kv, 'clb', { ...config, id: 2 }), foreign);
  await assert.rejects(checkStore(kv, 'cla', { ...config, id: 2 }), foreign);
  await assert.rejects(checkStore(kv, 'cla', { ...config, maxConnectedClusters: 511 }), foreign);
  await assert.rejects(checkStore(kv, 'Not_a_name', config), /must be 1 to 32/);
  await assert.rejects(checkStore(kv, 'default', config), /not "default"/);
});
