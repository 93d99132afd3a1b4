import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { Prefix } from '@causeway/ip';
import type { Announcement } from './plan.ts';
import { SpeakerReach } from './reach.ts';

const prefix = Prefix.parse('10.1.2.0/24');
const row = { announced: true, to: [{ neighbor: 'leaf-1' }] } as unknown as Announcement;

test('what a former speaker answers late confirms nothing of the one after it', async () => {
  const answers: ((sent: boolean) => void)[] = [];
  const reach = new SpeakerReach({
    port: { advertised: () => new Promise((resolve) => answers.push(resolve)) },
    announcements: () => new Map([[prefix, [row]]]),
    told: () => [{ prefix }],
  });
  assert.equal(reach.announced(prefix), false);
  reach.forget();
  answers.shift()?.(true);
  await turn();
  assert.equal(reach.announced(prefix), false);
  answers.shift()?.(true);
  await turn();
  assert.equal(reach.announced(prefix), true);
});
