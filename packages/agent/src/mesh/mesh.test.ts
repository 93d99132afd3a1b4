import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { silentLog } from '@causeway/daemon';
import { type Kv, memoryEtcd, systemClock } from '@causeway/etcd';
import { Prefix } from '@causeway/ip';
import { cacheRecordKey, encodeCacheRecord } from '@causeway/mesh';
import { EmptyStoreGuard, etcdStore } from '@causeway/resources';
import { Database } from '@causeway/tables';
import type { PoolRow } from '../addresses/sources.ts';
import { clusterTables } from '../cluster/tables.ts';
import { configSchema } from '../config/schema.ts';
import { AgentMesh } from './mesh.ts';
import { type AddressWhy, meshWhy, type PeerWhy } from './why.ts';

const trusted = { settled: true, whenSettled: (work: () => void) => work() } as never;
const ID = (7 << 16) | 300;

async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  const end = Date.now() + 60_000;
  while (!(await holds())) {
    if (Date.now() > end) throw new Error(`not within a minute: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

const node = (cluster: string, id: number, name: string, address: string, cidr: string) =>
  `{"Name":"${name}","Cluster":"${cluster}","ClusterID":${id},"IPAddresses":[{"Type":"InternalIP","IP":"${address}"}],"IPv4AllocCIDR":{"IP":"${cidr}","Mask":"////AA=="}}`;
const entry = (address: string, pod: string) =>
  `{"IP":"${address}","Mask":null,"HostIP":"192.0.7.1","ID":${ID},"K8sNamespace":"shop","K8sPodName":"${pod}"}`;

/** The own store with a whole copy of cluster east, as the operator keeps it. */
async function fill(kv: Kv): Promise<void> {
  const labels =
    'k8s:app=till;k8s:io.cilium.k8s.policy.cluster=east;k8s:io.kubernetes.pod.namespace=shop;';
  const content: Record<string, string> = {
    'cilium/.heartbeat': 'now',
    'cilium/state/nodes/v1/own/a': node('own', 1, 'a', '192.0.2.1', '10.1.0.0'),
    'cilium/cluster-config/east':
      '{"id":7,"capabilities":{"cached":true,"syncedCanaries":true,"maxConnectedClusters":255}}',
    'cilium/cache/nodes/v1/east/n1': node('east', 7, 'n1', '192.0.7.1', '10.7.0.0'),
    'cilium/cache/ip/v1/east/10.7.0.9': entry('10.7.0.9', 'till-0'),
    'cilium/cache/ip/v1/east/10.1.0.9': entry('10.1.0.9', 'thief'),
    'cilium/cache/ip/v1/east/0.0.0.0/0': `{"IP":"0.0.0.0","Mask":"AAAAAA==","HostIP":"","ID":${ID}}`,
    [`cilium/cache/identities/v1/east/id/${ID}`]: labels,
  };
  for (const kind of ['nodes', 'services', 'identities', 'ip']) {
    content[`cilium/synced/east/cilium/cache/${kind}/v1`] = 'now';
  }
  for (const [key, value] of Object.entries(content)) await kv.put(key, value);
}

async function setUp(access: 'cache' | 'direct', syncTimeoutSeconds: number) {
  const directory = mkdtempSync(path.join(tmpdir(), `causeway-mesh-${process.pid}-`));
  const etcd = memoryEtcd({ clock: systemClock });
  const kv = etcd.connect();
  await fill(kv);
  const stop = new AbortController();
  const database = new Database({ freeze: true });
  const cluster = clusterTables(database, trusted, stop.signal, 'own');
  const pools = database.table({ name: 'pod-pools', key: ({ name }: PoolRow) => name });
  const guard = new EmptyStoreGuard(systemClock, stop.signal);
  guard.seen();
  let told = 0;
  const parsed = configSchema.parse({
    cluster: { name: 'own', id: 1 },
    mesh: { access, configDir: directory, syncTimeoutSeconds },
    serviceCIDRs: ['10.96.0.0/16'],
  });
  const mesh = new AgentMesh({
    config: {
      ...parsed,
      stateDir: path.join(directory, '.state'),
      node: { ...parsed.node, name: 'a' },
    },
    kv,
    resources: etcdStore(kv),
    guard,
    database,
    cluster,
    pools,
    clock: systemClock,
    random: Math.random,
    log: silentLog,
    onEndpoints: () => told++,
  });
  return {
    kv,
    mesh,
    cluster,
    pools,
    told: () => told,
    describe: (name: string, text: string) => writeFileSync(path.join(directory, name), text),
    ready: () =>
      kv.put(
        cacheRecordKey('east'),
        encodeCacheRecord({ state: 'ready', endpoint: 'x', operator: 'o', at: String(told) }),
      ),
    async [Symbol.asyncDispose]() {
      await mesh[Symbol.asyncDispose]();
      stop.abort();
      await etcd[Symbol.asyncDispose]();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

test('a peer read from the copy: its rows, what is refused of it, and why an address is whose', async () => {
  await using t = await setUp('cache', 60);
  t.describe('east', 'endpoints: ["https://192.0.7.100:2379"]\n');
  await until('it waits for the copy', () => t.mesh.waiting().length === 1);
  assert.equal(t.cluster.identities.initialized, false, 'nothing is pruned before it is read');
  await t.ready();
  await until('ready', () => t.mesh.table.get('east')?.state === 'ready');
  await until('nobody waits any more', () => t.cluster.identities.initialized);
  assert.deepEqual(t.mesh.endpoints(), ['https://192.0.7.100:2379']);
  assert.ok(t.told() > 0, 'the sockets of its store are told, for no pod may reach them');

  const mine = (await meshWhy(t.mesh, '10.7.0.9')) as AddressWhy;
  assert.deepEqual(
    mine.claims.map(({ cluster, wins, identity, pod }) => ({ cluster, wins, identity, pod })),
    [{ cluster: 'east', wins: true, identity: ID, pod: 'shop/till-0' }],
  );
  assert.deepEqual(mine.nodes, [{ cluster: 'east', name: 'n1', as: 'pod CIDR 10.7.0.0/24' }]);
  const stolen = (await meshWhy(t.mesh, '10.1.0.9')) as AddressWhy;
  assert.deepEqual(stolen.claims, []);
  assert.match(stolen.ours ?? '', /which is a pod CIDR of node a of this cluster/);
  assert.deepEqual(stolen.refused.map(({ key }) => key).toSorted(), [
    'cilium/cache/ip/v1/east/0.0.0.0/0',
    'cilium/cache/ip/v1/east/10.1.0.9',
  ]);
  const peer = (await meshWhy(t.mesh, 'east')) as PeerWhy;
  assert.equal(peer.peer.counts.ip, 1);
  await assert.rejects(meshWhy(t.mesh, 'nobody'), /neither an address nor a peer cluster/);
});

test('what becomes ours is taken from a peer that has it, and given back when it is ours no longer', async () => {
  await using t = await setUp('cache', 60);
  t.describe('east', 'endpoints: ["https://192.0.7.100:2379"]\n');
  await t.ready();
  await until('ready', () => t.mesh.table.get('east')?.state === 'ready');
  const has = () => t.cluster.ipEntries.get('east', '10.7.0.9') !== undefined;
  assert.ok(has() && t.cluster.mesh.nodes.has('east/n1'));
  await t.kv.put('cilium/state/nodes/v1/own/b', node('own', 1, 'b', '192.0.2.2', '10.7.0.0'));
  await until('it goes', () => !has() && !t.cluster.mesh.nodes.has('east/n1'));
  await t.kv.delete('cilium/state/nodes/v1/own/b');
  await until('it comes back', () => has() && t.cluster.mesh.nodes.has('east/n1'));
  // A pool counts before any node has a CIDR of it.
  t.pools.put({
    name: 'wide',
    labels: {},
    families: ['ipv4'],
    cidrs: [Prefix.parse('10.0.0.0/12')],
  });
  await until('it goes', () => !has());
  assert.equal(t.mesh.table.get('east')?.losses, 0, 'reading again is no loss of contact');
});

test('where the address plan says what a peer has, nothing else of it is believed', async () => {
  await using t = await setUp('cache', 60);
  t.describe('east', 'endpoints: ["https://192.0.7.100:2379"]\n');
  await t.ready();
  await until('ready', () => t.mesh.table.get('east')?.state === 'ready');
  const has = () => t.cluster.ipEntries.get('east', '10.7.0.9') !== undefined;
  assert.ok(has());
  const store = etcdStore(t.kv);
  const plan = (cluster: object) => ({
    apiVersion: 'causeway.io/v1' as const,
    kind: 'AddressPlan' as const,
    metadata: { name: 'global' },
    spec: { regions: [{ name: 'eu', vpcs: [{ name: 'v', clusters: [cluster] }] }] },
  });
  const pods = ['10.8.0.0/16'];
  const { metadata } = await store.create(
    plan({ name: 'east', pods, nodes: ['192.0.7.0/24'] }) as never,
  );
  await until('it goes', () => !has());
  const why = (await meshWhy(t.mesh, '10.7.0.9')) as AddressWhy;
  assert.match(
    why.refused.map(({ cluster, reason }) => `${cluster}: ${reason}`).join(),
    /east: 10\.7\.0\.9 lies outside what AddressPlan global names for cluster east/,
  );
  // A plan that leaves out what nodes have does not say enough to refuse anything.
  await store.update({ ...plan({ name: 'east', pods }), metadata } as never);
  await until('it is back', has);
  assert.equal(t.mesh.table.get('east')?.losses, 0);
});

test('a peer out of reach holds a start up for its time only, and its health says why', async () => {
  await using t = await setUp('direct', 1);
  t.describe('west', 'endpoints: ["http://127.0.0.1:1"]\n');
  t.describe('east', 'endpoints: [no]\n');
  await until('the start goes on', () => t.cluster.identities.initialized);
  assert.deepEqual(t.mesh.waiting(), []);
  await until('it was tried', () => t.mesh.table.get('west')?.reason !== undefined);
  const health = t.mesh.health();
  const detail = (name: string) => health.find((each) => each.name === name)?.detail ?? '';
  assert.match(detail('peer west'), /^connecting \(.*127\.0\.0\.1:1/);
  assert.match(detail('mesh-peers'), /east \(file\): endpoints\.0 must be an http or https URL/);
  assert.ok(health.every(({ healthy }) => !healthy));
  assert.equal(t.mesh.view().peers.length, 2);
});
