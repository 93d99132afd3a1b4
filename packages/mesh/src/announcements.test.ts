import assert from 'node:assert/strict';
import { test } from 'node:test';
import { memoryEtcd, systemClock } from '@causeway/etcd';
import { eventually, ipAnnouncement, labelsOf, nodeOn } from '../testing/test-cluster.ts';
import { announceNode, announceService, announceSynced } from './announcements.ts';
import { decodeNode } from './codec/node.ts';
import { identityValueKey } from './keys.ts';

const NODE = decodeNode('{"Name":"n1","Cluster":"cla","ClusterID":1,"Source":"local"}');

test('a restart prunes what the node said before and no longer says, and nothing of others', async () => {
  const etcd = memoryEtcd({ clock: systemClock });
  await using _ = { [Symbol.asyncDispose]: () => etcd[Symbol.asyncDispose]() };
  const kv = etcd.connect();
  const kept = ipAnnouncement('10.1.0.1', 65800, '192.0.2.1');
  const stale = ipAnnouncement('10.1.0.2', 65800, '192.0.2.1');
  const foreign = ipAnnouncement('10.1.0.3', 65800, '192.0.2.11');
  const uses = ['192.0.2.1', '192.0.2.11'].map((suffix) =>
    identityValueKey(labelsOf('a').text, suffix),
  );
  for (const { key, value } of [kept, stale, foreign]) await kv.put(key, value);
  for (const key of uses) await kv.put(key, '65800');
  await kv.put('cilium/state/nodes/v1/cla/n11', 'of another node');
  await using node = nodeOn(etcd.connect(), 1);
  const { announcer } = node;
  const complete = announcer.table.source('endpoints');
  announcer.table.put(announceNode(NODE));
  announcer.table.put(kept);
  await eventually('written', () => announcer.store.status().keys === 2);
  assert.equal(
    (await kv.list('cilium/state/ip/')).entries.length,
    3,
    'nothing is pruned too early',
  );
  complete.done();
  await announcer.store.settled();
  const keys = (await kv.list('cilium/state/')).entries.map(({ key }) => key);
  assert.deepEqual(keys, [
    uses[1],
    kept.key,
    foreign.key,
    'cilium/state/nodes/v1/cla/n1',
    'cilium/state/nodes/v1/cla/n11',
  ]);
  const own = await kv.get(kept.key);
  assert.notEqual(own?.lease, undefined);
});

test('keys of every kind', () => {
  assert.equal(announceNode(NODE).key, 'cilium/state/nodes/v1/cla/n1');
  assert.deepEqual(announceSynced('cla', 'identities', 0), {
    key: 'cilium/synced/cla/cilium/state/identities/v1',
    value: '1970-01-01T00:00:00Z',
  });
  const service = announceService({
    cluster: 'cla',
    clusterId: 1,
    namespace: 'default',
    name: 'web',
    frontends: {},
    backends: { '10.0.0.1': { '': { protocol: 'UDP', port: 53 } } },
    hostnames: { '10.0.0.1': 'a' },
    zones: { '10.0.0.1': { zone: 'z1', forZones: ['z1'] } },
    labels: {},
    selector: {},
    includeExternal: true,
    shared: true,
  });
  assert.equal(service.key, 'cilium/state/services/v1/cla/default/web');
  assert.equal(
    service.value,
    '{"cluster":"cla","namespace":"default","name":"web","frontends":{},"backends":{"10.0.0.1":{"":{"Protocol":"UDP","Port":53}}},"hostnames":{"10.0.0.1":"a"},"zones":{"10.0.0.1":{"zone":"z1","forZones":[{"name":"z1"}]}},"labels":{},"selector":{},"includeExternal":true,"shared":true,"clusterID":1}',
  );
});
