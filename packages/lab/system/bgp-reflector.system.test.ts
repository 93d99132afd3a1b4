import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prefix } from '@causeway/ip';
import { within } from '../testing/within.ts';
import {
  becomes,
  hops,
  learned,
  node,
  ownerOf,
  podsOf,
  routersForward,
  tableOf,
} from './bgp-fabric.ts';
import { expectSoon, families, sh, useLab } from './support.ts';

const lab = useLab('refl', { shipped: 'reflector' });
const place = (pod: string) => `main/default/${pod}`;

test('rack switches and the core learn every node’s pod CIDRs though only the reflectors speak with them', async () => {
  const [a, b] = [
    ['a1', 'a2', 'a3'],
    ['b1', 'b2'],
  ];
  await routersForward(lab(), {
    'switch-a': podsOf(lab(), a!, (name) => [name]),
    'switch-b': podsOf(lab(), b!, (name) => [name]),
    core: podsOf(lab(), [...a!, ...b!], (name) => [`switch-${name[0]}`]),
  });
  const sessions = await lab().router('switch-a').sessions();
  const inRack = sessions.filter(({ remote }) => /^(192\.168\.61\.|fd61::)/.test(remote));
  assert.equal(inRack.length, 2, 'one node, two families');
});

test('same rack: a pod CIDR of the rack goes straight to its node, everything else by the default route', async () => {
  for (const name of ['a1', 'a2', 'a3']) {
    const table = () => tableOf(lab(), name);
    for (const { node: other } of lab().cluster().agents) {
      if (other.name === name) continue;
      for (const prefix of other.podCIDRs) {
        const family = Prefix.family(prefix);
        if (other.rack === 'rack-a')
          await becomes(`${name} goes straight to ${other.name}`, [other.name], () =>
            learned(lab(), name, prefix, family),
          );
        else
          assert.deepEqual(
            (await table()).filter((line) => line.startsWith(prefix)),
            [],
          );
      }
    }
    // Beside them one default route, the machine's own: same-rack mode leaves it alone.
    const ways = (await table()).filter((line) => line.startsWith('default'));
    assert.deepEqual(
      ways.map((line) => ownerOf(lab(), / via (\S+)/.exec(line)?.[1] ?? '')),
      ['switch-a', 'switch-a'],
    );
  }
});

test('pods talk within the rack and across, and with the outside', async () => {
  const tries = [];
  for (const from of [place('client'), place('far'), 'outside'])
    for (const to of ['near', 'far'])
      for (const { address } of await families(lab(), place(to)))
        tries.push({
          what: `http from ${from} to ${to} (${address})`,
          wanted: 'answered' as const,
          attempt: () => lab().traffic.http(from, address, 80),
        });
  await expectSoon(tries);
  // No switch between nodes of a rack: the path is two hops, over the other node.
  const [near] = await lab().addresses(place('near'));
  const route = await sh(lab(), 'a2', `ip route get ${near}`);
  const [a3] = node(lab(), 'a3').addresses;
  assert.match(route, new RegExp(`via ${a3!.replaceAll('.', '\\.')} `));
});

test('a client that freezes is gone from reflector, switch, core and its neighbours', async (t) => {
  const prefixes = node(lab(), 'a3').podCIDRs;
  const known = async (yes: boolean) => {
    for (const prefix of prefixes) {
      for (const [router, hop] of [
        ['switch-a', 'a3'],
        ['core', 'switch-a'],
      ] as const)
        await becomes(`${prefix} at ${router}`, yes ? [hop] : [], () =>
          hops(lab(), router, prefix),
        );
      await becomes(`${prefix} at a2`, yes ? ['a3'] : [], () =>
        learned(lab(), 'a2', prefix, Prefix.family(prefix)),
      );
    }
  };
  // Far less than the hold time of 9 s: BFD it is.
  await within(t, 'all without a3', 3000, async () => {
    await lab().settled();
    await known(true);
    const start = performance.now();
    await lab().freeze('a3');
    await known(false);
    const took = performance.now() - start;
    await lab().thaw('a3');
    await lab().settled();
    await known(true);
    return took;
  });
});
