import assert from 'node:assert/strict';
import { test } from 'node:test';
import { memoryEtcd, systemClock } from '@causeway/etcd';
import { Database } from '@causeway/tables';
import {
  CLUSTER,
  eventually,
  identity,
  ipAnnouncement,
  LAYOUT,
  labelsOf,
} from '../testing/test-cluster.ts';
import { MeshReader } from './reader.ts';
import { meshTables, nodeAddress } from './rows.ts';

const NODE = (name: string, more = '') =>
  `{"Name":"${name}","Cluster":"cla","ClusterID":1,"IPAddresses":[{"Type":"CiliumInternalIP","IP":"10.1.0.1"},{"Type":"InternalIP","IP":"192.0.2.1"}]${more}}`;

async function setUp() {
  const etcd = memoryEtcd({ clock: systemClock });
  const kv = etcd.connect();
  const tables = meshTables(new Database({ freeze: true }), 'cla');
  const put = async (key: string, value: string) => {
    await kv.put(key, value);
  };
  await put('cilium/state/identities/v1/id/65792', labelsOf('a').text);
  const entry = ipAnnouncement('10.1.0.5', 65792, '192.0.2.1');
  await put(entry.key, entry.value);
  await put('cilium/state/nodes/v1/cla/n1', NODE('n1'));
  const reader = new MeshReader({ kv, cluster: CLUSTER, layout: LAYOUT, tables });
  for (const table of [tables.identities, tables.ipEntries, tables.nodes, tables.services]) {
    await table.whenInitialized();
  }
  return {
    etcd,
    kv,
    tables,
    put,
    reader,
    async [Symbol.asyncDispose]() {
      await reader[Symbol.asyncDispose]();
      await etcd[Symbol.asyncDispose]();
    },
  };
}

test('the state of a cluster becomes rows tagged with it', async () => {
  await using t = await setUp();
  assert.equal(t.tables.identities.get(65792)?.labels.text, labelsOf('a').text);
  assert.deepEqual(t.tables.ipEntries.get('cla', '10.1.0.5'), {
    cluster: 'cla',
    address: '10.1.0.5',
    identity: 65792,
    hostIP: '192.0.2.1',
    encryptionKey: 0,
    pod: 'default/p',
    namedPorts: [],
  });
  const node = t.tables.nodes.get('cla/n1');
  assert.equal(node && nodeAddress(node, 'ipv4'), '192.0.2.1');
  assert.ok(t.reader.status().kinds.every(({ synced, connected }) => synced && connected));
});

