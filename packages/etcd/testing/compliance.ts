/** What every implementation of Kv does: run over the memory store and over a real etcd. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KvError } from '../src/errors.ts';
import { absent, type Kv, present, unchanged } from '../src/types.ts';
import { eventually, Watcher } from './watcher.ts';

export interface Store extends AsyncDisposable {
  connect(): Kv;
  /** Throws away the history. */
  compact(): Promise<void>;
  /** Takes the store away and brings it back as it was. */
  restart(): Promise<void>;
  /** Brings it back empty. */
  wipe(): Promise<void>;
}

const code = (expected: string) => (error: unknown) =>
  error instanceof KvError && error.code === expected;

export function complianceSuite(name: string, open: () => Promise<Store>): void {
  const check = (title: string, run: (store: Store, kv: Kv) => Promise<void>) =>
    test(`${name}: ${title}`, async () => {
      await using store = await open();
      await using kv = store.connect();
      await eventually('the store is reachable', () => kv.health().connected);
      await run(store, kv);
    });

  check('keeps what is put, with its revisions', async (_, kv) => {
    assert.equal(await kv.get('none'), undefined);
    const first = await kv.put('a', 'one');
    const second = await kv.put('a', new Uint8Array([0xff, 0x00]));
    assert.equal(second.revision, first.revision + 1);
    const entry = await kv.get('a');
    assert.deepEqual([...(entry?.value ?? [])], [0xff, 0x00]);
    assert.equal(entry?.createRevision, first.revision);
    assert.equal(entry?.modRevision, second.revision);
    assert.equal(entry?.version, 2);
    assert.equal(entry?.lease, undefined);
    await kv.put('text', 'grüße 🌉');
    assert.equal((await kv.get('text'))?.text, 'grüße 🌉');
    await kv.put('empty', '');
    assert.equal((await kv.get('empty'))?.value.length, 0);
    assert.equal((await kv.delete('a')).deleted, 1);
    assert.equal((await kv.delete('a')).deleted, 0);
    assert.equal(await kv.get('a'), undefined);
  });

  check('lists a prefix in byte order, paged at one revision', async (_, kv) => {
    const keys = ['p/a', 'p/b/c', 'p/b', 'p/é', 'p/\u{1f309}', 'p/\uffee', 'p0', 'p', 'q/1'];
    for (const key of keys) await kv.put(key, key);
    const { entries } = await kv.list('p/');
    assert.deepEqual(
      entries.map((entry) => entry.key),
      ['p/a', 'p/b', 'p/b/c', 'p/é', 'p/\uffee', 'p/\u{1f309}'],
    );
    assert.equal((await kv.list('')).entries.length, keys.length);
    const bare = await kv.list('p/', { keysOnly: true });
    assert.deepEqual(
      bare.entries.map((entry) => entry.value.length),
      [0, 0, 0, 0, 0, 0],
    );

    const seen: string[] = [];
    let revision = 0;
    for await (const page of kv.pages('p/', { pageSize: 2 })) {
      assert.ok(page.entries.length <= 2);
      revision ||= page.revision;
      assert.equal(page.revision, revision);
      for (const entry of page.entries) seen.push(entry.key);
      // Later pages show the first page's moment, whatever is written or removed since.
      await kv.put(`p/z${seen.length}`, 'late');
      await kv.delete('p/\u{1f309}');
    }
    assert.deepEqual(
      seen,
      entries.map((entry) => entry.key),
    );
    assert.equal((await kv.deletePrefix('p/')).deleted, 5 + 3);
    assert.deepEqual((await kv.list('p/')).entries, []);
  });

  check('runs transactions: compare, then one branch whole', async (_, kv) => {
    const make = {
      compare: [absent('id/1')],
      success: [{ type: 'put' as const, key: 'id/1', value: 'a' }],
    };
    assert.equal((await kv.txn(make)).succeeded, true);
    const again = await kv.txn({ ...make, failure: [{ type: 'get', key: 'id/1' }] });
    assert.equal(again.succeeded, false);
    const [found] = again.results;
    assert.equal(found?.type === 'get' && found.entry?.text, 'a');

    const entry = await kv.get('id/1');
    assert.ok(entry);
    await kv.put('id/1', 'b');
    const stale = await kv.txn({
      compare: [unchanged(entry)],
      success: [{ type: 'delete', key: 'id/1' }],
    });
    assert.equal(stale.succeeded, false);

    const { results, succeeded } = await kv.txn({
      compare: [
        present('id/1'),
        { type: 'value', key: 'id/1', operator: '=', value: 'b' },
        { type: 'version', key: 'id/1', operator: '>', revision: 1 },
        { type: 'lease', key: 'id/1', operator: '=', lease: undefined },
        { type: 'create', key: 'other', operator: '<', revision: 1 },
      ],
      success: [
        { type: 'put', key: 'id2', value: 'c' },
        { type: 'list', prefix: 'id' },
        { type: 'delete-prefix', prefix: 'id/' },
        { type: 'get', key: 'id/1' },
      ],
    });
    assert.equal(succeeded, true);
    assert.deepEqual(
      results.map((result) =>
        result.type === 'list' ? result.entries.map((e) => e.text) : result,
      ),
      [
        { type: 'put' },
        ['b', 'c'],
        { type: 'delete', deleted: 1 },
        { type: 'get', entry: undefined },
      ],
    );
    const valueOfNothing = await kv.txn({
      compare: [{ type: 'value', key: 'nothing', operator: '!=', value: 'x' }],
      success: [],
    });
    assert.equal(valueOfNothing.succeeded, false);
  });

  check('gives one winner to many that create at once', async (store, kv) => {
    await using other = store.connect();
    const tries = Array.from({ length: 20 }, (_, i) =>
      (i % 2 ? kv : other).txn({
        compare: [absent('race')],
        success: [{ type: 'put', key: 'race', value: String(i) }],
      }),
    );
    const won = (await Promise.all(tries)).filter((result) => result.succeeded);
    assert.equal(won.length, 1);
  });

  check('refuses what makes no sense, by code', async (_, kv) => {
    await assert.rejects(kv.put('', 'x'), code('invalid'));
    await assert.rejects(kv.get(''), code('invalid'));
    await assert.rejects(kv.lease(0), code('invalid'));
    await assert.rejects(kv.list('x', { pageSize: 0 }), code('invalid'));
    await assert.rejects(kv.put('x', 'y', { lease: '123456789' }), code('lease-not-found'));
    await assert.rejects(kv.put('x', 'y'.repeat(2_000_000)), code('too-large'));
    const many = Array.from({ length: 200 }, (_, i) => ({
      type: 'put' as const,
      key: `k${i}`,
      value: '',
    }));
    await assert.rejects(kv.txn({ compare: [], success: many }), code('too-large'));
    const twice = [many[0], many[0]].filter((op) => op !== undefined);
    await assert.rejects(kv.txn({ compare: [], success: twice }), code('invalid'));
    for (const remove of [
      { type: 'delete' as const, key: 'k0' },
      { type: 'delete-prefix' as const, prefix: 'k' },
    ]) {
      const put = { type: 'put' as const, key: 'k0', value: '' };
      await assert.rejects(kv.txn({ compare: [], success: [remove, put] }), code('invalid'));
    }
    const aborted = AbortSignal.abort();
    await assert.rejects(kv.get('x', { signal: aborted }), code('closed'));
    assert.equal(await kv.get('x'), undefined);
  });

  check('keeps leases alive and takes their keys with them', async (_, kv) => {
    const lease = await kv.lease(1);
    assert.equal(lease.ttl, 1);
    await kv.put('held', 'x', { lease: lease.id });
    assert.equal((await kv.get('held'))?.lease, lease.id);
    await kv.put('freed', 'x', { lease: lease.id });
    await kv.put('freed', 'y');
    const left = await kv.lease(1);
    await kv.put('left', 'x', { lease: left.id });
    left.abandon();
    await eventually(
      'an abandoned lease runs out',
      async () => (await kv.get('left')) === undefined,
    );
    assert.ok(await kv.get('held'), 'a kept lease lives longer than its time');
    assert.equal(lease.ended.aborted, false);
    await lease.revoke();
    assert.equal(await kv.get('held'), undefined);
    assert.equal((await kv.get('freed'))?.text, 'y');
    assert.equal(lease.ended.aborted, true);
    assert.equal(kv.health().leases, 0);
  });

  check('says that a lease was lost', async (store, kv) => {
    // Its first renewal is due in 200 s; that the store was away must be reason enough to ask.
    const lease = await kv.lease(600);
    await kv.put('held', 'x', { lease: lease.id });
    await store.wipe();
    await eventually('the store answers', () =>
      kv.get('held').then(
        () => true,
        () => false,
      ),
    );
    await eventually('the loss is told', () => lease.ended.aborted);
    assert.ok(code('lease-not-found')(lease.ended.reason));
  });

  check('watches: the list, then every change in order', async (_, kv) => {
    await kv.put('w/1', 'a');
    await kv.put('w0', 'outside');
    await using watcher = new Watcher(kv, 'w/');
    await eventually('the list', () => watcher.log.includes('synced'));
    await kv.put('w/2', 'b');
    await kv.put('w1/x', 'outside');
    await kv.delete('w/1');
    await kv.put('w/1', 'c');
    await eventually('the changes', () => watcher.state.get('w/1') === 'c');
    assert.equal(watcher.state.get('w/2'), 'b');
    assert.deepEqual(watcher.log.slice(0, 4), [
      'snapshot-start first',
      'put w/1=a',
      'synced',
      'put w/2=b',
    ]);
    assert.equal(watcher.watch.status().state, 'watching');
    assert.equal(watcher.watch.status().keys, 2);
  });

  check('watches in pages, and what comes between the pages', async (_, kv) => {
    for (let i = 0; i < 30; i++) await kv.put(`many/${String(i).padStart(2, '0')}`, 'old');
    await using watcher = new Watcher(kv, 'many/', { pageSize: 3, maxPending: 4 });
    for (let i = 0; i < 30; i += 3) await kv.put(`many/${String(i).padStart(2, '0')}`, 'new');
    await kv.delete('many/29');
    await eventually(
      'everything',
      () =>
        watcher.state.size === 29 &&
        [...watcher.state.values()].filter((v) => v === 'new').length === 10,
    );
  });

  check('starts a watch behind a revision, without a list', async (_, kv) => {
    const { revision } = await kv.put('from/1', 'a');
    await kv.put('from/2', 'b');
    await using watcher = new Watcher(kv, 'from/', { fromRevision: revision });
    await eventually('the later key', () => watcher.state.has('from/2'));
    assert.deepEqual(watcher.log, ['synced', 'put from/2=b']);
  });

  check('lists when the revision to start from is compacted', async (store, kv) => {
    const { revision } = await kv.put('c/1', 'a');
    await kv.put('c/2', 'b');
    await kv.delete('c/2');
    await store.compact();
    await using watcher = new Watcher(kv, 'c/', { fromRevision: revision, known: ['c/2'] });
    await eventually(
      'the list',
      () => watcher.log.includes('snapshot-start compacted') && watcher.log.at(-1) === 'synced',
    );
    assert.deepEqual([...watcher.state], [['c/1', 'a']]);
    assert.ok(watcher.log.includes('delete c/2 synthetic'));
  });

  check('tells after a restart what vanished meanwhile', async (store, kv) => {
    await kv.put('r/keep', 'a');
    await kv.put('r/gone', 'b');
    await using watcher = new Watcher(kv, 'r/', { known: ['r/old'] });
    await using once = new Watcher(kv, 'r/', { once: true });
    await using forgetful = new Watcher(kv, 'r/', { keepKeys: false });
    await eventually('the list', () => watcher.state.size === 2);
    assert.deepEqual(watcher.log.at(-2), 'delete r/old synthetic');
    const lost = kv.delete('r/gone').catch(() => undefined);
    await store.restart();
    await lost;
    await eventually('a deletion', () =>
      kv.delete('r/gone').then(
        () => true,
        () => false,
      ),
    );
    await eventually(
      'the store is back',
      () => kv.health().connected && watcher.watch.status().state === 'watching',
      15_000,
    );
    await eventually('the key is gone', () => !watcher.state.has('r/gone'));
    assert.deepEqual([...watcher.state], [['r/keep', 'a']]);
    assert.ok(watcher.log.includes('snapshot-start reconnected'));
    await kv.put('r/new', 'c');
    await eventually('changes flow again', () => watcher.state.has('r/new'));
    await eventually('who remembers no keys is told of it too', () => forgetful.state.has('r/new'));
    // The store may have taken the deletion in before it went away.
    const told = forgetful.log.includes('delete r/gone');
    assert.ok(told || forgetful.state.has('r/gone'), 'what a list lacks is the reader’s to miss');
    assert.equal(forgetful.watch.status().keys, 0);
    await kv.delete('r/new');
    await eventually('and of a deletion', () => !forgetful.state.has('r/new'));
    // The one that was to end with the first break has told of nothing that came after it.
    assert.match(once.log.at(-1) ?? '', /^disconnected /);
    assert.ok(!once.state.has('r/new'));
    assert.ok(once.state.has('r/gone') || once.log.includes('delete r/gone'));
  });

  check('notices an emptied store and keeps its state for the grace', async (store, kv) => {
    for (let i = 0; i < 5; i++) await kv.put(`e/${i}`, 'x');
    await using kept = new Watcher(kv, 'e/', { replacedGrace: 1500 });
    await using quick = new Watcher(kv, 'e/', { replacedGrace: 0 });
    await eventually('the lists', () => kept.state.size === 5 && quick.state.size === 5);
    await store.wipe();
    await eventually('the deletions', () => quick.state.size === 0, 15_000);
    assert.ok(
      quick.log.some((line) => /snapshot-start (revision-went-back|cluster-changed)/.test(line)),
      quick.log.join(),
    );
    await eventually(
      'the second list',
      () => kept.log.filter((line) => line === 'synced').length === 2,
    );
    assert.equal(kept.state.size, 5);
    await eventually('a write', () =>
      kv.put('e/0', 'back').then(
        () => true,
        () => false,
      ),
    );
    await eventually('the end of the grace', () => kept.state.size === 1);
    assert.deepEqual([...kept.state], [['e/0', 'back']]);
  });

  check('coalesces for a slow consumer and stays within its bound', async (_, kv) => {
    await kv.put('s/a', '0');
    const watch = kv.watch('s/', { maxPending: 8 });
    await eventually('the list', () => watch.status().synced);
    for (let i = 1; i <= 40; i++) await kv.put('s/a', String(i));
    await kv.put('s/never', 'x');
    await kv.delete('s/never');
    await kv.put('s/end', 'x');
    await eventually('all of it to arrive', () => watch.status().pending === 2);
    const [batch] = await Array.fromAsync({
      async *[Symbol.asyncIterator]() {
        for await (const events of watch.batches()) {
          yield events;
          return;
        }
      },
    });
    const puts = batch?.flatMap((event) =>
      event.type === 'put' ? [`${event.entry.key}=${event.entry.text}`] : [],
    );
    assert.deepEqual(puts, ['s/a=40', 's/end=x']);
    assert.equal(watch.status().state, 'closed', 'leaving the loop ends the watch');
  });

  check('pauses reading when a consumer stands still, and loses nothing', async (_, kv) => {
    const watch = kv.watch('b/', { maxPending: 50 });
    await eventually('the list', () => watch.status().synced);
    for (let i = 0; i < 400; i += 100) {
      const success = Array.from({ length: 100 }, (_, j) => ({
        type: 'put' as const,
        key: `b/${i + j}`,
        value: 'x'.repeat(2000),
      }));
      await kv.txn({ compare: [], success });
    }
    const state = new Set<string>();
    let most = 0;
    for await (const events of watch.batches(10)) {
      most = Math.max(most, watch.status().pending);
      for (const event of events) if (event.type === 'put') state.add(event.entry.key);
      if (state.size === 400) break;
    }
    // One message may overshoot the bound; a hundred keys are one transaction.
    assert.ok(most <= 50 + 400, `${most} pending`);
  });

  check('follows no more keys than it may', async (_, kv) => {
    for (let i = 0; i < 5; i++) await kv.put(`k/${i}`, 'x');
    await using watcher = new Watcher(kv, 'k/', { maxKeys: 3 });
    await eventually('the list', () => watcher.log.includes('synced'));
    assert.deepEqual([...watcher.state.keys()], ['k/0', 'k/1', 'k/2']);
    assert.equal(watcher.watch.status().refused, 2);
    assert.equal(watcher.watch.status().lastError?.code, 'too-large');
    await kv.put('k/9', 'x');
    await kv.delete('k/0');
    await kv.put('k/0', 'again');
    await eventually('the changes', () => watcher.state.get('k/0') === 'again');
    assert.equal(watcher.state.size, 3);
  });

  check('closes everything it opened', async (store) => {
    const kv = store.connect();
    const watch = kv.watch('x/');
    const reading = Array.fromAsync(watch);
    await kv.lease(60);
    await kv[Symbol.asyncDispose]();
    await kv[Symbol.asyncDispose]();
    await reading;
    assert.equal(watch.status().state, 'closed');
    await assert.rejects(kv.get('x'), code('closed'));
    assert.throws(() => kv.watch('x/'), code('closed'));
  });
}
