import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { DeadlineHeap } from './deadline-heap.ts';

interface Item {
  deadline: number;
  heapIndex: number;
}

test('whatever is added, moved and removed, what is due comes, in time, and nothing else', () => {
  const step = fc.oneof(
    fc.record({ type: fc.constant('add' as const), at: fc.nat(100) }),
    fc.record({ type: fc.constant('remove' as const), which: fc.nat(30) }),
    fc.record({ type: fc.constant('sooner' as const), which: fc.nat(30), by: fc.nat(50) }),
    fc.record({ type: fc.constant('later' as const), which: fc.nat(30), by: fc.nat(50) }),
    fc.record({ type: fc.constant('settle' as const), which: fc.nat(30), at: fc.nat(100) }),
    fc.record({ type: fc.constant('due' as const), now: fc.nat(100) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
      const heap = new DeadlineHeap<Item>();
      const model: Item[] = [];
      for (const one of steps) {
        const chosen = 'which' in one ? model[one.which % Math.max(1, model.length)] : undefined;
        switch (one.type) {
          case 'add': {
            const item = { deadline: one.at, heapIndex: -1 };
            model.push(item);
            heap.add(item);
            break;
          }
          case 'remove':
            if (chosen === undefined) break;
            model.splice(model.indexOf(chosen), 1);
            heap.remove(chosen);
            heap.remove(chosen);
            assert.equal(chosen.heapIndex, -1);
            break;
          case 'sooner':
            if (chosen === undefined) break;
            chosen.deadline -= one.by;
            heap.sooner(chosen);
            break;
          case 'later':
            // Nobody tells the heap.
            if (chosen !== undefined) chosen.deadline += one.by;
            break;
          case 'settle':
            if (chosen === undefined) break;
            chosen.deadline = one.at;
            heap.settle(chosen);
            break;
          case 'due': {
            const taken: Item[] = [];
            for (let i = heap.firstDue(one.now); i !== undefined; i = heap.firstDue(one.now)) {
              taken.push(i);
              heap.remove(i);
            }
            const due = model.filter(({ deadline }) => deadline <= one.now);
            assert.deepEqual(new Set(taken), new Set(due));
            assert.ok(heap.next > one.now);
            for (const item of taken) model.splice(model.indexOf(item), 1);
            break;
          }
          default:
            one satisfies never;
        }
        assert.equal(heap.size, model.length);
        const first = Math.min(Number.POSITIVE_INFINITY, ...model.map((item) => item.deadline));
        assert.ok(heap.next <= first);
      }
    }),
  );
});
