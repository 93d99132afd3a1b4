import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Entry } from './entry.ts';
import { KvError } from './errors.ts';
import type { WatchEvent } from './types.ts';
import { WatchQueue } from './watch-queue.ts';

const entry = (key: string, revision: number) =>
  new Entry({
    key,
    value: new Uint8Array(),
    createRevision: 1,
    modRevision: revision,
    version: 1,
    lease: undefined,
  });
const start = (reason: 'first' | 'reconnected', revision: number) =>
  ({ type: 'snapshot-start', reason, revision, clusterId: '1' }) as const;
const told = (events: readonly WatchEvent[]) =>
  events.map((event) => {
    if (event.type === 'put') return `${event.entry.key}@${event.entry.modRevision}`;
    if (event.type === 'delete') return `-${event.key}`;
    return event.type === 'snapshot-start' ? `start ${event.reason}` : event.type;
  });

test('a change keeps its key’s place, so that it never slips behind the mark that promised it', () => {
  const queue = new WatchQueue();
  queue.start(start('first', 1));
  queue.put(entry('a', 1), false, true);
  queue.put(entry('b', 1), false, true);
  queue.mark({ type: 'synced', revision: 1 });
  queue.put(entry('a', 2), true, false);
  queue.put(entry('c', 3), false, false);
  assert.equal(queue.pending, 3);
  assert.deepEqual(told(queue.take(100)), ['start first', 'a@2', 'b@1', 'synced', 'c@3']);
  assert.equal(queue.empty, true);
});

test('a listed key takes a new place, between its list’s marks; older marks are dropped', () => {
  const queue = new WatchQueue();
  queue.start(start('first', 1));
  queue.put(entry('a', 1), false, true);
  queue.mark({ type: 'synced', revision: 1 });
  queue.mark({ type: 'disconnected', error: new KvError('unavailable', 'x', 'away') });
  queue.start(start('reconnected', 5));
  queue.put(entry('b', 4), false, true);
  queue.put(entry('a', 1), true, true);
  queue.mark({ type: 'synced', revision: 5 });
  assert.deepEqual(told(queue.take(100)), ['start first', 'b@4', 'a@1', 'synced']);
});

test('a key that came and went untold is never told; one that was told is deleted', () => {
  const queue = new WatchQueue();
  queue.put(entry('fresh', 1), false, false);
  queue.put(entry('fresh', 2), true, false);
  queue.delete('fresh', 3, false);
  queue.put(entry('told', 4), true, false);
  queue.delete('told', 5, false);
  queue.put(entry('back', 6), false, false);
  queue.delete('back', 7, false);
  queue.put(entry('back', 8), false, false);
  assert.deepEqual(told(queue.take(1)), ['-told']);
  assert.deepEqual(told(queue.take(100)), ['back@8']);
});
