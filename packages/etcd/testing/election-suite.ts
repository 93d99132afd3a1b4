/** What an election promises, over the memory store and over a real etcd. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemClock } from '../src/clock.ts';
import { Election, type Fence } from '../src/election.ts';
import type { Kv } from '../src/types.ts';
import type { Store } from './compliance.ts';
import { eventually } from './watcher.ts';

const KEY = 'causeway/election/test';

const soon = (what: string, condition: () => boolean | Promise<boolean>): Promise<void> =>
  eventually(what, condition, 30_000);

export function electionSuite(name: string, open: () => Promise<Store>): void {
  const stand = (kv: Kv, who: string, ttl = 60): Election =>
    new Election({ kv, key: KEY, name: who, ttl, clock: systemClock, random: () => 0.5 });
  const fenceOf = (election: Election): Fence | undefined =>
    election.state.type === 'leading' ? election.state.fence : undefined;
  const write = async (kv: Kv, fence: Fence, value: string): Promise<boolean> => {
    const { succeeded } = await kv.txn({
      compare: [fence.compare],
      success: [{ type: 'put', key: 'written', value }],
    });
    return succeeded;
  };

  test(`${name}: one leads, who closes is followed at once, and old fences hold no more`, async () => {
    await using store = await open();
    await using kv = store.connect();
    const one = stand(kv, 'one');
    await soon('one leads', () => one.state.type === 'leading');
    await using two = stand(kv, 'two');
    await using three = stand(kv, 'three');
    await soon(
      'the others follow one',
      () =>
        JSON.stringify([two.state, three.state]) ===
        '[{"type":"following","leader":"one"},{"type":"following","leader":"one"}]',
    );
    const first = fenceOf(one)!;
    assert.equal(await write(kv, first, 'one'), true);
    await one[Symbol.asyncDispose]();
    await soon('another leads', () => fenceOf(two) !== undefined || fenceOf(three) !== undefined);
    assert.ok(fenceOf(two) === undefined || fenceOf(three) === undefined);
    const second = (fenceOf(two) ?? fenceOf(three))!;
    assert.ok(second.revision > first.revision);
    assert.equal(await write(kv, first, 'stale'), false);
    assert.equal(await write(kv, second, 'new'), true);
    assert.equal((await kv.get('written'))?.text, 'new');
  });

  test(`${name}: a leader whose key is taken away, or whose store is emptied, loses the lead and stands again`, async () => {
    await using store = await open();
    await using kv = store.connect();
    await using one = stand(kv, 'one');
    await soon('one leads', () => one.state.type === 'leading');
    const first = fenceOf(one)!;
    await kv.delete(KEY);
    await soon('it leads with a new fence', () => {
      const now = fenceOf(one);
      return now !== undefined && now.revision !== first.revision;
    });
    assert.equal(await write(kv, first, 'stale'), false);
    await kv.put('some', 'revision');
    const second = fenceOf(one)!;
    await store.wipe();
    await soon('it leads in the emptied store', async () => {
      const now = fenceOf(one);
      if (now === undefined) return false;
      const entry = await kv.get(KEY).catch(() => undefined);
      return entry !== undefined && entry.createRevision === now.revision && now !== second;
    });
  });

  test(`${name}: a leader whose key is taken away before its watch has told of it stands again`, async () => {
    await using store = await open();
    await using kv = store.connect();
    const read = Promise.withResolvers<void>();
    await using one = stand(readAfterList(kv, read.promise), 'one');
    await soon('one leads', () => one.state.type === 'leading');
    const first = fenceOf(one)!;
    await kv.delete(KEY);
    // Both have come by the watch that only now is read on.
    await soon('the watch has both', () => {
      const [watch] = kv.health().watches;
      return watch !== undefined && watch.revision > first.revision;
    });
    read.resolve();
    await soon('it leads with a new fence', () => {
      const now = fenceOf(one);
      return now !== undefined && now.revision !== first.revision;
    });
  });

  test(`${name}: a leader that dies without a word is followed when its lease ends`, async () => {
    await using store = await open();
    await using kv = store.connect();
    // A lease that nobody renews is what a killed process leaves behind.
    const lease = await kv.lease(1);
    await kv.put(KEY, 'dead', { lease: lease.id });
    lease.abandon();
    await using two = stand(kv, 'two');
    await soon('two leads', () => two.state.type === 'leading');
  });
}

/** A store that gives leases once a watch of it has listed, and whose watches are read on only when it is time. */
function readAfterList(kv: Kv, time: Promise<void>): Kv {
  const listed = Promise.withResolvers<void>();
  const watch: Kv['watch'] = (prefix, options) => {
    const inner = kv.watch(prefix, options);
    async function* held() {
      const events = inner[Symbol.asyncIterator]();
      for (;;) {
        const { done, value } = await events.next();
        if (done) return;
        yield value;
        if (value.type !== 'synced') continue;
        listed.resolve();
        await time;
      }
    }
    return Object.assign(Object.create(inner), { [Symbol.asyncIterator]: held });
  };
  const lease: Kv['lease'] = (...words) => listed.promise.then(() => kv.lease(...words));
  return new Proxy(kv, {
    get: (target, name) => {
      if (name === 'watch') return watch;
      if (name === 'lease') return lease;
      const member = Reflect.get(target, name, target);
      return typeof member === 'function' ? member.bind(target) : member;
    },
  });
}
