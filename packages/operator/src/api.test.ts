import assert from 'node:assert/strict';
import { test } from 'node:test';
import { memoryEtcd, systemClock } from '@causeway/etcd';
import { etcdStore } from '@causeway/resources';
import { pool, startOperator, TestNode, until } from '../testing/world.ts';
import { operatorApi } from './api.ts';

test('every instance answers; what is asked of the leader reaches it through the store', async () => {
  await using etcd = memoryEtcd({ clock: systemClock });
  await using kv = etcd.connect();
  await etcdStore(kv).apply([pool('default', { ipv4: { cidrs: ['10.0.0.0/24'], maskSize: 25 } })]);
  await using leader = startOperator(kv, { name: 'one' });
  await until('one leads', () => leader.lead !== undefined);
  await using follower = startOperator(kv, { name: 'two' });
  await until('two follows', () => follower.status().ready);
  const node = new TestNode(kv, 'n1');
  await node.ask('default', 10);
  await until('it is served', async () => (await node.allocated()).length === 1);
  const errors: unknown[] = [];
  const parts = {
    operator: follower,
    about: () => ({ version: 'test' }),
    onError: (error: unknown) => errors.push(error),
  };
  const api = operatorApi({ ...parts, commands: true });
  const get = async (path: string) => {
    const { status, content } = await api.request(path);
    assert.equal(status, 200, String(content));
    return JSON.parse(String(content));
  };
  const status = await get('/v1/status');
  assert.deepEqual([status.ready, status.leader, status.leaderName], [true, false, 'one']);
  assert.equal((await get('/v1/leader')).leaderName, 'one');
  assert.equal((await get('/v1/pools'))[0].blocks, 1);
  assert.equal((await get('/v1/nodes'))[0].cidr, '10.0.0.0/25');
  assert.deepEqual(await get('/v1/claims'), []);
  assert.deepEqual(await get('/v1/vips'), []);
  assert.match((await get('/v1/plan')).text.join('\n'), /CiliumPodIPPool\/default/);
  assert.equal((await get('/v1/drain?cidr=10.0.0.0/25')).blocks[0].node, 'n1');
  assert.match((await get('/v1/why?address=10.0.0.9')).summary, /given to node n1/);
  assert.match(String((await api.request('/v1/metrics')).content), /causeway_operator_leader 0/);

  const refused = await api.request('/v1/drain?cidr=nonsense');
  assert.equal(refused.status, 400);
  assert.match(String(refused.content), /must be a CIDR/);
  const unknown = await api.request('/v1/switch', {
    method: 'POST',
    body: '{"address":"10.0.0.9","node":"n2"}',
  });
  assert.equal(unknown.status, 404);

  // Over TCP nobody is asked who he is, so nobody may change anything there.
  const open = operatorApi({ ...parts, commands: false });
  assert.equal((await open.request('/v1/pools')).status, 200);
  for (const path of ['/v1/release', '/v1/switch']) {
    assert.equal((await open.request(path, { method: 'POST', body: '{"node":"n1"}' })).status, 404);
  }

  const released = await api.request('/v1/release', { method: 'POST', body: '{"node":"n1"}' });
  assert.equal(released.status, 200, String(released.content));
  assert.deepEqual(await node.allocated(), []);
  assert.deepEqual(errors, []);
});
