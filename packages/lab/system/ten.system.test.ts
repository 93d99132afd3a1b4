import assert from 'node:assert/strict';
import { test } from 'node:test';
import { destroyLab, upLab } from '../index.ts';
import { within } from '../testing/within.ts';

test('ten nodes with a hundred pods come up in under a minute, every table reconciled', async (t) => {
  const name = `t-ten-${process.pid}`;
  t.after(() => destroyLab(name, { force: true }));
  await within(t, 'ten nodes with a hundred pods', 60_000, async () => {
    const start = performance.now();
    await using lab = await upLab('ten', { name });
    const took = performance.now() - start;
    assert.equal(lab.pods.length, 100);
    // The first pod and the last stand on different nodes and racks.
    const [address] = await lab.addresses('main/default/db-50');
    const reached = await lab.traffic.ping('main/default/web-1', address!, { seconds: 3 });
    assert.equal(reached.outcome, 'answered', reached.detail);
    await destroyLab(name);
    return took;
  });
});