test('refused values say why, and what was known stays', async () => {
  await using t = await setUp();
  const { put, tables } = t;
  const other = labelsOf('a').text.replace('=cla;', '=clb;');
  await put('cilium/state/identities/v1/id/131328', labelsOf('a').text);
  await put('cilium/state/identities/v1/id/65793', other);
  await put('cilium/state/identities/v1/id/065794', labelsOf('a').text);
  await put('cilium/state/identities/v1/id/65795', '');
  await put('cilium/state/ip/v1/default/10.1.0.5', 'garbage');
  await put('cilium/state/ip/v1/default/10.1.0.6', ipAnnouncement('10.1.0.7', 65792, '').value);
  await put('cilium/state/ip/v1/default/10.1.0.8', ipAnnouncement('10.1.0.8', 131328, '').value);
  await put(
    'cilium/state/ip/v1/default/10.1.0.9',
    ipAnnouncement('10.1.0.9', 0x0100_0001, '').value,
  );
  await put('cilium/state/nodes/v1/cla/n2', NODE('other'));
  await put('cilium/state/nodes/v1/cla/n1', NODE('n1').replace('"ClusterID":1', '"ClusterID":2'));
  await eventually('ten refusals', () => tables.rejected.size === 10);
  const reasons = Object.fromEntries(
    [...tables.rejected].map(({ key, reason }) => [key.split('/').at(-1), reason]),
  );
  assert.match(reasons['131328']!, /outside 65536 to 131071/);
  assert.match(reasons['65793']!, /do not name cluster cla/);
  assert.match(reasons['065794']!, /not an identity's number/);
  assert.match(reasons['10.1.0.5']!, /not JSON/);
  assert.match(reasons['10.1.0.6']!, /not its key's/);
  assert.match(reasons['10.1.0.9']!, /outside/);
  assert.match(reasons.n1!, /ClusterID 2 is not 1/);
  assert.equal(
    tables.ipEntries.get('cla', '10.1.0.5')?.identity,
    65792,
    'the last good value stays',
  );
  assert.equal(tables.nodes.has('cla/n1'), true);
  assert.equal(tables.identities.size, 1);
  await put('cilium/state/ip/v1/default/10.1.0.5', ipAnnouncement('10.1.0.5', 2, '').value);
  await eventually(
    'a good value again',
    () => tables.ipEntries.get('cla', '10.1.0.5')?.identity === 2,
  );
  assert.equal(tables.rejected.size, 9);
});

test('host of another node is remote-node; services leave when no longer shared', async () => {
  await using t = await setUp();
  await t.put('cilium/state/ip/v1/default/fd00::1', ipAnnouncement('fd00::1', 1, '').value);
  const service = (shared: boolean) =>
    `{"cluster":"cla","namespace":"shop","name":"till","frontends":{},"backends":{},"labels":{},"selector":{},"includeExternal":true,"shared":${shared},"clusterID":1}`;
  await t.put('cilium/state/services/v1/cla/shop/till', service(true));
  await eventually('service', () => t.tables.services.has('cla/shop/till'));
  await eventually('entry', () => t.tables.ipEntries.get('cla', 'fd00::1')?.identity === 6);
  await t.put('cilium/state/services/v1/cla/shop/till', service(false));
  await eventually('service gone', () => !t.tables.services.has('cla/shop/till'));
});

test('lost contact keeps everything; a new list takes away what it lacks or cannot read', async () => {
  await using t = await setUp();
  const { etcd, tables, put, kv } = t;
  await put('cilium/state/ip/v1/default/10.1.0.7', ipAnnouncement('10.1.0.7', 65792, '').value);
  await eventually('second entry', () => tables.ipEntries.size === 2);
  etcd.stop();
  await eventually('disconnected', () =>
    t.reader.status().kinds.every(({ connected }) => !connected),
  );
  assert.equal(tables.ipEntries.size, 2);
  etcd.wipe();
  etcd.start();
  await eventually('store back', () => kv.health().connected);
  await put('cilium/state/ip/v1/default/10.1.0.5', 'garbage');
  await put('cilium/state/identities/v1/id/65800', labelsOf('b').text);
  await eventually('new list', () => tables.identities.has(65800) && !tables.identities.has(65792));
  await eventually('unreadable entry is gone', () => tables.ipEntries.size === 0);
});

test('two clusters in the same tables; draining one leaves the other', async () => {
  await using t = await setUp();
  const { kv, tables } = t;
  const clb = { name: 'clb', id: 2 as typeof CLUSTER.id };
  await kv.put(
    'cilium/cache/identities/v1/clb/id/131400',
    labelsOf('a').text.replace('=cla;', '=clb;'),
  );
  await kv.put('cilium/cache/ip/v1/clb/10.1.0.5', ipAnnouncement('10.1.0.5', 131400, '').value);
  const remote = new MeshReader({ kv, cluster: clb, layout: LAYOUT, tables, tree: 'cache' });
  await eventually(
    'remote rows',
    () => tables.identities.has(131400) && tables.ipEntries.size === 2,
  );
  assert.equal(tables.ipEntries.claims('10.1.0.5').length, 2);
  await remote.drain();
  assert.deepEqual([...tables.identities.keys()], [identity(256)]);
  assert.equal(tables.ipEntries.size, 1);
});

test('a reader that ends before its first list leaves its tables unread', async () => {
  const etcd = memoryEtcd({ clock: systemClock });
  await using _ = { [Symbol.asyncDispose]: () => etcd[Symbol.asyncDispose]() };
  etcd.stop();
  const tables = meshTables(new Database({ freeze: true }), 'cla');
  const reader = new MeshReader({ kv: etcd.connect(), cluster: CLUSTER, layout: LAYOUT, tables });
  await reader[Symbol.asyncDispose]();
  assert.equal(tables.ipEntries.initialized, false);
  await reader.drain();
  assert.equal(tables.ipEntries.initialized, true);
});

test('somebody who listens and fails does not end the reading', async () => {
  await using t = await setUp();
  const undo = t.tables.identities.onCommit(() => {
    throw new Error('listener');
  });
  await t.put('cilium/state/identities/v1/id/65793', labelsOf('b').text);
  await eventually('the row is in', () => t.tables.identities.has(65793));
  undo();
  await t.put('cilium/state/identities/v1/id/65794', labelsOf('c').text);
  await eventually('the next one too', () => t.tables.identities.has(65794));
});

test('a cluster has so many bytes of a kind; what is beyond is refused until something goes', async () => {
  await using etcd = memoryEtcd({ clock: systemClock });
  const kv = etcd.connect();
  const tables = meshTables(new Database({ freeze: true }), 'own');
  const long = (name: string) => NODE(name, `,"BootID":"${'x'.repeat(1000)}"`);
  for (const name of ['n1', 'n2', 'n3']) {
    await kv.put(`cilium/state/nodes/v1/cla/${name}`, long(name));
  }
  const each = (of: number) => ({
    identities: of,
    ip: of,
    nodes: of,
    services: of,
    'service-backends': of,
  });
  const limits = { rows: each(1000), bytes: each(10_000), total: each(2800) };
  const options = { kv, cluster: CLUSTER, layout: LAYOUT, tables, limits } as const;
  await using _reader = new MeshReader({ ...options, kinds: ['nodes'] });
  await tables.nodes.whenInitialized();
  assert.deepEqual([...tables.nodes.keys()], ['cla/n1', 'cla/n2']);
  assert.match(
    tables.rejected.get('cla cilium/state/nodes/v1/cla/n3')?.reason ?? '',
    /more than 2800 bytes of nodes/,
  );
  // The same row over and over takes no more room, and one that goes gives it back.
  for (let i = 0; i < 3; i++) await kv.put('cilium/state/nodes/v1/cla/n1', long('n1'));
  await kv.delete('cilium/state/nodes/v1/cla/n2');
  await kv.put('cilium/state/nodes/v1/cla/n3', long('n3'));
  await eventually('there is room again', () => tables.nodes.has('cla/n3'));
  assert.deepEqual([...tables.nodes.keys()].sort(), ['cla/n1', 'cla/n3']);
});
