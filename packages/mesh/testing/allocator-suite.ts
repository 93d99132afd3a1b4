import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Kv } from '@causeway/etcd';
import { NumericIdentity } from '@causeway/identity';
import { IDENTITY_CLAIMS } from '../src/allocator.ts';
import { IdentityCollector } from '../src/collector.ts';
import { MeshError } from '../src/errors.ts';
import { identityKey, identityValueKey } from '../src/keys.ts';
import {
  allocatorOn,
  CLUSTER,
  eventually,
  identity,
  LAYOUT,
  labelsOf,
  nodeOn,
} from './test-cluster.ts';

export interface StoreUnderTest extends AsyncDisposable {
  connect(): Kv;
}

/** What must hold of identities, on the in-memory etcd and the real one alike. */
export function allocatorSuite(name: string, open: () => Promise<StoreUnderTest>): void {
  const suite = (title: string, body: (store: StoreUnderTest) => Promise<void>) =>
    test(`${name}: ${title}`, async () => {
      await using store = await open();
      await body(store);
    });

  suite('twenty clients that ask at once get one number', async (store) => {
    const sets = ['a', 'b', 'c'].map(labelsOf);
    const clients = Array.from({ length: 20 }, (_, i) => allocatorOn(store.connect(), i + 1));
    const given = await Promise.all(
      clients.map(({ allocator }) => Promise.all(sets.map((labels) => allocator.acquire(labels)))),
    );
    for (const ids of given) assert.deepEqual(ids, given[0]);
    assert.equal(new Set(given[0]).size, 3);
    const { min, max } = LAYOUT.allocationRange(CLUSTER.id);
    assert.ok(given[0]!.every((id) => id >= min && id <= max));
    const kv = store.connect();
    const { entries } = await kv.list('cilium/state/identities/v1/id/');
    assert.equal(entries.length, 3);
    assert.ok(
      entries.every(({ lease }) => lease === undefined),
      'numbers hang on no lease',
    );
    assert.equal((await kv.get(identityKey(given[0]![0]!)))?.text, sets[0]!.text);
  });

  suite('a crowd of label sets never shares a number, even from one start', async (store) => {
    const clients = Array.from({ length: 4 }, (_, i) =>
      allocatorOn(store.connect(), i + 1, () => 0.5),
    );
    const given = await Promise.all(
      clients.flatMap(({ allocator }, c) =>
        Array.from({ length: 10 }, (_, i) => allocator.acquire(labelsOf(`${c}-${i}`))),
      ),
    );
    assert.equal(new Set(given).size, 40);
  });

  suite('uses are announced by node and counted', async (store) => {
    const { allocator, announcements } = allocatorOn(store.connect(), 7);
    const labels = labelsOf('a');
    const [one, two] = await Promise.all([allocator.acquire(labels), allocator.acquire(labels)]);
    assert.equal(one, two);
    const key = identityValueKey(labels.text, '192.0.2.7');
    assert.equal(announcements.get(key)?.value, String(one));
    allocator.release(labels);
    assert.equal(announcements.size, 1);
    allocator.release(labels);
    assert.equal(announcements.size, 0);
    allocator.release(labels);
    assert.equal(await allocator.acquire(labels), one, 'the number outlives its users');
  });

  suite('a number that Cilium gave is taken over', async (store) => {
    const kv = store.connect();
    const labels = labelsOf('srv');
    await kv.put(identityKey(79549), labels.text);
    await kv.put(identityValueKey(labels.text, '172.30.0.12'), '79549');
    const { allocator } = allocatorOn(kv, 1);
    assert.equal(await allocator.acquire(labels), 79549);
    assert.equal((await kv.get(IDENTITY_CLAIMS + labels.text))?.text, '79549');
  });

  suite('claims that cannot hold are replaced', async (store) => {
    const kv = store.connect();
    for (const [app, claim] of [
      ['a', 'nonsense'],
      ['b', '99999999'],
      ['c', String(identity(300))],
    ] as const) {
      await kv.put(IDENTITY_CLAIMS + labelsOf(app).text, claim);
    }
    await kv.put(identityKey(identity(300)), labelsOf('other').text);
    const { allocator } = allocatorOn(kv, 1);
    for (const app of ['a', 'b', 'c']) {
      const id = await allocator.acquire(labelsOf(app));
      assert.notEqual(id, identity(300));
      assert.equal((await kv.get(identityKey(id)))?.text, labelsOf(app).text);
      assert.equal((await kv.get(IDENTITY_CLAIMS + labelsOf(app).text))?.text, String(id));
    }
    // A number whose key was lost is written again under the same number.
    const id = await allocator.acquire(labelsOf('a'));
    await kv.delete(identityKey(id));
    assert.equal(await allocatorOn(kv, 2).allocator.acquire(labelsOf('a')), id);
    assert.equal((await kv.get(identityKey(id)))?.text, labelsOf('a').text);
  });

  suite('a full range says so', async (store) => {
    const kv = store.connect();
    const { min, max } = LAYOUT.allocationRange(CLUSTER.id);
    const { allocator, tables } = allocatorOn(kv, 1);
    for (let id = min as number; id <= max; id++) {
      tables.identities.put({ id: NumericIdentity(id), cluster: 'cla', labels: labelsOf('x') });
    }
    await assert.rejects(
      allocator.acquire(labelsOf('y')),
      (e) => e instanceof MeshError && e.code === 'identities-exhausted',
    );
  });

  suite('collected after two rounds without use, and not before', async (store) => {
    const kv = store.connect();
    await using node = nodeOn(store.connect(), 1);
    const kept = await node.allocator.acquire(labelsOf('kept'));
    const dropped = await node.allocator.acquire(labelsOf('dropped'));
    node.allocator.release(labelsOf('dropped'));
    await node.announcer.store.settled();
    const collector = new IdentityCollector({ kv, cluster: CLUSTER, layout: LAYOUT });
    assert.deepEqual(await collector.round(), { used: 1, suspects: 1, removed: [] });
    assert.deepEqual(await collector.round(), { used: 1, suspects: 0, removed: [dropped] });
    assert.equal((await kv.get(identityKey(kept)))?.text, labelsOf('kept').text);
    assert.equal(await kv.get(IDENTITY_CLAIMS + labelsOf('dropped').text), undefined);
  });

  suite('a held number comes back when its key is deleted', async (store) => {
    const kv = store.connect();
    await using node = nodeOn(store.connect(), 1);
    const stop = new AbortController();
    const following = node.allocator.follow(stop.signal, () => {});
    const id = await node.allocator.acquire(labelsOf('a'));
    await eventually('known', () => node.tables.identities.has(id));
    await kv.delete(identityKey(id));
    await eventually(
      'gone and back',
      () => node.tables.identities.entry(id)?.revision !== 1 && node.tables.identities.has(id),
    );
    assert.equal((await kv.get(identityKey(id)))?.text, labelsOf('a').text);
    stop.abort();
    await following;
  });

  suite('a known label set needs no round trip', async (store) => {
    await using first = nodeOn(store.connect(), 1);
    const id = await first.allocator.acquire(labelsOf('a'));
    const kv = store.connect();
    await using second = nodeOn(kv, 2);
    await eventually('second knows', () => second.tables.identities.has(id));
    await second.announcer.store.settled();
    await kv[Symbol.asyncDispose]();
    assert.equal(await second.allocator.acquire(labelsOf('a')), id);
  });
}
