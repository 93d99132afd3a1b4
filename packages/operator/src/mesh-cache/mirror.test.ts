import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Kv, memoryEtcd, present, systemClock } from '@causeway/etcd';
import { until } from '../../testing/world.ts';
import { Mirror } from './mirror.ts';

const FROM = 'cilium/state/nodes/v1/east/';
const TO = 'cilium/cache/nodes/v1/east/';
const ELECTION = 'causeway/election/operator';

/** A mirror between two stores, and sessions of it. */
async function world(most = { keys: 1000, value: 1000, bytes: 10_000 }) {
  const [theirs, ours] = [
    memoryEtcd({ clock: systemClock }),
    memoryEtcd({ clock: systemClock }),
  ] as const;
  const [peer, kv] = [theirs.connect(), ours.connect()];
  await kv.put(ELECTION, 'operator-1');
  const revision = (await kv.get(ELECTION))!.createRevision;
  /** Set: the next write lands, and then this is called before anybody hears of it. */
  let landed: (() => void) | undefined;
  const txn: Kv['txn'] = async (request, options) => {
    const result = await kv.txn(request, options);
    const then = landed;
    landed = undefined;
    then?.();
    options?.signal?.throwIfAborted();
    return result;
  };
  const watched = new Proxy(kv, {
    get(target, name) {
      if (name === 'txn') return txn;
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
  const mirror = new Mirror({
    kv: watched,
    fence: { key: ELECTION, revision, compare: present(ELECTION) },
    onFenceLost: () => {},
    clock: systemClock,
    random: () => 0.5,
    name: 'nodes',
    from: FROM,
    to: TO,
    canary: 'theirs',
    marker: 'ours',
    most,
    now: () => 'now',
  });
  return {
    peer,
    kv,
    mirror,
    /** Reads the peer until all is in. */
    async read(): Promise<void> {
      let synced = false;
      await using _running = mirror.stream(peer, 1000).start({
        synced: () => {
          synced = true;
        },
        broken: (error) => assert.fail(error),
      });
      await until('synced', () => synced);
    },
    /** Begins a session, does something, and breaks it off as soon as its next write has landed. */
    async breakOff(act: () => Promise<void> = async () => {}): Promise<void> {
      let synced = false;
      const running = mirror.stream(peer, 1000).start({
        synced: () => {
          synced = true;
        },
        broken: (error) => assert.fail(error),
      });
      await until('synced', () => synced);
      let over: PromiseLike<void> | undefined;
      landed = () => {
        over = running[Symbol.asyncDispose]();
      };
      await act();
      await until('the write landed', () => over !== undefined);
      await over;
    },
    copied: async () => {
      const { entries } = await kv.list(TO);
      return Object.fromEntries(entries.map(({ key, text }) => [key.slice(TO.length), text]));
    },
    async [Symbol.asyncDispose]() {
      await theirs[Symbol.asyncDispose]();
      await ours[Symbol.asyncDispose]();
    },
  };
}

test('a copied key whose write was broken off goes when it is gone at the peer', async () => {
  await using t = await world();
  await t.peer.put(`${FROM}a`, 'A');
  await t.breakOff(async () => {
    await t.peer.put(`${FROM}b`, 'B');
  });
  assert.deepEqual(await t.copied(), { a: 'A', b: 'B' }, 'it has landed');
  await t.peer.delete(`${FROM}b`);
  await t.read();
  assert.deepEqual(await t.copied(), { a: 'A' });
});

test('a key whose deletion was broken off is copied again when it is back with its value', async () => {
  await using t = await world();
  await t.peer.put(`${FROM}a`, 'A');
  await t.breakOff(async () => {
    await t.peer.delete(`${FROM}a`);
  });
  assert.deepEqual(await t.copied(), {}, 'it has landed');
  await t.peer.put(`${FROM}a`, 'A');
  await t.read();
  assert.deepEqual(await t.copied(), { a: 'A' });
});

test('values that are too large, and what is beyond the bytes of all, are counted and not copied', async () => {
  await using t = await world({ keys: 1000, value: 50, bytes: 100 });
  await t.peer.put(`${FROM}a`, 'A'.repeat(40));
  await t.peer.put(`${FROM}b`, 'B'.repeat(51));
  await t.peer.put(`${FROM}c`, 'C'.repeat(50));
  await t.peer.put(`${FROM}d`, 'D'.repeat(10));
  await t.read();
  assert.deepEqual(Object.keys(await t.copied()), ['a', 'c']);
  assert.equal(t.mirror.beyond, 2);
  // What goes makes room; a key that stands is charged once, however often it changes.
  await t.peer.delete(`${FROM}c`);
  for (let i = 0; i < 5; i++) await t.peer.put(`${FROM}a`, `${i}`.repeat(45));
  await t.read();
  assert.deepEqual(Object.keys(await t.copied()), ['a', 'd']);
  assert.equal(t.mirror.beyond, 1);
});
