import assert from 'node:assert/strict';
import { test } from 'node:test';
import { silentLog } from '@causeway/daemon';
import { memoryEtcd } from '@causeway/etcd';
import { Database, VirtualClock } from '@causeway/tables';
import { Presence } from './presence.ts';
import { edgeObstacle, edgeRole } from './role.ts';

const EDGE = 'causeway.io/edge';
const EXCLUDE = 'node.kubernetes.io/exclude-from-external-load-balancers';

test('roles by label', () => {
  assert.equal(edgeRole({}), 'none');
  for (const value of ['', 'true', 'rack-1']) assert.equal(edgeRole({ [EDGE]: value }), 'edge');
  assert.equal(edgeRole({ [EDGE]: 'false' }), 'none');
  assert.equal(edgeRole({ [EDGE]: 'draining' }), 'draining');
  assert.equal(edgeRole({ [EXCLUDE]: '' }), 'excluded');
  assert.equal(edgeRole({ [EDGE]: 'true', [EXCLUDE]: '' }), 'draining');
});

test('who announces: edge nodes if there are any, and the last of them also while it drains', () => {
  assert.equal(edgeObstacle({ role: 'none', others: [] }), undefined);
  assert.equal(edgeObstacle({ role: 'edge', others: ['b'] }), undefined);
  assert.equal(edgeObstacle({ role: 'draining', others: [] }), undefined);
  assert.equal(
    edgeObstacle({ role: 'draining', others: ['b'] }),
    'the node drains, and b announces it',
  );
  assert.equal(
    edgeObstacle({ role: 'none', others: ['b', 'c', 'd', 'e', 'f'] }),
    'edge nodes announce it (b, c, d and 2 more), and this is none',
  );
  assert.match(edgeObstacle({ role: 'excluded', others: [] })!, /exclude-from-external/);
});

test('presence: on a short lease, dropped by whoever stops, kept while the store is away', async () => {
  const clock = new VirtualClock();
  await using etcd = memoryEtcd({ clock });
  const make = (node: string) => {
    let changes = 0;
    const presence = new Presence({
      node,
      kv: etcd.connect(),
      database: new Database(),
      clock,
      random: () => 0.5,
      onChange: () => changes++,
      log: silentLog,
    });
    return Object.assign(presence, { changes: () => changes });
  };
  await using a = make('a');
  const b = make('b');
  await using _b = b;
  a.announce(true);
  b.announce(true);
  await clock.advance(1_000);
  assert.ok(a.synced);
  assert.deepEqual([...a.living].sort(), ['a', 'b']);
  etcd.stop();
  await clock.advance(60_000);
  assert.deepEqual([...a.living].sort(), ['a', 'b']);
  etcd.start();
  await clock.advance(60_000);
  assert.deepEqual([...a.living].sort(), ['a', 'b']);
  b.announce(false);
  await clock.advance(1_000);
  assert.deepEqual([...a.living], ['a']);
  b.announce(true);
  await clock.advance(1_000);
  assert.equal(a.living.has('b'), true);
  // A process that ends leaves its key to the lease.
  await b[Symbol.asyncDispose]();
  await clock.advance(1_000);
  assert.equal(a.living.has('b'), true);
  await clock.advance(20_000);
  assert.deepEqual([...a.living], ['a']);
});
