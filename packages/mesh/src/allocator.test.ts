import assert from 'node:assert/strict';
import { test } from 'node:test';
import { memoryEtcd, systemClock } from '@causeway/etcd';
import { LabelSet } from '@causeway/identity';
import { allocatorSuite } from '../testing/allocator-suite.ts';
import {
  allocatorOn,
  eventually,
  ipAnnouncement,
  labelsOf,
  nodeOn,
} from '../testing/test-cluster.ts';
import type { Renumbered } from './allocator.ts';
import { MeshError } from './errors.ts';
import { identityKey } from './keys.ts';

allocatorSuite('memory', async () => {
  const etcd = memoryEtcd({ clock: systemClock });
  return {
    connect: () => etcd.connect(),
    [Symbol.asyncDispose]: () => etcd[Symbol.asyncDispose](),
  };
});

test('an emptied store gets back what the node says and holds', async () => {
  const etcd = memoryEtcd({ clock: systemClock });
  await using _ = { [Symbol.asyncDispose]: () => etcd[Symbol.asyncDispose]() };
  await using node = nodeOn(etcd.connect(), 1);
  const stop = new AbortController();
  const renumbered: Renumbered[] = [];
  const following = node.allocator.follow(stop.signal, (change) => renumbered.push(change));
  const a = await node.allocator.acquire(labelsOf('a'));
  const b = await node.allocator.acquire(labelsOf('b'));
  const entry = ipAnnouncement('10.1.0.5', a, node.address);
  node.announcer.table.put(entry);
  await node.announcer.store.settled();
  await eventually('known', () => node.tables.identities.size === 2);
  const kv = etcd.connect();
  etcd.stop();
  etcd.wipe();
  etcd.start();
  // Meanwhile another node was quicker: b's number now means somebody else.
  await eventually('reconnected', () => kv.health().connected);
  await kv.put(identityKey(b), labelsOf('other').text);
  await eventually(
    'a again',
    () => node.tables.identities.get(a)?.labels.text === labelsOf('a').text,
  );
  await eventually(
    'ip entry again',
    () => node.tables.ipEntries.get('cla', '10.1.0.5') !== undefined,
  );
  const held = () => node.allocator.held().find(({ labels }) => labels.text === labelsOf('b').text);
  if (renumbered.length > 0) {
    assert.equal(renumbered[0]?.before, b);
    assert.equal(renumbered[0]?.after, held()?.id);
  }
  const now = held()!.id;
  await eventually(
    'b again',
    () => node.tables.identities.get(now)?.labels.text === labelsOf('b').text,
  );
  stop.abort();
  await following;
});

test('restored numbers are checked against the store', async () => {
  const etcd = memoryEtcd({ clock: systemClock });
  await using _ = { [Symbol.asyncDispose]: () => etcd[Symbol.asyncDispose]() };
  const kv = etcd.connect();
  const first = allocatorOn(kv, 9);
  const good = await first.allocator.acquire(labelsOf('good'));
  await kv.put(identityKey(66000), labelsOf('thief').text);
  await using node = nodeOn(etcd.connect(), 1);
  node.allocator.restore(labelsOf('good'), good);
  node.allocator.restore(labelsOf('robbed'), 66000 as typeof good);
  node.allocator.restore(labelsOf('lost'), 66001 as typeof good);
  const stop = new AbortController();
  const renumbered: Renumbered[] = [];
  const following = node.allocator.follow(stop.signal, (change) => renumbered.push(change));
  await eventually('lost one is back', () => node.tables.identities.has(66001));
  await eventually('robbed one has another', () => renumbered.length === 1);
  assert.equal(renumbered[0]?.before, 66000);
  assert.equal(renumbered[0]?.labels.text, labelsOf('robbed').text);
  stop.abort();
  await following;
});

test('a number that says other labels all of a sudden is given up for another', async () => {
  const etcd = memoryEtcd({ clock: systemClock });
  await using _ = { [Symbol.asyncDispose]: () => etcd[Symbol.asyncDispose]() };
  const kv = etcd.connect();
  await using node = nodeOn(etcd.connect(), 1);
  const stop = new AbortController();
  const renumbered: Renumbered[] = [];
  const following = node.allocator.follow(stop.signal, (change) => renumbered.push(change));
  const before = await node.allocator.acquire(labelsOf('robbed'));
  await eventually('known', () => node.tables.identities.has(before));
  await kv.put(identityKey(before), labelsOf('thief').text);
  await eventually('it has another', () => renumbered.length === 1);
  assert.equal(renumbered[0]?.before, before);
  const after = renumbered[0]!.after;
  assert.notEqual(after, before);
  assert.equal((await kv.get(identityKey(after)))?.text, labelsOf('robbed').text);
  assert.equal((await kv.get(identityKey(before)))?.text, labelsOf('thief').text);
  stop.abort();
  await following;
});

test('labels that a key would change are refused before anything is written', async () => {
  const etcd = memoryEtcd({ clock: systemClock });
  await using _ = { [Symbol.asyncDispose]: () => etcd[Symbol.asyncDispose]() };
  const { allocator } = allocatorOn(etcd.connect(), 1);
  const labels = LabelSet.parse('k8s:a=x//y;');
  await assert.rejects(
    allocator.acquire(labels),
    (e) => e instanceof MeshError && e.code === 'bad-labels',
  );
  assert.equal(etcd.revision, 1);
});
