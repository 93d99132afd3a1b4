import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Address } from '@causeway/ip';
import { runLoaded } from '../testing/load.ts';
import { startBird } from '../testing/routers.ts';
import { ours, Site, theirs } from '../testing/site.ts';
import { Bfd } from './shell.ts';
import { Micros } from './values.ts';

test('for twenty seconds of full load on all processors nothing falls at 300 ms x 3', async (t) => {
  using site = new Site();
  await using bfd = await Bfd.start({ netns: site.ourPath });
  const neighbors = [ours.ipv4, ours.ipv6, ours.linkLocal];
  await using bird = await startBird(
    site,
    `protocol bfd { interface "e0" { interval 300 ms; multiplier 3; };
${neighbors.map((address) => `neighbor ${address} dev "e0";`).join('\n')} }\n`,
  );
  const timers = {
    hops: 'single' as const,
    interface: 'e0',
    desiredMinTx: Micros.of(300_000),
    requiredMinRx: Micros.of(300_000),
    multiplier: 3,
  };
  await bfd.configure(
    Object.values(theirs).map((remote) => ({ ...timers, remote: Address.parse(remote) })),
  );
  const result = await runLoaded(site, bfd, bird, { seconds: 20, loaded: true, interval: 300 });
  t.diagnostic(JSON.stringify(result));
  assert.deepEqual(result.falls, []);
  assert.equal(result.foreignDown, 0);
  assert.ok(result.busy > 0.9, `the processors were ${result.busy} busy`);
  // Three sessions in both directions, a packet every 225 to 300 ms.
  assert.ok(result.packets >= 3 * 60, `${result.packets} packets`);
});
