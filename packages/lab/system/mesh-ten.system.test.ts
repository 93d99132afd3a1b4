import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inParallel } from '../index.ts';
import { attemptsAt, bothOf, lostOf, peersOf } from './mesh.ts';
import { eventually, expectSoon, useLab } from './support.ts';

/** Writers of a store that was replaced are given 15 s, and a busy machine takes its time besides. */
const SETTLE_MS = 60_000;

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

test('a peer’s store that is emptied, and one taken back to an old snapshot, cost nothing', async () => {
  const { etcd } = lab().cluster('c3');
  await etcd.snapshot();
  const addresses = [
    ...(await bothOf(lab(), 'c2/default/web-2')),
    ...(await bothOf(lab(), 'c3/default/web-3')),
  ];
  await using all = await attemptsAt(lab(), 'c1/default/web-1', 'peers', addresses);
  await Promise.all([lab().cluster('c2').etcd.wipe(), etcd.restore()]);
  // The connection of before was lost: what is ready now was greeted anew.
  for (const peer of ['c2', 'c3'])
    await eventually(
      `${peer} was lost and is read again`,
      async () => {
        const row = (await peersOf(lab(), 'n1')).find(({ name }) => name === peer);
        return row?.state === 'ready' && row.losses > 0 ? true : undefined;
      },
      SETTLE_MS,
    );
  const known = JSON.stringify(await lab().agent('n1').get('/v1/ipcache'));
  for (const address of addresses) assert.ok(known.includes(`"${address}`), `${address} is known`);
  assert.deepEqual(lostOf(await all.stop()), []);
});
