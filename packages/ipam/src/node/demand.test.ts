import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prefix } from '@causeway/ip';
import fc from 'fast-check';
import { DEFAULT_MARKS, FRESH_DEMAND, stepDemand } from './demand.ts';
import type { BlockUse, DemandState, Marks } from './types.ts';

const CAPACITY = 61;
const block = (index: number, used: number, more: Partial<BlockUse> = {}): BlockUse => ({
  cidr: Prefix.subnetAt(Prefix.parse('10.0.0.0/16'), 26, index),
  capacity: CAPACITY,
  used,
  resting: 0,
  closed: false,
  ...more,
});
const marks: Marks = { ...DEFAULT_MARKS, lowForMs: 100 };
const look = (
  state: DemandState,
  blocks: BlockUse[],
  now: number,
  more: { waiting?: number; recent?: number } = {},
) =>
  stepDemand(
    state,
    { pool: 'a', family: 'ipv4', blocks, waiting: 0, recent: 0, ...more },
    marks,
    now,
  );

test('a node without pods asks for what it keeps ahead; over the high mark, or fast growth, for more', () => {
  assert.equal(look(FRESH_DEMAND, [], 0).needed, 16);
  assert.equal(look(FRESH_DEMAND, [block(0, 40)], 0).needed, 64);
  assert.equal(look(FRESH_DEMAND, [block(0, 20)], 0, { recent: 40 }).needed, 64);
  assert.equal(look(FRESH_DEMAND, [block(0, 61)], 0, { waiting: 5 }).needed, 96);
  assert.equal(look(FRESH_DEMAND, [block(0, 100, { capacity: 253 })], 0).needed, 128);
  assert.equal(look(FRESH_DEMAND, [block(0, 220, { capacity: 253 })], 0).needed, 288);
});

test('the emptiest block is given back after a while of low use, and taken up again when use climbs', () => {
  const blocks = [block(0, 12), block(1, 3), block(2, 4)];
  let step = look(FRESH_DEMAND, blocks, 1_000);
  assert.deepEqual(step.draining, []);
  step = look(step.state, blocks, 1_099);
  assert.deepEqual(step.draining, []);
  step = look(step.state, blocks, 1_100);
  assert.deepEqual(step.draining, ['10.0.0.64/26']);
  assert.deepEqual(step.empty, []);
  // The operator counts the block still: the wish holds it, so that it gives nothing instead.
  assert.equal(step.needed, 48 + CAPACITY);
  const emptied = [block(0, 12), block(1, 0), block(2, 4)];
  assert.deepEqual(look(step.state, emptied, 1_101).empty, ['10.0.0.64/26']);
  const resting = [block(0, 12), block(1, 0, { resting: 1 }), block(2, 4)];
  assert.deepEqual(look(step.state, resting, 1_101).empty, []);
  const busy = look(step.state, [block(0, 58), block(1, 3), block(2, 40)], 1_102);
  assert.deepEqual(busy.draining, []);
  assert.match(busy.why, /kept/);
});

test('a break in low use, and a clock that jumps back, start the wait anew', () => {
  const low = [block(0, 5), block(1, 0)];
  let step = look(FRESH_DEMAND, low, 0);
  step = look(step.state, [block(0, 50), block(1, 0)], 90);
  step = look(step.state, low, 100);
  assert.deepEqual(look(step.state, low, 199).draining, []);
  step = look(step.state, low, 20);
  assert.deepEqual(look(step.state, low, 119).draining, []);
  assert.deepEqual(look(step.state, low, 120).draining, ['10.0.0.64/26']);
});

test('a closed block drains whatever its use, and is replaced', () => {
  const step = look(FRESH_DEMAND, [block(0, 30, { closed: true })], 0);
  assert.deepEqual(step.draining, ['10.0.0.0/26']);
  assert.equal(step.needed, 48);
});

/** A node and an operator that gives at once, with use that is set and then left alone. */
test('steady use comes to rest: no block is asked for after one was given back', () => {
  fc.assert(
    fc.property(
      fc.array(fc.nat(400), { minLength: 1, maxLength: 6 }),
      fc.record({
        high: fc.double({ min: 0.4, max: 1, noNaN: true }),
        low: fc.double({ min: 0, max: 0.39, noNaN: true }),
        preAllocate: fc.integer({ min: 0, max: 40 }),
      }),
      (uses, random) => {
        const settings: Marks = { ...random, lowForMs: 100 };
        let state = FRESH_DEMAND;
        let blocks: BlockUse[] = [];
        let named = 0;
        let now = 0;
        for (const use of uses) {
          let gave = false;
          for (let round = 0; round < 60; round += 1) {
            now += 60;
            // Pods fill what takes new ones, in order; those in draining blocks leave them.
            let left = use;
            const draining = new Set(state.givingBack);
            blocks = blocks.map((one) => {
              const used = draining.has(one.cidr) ? 0 : Math.min(left, one.capacity);
              left -= used;
              return { ...one, used };
            });
            const step = stepDemand(
              state,
              { pool: 'a', family: 'ipv4', blocks, waiting: left, recent: 0 },
              settings,
              now,
            );
            ({ state } = step);
            const capacity = blocks.length * CAPACITY;
            blocks = blocks.filter(({ cidr }) => !step.empty.includes(cidr));
            gave ||= step.empty.length > 0;
            if (capacity < step.needed) {
              assert.ok(!gave, `asks for ${step.needed} after giving back, use ${use}`);
              for (let have = capacity; have < step.needed; have += CAPACITY) {
                blocks.push(block(named, 0));
                named += 1;
              }
            }
          }
          const capacity = blocks.length * CAPACITY;
          assert.ok(capacity >= use, `${capacity} for ${use}`);
          const most =
            Math.max(use / (settings.low || 1e-9), 0) + 3 * (CAPACITY + settings.preAllocate);
          const least =
            (use * 2) / (settings.low + settings.high) + 3 * (CAPACITY + settings.preAllocate);
          assert.ok(capacity <= Math.max(most, least), `${capacity} for ${use}`);
        }
      },
    ),
    { numRuns: 200 },
  );
});
