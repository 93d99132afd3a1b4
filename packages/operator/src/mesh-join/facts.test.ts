import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Kv, KvEntry, KvPage } from '@causeway/etcd';
import { MAX_NODES, readNodes } from './facts.ts';

/** A store that always has one more page, of which it counts how many are taken. */
function endless(entries: readonly KvEntry[]) {
  const taken = { pages: 0 };
  async function* pages(): AsyncGenerator<KvPage, void, undefined> {
    // Far enough to be told from an end that the reader chose, and not so far that a failure hangs.
    while (taken.pages < 20_000) {
      taken.pages++;
      if (taken.pages % 100 === 0) await new Promise(setImmediate);
      yield { entries, revision: 1 } as unknown as KvPage;
    }
  }
  return { kv: { pages } as unknown as Kv, taken };
}

test('a store whose nodes never end is read to a bound', async () => {
  const { kv, taken } = endless(Array.from({ length: 500 }, () => ({ text: '{}' }) as KvEntry));
  await readNodes(kv, 'east', {});
  assert.equal(taken.pages, MAX_NODES / 500);
});

test('a store that sends pages without entries is read as long as its caller waits', async () => {
  const { kv, taken } = endless([]);
  const stop = new AbortController();
  setImmediate(() => stop.abort(new Error('long enough')));
  await assert.rejects(readNodes(kv, 'east', { signal: stop.signal }), /long enough/);
  assert.ok(taken.pages < 20_000);
});
