import assert from 'node:assert/strict';
import { test } from 'node:test';
import { memoryEtcd, systemClock } from '@causeway/etcd';
import { AT_WORK } from '@causeway/mesh';
import { dyingKv } from '../../testing/faulty-kv.ts';
import { atWork } from './at-work.ts';

test('who never hears whether it may begin keeps nobody else from it', async () => {
  await using etcd = memoryEtcd({ clock: systemClock });
  const kv = etcd.connect();
  const cut = dyingKv(kv, 1, 'after', () => {});
  await assert.rejects(atWork(cut.kv, 'east'), { code: 'unavailable' });
  assert.equal(await kv.get(`${AT_WORK}east`), undefined);
  assert.equal(kv.health().leases, 0, 'none is kept alive');
  {
    await using _mine = await atWork(kv, 'east');
    assert.notEqual(await kv.get(`${AT_WORK}east`), undefined);
  }
  assert.equal(await kv.get(`${AT_WORK}east`), undefined);
});
