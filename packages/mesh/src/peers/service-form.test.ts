import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Address } from '@causeway/ip';
import { type PeerStoreInTest, PeerWorld } from '../../testing/peer-world.ts';
import { announceServiceShard } from '../announcements.ts';
import { syncedKey } from '../keys.ts';
import { FORM_GRACE } from './service-form.ts';

const SHARDS = { causeway: { serviceBackends: true } };

const shard = (store: PeerStoreInTest, name: string): Promise<void> =>
  store.put(
    announceServiceShard({
      cluster: store.name,
      clusterId: store.id,
      namespace: 'shop',
      name,
      shard: 0,
      expected: 0,
      backends: [
        {
          address: Address.parse('10.7.0.9'),
          ports: { http: { protocol: 'TCP', port: 80 } },
          state: 'active',
          weight: 100,
          zone: '',
          target: '',
        },
      ],
    }),
  );

/** What stands in either form. */
function forms(t: PeerWorld): { whole: number; shards: number } {
  const { services, 'service-backends': shards } = t.counts.of('east');
  return { whole: services, shards };
}

test('services of a peer that gives shards from now on stay until its marker says that all shards stand', async () => {
  await using t = new PeerWorld();
  const east = t.store('east', 7);
  t.keep(east);
  await east.fill();
  const peer = t.join(east);
  await t.until('ready', () => t.row('east').state === 'ready', 10_000);
  await east.config(SHARDS);
  peer.describe(t.spec('east', { stamp: 'anew' }));
  await t.pass(120_000);
  assert.deepEqual(forms(t), { whole: 20, shards: 0 });
  for (let i = 0; i < 19; i++) await shard(east, `s${i}`);
  await east.put({ key: syncedKey('east', 'service-backends'), value: 'now' });
  await t.until('the shards', () => forms(t).shards === 19, 10_000);
  assert.deepEqual(forms(t), { whole: 0, shards: 19 }, 'one is no longer shared');
});

test('services of a peer without markers stay while the operator has the time to write its shards', async () => {
  await using t = new PeerWorld();
  const east = t.store('east', 7);
  t.keep(east);
  await east.fill();
  await east.config({ syncedCanaries: false });
  const peer = t.join(east);
  await t.until('ready', () => t.row('east').state === 'ready', 10_000);
  await shard(east, 's0');
  await east.config({ syncedCanaries: false, ...SHARDS });
  peer.describe(t.spec('east', { stamp: 'anew' }));
  await t.until('the first shard', () => forms(t).shards === 1, 10_000);
  await t.until('it is told in one form', () => forms(t).whole === 19, 1000);
  await t.pass(FORM_GRACE / 2);
  assert.deepEqual(forms(t), { whole: 19, shards: 1 });
  await shard(east, 's1');
  await t.pass(FORM_GRACE);
  assert.deepEqual(forms(t), { whole: 0, shards: 2 });
  // And back, as when the cluster is given to others again.
  // Nobody tells the reader: it looks at the config by itself.
  await east.config({ syncedCanaries: false });
  await t.until('both were told whole', () => forms(t).whole === 20, 40_000);
  await t.until('no shard stands beside', () => forms(t).shards === 0, 1000);
  assert.equal(t.row('east').state, 'ready');
});
