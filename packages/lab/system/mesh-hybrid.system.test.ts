import assert from 'node:assert/strict';
import { test } from 'node:test';
import { echoServers, Load, loadInWords } from '../index.ts';
import { sentBy } from './bgp-fabric.ts';
import { bothOf } from './mesh.ts';
import { apply, eventually, expectSoon, useLab } from './support.ts';

const CLIENT = 'a/default/client';
const BESIDE = 'b/default/beside';
const AWAY = 'c/default/away';
const PORT = 7777;
const TUNNEL = 'cw_vxlan';

let beside: string[] = [];
let away: string[] = [];

const lab = useLab('mesh-hybrid', { shipped: 'hybrid' }, async () => {
  [beside, away] = await Promise.all([bothOf(lab(), BESIDE), bothOf(lab(), AWAY)]);
});

const asks = (addresses: readonly string[]) =>
  addresses.map((address) => ({
    what: `client asks ${address}`,
    wanted: 'answered' as const,
    attempt: () => lab().traffic.http(CLIENT, address, 80),
  }));

/** Packets that node a1 sent into the tunnel while something was done. */
async function tunnelled(work: () => Promise<void>): Promise<number> {
  const before = (await sentBy(lab(), 'a1'))[TUNNEL] ?? 0;
  await work();
  return ((await sentBy(lab(), 'a1'))[TUNNEL] ?? 0) - before;
}

const labelled = (cluster: string, node: string, zone: string) =>
  apply(lab(), cluster, {
    apiVersion: 'cilium.io/v2',
    kind: 'CiliumNode',
    metadata: { name: node, labels: { 'causeway.io/routing-zone': zone } },
  });

test('nodes of one zone reach each other directly, those of another by the tunnel', async () => {
  await expectSoon([...asks(beside), ...asks(away)]);
  assert.equal(await tunnelled(() => expectSoon(asks(beside))), 0, 'to b');
  assert.ok((await tunnelled(() => expectSoon(asks(away)))) > 0, 'to c');
});

test('identity travels both ways of going: a policy by cluster lets a in and b not', async () => {
  for (const cluster of ['b', 'c'])
    await apply(lab(), cluster, {
      apiVersion: 'cilium.io/v2',
      kind: 'CiliumNetworkPolicy',
      metadata: { name: 'web', namespace: 'default' },
      spec: {
        endpointSelector: { matchLabels: { app: 'web' } },
        ingress: [{ fromEndpoints: [{ matchLabels: { 'io.cilium.k8s.policy.cluster': 'a' } }] }],
      },
    });
  await expectSoon([
    ...asks(beside),
    ...asks(away),
    ...away.map((address) => ({
      what: `beside asks ${address}`,
      wanted: 'timeout' as const,
      attempt: () => lab().traffic.http(BESIDE, address, 80, { seconds: 1 }),
    })),
  ]);
});

test('a node that goes into another zone and back under load loses nothing', async () => {
  await using _servers = await echoServers(lab(), [BESIDE], PORT);
  for (const cluster of ['b', 'c'])
    await (await lab().cluster(cluster).store()).delete('CiliumNetworkPolicy', {
      namespace: 'default',
      name: 'web',
    });
  await expectSoon(asks(beside));
  const targets = beside.map((address) => ({ name: 'beside', address, port: PORT }));
  await using load = await Load.start(lab(), CLIENT, targets, { everyMs: 20 });
  await labelled('b', 'b1', 'elsewhere');
  await eventually('what goes to b is tunnelled', async () =>
    (await tunnelled(() => expectSoon(asks(beside)))) > 0 ? true : undefined,
  );
  await labelled('b', 'b1', 'metro');
  await eventually('what goes to b is not tunnelled', async () =>
    (await tunnelled(() => expectSoon(asks(beside)))) === 0 ? true : undefined,
  );
  const results = await load.stop();
  assert.ok(
    results.every(({ sent, received }) => sent > 0 && sent === received),
    loadInWords(results),
  );
});
