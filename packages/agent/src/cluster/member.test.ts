import assert from 'node:assert/strict';
import { test } from 'node:test';
import { silentLog } from '@causeway/daemon';
import { type Kv, memoryEtcd, systemClock } from '@causeway/etcd';
import { ClusterId, identityLayout, LabelSet } from '@causeway/identity';
import { Address } from '@causeway/ip';
import { announceClusterConfig, meshTables } from '@causeway/mesh';
import { Database } from '@causeway/tables';
import { endpointTable } from '../endpoints/table.ts';
import { AgentError } from '../errors.ts';
import { ClusterMember } from './member.ts';

const LABELS = LabelSet.parse(
  'k8s:app=web;k8s:io.cilium.k8s.policy.cluster=cla;k8s:io.kubernetes.pod.namespace=default;',
);

async function setUp(before: (kv: Kv) => Promise<unknown> = async () => {}) {
  const etcd = memoryEtcd({ clock: systemClock });
  await before(etcd.connect());
  const database = new Database({ freeze: true });
  const member = new ClusterMember({
    kv: etcd.connect(),
    database,
    cluster: { name: 'cla', id: ClusterId(1), maxConnectedClusters: 255 },
    layout: identityLayout(255),
    node: 'n1',
    address: Address.parse('192.0.2.1'),
    trust: { broke: false, settled: true },
    tables: meshTables(database),
    endpoints: endpointTable(database),
    onRenumbered: () => {},
    clock: systemClock,
    random: () => 0.5,
    log: silentLog,
  });
  const uses = () =>
    [...(database.find('announcements')?.keys() ?? [])].filter((key) =>
      String(key).includes('/value/'),
    );
  return {
    etcd,
    member,
    uses,
    async [Symbol.asyncDispose]() {
      await member[Symbol.asyncDispose]();
      await etcd[Symbol.asyncDispose]();
    },
  };
}

test('however many pods ask at once for a new number, the last one that goes gives it back', async () => {
  await using t = await setUp();
  const { signal } = new AbortController();
  const ids = await Promise.all(Array.from({ length: 10 }, () => t.member.acquire(LABELS, signal)));
  assert.equal(new Set(ids).size, 1);
  assert.equal(t.uses().length, 1);
  t.member.release(LABELS);
  assert.deepEqual(t.uses(), []);
});

test('one caller that gives up takes the number from nobody else', async () => {
  await using t = await setUp();
  t.etcd.freeze();
  const impatient = new AbortController();
  const first = t.member.acquire(LABELS, impatient.signal);
  const second = t.member.acquire(LABELS, new AbortController().signal);
  impatient.abort(new Error('given up'));
  await assert.rejects(first, /given up/);
  t.etcd.thaw();
  assert.ok((await second) > 65_535);
  assert.equal(t.uses().length, 1);
});

test('what is given back while it is being acquired is not held', async () => {
  await using t = await setUp();
  const pending = t.member.acquire(LABELS, new AbortController().signal);
  t.member.release(LABELS);
  await pending;
  assert.deepEqual(t.uses(), []);
});

test("another cluster's store is told of, and nothing is taken from it or said in its name", async () => {
  const config = {
    id: 2,
    syncedCanaries: false,
    cached: false,
    maxConnectedClusters: 255,
    serviceExportsEnabled: undefined,
  } as const;
  const { key, value } = announceClusterConfig('other', config);
  await using t = await setUp((kv) => kv.put(key, value));
  const problem = () => t.member.health().find(({ name }) => name === 'store')?.detail ?? '';
  for (let tried = 0; problem() === '' && tried < 200; tried++) await systemClock.sleep(5);
  assert.match(problem(), /belongs to cluster other/);
  await assert.rejects(
    t.member.acquire(LABELS, new AbortController().signal),
    (error) => error instanceof AgentError && error.code === 'store-unavailable',
  );
  const { entries } = await t.etcd.connect().list('cilium/');
  assert.deepEqual(
    entries.map((entry) => entry.key),
    [key],
  );
});
