import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import { echoServers, inParallel, Load, loadInWords } from '../index.ts';
import { sentBy } from './bgp-fabric.ts';
import {
  answeredBy,
  attemptsAt,
  bothOf,
  globalService,
  lostOf,
  peerBecomes,
  serviceAddresses,
  withGrace,
} from './mesh.ts';
import { apply, eventually, expectNow, expectSoon, useLab } from './support.ts';

const CLIENT = 'a/default/client';
const HERE = 'a/default/here';
const BESIDE = 'b/default/beside';
const AWAY = 'c/default/away';
const PORT = 7777;
const TUNNEL = 'cw_vxlan';

/** Its own cluster first, then b, then c. */
const IN_ORDER = {
  'service.cilium.io/affinity': 'local',
  'causeway.io/cluster-preference': 'b,c',
};
const GRACE_SECONDS = 5;

let here: string[] = [];
let beside: string[] = [];
let away: string[] = [];
let web: readonly string[] = [];

const lab = useLab(
  'mesh-hybrid',
  { shipped: 'hybrid', change: (file) => withGrace(file, () => GRACE_SECONDS, 1) },
  async () => {
    [here, beside, away] = await Promise.all([
      bothOf(lab(), HERE),
      bothOf(lab(), BESIDE),
      bothOf(lab(), AWAY),
    ]);
    for (const cluster of ['a', 'b', 'c'])
      await apply(lab(), cluster, globalService('web', 'web', IN_ORDER));
    web = await serviceAddresses(lab(), 'a', 'web');
  },
);

// What a test took away must not be away for the next one.
afterEach(async () => {
  for (const place of [HERE, BESIDE]) await lab().setReady(place, true);
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

test('a service fails over in order of preference, and its own backends drain to the next', async () => {
  await answeredBy(lab(), CLIENT, web, ['here']);
  await lab().setReady(HERE, false);
  await answeredBy(lab(), CLIENT, web, ['beside']);
  await lab().setReady(BESIDE, false);
  await answeredBy(lab(), CLIENT, web, ['away']);
  await lab().setReady(BESIDE, true);
  await answeredBy(lab(), CLIENT, web, ['beside']);
  await lab().setReady(HERE, true);
  await answeredBy(lab(), CLIENT, web, ['here']);
});

test('partitions of every kind at once: nothing blinks within the grace, local traffic never, and all comes back', async () => {
  const ways = [
    ['a', 'b', 'to'],
    ['c', 'a', 'from'],
    ['b', 'c', 'both'],
  ] as const;
  const nodes = { a: 'a1', b: 'b1', c: 'c1' };
  const pairs = (['a', 'b', 'c'] as const).flatMap((one) =>
    (['a', 'b', 'c'] as const).filter((each) => each !== one).map((other) => [one, other] as const),
  );
  await using local = await attemptsAt(lab(), CLIENT, 'here', [...here, ...web]);
  for (const [one, other, way] of ways) await lab().partition(one, other, way);
  try {
    await inParallel(pairs, pairs.length, ([one, other]) =>
      peerBecomes(lab(), nodes[one], other, 'stale', 'withdrawing', 'withdrawn'),
    );
    await expectNow(
      [...beside, ...away].map((address) => ({
        what: `client asks ${address} across a partition`,
        wanted: 'timeout' as const,
        attempt: () => lab().traffic.http(CLIENT, address, 80, { seconds: 1 }),
      })),
    );
    await inParallel(pairs, pairs.length, ([one, other]) =>
      peerBecomes(lab(), nodes[one], other, 'withdrawn'),
    );
  } finally {
    for (const [one, other, way] of ways) await lab().mend(one, other, way);
  }
  await inParallel(pairs, pairs.length, ([one, other]) =>
    peerBecomes(lab(), nodes[one], other, 'ready'),
  );
  await expectSoon([...asks(beside), ...asks(away)]);
  assert.deepEqual(lostOf(await local.stop()), []);
});
