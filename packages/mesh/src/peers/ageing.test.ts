import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PeerWorld } from '../../testing/peer-world.ts';

const WHOLE = { nodes: 1, services: 20, identities: 1, ip: 1 };
const NOTHING = { nodes: 0, services: 0, identities: 0, ip: 0 };

test('a return within the grace is a non-event; later it is read whole', async () => {
  await using t = new PeerWorld(150_000);
  const east = t.store('east', 7);
  t.keep(east);
  await east.fill();
  t.join(east);
  await t.until('ready', () => t.row('east').state === 'ready', 10_000);
  using changes = t.tables.services.changes('test', 'now');

  east.etcd.stop();
  await t.until('stale', () => t.row('east').state === 'stale', 60_000);
  const lost = t.row('east').lastContact!;
  await t.pass(100_000);
  assert.equal(t.row('east').lastContact, lost, 'its age is told');
  east.etcd.start();
  await t.until('ready', () => t.row('east').state === 'ready', 60_000);
  assert.equal(changes.pending, false, 'nothing has changed for anybody');

  east.etcd.stop();
  await t.until('stale', () => t.row('east').state === 'stale', 60_000);
  await t.until('the end of the grace', () => t.row('east').state === 'withdrawing', 200_000);
  // Services go one by one, and everything else stays until they are gone.
  const seen = new Set<number>();
  await t.until(
    'the withdrawal',
    () => {
      const have = t.have('east');
      seen.add(have.services);
      assert.ok(have.services === 0 || have.nodes === 1);
      return t.row('east').state === 'withdrawn';
    },
    120_000,
  );
  assert.ok(seen.size > 5, [...seen].join());
  assert.deepEqual(t.have('east'), NOTHING);
  await t.pass(60_000);
  east.etcd.start();
  await t.until('ready', () => t.row('east').state === 'ready', 120_000);
  assert.deepEqual(t.have('east'), WHOLE);
});

test('a return in the middle of the withdrawal brings back what went', async () => {
  await using t = new PeerWorld(150_000);
  const east = t.store('east', 7);
  t.keep(east);
  await east.fill();
  t.join(east);
  await t.until('ready', () => t.row('east').state === 'ready', 10_000);
  east.etcd.stop();
  await t.until('half', () => t.have('east').services < 12, 250_000);
  east.etcd.start();
  await t.until('ready', () => t.row('east').state === 'ready', 60_000);
  await t.pass(10_000);
  assert.deepEqual(t.have('east'), WHOLE);
  await t.pass(240_000);
  assert.deepEqual(t.have('east'), WHOLE);
});

test('a peer that comes and goes loses its place in spite of short returns, and is tried less often', async () => {
  await using t = new PeerWorld(600_000);
  const east = t.store('east', 7);
  t.keep(east);
  await east.fill();
  t.join(east);
  await t.until('ready', () => t.row('east').state === 'ready', 10_000);
  let withdrawn = false;
  for (let round = 0; round < 40 && !withdrawn; round++) {
    east.etcd.stop();
    await t.pass(40_000);
    east.etcd.start();
    await t.until('a return', () => t.row('east').state === 'ready', 120_000);
    withdrawn = t.log.some(({ state }) => state === 'withdrawn' || state === 'withdrawing');
  }
  assert.ok(
    withdrawn,
    'it was never out of reach for longer than forty seconds, but hardly ever in',
  );
  assert.ok(t.row('east').losses > 3);
  await t.until('ready', () => t.row('east').state === 'ready', 120_000);
  await t.pass(60_000);
  assert.deepEqual(t.have('east'), WHOLE);
});

test('a suspended peer ages as a lost one; a described anew one is read anew', async () => {
  await using t = new PeerWorld(150_000);
  const east = t.store('east', 7);
  t.keep(east);
  await east.fill();
  const peer = t.join(east);
  await t.until('ready', () => t.row('east').state === 'ready', 10_000);
  peer.describe(t.spec('east', { endpoints: ['http://192.0.2.2:2379'] }));
  await t.until('ready', () => peer.store !== undefined && t.row('east').state === 'ready', 10_000);
  assert.equal(t.row('east').losses, 0, 'no loss: somebody wanted it so');
  peer.describe(t.spec('east', { suspended: true }));
  await t.until('suspended', () => t.row('east').state === 'suspended', 10_000);
  assert.deepEqual(t.have('east'), WHOLE);
  await t.pass(240_000);
  assert.deepEqual(t.have('east'), NOTHING);
  assert.equal(t.row('east').state, 'suspended');
  peer.describe(t.spec('east'));
  await t.until('ready', () => t.row('east').state === 'ready', 60_000);
  assert.deepEqual(t.have('east'), WHOLE);
  await peer.forget();
  assert.deepEqual(t.have('east'), NOTHING);
  assert.equal(t.peers.size, 0);
  assert.doesNotThrow(() => t.ids.reserve(7, 'west'));
});

test('a peer that never became whole does not leave its half behind', async () => {
  await using t = new PeerWorld(150_000);
  const east = t.store('east', 7);
  await east.beat();
  t.keep(east);
  await east.config();
  await east.node('n1', '192.0.7.1', '10.7.0.0/16');
  await east.put({ key: 'cilium/synced/east/cilium/state/nodes/v1', value: 'x' });
  t.join(east);
  await t.until('a half', () => t.have('east').nodes === 1, 10_000);
  east.etcd.stop();
  await t.pass(240_000);
  assert.deepEqual(t.have('east'), NOTHING);
});

test('a peer that cannot be looked at says so in its row, and the others age on', async () => {
  await using t = new PeerWorld(150_000);
  const [east, west] = [t.store('east', 7), t.store('west', 8)];
  for (const store of [east, west]) {
    t.keep(store);
    await store.fill();
  }
  let full = true;
  const target = Object.assign(t.target('east'), {
    current: () => {
      if (full) throw new Error('no space left');
    },
  });
  t.lookAfter(t.peer(east, target), t.peer(west, t.target('west')));
  await t.until('the reason', () => /no space left/.test(t.row('east').reason ?? ''), 10_000);
  assert.equal(t.row('east').state, 'ready');
  assert.deepEqual(t.have('east'), WHOLE);
  await t.until('ready', () => t.row('west').state === 'ready', 10_000);
  west.etcd.stop();
  await t.until('the other ages', () => t.row('west').state === 'withdrawn', 300_000);
  assert.deepEqual(t.have('west'), NOTHING);
  full = false;
  await t.until('it is well again', () => t.row('east').reason === undefined, 10_000);
});
