import assert from 'node:assert/strict';
import { renameSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { memoryEtcd, systemClock } from '@causeway/etcd';
import { CLUSTER, instanceOn, keysOf, Reader, Scratch, until } from '../testing/index.ts';

interface Machine {
  name: string;
  addresses: string[];
  labels?: Record<string, string>;
  nodeAddress?: string;
}

/** As editors and tools do it: a whole new file in the old one's place. */
function say(file: string, machines: readonly Machine[]): void {
  const endpoints = machines.map((each) => ({ platform: 'vm', ...each }));
  writeFileSync(`${file}.new`, JSON.stringify({ endpoints }));
  renameSync(`${file}.new`, file);
}

const fleet = (count: number, app = 'web'): Machine[] =>
  Array.from({ length: count }, (_, i) => ({
    name: `m${i}`,
    addresses: [`10.9.${i >> 8}.${i & 255}`, `2001:db8:9::${(i + 1).toString(16)}`],
    labels: { app },
  }));

const fast = { identities: { lingerSeconds: 0.1, restSeconds: 0.2 } } as const;

test('machines of a file become endpoints that a strict reader takes, and go with it', async () => {
  using scratch = new Scratch();
  await using etcd = memoryEtcd({ clock: systemClock });
  await using reader = new Reader(etcd.connect());
  const file = scratch.file('site.yaml');
  say(file, [
    ...fleet(3),
    { name: 'gw', addresses: ['192.0.2.7'], labels: { app: 'gw' }, nodeAddress: '198.51.100.21' },
  ]);
  const source = { type: 'file', name: 'site', path: file, rescanSeconds: 0.1 } as const;
  await using instance = instanceOn(etcd.connect(), { sources: [source], ...fast });
  await until('seven entries', () => reader.entries === 7);
  await until('the handshake is possible', () => reader.handshake());
  assert.deepEqual(reader.labels('10.9.0.1'), [
    'k8s:app=web',
    'k8s:causeway.io/platform=vm',
    'k8s:io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name=default',
    'k8s:io.cilium.k8s.policy.cluster=outside',
    'k8s:io.kubernetes.pod.namespace=default',
  ]);
  assert.equal(reader.tables.ipEntries.winner('192.0.2.7')?.hostIP, '198.51.100.21');
  assert.equal(reader.tables.nodes.size, 1);
  const { identity } = reader.tables.ipEntries.winner('10.9.0.1')!;
  assert.equal(identity, reader.tables.ipEntries.winner('2001:db8:9::3')?.identity);
  assert.equal(identity >>> 16, CLUSTER.id);

  say(file, [...fleet(2, 'db'), { name: 'm2', addresses: ['10.9.0.2'], labels: { app: 'web' } }]);
  await until('labels have changed', () => reader.label('10.9.0.0', 'app') === 'db');
  await until('what is gone is gone', () => reader.entries === 5 && reader.tables.nodes.size === 0);
  assert.equal(reader.label('10.9.0.2', 'app'), 'web');
  await until('the gateway’s identity goes later', () => reader.tables.identities.size === 2);
  assert.deepEqual(reader.rejected, []);
  assert.equal(instance.status().ready, true);
});

/** Agents' questions about these machines are tested with the same rows (packages/agent/src/policy/questions.test.ts). */
test('the identities and entries of a database on bare metal and of a VM behind a node, to the letter', async () => {
  using scratch = new Scratch();
  await using etcd = memoryEtcd({ clock: systemClock });
  const file = scratch.file('site.yaml');
  const db = {
    name: 'db-1',
    addresses: ['192.0.2.10', '2001:db8::10'],
    platform: 'bare-metal',
    site: 'north',
    namespace: 'shop',
    labels: { app: 'db' },
  };
  const vm = {
    name: 'vm-1',
    addresses: ['192.0.2.20'],
    labels: { app: 'web' },
    nodeAddress: '192.0.2.99',
  };
  say(file, [db, vm]);
  const source = { type: 'file', name: 'objects', path: file } as const;
  await using _instance = instanceOn(etcd.connect(), { sources: [source] });
  const kv = etcd.connect();
  await until('all stands', async () => (await keysOf(kv, 'cilium/state/ip/')).size === 3);
  const entries = await keysOf(kv, 'cilium/state/ip/v1/default/');
  const identities = await keysOf(kv, 'cilium/state/identities/v1/id/');
  assert.deepEqual(Object.fromEntries([...identities, ...entries]), {
    'cilium/state/identities/v1/id/2452533':
      'k8s:app=web;k8s:causeway.io/platform=vm;k8s:io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name=default;k8s:io.cilium.k8s.policy.cluster=outside;k8s:io.kubernetes.pod.namespace=default;',
    'cilium/state/identities/v1/id/2478119':
      'k8s:app=db;k8s:causeway.io/platform=bare-metal;k8s:causeway.io/site=north;k8s:io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name=shop;k8s:io.cilium.k8s.policy.cluster=outside;k8s:io.kubernetes.pod.namespace=shop;',
    'cilium/state/ip/v1/default/192.0.2.10':
      '{"IP":"192.0.2.10","Mask":null,"HostIP":"","ID":2478119,"Key":0,"Metadata":"causeway-inventory:objects:db-1","K8sNamespace":"shop","K8sPodName":"db-1"}',
    'cilium/state/ip/v1/default/192.0.2.20':
      '{"IP":"192.0.2.20","Mask":null,"HostIP":"192.0.2.99","ID":2452533,"Key":0,"Metadata":"causeway-inventory:objects:vm-1","K8sNamespace":"default","K8sPodName":"vm-1"}',
    'cilium/state/ip/v1/default/2001:db8::10':
      '{"IP":"2001:db8::10","Mask":null,"HostIP":"","ID":2478119,"Key":0,"Metadata":"causeway-inventory:objects:db-1","K8sNamespace":"shop","K8sPodName":"db-1"}',
  });
});

test('a change of leader is seen by nobody, and the new one knows what the old one wrote', async () => {
  using scratch = new Scratch();
  await using etcd = memoryEtcd({ clock: systemClock });
  await using reader = new Reader(etcd.connect());
  const file = scratch.file('site.yaml');
  say(file, fleet(50));
  const options = {
    sources: [{ type: 'file', name: 'site', path: file, rescanSeconds: 0.1 } as const],
    election: { ttlSeconds: 1 },
    ...fast,
  };
  await using first = instanceOn(etcd.connect(), { ...options, name: 'first' });
  await until('first leads and has written all', () => reader.entries === 100);
  await until('the handshake is possible', () => reader.handshake());
  await using second = instanceOn(etcd.connect(), { ...options, name: 'second' });
  await until('second follows', () => second.status().leaderName === 'first');
  assert.throws(() => second.leading(), { code: 'not-leading', value: 'first' });
  const before = await keysOf(etcd.connect(), 'cilium/state/');

  // The file cannot be read while the leaders change: what it said stays.
  renameSync(file, `${file}.away`);
  await first[Symbol.asyncDispose]();
  await until('second leads', () => second.status().leader && second.status().counts !== undefined);
  await until('second has looked for the file', () =>
    second
      .status()
      .sources.some(({ name, report }) => name === 'site' && report.state === 'failed'),
  );
  const view = second.leading().inventory.claimants('10.9.0.7' as never).holder;
  assert.deepEqual([view?.source, view?.id, view?.item], ['site', 'm7', undefined]);
  renameSync(`${file}.away`, file);
  await until('second is ready', () => second.status().ready);
  assert.deepEqual(await keysOf(etcd.connect(), 'cilium/state/'), before);
  assert.deepEqual(reader.gone, []);
  assert.equal(second.status().epoch! > 0, true);
});

test('an emptied store is filled again with the same numbers, also for sources that are away', async () => {
  using scratch = new Scratch();
  await using etcd = memoryEtcd({ clock: systemClock });
  const file = scratch.file('site.yaml');
  say(file, [...fleet(20), { name: 'db', addresses: ['192.0.2.9'], labels: { app: 'db' } }]);
  const kv = etcd.connect();
  await using instance = instanceOn(kv, {
    sources: [{ type: 'file', name: 'site', path: file, rescanSeconds: 0.1 }],
    election: { ttlSeconds: 1 },
    ...fast,
  });
  await until('all is written', () => instance.status().counts?.entries === 41);
  const before = await keysOf(kv, 'cilium/state/');
  renameSync(file, `${file}.away`);
  etcd.wipe();
  await until('it is filled again', async () => (await keysOf(kv, 'cilium/state/ip/')).size === 41);
  assert.deepEqual(await keysOf(kv, 'cilium/state/'), before);
});

test('keys that others spoil, delete or add are put right', async () => {
  using scratch = new Scratch();
  await using etcd = memoryEtcd({ clock: systemClock });
  const kv = etcd.connect();
  const file = scratch.file('site.yaml');
  say(file, fleet(5));
  await using instance = instanceOn(kv, {
    sources: [{ type: 'file', name: 'site', path: file, rescanSeconds: 5 }],
    auditSeconds: 1,
    ...fast,
  });
  await until('all is written', () => instance.status().writer?.declared === true);
  const before = await keysOf(kv, 'cilium/state/');
  const [identity] = [...before.keys()].filter((key) => key.includes('/identities/'));
  await kv.put('cilium/state/ip/v1/default/10.9.0.1', '{"IP":"0.0.0.0","Mask":""}');
  await kv.delete('cilium/state/ip/v1/default/10.9.0.2');
  await kv.delete(identity!);
  await kv.put('cilium/state/ip/v1/default/10.77.0.1', 'x');
  await until('all is as it was', async () => {
    const now = await keysOf(kv, 'cilium/state/');
    return now.size === before.size && [...before].every(([key, value]) => now.get(key) === value);
  });
  assert.equal(instance.status().writer?.repaired, 4);
});

test('a store of another cluster is not written to, and both are named', async () => {
  await using etcd = memoryEtcd({ clock: systemClock });
  const kv = etcd.connect();
  const config = '{"id":9,"capabilities":{"maxConnectedClusters":255}}';
  await kv.put('cilium/cluster-config/east', config);
  await using instance = instanceOn(kv);
  await until('it says why', () =>
    /cluster east \(id 9/.test(instance.status().etcd.lastError ?? ''),
  );
  assert.match(instance.status().etcd.lastError ?? '', /not to outside \(id 37/);
  const { entries } = await kv.list('cilium/');
  assert.deepEqual(
    entries.map(({ key, text }) => [key, text]),
    [['cilium/cluster-config/east', config]],
  );
});
