import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fsmEvents, transitions } from './fsm.ts';
import { sessionStates } from './values.ts';

/** RFC 5880 section 6.2's picture and the rules around it, written out by hand. `d3`: Down with diagnostic 3. */
const expected = `
state       receive-admin-down  receive-down  receive-init  receive-up  detection-expired  disable   enable
admin-down  -                   -             -             -           -                  -         down none
down        -                   init none     up none       -           -                  adm       -
init        d3                  -             up none       up none     d1                 adm       -
up          d3                  d3            -             -           d1                 adm       -
`;
const words: Readonly<Record<string, string>> = {
  d3: 'down neighbor-signaled-down',
  d1: 'down detection-time-expired',
  adm: 'admin-down administratively-down',
};

test('every state and every event', () => {
  const [head, ...rows] = expected
    .trim()
    .split('\n')
    .map((line) => line.trim().split(/ {2,}/));
  assert.deepEqual(head?.slice(1), [...fsmEvents]);
  assert.deepEqual(
    rows.map(([state]) => state),
    [...sessionStates],
  );
  for (const [state, ...cells] of rows) {
    fsmEvents.forEach((event, i) => {
      const from = sessionStates.find((each) => each === state)!;
      const { to, diagnostic, note } = transitions[from][event];
      const cell = cells[i] ?? '';
      if (cell === '-') {
        assert.equal(to, from, `${from} ${event}`);
        assert.equal(diagnostic, undefined);
        assert.ok(note, `${from} ${event} says why nothing happens`);
      } else assert.equal(`${to} ${diagnostic}`, words[cell] ?? cell, `${from} ${event}`);
    });
  }
});
