import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prefix } from '@causeway/ip';
import { type SearchResult, search } from './search.ts';
import {
  copyOf,
  type Fault,
  firstState,
  keyOf,
  type Left,
  type State,
  stateOf,
  type World,
} from './state.ts';
import { actionsOf, check, settle } from './world.ts';

const NOTHING: Left = {
  pods: 0,
  depose: 0,
  crash: 0,
  force: 0,
  close: 0,
  drain: 0,
  claim: 0,
  want: 0,
};

/** Two nodes that want blocks of different sizes from a range that has room for one large or two common ones. */
const ipv4 = { range: Prefix.parse('10.0.0.0/29'), common: 30, large: 29, nodes: 2, ops: 1 };
const ipv6 = { range: Prefix.parse('fd00::/126'), common: 127, large: 126, nodes: 2, ops: 1 };

const worlds = {
  'blocks given back, with claims in them': {
    ...ipv4,
    left: { ...NOTHING, want: 2, pods: 2, drain: 1, claim: 1 },
  },
  'a leader deposed without knowing it': {
    ...ipv4,
    ops: 2,
    left: { ...NOTHING, want: 2, pods: 1, depose: 1 },
  },
  'an operator or agent that crashes': {
    ...ipv6,
    ops: 2,
    left: { ...NOTHING, want: 2, pods: 1, crash: 1 },
  },
  'an agent that crashes, with claims in its blocks': {
    ...ipv4,
    nodes: 1,
    left: { ...NOTHING, want: 2, pods: 2, crash: 1, claim: 1 },
  },
  'blocks taken by force, with claims in them': {
    ...ipv4,
    large: 30,
    range: Prefix.parse('10.0.0.0/30'),
    left: { ...NOTHING, want: 2, pods: 2, force: 1, claim: 1 },
  },
  'a range that is closed': { ...ipv6, left: { ...NOTHING, want: 2, pods: 1, close: 1 } },
  'blocks taken by force': { ...ipv4, left: { ...NOTHING, want: 2, pods: 1, force: 1 } },
} as const satisfies Record<string, World>;

/** The first world without claims: where they have no part in the harm, it is found sooner. */
const withoutClaims: World = { ...ipv4, left: { ...NOTHING, want: 2, pods: 2, drain: 1 } };

/** `liveness`: also that every state would come well to rest if nothing disturbed it any more. */
function explore(world: World, liveness: boolean): SearchResult {
  return search<State>({
    first: firstState(world),
    keyOf,
    stateOf,
    copyOf,
    stepsOf: (state) => actionsOf(world, state),
    check,
    ...(liveness && { settle: (state) => void settle(world, state) }),
  });
}

for (const [name, world] of Object.entries(worlds)) {
  test(`every state: ${name}`, (t) => {
    const { states, steps, depth, violation, trace } = explore(world, true);
    t.diagnostic(`${states} states, ${steps} steps between them, up to ${depth} from the first`);
    assert.equal(violation, undefined, trace.join('\n'));
    assert.ok(states > 1_000, `${states} states are too few to say anything`);
  });
}

/** The search sees what it is there for: with any one of the safeguards taken out it finds the way to the harm. */
const faults: readonly [Fault, World, RegExp][] = [
  ['no-fence', worlds['a leader deposed without knowing it'], /is n\d's and .* is n\d's/],
  ['forget-records', worlds['a leader deposed without knowing it'], /at rest/],
  ['no-quarantine', withoutClaims, /in its rest/],
  ['use-claims-unknown', worlds['blocks given back, with claims in them'], /kept for its claim/],
  [
    'forget-claims',
    worlds['an agent that crashes, with claims in its blocks'],
    /kept for its claim/,
  ],
  ['claim-unrecorded', worlds['blocks taken by force, with claims in them'], /kept for its claim/],
  ['give-back-in-use', withoutClaims, /a pod|pod .* runs in/],
  ['never-release', withoutClaims, /at rest/],
  ['use-unrecorded', worlds['blocks taken by force'], /uses .* has/],
  ['ignore-taken', worlds['blocks taken by force'], /at rest/],
];

for (const [fault, world, harm] of faults) {
  test(`without a safeguard the search finds the harm: ${fault}`, (t) => {
    const { states, violation, trace } = explore(
      { ...world, fault },
      harm.source.startsWith('at rest'),
    );
    assert.match(violation ?? 'none', harm);
    t.diagnostic(`${violation}, ${trace.length} steps away, after ${states} states`);
  });
}
