import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  type ClaimFault,
  type ClaimState,
  checkClaims,
  claimKeyOf,
  claimStateOf,
  claimSteps,
  copyOfClaims,
  firstClaimState,
  settleClaims,
} from './claims-world.ts';
import { search } from './search.ts';

interface World {
  readonly nodes: number;
  readonly left: ClaimState['left'];
}

/** `liveness`: also that every state would come well to rest if nothing disturbed it any more. */
const explore = ({ nodes, left }: World, fault?: ClaimFault, liveness = true) =>
  search<ClaimState>({
    first: firstClaimState(nodes, left),
    keyOf: claimKeyOf,
    stateOf: claimStateOf,
    copyOf: copyOfClaims,
    stepsOf: (state) => claimSteps(state, fault),
    check: checkClaims,
    ...(liveness && { settle: (state) => settleClaims(state, fault) }),
  });

const worlds = {
  'moves over three nodes': { nodes: 3, left: { pods: 2, others: 0, switches: 0 } },
  'an owner and another who wants the address': {
    nodes: 2,
    left: { pods: 2, others: 1, switches: 0 },
  },
  'hand-overs there and back': { nodes: 2, left: { pods: 2, others: 0, switches: 2 } },
} as const satisfies Record<string, World>;
const moves = worlds['an owner and another who wants the address'];

for (const [name, world] of Object.entries(worlds)) {
  test(`every state of an address that stays: ${name}`, (t) => {
    const { states, steps, depth, violation, trace } = explore(world);
    t.diagnostic(`${states} states, ${steps} steps between them, up to ${depth} from the first`);
    assert.equal(violation, undefined, trace.join('\n'));
    assert.ok(states > 1_000, `${states} states are too few to say anything`);
  });
}

const faults: readonly [ClaimFault, World, RegExp][] = [
  ['no-compare', moves, /have one address|does not know/],
  ['withdraw-at-once', moves, /withdrew before/],
  ['tell-before-announced', moves, /said to announce/],
  ['expire-unchecked', moves, /has ended under it/],
  ['run-on', moves, /at rest the address is at/],
];

for (const [fault, world, harm] of faults) {
  test(`without a safeguard the search finds the harm: ${fault}`, (t) => {
    const { states, violation, trace } = explore(world, fault, harm.source.startsWith('at rest'));
    assert.match(violation ?? 'none', harm);
    t.diagnostic(`${violation}, ${trace.length} steps away, after ${states} states`);
  });
}
