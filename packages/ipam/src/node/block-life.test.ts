import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FIRST_PHASE, stepBlock } from './block-life.ts';
import type { BlockFacts, BlockPhase } from './types.ts';

const mine: BlockFacts = {
  allocated: true,
  recorded: true,
  takenBy: undefined,
  claimsKnown: true,
  announced: false,
  drain: false,
  empty: true,
};
const PHASES: readonly BlockPhase[] = [
  'learning',
  'announcing',
  'ready',
  'draining',
  'withdrawing',
  'returning',
  'lost',
  'taken',
];

test('a block is announced before it is used and withdrawn before it is given back', () => {
  const life: [Partial<BlockFacts>, BlockPhase | 'gone'][] = [
    [{ claimsKnown: false }, 'learning'],
    [{ recorded: false }, 'learning'],
    [{}, 'announcing'],
    [{ announced: true }, 'ready'],
    [{ announced: true, empty: false, drain: true }, 'draining'],
    [{ announced: true, empty: false }, 'ready'],
    [{ announced: true, empty: false, drain: true }, 'draining'],
    [{ announced: true, drain: true }, 'withdrawing'],
    [{ announced: true, drain: true }, 'withdrawing'],
    [{ drain: true }, 'returning'],
    [{ drain: true }, 'returning'],
    [{ drain: true, allocated: false }, 'gone'],
  ];
  let phase: BlockPhase = FIRST_PHASE;
  for (const [facts, expected] of life) {
    const step = stepBlock(phase, { ...mine, ...facts });
    assert.equal(step.phase, expected, `${phase} with ${JSON.stringify(facts)}`);
    if (step.phase !== 'gone') phase = step.phase;
  }
});

test('a block that was taken by force goes on while nobody has it, and stops where another has', () => {
  const forced = { ...mine, allocated: false, recorded: false, announced: true, empty: false };
  const lost = stepBlock('ready', forced);
  assert.deepEqual(lost, {
    phase: 'lost',
    orders: { give: 'no', announce: true, keep: true, ask: true, stop: false },
  });
  assert.equal(stepBlock('lost', { ...mine, announced: true, empty: false }).phase, 'announcing');
  const taken = stepBlock('lost', { ...forced, takenBy: 'n2' });
  assert.deepEqual(taken.orders, {
    give: 'no',
    announce: false,
    keep: false,
    ask: false,
    stop: true,
  });
  const gone = { ...forced, takenBy: 'n2', announced: false, empty: true };
  assert.equal(stepBlock('taken', gone).phase, 'gone');
});

test('whatever is true, steps come to rest, and orders keep what they promise', () => {
  const flags = [false, true];
  for (const allocated of flags)
    for (const recorded of flags)
      for (const takenBy of [undefined, 'n2'])
        for (const claimsKnown of flags)
          for (const announced of flags)
            for (const drain of flags)
              for (const empty of flags) {
                const facts = {
                  allocated,
                  recorded,
                  takenBy,
                  claimsKnown,
                  announced,
                  drain,
                  empty,
                };
                for (const first of PHASES) {
                  let phase = first;
                  for (let steps = 0; ; steps += 1) {
                    const step = stepBlock(phase, facts);
                    const about = `${first} to ${step.phase}, ${JSON.stringify(facts)}`;
                    const { give, announce, keep, stop } = step.orders;
                    if (give !== 'no')
                      assert.ok(allocated && recorded && !drain && !takenBy, about);
                    if (give === 'yes') assert.ok(announced && announce, about);
                    if (stop) assert.ok(takenBy !== undefined && !announce, about);
                    // It leaves `allocated` only when it is out of use and out of routing, or another's.
                    if (!keep && allocated && step.phase !== first) {
                      assert.ok(
                        takenBy !== undefined || (empty && !announced) || first === 'taken',
                        about,
                      );
                    }
                    if (step.phase === 'gone') {
                      assert.ok(empty && !announced && !allocated, about);
                      break;
                    }
                    if (step.phase === phase) break;
                    assert.ok(steps < 6, `${about} goes on for ever`);
                    phase = step.phase;
                  }
                }
              }
});
