import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inParallel } from '../index.ts';
import { bothOf, peersOf } from './mesh.ts';
import { expectSoon, useLab } from './support.ts';

const lab = useLab('mesh-ten', { shipped: 'mesh-10' });

const clusters = () => lab().clusters.map(({ plan }) => plan.name);

test('every node reads nine peers, and pods of all ten clusters reach those of the next', async () => {
  for (const { agents } of lab().clusters)
    for (const { node } of agents) {
      const peers = await peersOf(lab(), node.name);
      assert.equal(peers.filter(({ state }) => state === 'ready').length, clusters().length - 1);
    }
  const all = clusters();
  const asks = await inParallel(all, 4, async (cluster, i) => {
    const next = all[(i + 1) % all.length]!;
    return (await bothOf(lab(), `${next}/default/web-${next.slice(1)}`)).map((address) => ({
      what: `${cluster} asks ${next} at ${address}`,
      wanted: 'answered' as const,
      attempt: () => lab().traffic.http(`${cluster}/default/web-${cluster.slice(1)}`, address, 80),
    }));
  });
  await expectSoon(asks.flat());
});
