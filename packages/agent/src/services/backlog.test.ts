import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Address } from '@causeway/ip';
import type { MapOperation } from '@causeway/loadbalancing';
import { Backlog } from './backlog.ts';

const at = (generation: number, chunk: number) =>
  ({ serviceId: 1, generation, table: 'main', chunk }) as const;
const slots = (generation: number, chunk: number, live: boolean, first = 1): MapOperation => ({
  ...{ type: 'slots-put', ...at(generation, chunk), live },
  backendIds: Uint32Array.from([first]),
});
const dropped = (generation: number, chunk: number): MapOperation => ({
  ...{ type: 'slots-delete', ...at(generation, chunk) },
});
const row = (generation: number): MapOperation => ({
  type: 'service-put',
  key: { address: Address.parse('10.96.0.1'), port: 80, protocol: 'TCP' },
  row: {
    ...{ serviceId: 1, generation, slots: 1, count: 1, algorithm: 'random', affinitySeconds: 0 },
    ...{ external: false, nodePort: false, localExternal: false, localInternal: false },
    ...{ localSlots: 0, sourceRanges: false, forwarding: 'snat' },
  },
});
const words = (operations: readonly MapOperation[]) =>
  operations.map((each) =>
    each.type === 'slots-put' || each.type === 'slots-delete'
      ? `${each.type} ${each.generation}/${each.chunk}`
      : each.type,
  );

test('an edited chunk waits as its newest state only', () => {
  const backlog = new Backlog();
  for (const first of [1, 2, 3]) assert.deepEqual(backlog.add(slots(4, 2, true, first)), []);
  backlog.add(row(4));
  assert.deepEqual(words(backlog.operations()), ['slots-put 4/2', 'service-put']);
  const [put] = backlog.operations();
  assert.deepEqual(put?.type === 'slots-put' && [...put.backendIds], [3]);
});

test('a chunk that goes and comes again is there in the end', () => {
  const backlog = new Backlog();
  backlog.add(row(4));
  backlog.add(dropped(4, 3));
  backlog.add(slots(4, 3, true));
  assert.deepEqual(words(backlog.operations()), ['slots-put 4/3', 'service-put']);
  backlog.add(dropped(4, 3));
  assert.deepEqual(words(backlog.operations()), ['service-put', 'slots-delete 4/3']);
});

test('slots that the kernel counts on stay until its row names others', () => {
  const backlog = new Backlog();
  backlog.add(slots(4, 2, true));
  backlog.add(row(4));
  backlog.add(slots(5, 0, false));
  backlog.add(row(5));
  assert.deepEqual(backlog.add(dropped(4, 0)), [], 'the row in the kernel names generation 4');
  assert.deepEqual(words(backlog.operations()), [
    'slots-put 5/0',
    'service-put',
    'slots-delete 4/0',
  ]);
});

test('slots that no row ever named go at once', () => {
  const backlog = new Backlog();
  backlog.add(slots(4, 0, false));
  backlog.add(row(4));
  backlog.add(slots(5, 0, false));
  assert.deepEqual(words(backlog.add(dropped(4, 0))), ['slots-delete 4/0']);
});
