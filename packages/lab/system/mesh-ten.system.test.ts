import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inParallel } from '../index.ts';
import { answersAt, bothOf, globalService, peersOf, serviceAddresses } from './mesh.ts';
import { apply, eventually, expectSoon, useLab } from './support.ts';

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

test('a service of all ten is answered by all ten', async () => {
  await inParallel(clusters(), 4, (cluster) => apply(lab(), cluster, globalService('web', 'web')));
  const [address = ''] = await serviceAddresses(lab(), 'c1', 'web');
  const seen = new Set<string>();
  await eventually('ten backends answer', async () => {
    for (const name of await answersAt(lab(), 'n1', address)) seen.add(name);
    return seen.size === clusters().length ? true : undefined;
  });
});
