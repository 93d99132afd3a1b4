import assert from 'node:assert/strict';
import { test } from 'node:test';
import { settings } from '../testing/index.ts';
import { makeInventory } from './assemble.ts';
import { sinkOf } from './sink.ts';
import type { SourceItem } from './source.ts';

const item = (n: number): SourceItem => ({
  id: `m${n}`,
  name: `m${n}`,
  addresses: [`10.0.${n >> 8}.${n & 255}`],
  platform: 'vm',
  labels: {},
});
const fleet = (count: number) => Array.from({ length: count }, (_, n) => item(n));
const turn = () => new Promise((resolve) => setImmediate(resolve));

function world() {
  const inventory = makeInventory(settings({ guard: { share: 1, least: 100_000 } }));
  const stop = new AbortController();
  let told = 0;
  const sink = sinkOf(
    inventory,
    'objects',
    () => 0,
    stop.signal,
    () => told++,
  );
  return { inventory, sink, stop, told: () => told };
}

test('a short list and single words are taken at once', () => {
  const { inventory, sink, told } = world();
  sink.snapshot(fleet(3));
  sink.put(item(3));
  sink.delete('m0');
  assert.deepEqual([inventory.addresses, inventory.synced, told()], [3, true, 3]);
});

test('who waits hears of a report too, for a failed source may be the last that was waited for', () => {
  const { inventory, sink, told } = world();
  sink.report({ state: 'failed', message: 'line 1' });
  assert.deepEqual([inventory.sources(0)[0]?.report.state, told()], ['failed', 1]);
});

test('a long list is taken in steps; words behind it keep their order, and the next list makes them void', async () => {
  const { inventory, sink } = world();
  sink.snapshot(fleet(2000));
  assert.ok(inventory.addresses < 2000);
  assert.equal(inventory.synced, false, 'it has spoken when the whole list is in');
  sink.put(item(5000));
  sink.delete('m1999');
  while (!inventory.synced) await turn();
  assert.equal(inventory.addresses, 2000);
  assert.equal(
    inventory.endpoint('10.0.7.207' as never),
    undefined,
    'm1999 was deleted after the list',
  );

  sink.snapshot(fleet(1500));
  sink.delete('m0');
  sink.snapshot(fleet(1200));
  for (let i = 0; i < 20; i++) await turn();
  assert.equal(inventory.addresses, 1200);
});

test('nothing is taken once the lead is over', async () => {
  const { inventory, sink, stop } = world();
  sink.snapshot(fleet(2000));
  stop.abort();
  for (let i = 0; i < 20; i++) await turn();
  assert.ok(inventory.addresses < 2000);
  sink.put(item(7000));
  assert.ok(inventory.addresses < 2000);
});
