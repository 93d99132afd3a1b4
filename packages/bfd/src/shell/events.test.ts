import assert from 'node:assert/strict';
import { test } from 'node:test';
import { specOf, TwoSystems } from '../../testing/two-systems.ts';
import { Events } from './events.ts';
import type { BfdEvent } from './messages.ts';

function setUp() {
  const world = new TwoSystems(3);
  world.configure('a', [specOf('a'), specOf('a', { local: '192.0.2.9' as never })]);
  const [one, two] = [...world.engines.a.sessions()];
  const told: BfdEvent[] = [];
  const taken = new Int32Array(new SharedArrayBuffer(4));
  const events = new Events(
    (event) => told.push(event),
    taken,
    () => undefined,
  );
  const change = {
    from: 'down',
    to: 'init',
    reason: { type: 'handshake' },
    diagnostic: 'none',
    at: 0,
  } as const;
  return { events, told, taken, one: one!, two: two!, change };
}

test('who does not take his events is told less, then how things stand, and memory stays', () => {
  const { events, told, taken, one, two, change } = setUp();
  for (let i = 0; i < 100_000; i++) {
    events.changed(i % 2 === 0 ? one : two, change);
    events.flush();
  }
  assert.equal(told.length, 1024);
  assert.equal(events.waiting, false);
  events.removed(two);
  // Taken at last: what was missed comes as one line for each session.
  Atomics.store(taken, 0, 1000);
  assert.equal(events.waiting, true);
  events.flush();
  const [first, second, ...more] = told.slice(1024);
  assert.deepEqual(more, []);
  assert.ok(first?.type === 'current' && first.session.key === one.key);
  assert.deepEqual(second, { type: 'removed', key: two.key });
  assert.equal(events.waiting, false);
  events.changed(one, change);
  assert.equal(told.at(-1)?.type, 'changed');
});

test('a change overtakes what was put off about the same session, and says it all', () => {
  const { events, told, one, two, change } = setUp();
  events.current(one);
  events.current(two);
  events.changed(one, change);
  events.removed(two);
  events.flush();
  assert.deepEqual(
    told.map(({ type }) => type),
    ['changed', 'removed'],
  );
});
