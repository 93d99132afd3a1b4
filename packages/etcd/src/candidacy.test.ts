import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Candidacy } from './candidacy.ts';
import { systemClock } from './clock.ts';
import { memoryEtcd } from './memory.ts';

const KEY = 'causeway/election/test';

async function until(condition: () => boolean): Promise<void> {
  for (let i = 0; i < 3000; i++) {
    if (condition()) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  assert.fail('not within 30 s');
}

test('one leads, the next begins when the first has ended, and a doubt settled against it ends a lead', async () => {
  await using etcd = memoryEtcd({ clock: systemClock });
  await using kv = etcd.connect();
  const log: string[] = [];
  let open = false;
  const doubts: (() => void)[] = [];
  const stand = (name: string) =>
    new Candidacy({
      kv,
      key: KEY,
      name,
      ttl: 60,
      clock: systemClock,
      random: Math.random,
      prepare: async (still) => {
        log.push(`${name} prepares`);
        while (still() && !open) await new Promise((resolve) => setTimeout(resolve, 5));
      },
      lead: (fence, doubt) => {
        log.push(`${name} leads`);
        doubts.push(doubt);
        return {
          fence,
          [Symbol.asyncDispose]: async () => {
            await new Promise((resolve) => setTimeout(resolve, 20));
            log.push(`${name} ends`);
          },
        };
      },
      ended: () => log.push(`${name} has ended`),
      follows: () => log.push(`${name} follows`),
    });

  await using first = stand('a');
  await until(() => first.state.type === 'leading');
  assert.deepEqual(first.view().leader, false, 'elected, and not ready yet');
  open = true;
  await until(() => first.view().leader);
  const second = stand('b');
  await until(() => second.state.type === 'following');
  assert.deepEqual(second.view(), { leader: false, leaderName: 'a', epoch: undefined });

  // The key is another's: what a leader learns by its fence.
  await kv.delete(KEY);
  doubts[0]!();
  await until(() => (first.view().leader || second.view().leader) && log.includes('a has ended'));
  assert.equal([first, second].filter((each) => each.current !== undefined).length, 1);
  assert.ok(log.indexOf('a ends') < log.lastIndexOf('a has ended'));

  await second[Symbol.asyncDispose]();
  await until(() => first.view().leader);
  assert.equal(first.current?.fence.revision, first.view().epoch);
});
