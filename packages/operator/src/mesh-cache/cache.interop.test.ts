import assert from 'node:assert/strict';
import { mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { silentLog } from '@causeway/daemon';
import { connectKv, type Fence, type Kv, memoryEtcd, present, systemClock } from '@causeway/etcd';
import { EtcdProcess } from '@causeway/etcd/testing';
import { identityLayout } from '@causeway/identity';
import {
  CacheUpstreams,
  ClusterCounts,
  ClusterIds,
  cacheRecordKey,
  decodeCacheRecord,
  meshPeerTable,
  meshTables,
  Peers,
  Ranges,
  TableTarget,
} from '@causeway/mesh';
import { EmptyStoreGuard, etcdStore } from '@causeway/resources';
import { Database } from '@causeway/tables';
import { until } from '../../testing/world.ts';
import { operatorConfig } from '../config.ts';
import { FenceLost } from '../pod-cidrs/writer.ts';
import { keepMeshCache } from './cache.ts';

const LABELS =
  'k8s:app=till;k8s:io.cilium.k8s.policy.cluster=east;k8s:io.kubernetes.pod.namespace=shop;';
const ID = (7 << 16) | 300;
const CONTENT: Readonly<Record<string, string>> = {
  'cilium/.heartbeat': 'now',
  'cilium/cluster-config/east':
    '{"id":7,"capabilities":{"syncedCanaries":true,"maxConnectedClusters":255,"serviceExportsEnabled":false},"later":[1]}',
  [`cilium/state/identities/v1/id/${ID}`]: LABELS,
  'cilium/state/ip/v1/default/10.7.0.9': `{"IP":"10.7.0.9","Mask":null,"HostIP":"192.0.7.1","ID":${ID}}`,
  'cilium/state/ip/v1/default/10.7.0.10': 'not ours to judge',
  'cilium/state/nodes/v1/east/n1':
    '{"Name":"n1","Cluster":"east","ClusterID":7,"IPAddresses":[{"Type":"InternalIP","IP":"192.0.7.1"}]}',
  'cilium/state/services/v1/east/shop/till':
    '{"cluster":"east","namespace":"shop","name":"till","backends":{"10.7.0.9":{"http":{"Protocol":"TCP","Port":80}}},"shared":true,"clusterID":7}',
  'cilium/state/serviceexports/v1/east/shop/till': '{"name":"till"}',
};
const MARKERS = ['nodes', 'services', 'identities', 'ip', 'serviceexports'];

async function leader(kv: Kv): Promise<Fence> {
  const key = 'causeway/election/operator';
  await kv.put(key, 'operator-1');
  const revision = (await kv.get(key))!.createRevision;
  return { key, revision, compare: present(key) };
}

/**
 * Starts a leader's cache; ends it when disposed of. Whichever of its writes is the first to find the fence gone, the
 * lead hears of it.
 */
function cache(kv: Kv, fence: Fence, configDir: string, onFenceLost?: () => void) {
  const stop = new AbortController();
  const guard = new EmptyStoreGuard(systemClock, stop.signal);
  guard.seen();
  const running = keepMeshCache(
    {
      kv,
      fence,
      onFenceLost: onFenceLost ?? (() => {}),
      store: etcdStore(kv),
      guard,
      config: operatorConfig.parse({
        cluster: { name: 'own', id: 1 },
        name: 'operator-1',
        mesh: { cache: { enabled: true, configDir, graceSeconds: 2, withdrawSeconds: 1 } },
      }),
      clock: systemClock,
      random: Math.random,
      wall: Date.now,
      log: silentLog,
    },
    stop.signal,
    () => {},
  ).catch((error) => {
    if (error instanceof FenceLost && onFenceLost !== undefined) onFenceLost();
    else if (!stop.signal.aborted) throw error;
  });
  return {
    async [Symbol.asyncDispose]() {
      stop.abort();
      await running;
    },
  };
}

test("a copy in the own store, in KVStoreMesh's form, for agents that read it; it ages and goes", async () => {
  await using etcd = await EtcdProcess.start();
  await using peer = connectKv({ endpoints: [etcd.endpoint], deadline: 10_000 });
  await until('the peer answers', () => peer.health().connected);
  for (const [key, value] of Object.entries(CONTENT)) await peer.put(key, value);
  const configDir = path.join(etcd.directory, 'peers');
  mkdirSync(configDir);
  writeFileSync(path.join(etcd.directory, 'east'), `endpoints: ["${etcd.endpoint}"]\n`);
  renameSync(path.join(etcd.directory, 'east'), path.join(configDir, 'east'));

  await using memory = memoryEtcd({ clock: systemClock });
  const kv = memory.connect();
  await kv.put('cilium/.heartbeat', 'now');
  await kv.put('cilium/cache/nodes/v1/east/long-gone', 'x');
  await kv.put(
    'causeway/cache/service-backends/v1/east/shop/till/0',
    'of a form that it no longer has',
  );
  const fence = await leader(kv);
  const at = async (key: string) => (await kv.get(key))?.text;

  // An agent that reads the copy.
  const database = new Database({ freeze: true });
  const tables = meshTables(database, 'own');
  const table = meshPeerTable(database);
  await using upstreams = new CacheUpstreams(kv, systemClock);
  const ids = new ClusterIds({ name: 'own', id: 1 });
  await using peers = new Peers({
    own: 'own',
    sources: ['file'],
    initial: [],
    syncTimeout: 0,
    connect: ({ name }) => ({ kv, upstream: upstreams.of(name), close: async () => {} }),
    target: (name) =>
      new TableTarget({
        name,
        expectedId: () => undefined,
        maxConnectedClusters: 255,
        layout: identityLayout(255),
        tables,
        ids,
        ranges: new Ranges(),
        counts: new ClusterCounts(tables),
        clock: systemClock,
      }),
    table,
    times: { grace: 900_000, withdraw: 60_000 },
    clock: systemClock,
    random: Math.random,
    onLog: () => {},
  });
  const spec = { id: undefined, tls: undefined, suspended: false, stamp: 'x' } as const;
  peers.set('file', { peers: [{ name: 'east', source: 'file', endpoints: [], ...spec }], bad: [] });
  await until('the agent waits', () => /no copy of east/.test(table.get('east')?.reason ?? ''));

  {
    await using _first = cache(kv, fence, configDir);
    await until('the config', async () => (await at('cilium/cluster-config/east')) !== undefined);
    assert.deepEqual(JSON.parse((await at('cilium/cluster-config/east'))!), {
      id: 7,
      capabilities: {
        syncedCanaries: true,
        maxConnectedClusters: 255,
        serviceExportsEnabled: false,
        cached: true,
      },
      later: [1],
    });
    assert.equal(table.get('east')?.state === 'ready', false, 'no marker of the peer stands yet');
    for (const kind of MARKERS) await peer.put(`cilium/synced/east/cilium/state/${kind}/v1`, 'now');
    await until('the agent has it all', () => table.get('east')?.state === 'ready');
    const copies = {
      [`cilium/cache/identities/v1/east/id/${ID}`]: LABELS,
      'cilium/cache/ip/v1/east/10.7.0.10': 'not ours to judge',
      'cilium/cache/nodes/v1/east/n1': CONTENT['cilium/state/nodes/v1/east/n1'],
      'cilium/cache/serviceexports/v1/east/shop/till': '{"name":"till"}',
    };
    for (const [key, value] of Object.entries(copies)) assert.equal(await at(key), value, key);
    assert.equal(await at('cilium/cache/nodes/v1/east/long-gone'), undefined);
    assert.equal(await at('causeway/cache/service-backends/v1/east/shop/till/0'), undefined);
    for (const kind of MARKERS) {
      assert.ok(await at(`cilium/synced/east/cilium/cache/${kind}/v1`), kind);
    }
    assert.equal(tables.ipEntries.get('east', '10.7.0.9')?.identity, ID);
    assert.equal(tables.services.size, 1);
    // Heartbeat, markers and five kinds: that is all the peer's store has to serve, for however many nodes.
    await until('seven watchers', async () => {
      const metrics = await (await fetch(`${etcd.endpoint}/metrics`)).text();
      return /^etcd_debugging_mvcc_watcher_total 7$/m.test(metrics);
    });
    await peer.delete('cilium/state/ip/v1/default/10.7.0.9');
    await peer.put(
      'cilium/state/nodes/v1/east/n1',
      CONTENT['cilium/state/nodes/v1/east/n1']!.replace('192.0.7.1', '192.0.7.2'),
    );
    await until('changes follow', () => tables.ipEntries.count('east') === 0);
    await until(
      'changes follow',
      () => tables.nodes.get('east/n1')?.addresses[0]?.ip === '192.0.7.2',
    );
  }

  // The next leader takes over without a word to anybody.
  const before = (await kv.get('cilium/cache/nodes/v1/east/n1'))!.modRevision;
  const since = table.get('east')!.since;
  {
    await using _second = cache(kv, fence, configDir);
    const recordedAt = async () => decodeCacheRecord((await at(cacheRecordKey('east')))!).at;
    const first = await recordedAt();
    await until('it has read the peer', async () => (await recordedAt()) !== first);
    assert.equal((await kv.get('cilium/cache/nodes/v1/east/n1'))!.modRevision, before);
    assert.equal(table.get('east')!.since, since, 'the agent never lost contact');

    await etcd.stop();
    await until('the agent hears of the loss', () => table.get('east')?.state === 'stale');
    assert.match(table.get('east')?.reason ?? '', /the copy is stale/);
    await until('the copy ages and goes', async () => {
      const { entries } = await kv.list('cilium/cache/');
      return entries.length === 0;
    });
    etcd.start();
    await until('it comes back', () => table.get('east')?.state === 'ready');
    assert.equal(tables.services.size, 1);

    rmSync(path.join(configDir, 'east'));
    await until(
      'given up: the config first',
      async () => (await at('cilium/cluster-config/east')) === undefined,
    );
    assert.ok(await at('cilium/cache/nodes/v1/east/n1'), 'the rest when readers have had the time');
  }

  // A leader that was replaced writes nothing more.
  let lost = 0;
  await kv.delete(fence.key);
  renameSync(path.join(configDir), `${configDir}2`);
  mkdirSync(configDir);
  writeFileSync(path.join(configDir, 'west'), `endpoints: ["${etcd.endpoint}"]\n`);
  await peer.put('cilium/cluster-config/west', CONTENT['cilium/cluster-config/east']!);
  {
    await using _third = cache(kv, fence, configDir, () => lost++);
    await until('it notices', () => lost > 0);
  }
  assert.equal(await at('cilium/cluster-config/west'), undefined);
});
