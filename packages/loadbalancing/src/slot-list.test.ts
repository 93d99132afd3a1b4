import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { SLOTS_PER_CHUNK } from './operations.ts';
import { SlotList } from './slot-list.ts';

const change = fc.record({
  gone: fc.array(fc.nat(399), { maxLength: 40 }),
  come: fc.array(fc.nat(399), { maxLength: 40 }),
});

test('property: after any edits the slots hold each backend once, and no slot ever leads nowhere', () => {
  fc.assert(
    fc.property(fc.array(change, { maxLength: 8 }), (changes) => {
      let wanted = Array.from({ length: 200 }, (_, i) => i + 1);
      const list = new SlotList(wanted);
      const map = new Map<number, Uint32Array>();
      const slot = (i: number) => map.get(Math.floor(i / SLOTS_PER_CHUNK))?.[i % SLOTS_PER_CHUNK];
      for (let i = 0; i < 200; i += SLOTS_PER_CHUNK) {
        const chunk = new Uint32Array(SLOTS_PER_CHUNK);
        chunk.set(wanted.slice(i, i + SLOTS_PER_CHUNK));
        map.set(i / SLOTS_PER_CHUNK, chunk);
      }
      for (const { gone, come } of changes) {
        const before = wanted.length;
        const known = new Set(wanted);
        wanted = [
          ...new Set([...wanted.filter((id) => !gone.includes(id)), ...come.map((id) => id + 1)]),
        ];
        const { added, removed } = list.difference(wanted);
        const { chunks, dropped } = list.edit(added, removed);
        for (const id of added) known.add(id);
        for (const { chunk, backendIds } of chunks) {
          map.set(chunk, backendIds);
          // The row counts as it did until all chunks are written.
          for (let i = 0; i < before; i++) assert.ok(known.has(slot(i)!), `slot ${i}`);
        }
        for (const chunk of dropped) assert.ok(map.delete(chunk));
        const now = Array.from(wanted, (_, i) => slot(i));
        assert.deepEqual(now.sort(), [...wanted].sort());
      }
    }),
  );
});
