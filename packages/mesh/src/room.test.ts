import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PeerWorld } from '../testing/peer-world.ts';
import { Room, type RoomLimits } from './room.ts';

const BYTES = 1_000_000;
const limits = (rows: Partial<RoomLimits['rows']>, bytes = BYTES): RoomLimits => ({
  rows: { ...new Room().limits.rows, ...rows },
  bytes,
  portBytes: 10_000,
});

test('of all clusters together who came first is served; the rest is refused until something goes', async () => {
  await using t = new PeerWorld(900_000, limits({ services: 30, ip: 1 }));
  const [east, west] = [t.store('east', 7), t.store('west', 8)];
  for (const each of [east, west]) {
    t.keep(each);
    await each.fill();
  }
  const first = t.join(east);
  await t.until('ready', () => t.row('east').state === 'ready', 10_000);
  const second = t.join(west);
  await t.until('ready', () => t.row('west').state === 'ready', 10_000);
  assert.deepEqual(t.have('east'), { nodes: 1, services: 20, identities: 1, ip: 1 });
  assert.deepEqual(t.have('west'), { nodes: 1, services: 10, identities: 1, ip: 0 });
  assert.equal(t.row('west').counts.rejected, 11);
  for (const { cluster, reason } of t.tables.rejected.rows()) {
    assert.equal(cluster, 'west');
    assert.match(reason, /all clusters together have (30 services|1 ip) already/);
  }
  await first.forget();
  second.reread('there is room');
  await t.until('all of it', () => t.have('west').services === 20, 60_000);
  await t.until('its entry', () => t.have('west').ip === 1, 60_000);
  await second.forget();
  assert.equal(t.room.taken, 0, 'nothing is left of anybody');
});

test('bytes are counted once however often a peer is read, and bound what all have', async () => {
  await using t = new PeerWorld(900_000, limits({}));
  const east = t.store('east', 7);
  t.keep(east);
  await east.fill();
  const peer = t.join(east);
  await t.until('ready', () => t.row('east').state === 'ready', 10_000);
  const { taken } = t.room;
  assert.ok(taken > 1000);
  for (let i = 0; i < 3; i++) {
    peer.reread('again');
    await t.pass(2000);
    await t.until('ready', () => t.row('east').state === 'ready', 10_000);
  }
  assert.equal(t.room.taken, taken);
  const west = t.store('west', 8);
  t.keep(west);
  await west.fill();
  t.room.set('north', 'services', BYTES - taken - 500);
  t.join(west);
  await t.until('ready', () => t.row('west').state === 'ready', 10_000);
  assert.ok(t.room.taken <= BYTES);
  assert.ok(t.row('west').counts.rejected > 10);
});
