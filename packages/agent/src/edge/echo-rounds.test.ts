import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Address } from '@causeway/ip';
import fc from 'fast-check';
import { EchoRounds, LOST, STEADY, type Watched, watchedBy } from './echo-rounds.ts';

const peer = (name: string, rival = true): Watched => ({
  name,
  address: `10.0.0.${name.charCodeAt(0)}` as Address,
  rival,
});

/** Rounds in each of which these answer what they were asked in the one before. */
function pass(rounds: EchoRounds, count: number, ...answering: string[]): void {
  for (let i = 0; i < count; i++) {
    for (const name of answering) rounds.heard(name);
    rounds.round();
  }
}

test('a rival that falls silent is taken out after as many rounds, once, and again after it was back for long', () => {
  const rounds = new EchoRounds();
  rounds.follow([peer('b'), peer('c')]);
  pass(rounds, 3, 'b', 'c');
  pass(rounds, LOST - 1, 'c');
  assert.deepEqual(rounds.accused(), []);
  pass(rounds, 1, 'c');
  assert.deepEqual(rounds.accused(), ['b']);
  assert.deepEqual(rounds.accused(), ['b'], 'until it is done');
  rounds.settle('b');
  pass(rounds, 10, 'c');
  assert.deepEqual(rounds.accused(), []);
  pass(rounds, STEADY, 'b', 'c');
  pass(rounds, LOST, 'c');
  assert.deepEqual(rounds.accused(), ['b']);
});

test('who was taken out is so again only after it has answered twice as long as the time before', () => {
  const rounds = new EchoRounds();
  const all = [peer('b'), peer('c')];
  rounds.follow(all);
  pass(rounds, 3, 'b', 'c');
  for (const wanted of [1, 2, 4, 8, 16, 32, 32, 32].map((times) => times * STEADY)) {
    pass(rounds, LOST, 'c');
    assert.deepEqual(rounds.accused(), ['b']);
    rounds.settle('b');
    // Taken out, it is not followed any more.
    rounds.follow([peer('c')]);
    pass(rounds, 1, 'c');
    rounds.follow(all);
    pass(rounds, wanted - 1, 'b', 'c');
    pass(rounds, LOST, 'c');
    assert.deepEqual(rounds.accused(), [], `after ${wanted - 1} rounds, and a gap`);
    pass(rounds, wanted, 'b', 'c');
  }
});

test('property: a link that loses half of all echoes takes its end out once, not again and again', () => {
  fc.assert(
    fc.property(fc.infiniteStream(fc.boolean()), (lost) => {
      const rounds = new EchoRounds();
      rounds.follow([peer('b'), peer('c')]);
      pass(rounds, 3, 'b', 'c');
      let accused = 0;
      for (let round = 0; round < 400; round++) {
        pass(rounds, 1, ...(lost.next().value ? ['c'] : ['b', 'c']));
        for (const name of rounds.accused()) {
          accused++;
          rounds.settle(name);
        }
      }
      assert.ok(accused <= 1, `${accused} times within a minute`);
    }),
    { numRuns: 50 },
  );
});

test('who has never answered is not missed, and whoever is watched with it is judged alone', () => {
  const rounds = new EchoRounds();
  rounds.follow([peer('b'), peer('c'), peer('w', false)]);
  pass(rounds, 2, 'b');
  pass(rounds, 10);
  assert.deepEqual(rounds.accused(), ['b']);
  // One that is silent tells nothing of one's own network.
  assert.equal(rounds.cutOff, false);
  pass(rounds, 2, 'w');
  assert.equal(rounds.cutOff, false);
  pass(rounds, 10);
  assert.equal(rounds.cutOff, true);
});

test('who hears nobody any more accuses nobody: it is his own network', () => {
  const rounds = new EchoRounds();
  rounds.follow([peer('b'), peer('c'), peer('w', false)]);
  pass(rounds, 2, 'b', 'c', 'w');
  pass(rounds, 1, 'c', 'w');
  assert.ok(rounds.connected && !rounds.cutOff);
  pass(rounds, 10);
  assert.deepEqual(rounds.accused(), []);
  assert.ok(rounds.cutOff && !rounds.connected);
  pass(rounds, 1, 'w');
  assert.ok(rounds.connected && !rounds.cutOff, 'a witness is enough');
  assert.deepEqual(rounds.accused(), ['b', 'c'], 'and with it the others have fallen');
});

test('with another address it is another host; what stays watched stands as it stood', () => {
  const rounds = new EchoRounds();
  rounds.follow([peer('b'), peer('c')]);
  pass(rounds, 2, 'b', 'c');
  rounds.follow([{ ...peer('b'), address: '10.0.0.99' as Address }, peer('c')]);
  pass(rounds, 10, 'c');
  assert.deepEqual(rounds.accused(), []);
  rounds.follow([peer('c'), peer('w', false)]);
  pass(rounds, LOST, 'w');
  assert.deepEqual(rounds.accused(), ['c']);
});

test('property: every living one is watched by others, and nobody watches more than five', () => {
  const names = fc.uniqueArray(fc.stringMatching(/^[a-z]{1,3}$/), { minLength: 2, maxLength: 20 });
  fc.assert(
    fc.property(names, fc.infiniteStream(fc.boolean()), (all, lives) => {
      const living = new Set(all.filter(() => lives.next().value));
      const nodes = all.map((name) => ({ name, address: '10.0.0.1' as Address }));
      const watches = new Map([...living].map((name) => [name, watchedBy(name, nodes, living)]));
      for (const [name, watched] of watches) {
        assert.ok(watched.length <= 5 && !watched.some((each) => each.name === name));
        const by = [...watches.values()].filter((each) =>
          each.some((one) => one.rival && one.name === name),
        );
        assert.equal(by.length, Math.min(3, living.size - 1), `${name} of ${[...living]}`);
      }
    }),
    { numRuns: 200 },
  );
});
