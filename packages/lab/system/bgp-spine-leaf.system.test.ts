import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { echoServers, Load, loadInWords } from '../index.ts';
import { inOneOf } from '../testing/within.ts';
import {
  becomes,
  FAMILIES,
  hops,
  node,
  podsOf,
  routersForward,
  sentBy,
  tableOf,
  wayOut,
  withPods,
} from './bgp-fabric.ts';
import { apply, expectSoon, families, useLab } from './support.ts';

const PORT = 7777;
/** What sixty more racks would announce: known to the fabric, of no concern to a node. */
const ELSEWHERE = Array.from({ length: 60 }, (_, i) => [
  `10.99.${i}.0/24`,
  `fd99:0:0:${(i + 1).toString(16)}::/64`,
]).flat();

const lab = useLab('leaf', {
  shipped: 'spine-leaf',
  change: (file) => {
    const small = withPods(file, [
      { name: 'client', node: 'a1' },
      { name: 'near', node: 'a2' },
      { name: 'far', node: 'b1' },
    ]);
    return {
      ...small,
      routers: small.routers.map((router) =>
        router.name === 'border' && router.routing.type !== 'static'
          ? { ...router, routing: { ...router.routing, originate: ['default', ...ELSEWHERE] } }
          : router,
      ),
    };
  },
});

const place = (pod: string) => `main/default/${pod}`;

test('every router has every node’s pod CIDRs, over all equal ways; nodes have two ways out', async () => {
  const nodes = ['a1', 'a2', 'b1', 'b2'];
  const leavesOf = (name: string) => [`leaf-${name[0]}1`, `leaf-${name[0]}2`];
  const leaf = (rack: string) =>
    podsOf(lab(), nodes, (name) => (name.startsWith(rack) ? [name] : ['spine-1', 'spine-2']));
  await routersForward(lab(), {
    'leaf-a1': leaf('a'),
    'leaf-a2': leaf('a'),
    'leaf-b1': leaf('b'),
    'leaf-b2': leaf('b'),
    'spine-1': podsOf(lab(), nodes, leavesOf),
    'spine-2': podsOf(lab(), nodes, leavesOf),
    border: podsOf(lab(), nodes, () => ['spine-1', 'spine-2']),
  });
  for (const family of FAMILIES)
    for (const [name, leaves] of [
      ['a1', ['leaf-a1', 'leaf-a2']],
      ['b2', ['leaf-b1', 'leaf-b2']],
    ] as const)
      await becomes(`${name} has two ways out`, leaves, () => wayOut(lab(), name, family));
});

test('pods talk across racks and with the outside, in both families', async () => {
  const tries = [];
  for (const [from, to] of [
    [place('client'), place('far')],
    [place('client'), place('near')],
    ['outside', place('far')],
    ['outside', place('client')],
    [place('far'), 'outside'],
    ['a1', place('far')],
  ] as const)
    for (const { address } of await families(lab(), to))
      tries.push({
        what: `http from ${from} to ${to} (${address})`,
        wanted: 'answered' as const,
        attempt: () => lab().traffic.http(from, address, 80),
      });
  await expectSoon(tries);
});

test('connections of two pods are spread over both switches and both spines', async (t) => {
  await using _servers = await echoServers(lab(), [place('far')], PORT);
  for (const { family, address } of await families(lab(), place('far'))) {
    const before = await Promise.all(['leaf-a1', 'leaf-a2'].map((leaf) => sentBy(lab(), leaf)));
    await using load = await Load.start(
      lab(),
      place('client'),
      [{ name: 'far', address, port: PORT }],
      {
        everyMs: 2,
        sockets: 64,
      },
    );
    await sleep(1500);
    const [result] = await load.stop();
    assert.equal(result!.received, result!.sent, loadInWords([result!]));
    const after = await Promise.all(['leaf-a1', 'leaf-a2'].map((leaf) => sentBy(lab(), leaf)));
    const shares = after.flatMap((now, leaf) =>
      ['to-spine-1', 'to-spine-2'].map((device) => now[device]! - before[leaf]![device]!),
    );
    t.diagnostic(`${family}: ${shares.join(', ')} packets over the four ways`);
    // 64 flows on four ways: each would get 16; one in a billion gets none by chance.
    for (const share of shares) assert.ok(share > result!.sent / 40, `${shares.join(', ')}`);
  }
});

