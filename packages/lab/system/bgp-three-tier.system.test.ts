import assert from 'node:assert/strict';
import { test } from 'node:test';
import { within } from '../testing/within.ts';
import {
  becomes,
  FAMILIES,
  hops,
  node,
  podsOf,
  routersForward,
  tableOf,
  wayOut,
} from './bgp-fabric.ts';
import { expectSoon, families, useLab } from './support.ts';

const lab = useLab('tier', { shipped: 'three-tier' });
const place = (pod: string) => `main/default/${pod}`;

test('core switches of both makes take every node’s pod CIDRs over iBGP, and the edge takes both of them', async () => {
  const names = lab()
    .cluster()
    .agents.map((agent) => agent.node.name);
  const direct = podsOf(lab(), names, (name) => [name]);
  const cores = podsOf(lab(), names, () => ['core-1', 'core-2']);
  await routersForward(lab(), { 'core-1': direct, 'core-2': direct, edge: cores });
});

test('pods talk over access and aggregation switches, within one segment and between two, and with the outside', async () => {
  const tries = [];
  for (const from of [...['client', 'server-1'].map(place), 'outside'])
    for (const pod of ['server-1', 'server-2', 'server-3'])
      for (const { address } of await families(lab(), place(pod)))
        tries.push({
          what: `http from ${from} to ${pod} (${address})`,
          wanted: 'answered' as const,
          attempt: () => lab().traffic.http(from, address, 80),
        });
  await expectSoon(tries);
});

test('a node has its own CIDRs and a way out over both core switches, and no route of other nodes', async () => {
  for (const { node: each } of lab().cluster().agents) {
    for (const family of FAMILIES)
      await becomes(`${each.name} has two ways out`, ['core-1', 'core-2'], () =>
        wayOut(lab(), each.name, family),
      );
    const table = await tableOf(lab(), each.name);
    for (const { node: other } of lab().cluster().agents)
      if (other !== each)
        for (const prefix of other.podCIDRs)
          assert.deepEqual(
            table.filter((line) => line.startsWith(prefix)),
            [],
          );
  }
});

test('a core switch without power is left out by nodes and edge, and pods still talk', async (t) => {
  const [prefix] = node(lab(), 'n3').podCIDRs;
  const both = ['core-1', 'core-2'];
  const whole = async () => {
    await lab().settled();
    for (const family of FAMILIES)
      await becomes('n1 has two ways out', both, () => wayOut(lab(), 'n1', family));
    await becomes('edge has two ways', both, () => hops(lab(), 'edge', prefix!));
  };
  for (const [off, left] of [
    ['core-1', 'core-2'],
    ['core-2', 'core-1'],
  ] as const)
    await within(t, `n1 and edge without ${off}`, 2000, async () => {
      await whole();
      await lab().router(off).powerOff();
      const start = performance.now();
      for (const family of FAMILIES)
        await becomes(`n1 leaves ${off} out`, [left], () => wayOut(lab(), 'n1', family));
      await becomes(`edge leaves ${off} out`, [left], () => hops(lab(), 'edge', prefix!));
      const took = performance.now() - start;
      await expectSoon(
        (await families(lab(), place('server-3'))).map(({ address }) => ({
          what: `http from the outside to ${address}`,
          wanted: 'answered' as const,
          attempt: () => lab().traffic.http('outside', address, 80),
        })),
      );
      await lab().router(off).powerOn();
      await whole();
      return took;
    });
});
