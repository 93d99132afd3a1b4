import assert from 'node:assert/strict';
import { test } from 'node:test';
import { memoryEtcd, systemClock } from '@causeway/etcd';
import { ClusterId, identityLayout } from '@causeway/identity';
import { Address } from '@causeway/ip';
import { Database } from '@causeway/tables';
import { announceServiceShard } from './announcements.ts';
import type { ServiceShardValue } from './codec/service-shard.ts';
import { stateKindsOf, statePrefix, syncedKey } from './keys.ts';
import { MeshReader } from './reader.ts';
import { meshTables } from './rows.ts';

const shard = (number: number, address: string, more: Partial<ServiceShardValue> = {}) =>
  announceServiceShard({
    cluster: 'east',
    clusterId: 2,
    namespace: 'shop',
    name: 'web',
    shard: number,
    expected: 0,
    backends: [
      {
        address: Address.parse(address),
        ports: { http: { protocol: 'TCP', port: 8080 } },
        state: 'active',
        weight: 100,
        zone: '',
        target: 'web-1',
      },
    ],
    ...more,
  });

async function until(what: string, done: () => boolean): Promise<void> {
  for (let i = 0; !done(); i++) {
    assert.ok(i < 4000, what);
    await systemClock.sleep(5);
  }
}

test('a cluster that gives shards is read by them and not by its whole values', () => {
  const kinds = (serviceBackends: boolean | undefined) =>
    stateKindsOf(serviceBackends === undefined ? {} : { causeway: { serviceBackends } });
  assert.deepEqual(kinds(true), ['nodes', 'service-backends', 'identities', 'ip']);
  for (const other of [false, undefined]) {
    assert.deepEqual(kinds(other), ['nodes', 'services', 'identities', 'ip']);
  }
  assert.equal(
    syncedKey('east', 'service-backends'),
    'cilium/synced/east/causeway/state/service-backends/v1',
  );
  assert.equal(
    statePrefix('service-backends', 'east', 'cache'),
    'causeway/cache/service-backends/v1/east/',
  );
});

test('shards become rows; one of another service, cluster or address of ours is refused and the last good one stays', async () => {
  await using etcd = memoryEtcd({ clock: systemClock });
  await using kv = etcd.connect();
  const tables = meshTables(new Database());
  const put = ({ key, value }: { key: string; value: string }) => kv.put(key, value);
  await put(shard(0, '10.2.0.1'));
  await put(shard(12, '10.2.0.2'));
  await using reader = new MeshReader({
    kv: etcd.connect(),
    cluster: { name: 'east', id: ClusterId(2) },
    layout: identityLayout(255),
    tables,
    kinds: ['service-backends'],
    guard: {
      entry: () => undefined,
      node: () => undefined,
      backend: (address) => (address.startsWith('10.1.') ? `${address} is ours` : undefined),
      onNodes: () => () => {},
    },
  });
  const { serviceShards, rejected } = tables;
  await until('both are read', () => serviceShards.size === 2);
  assert.equal(serviceShards.get('east/shop/web/12')?.backends[0]?.address, '10.2.0.2');

  const { key } = shard(0, '10.2.0.1');
  const wrong: readonly (readonly [string, RegExp])[] = [
    [shard(1, '10.2.0.9').value, /shop\/web\/1 is not its key's/],
    [shard(0, '10.2.0.9', { name: 'other' }).value, /shop\/other\/0 is not its key's/],
    [shard(0, '10.2.0.9', { cluster: 'west' }).value, /cluster west is not east/],
    [shard(0, '10.2.0.9', { clusterId: 3 }).value, /clusterID 3 is not 2/],
    [shard(0, '10.1.0.9').value, /10\.1\.0\.9 is ours/],
    ['{"cluster":"east"}', /must not be empty/],
  ];
  for (const [value, reason] of wrong) {
    await kv.put(key, value);
    await until(String(reason), () => reason.test([...rejected][0]?.reason ?? ''));
    assert.equal(serviceShards.get('east/shop/web/0')?.backends[0]?.address, '10.2.0.1');
  }
  await put(shard(0, '10.2.0.3'));
  await until('a good one is taken', () => rejected.size === 0);
  assert.equal(serviceShards.get('east/shop/web/0')?.backends[0]?.address, '10.2.0.3');
  await kv.delete(key);
  await until('it is gone', () => serviceShards.size === 1);
  await reader.drain();
  assert.equal(serviceShards.size, 0);
});