test('a node’s table holds its own and the way out, whatever the fabric knows', async () => {
  await becomes('the fabric knows it', ['spine-1', 'spine-2'], () =>
    hops(lab(), 'leaf-a1', ELSEWHERE[0]!),
  );
  await becomes('in both families', ['spine-1', 'spine-2'], () =>
    hops(lab(), 'leaf-a2', ELSEWHERE[1]!),
  );
  const table = await tableOf(lab(), 'a1');
  const strange = table.filter(
    (line) =>
      !/^(default|192\.168\.41\.0\/24|fd41::\/64|fe80::\/64|10\.40\.0\.0\/24|fd40:1::\/64) /.test(
        line,
      ),
  );
  assert.deepEqual(strange, []);
  assert.equal((await tableOf(lab(), 'b2')).length, table.length);
});

test('a VIP is routed to the nodes that announce it: all, or with traffic policy Local those with a ready backend', async () => {
  const vips = { ipv4: '10.42.0.1', ipv6: 'fd40:42::1' } as const;
  const service = (policy: 'Cluster' | 'Local') => ({
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'shop', namespace: 'default' },
    spec: {
      selector: { app: 'far' },
      ipFamilyPolicy: 'RequireDualStack',
      externalIPs: Object.values(vips),
      externalTrafficPolicy: policy,
      type: 'LoadBalancer',
      ports: [{ name: 'http', port: 80, protocol: 'TCP', targetPort: 80 }],
    },
  });
  const routed = async (what: string, leaf: string, nodes: readonly string[]) => {
    for (const [family, vip] of Object.entries(vips))
      await becomes(`${leaf}, ${family}: ${what}`, nodes, () =>
        hops(lab(), leaf, `${vip}/${family === 'ipv4' ? 32 : 128}`),
      );
  };
  await apply(lab(), 'main', service('Cluster'));
  await routed('all of its nodes', 'leaf-a1', ['a1', 'a2']);
  await routed('all of its nodes', 'leaf-b2', ['b1', 'b2']);
  await routed('both spines', 'border', ['spine-1', 'spine-2']);
  await apply(lab(), 'main', service('Local'));
  await routed('the backend is elsewhere', 'leaf-a1', ['spine-1', 'spine-2']);
  await routed('the node with the backend', 'leaf-b2', ['b1']);
  await lab().setReady(place('far'), false);
  await routed('no backend is ready', 'leaf-b1', []);
  await lab().setReady(place('far'), true);
  await routed('it is ready again', 'border', ['spine-1', 'spine-2']);
});

test('a rack switch without power costs its share of the packets for under a second', async (t) => {
  await using _servers = await echoServers(lab(), [place('far')], PORT);
  const targets = (await families(lab(), place('far'))).map(({ family, address }) => ({
    name: family,
    address,
    port: PORT,
  }));
  const both = ['leaf-b1', 'leaf-b2'];
  const whole = async () => {
    await lab().settled();
    for (const family of FAMILIES)
      await becomes('b1 has two ways out', both, () => wayOut(lab(), 'b1', family));
    for (const spine of ['spine-1', 'spine-2'])
      for (const prefix of node(lab(), 'b1').podCIDRs)
        await becomes(`${spine} has two ways to ${prefix}`, both, () => hops(lab(), spine, prefix));
  };
  /** What was wrong, if anything. */
  const powerCut = async (switchName: string, left: string): Promise<string | undefined> => {
    await whole();
    await using load = await Load.start(lab(), place('client'), targets, { everyMs: 5 });
    await sleep(500);
    await lab().router(switchName).powerOff();
    const start = performance.now();
    try {
      for (const family of FAMILIES)
        await becomes(`b1 leaves it out (${family})`, [left], () => wayOut(lab(), 'b1', family));
    } catch (error) {
      for (const [program, path] of [
        ['bfd', '/v1/sessions'],
        ['speaker', '/v1/peers'],
      ] as const)
        t.diagnostic(JSON.stringify(await lab().agent('b1')[program]!.get(path)));
      throw error;
    }
    const took = performance.now() - start;
    await sleep(1000);
    const results = await load.stop();
    t.diagnostic(`${switchName} off: ${loadInWords(results)}; b1 knew after ${took.toFixed(0)} ms`);
    await lab().router(switchName).powerOn();
    await whole();
    for (const { sent, received } of results) assert.ok(received > sent / 2);
    const spans = results.map(({ lost }) => (lost.length === 0 ? 0 : lost.at(-1)! - lost[0]!));
    const longest = Math.max(...spans);
    if (took >= 2000) return `b1 took ${took.toFixed(0)} ms to leave it out`;
    return longest < 1000 ? undefined : `packets were lost for ${longest.toFixed(0)} ms`;
  };
  for (const [switchName, left] of [
    ['leaf-b1', 'leaf-b2'],
    ['leaf-b2', 'leaf-b1'],
  ] as const)
    await inOneOf(t, `${switchName} without power`, () => powerCut(switchName, left));
});
