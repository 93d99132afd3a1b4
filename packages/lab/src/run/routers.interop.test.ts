import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { topologyLab } from '../../testing/topology-lab.ts';
import { within } from '../../testing/within.ts';
import { buildMachine } from '../build/machine.ts';
import { buildRouter } from '../build/router.ts';
import { destroyLab } from '../down.ts';
import { nodePaths } from '../host/names.ts';
import { inParallel, until } from '../host/wait.ts';
import type { Lab } from '../lab.ts';
import { routersReady } from './ready.ts';

const NAME = `t-rout-${process.pid}`;
/** A rack with switches of both makes and an access switch below, spines of both, a listener; the node is BIRD's here. */
const FILE = `
racks:
  - {name: rack, ipv4: 10.9.1.0/24, ipv6: "fd09:1::/64"}
  - {name: access, uplink: rack}
  - {name: street, ipv4: 10.9.2.0/24, ipv6: "fd09:2::/64"}
routers:
  - {name: leaf-1, racks: [rack], routing: {type: bird, asn: 65101, nodes: [{rack: rack, asn: 65201, accept: [10.1.0.0/16, "fd01::/32"]}]}}
  - {name: leaf-2, racks: [rack], routing: {type: frr, asn: 65101, nodes: [{rack: rack, accept: [10.1.0.0/16, "fd01::/32"]}]}}
  - {name: spine-1, racks: [street], routing: {type: bird, asn: 65001, originate: [default]}}
  - {name: spine-2, racks: [street], routing: {type: frr, asn: 65001, originate: [default]}}
  - {name: listener, routing: {type: gobgp, asn: 65010}}
links:
  - {between: [leaf-1, spine-1], ipv4: 10.255.0.0/30, ipv6: "fd09:ff:0::/126"}
  - {between: [leaf-1, spine-2], ipv4: 10.255.0.4/30, ipv6: "fd09:ff:1::/126"}
  - {between: [leaf-2, spine-1], ipv4: 10.255.0.8/30, ipv6: "fd09:ff:2::/126"}
  - {between: [leaf-2, spine-2], ipv4: 10.255.0.12/30, ipv6: "fd09:ff:3::/126"}
  - {between: [listener, spine-1], ipv4: 10.255.0.16/30, ipv6: "fd09:ff:4::/126"}
  - {between: [listener, spine-2], ipv4: 10.255.0.20/30, ipv6: "fd09:ff:5::/126"}
hosts: [{name: outside, rack: street}]
clusters:
  - name: c
    id: 1
    routing: {mode: native, bgp: true}
    podCIDRs: {ipv4: 10.1.0.0/16, ipv6: "fd01::/48"}
    nodes: [{name: n, rack: access}]
`;
const PODS = { ipv4: '10.1.7.0/24', ipv6: 'fd01:0:0:7::/64' } as const;
const FAMILIES = ['ipv4', 'ipv6'] as const;
const CONTROL = '/run/causeway/bird.ctl';
let lab: Lab;

before(async () => {
  lab = await topologyLab(NAME, FILE);
  const { plan } = lab.context.state;
  await buildMachine(NAME, 'n');
  for (const router of plan.routers) await buildRouter(NAME, router);
  await inParallel(lab.routers, 4, (router) => router.start());
  const config = join(nodePaths(NAME, 'n').directory, 'bird.conf');
  writeFileSync(config, nodeConfiguration());
  lab.spawn('n', ['bird', '-f', '-c', config, '-s', CONTROL], {
    stdio: 'ignore',
  });
});

after(async () => {
  await lab?.[Symbol.asyncDispose]();
  await destroyLab(NAME, { force: true });
});

function nodeConfiguration(): string {
  const sessions = [1, 2].flatMap((n) =>
    FAMILIES.map(
      (family) => `protocol bgp leaf_${n}_${family} {
  local as 65201; neighbor ${family === 'ipv4' ? `10.9.1.${n}` : `fd09:1::${n}`} as 65101;
  bfd on; connect delay time 1; connect retry time 1; error wait time 1, 2;
  ${family} { import all; export where source = RTS_STATIC; };
}`,
    ),
  );
  return `log stderr all; router id 10.9.1.11;
protocol device {}
protocol bfd { interface "*" { interval 300 ms; multiplier 3; }; }
protocol kernel k4 { ipv4 { export where source = RTS_BGP; }; merge paths on; metric 512; }
protocol kernel k6 { ipv6 { export where source = RTS_BGP; }; merge paths on; metric 512; }
protocol static s4 { ipv4; route ${PODS.ipv4} unreachable; route 10.2.0.0/24 unreachable; }
protocol static s6 { ipv6; route ${PODS.ipv6} unreachable; }
${sessions.join('\n')}
`;
}

/** Next hops of a prefix in a router's kernel, as names of who has the address. */
async function hops(router: string, prefix: string): Promise<string[]> {
  const family = prefix.includes(':') ? 'ipv6' : 'ipv4';
  const found = (await lab.router(router).routes(family)).find((each) => each.prefix === prefix);
  return (found?.via ?? []).map(ownerOf).sort();
}

function ownerOf(address: string): string {
  const place = lab.context.state.plan.places.find(({ devices }) =>
    devices.some((device) => device.addresses.some((each) => each.address === address)),
  );
  return place?.place ?? address;
}

async function becomes(what: string, wanted: unknown, look: () => Promise<unknown>, ms = 20_000) {
  let seen: unknown;
  await until(
    what,
    async () => {
      seen = await look();
      return JSON.stringify(seen) === JSON.stringify(wanted) ? undefined : JSON.stringify(seen);
    },
    { timeoutMs: ms },
  );
}

/** Sessions, BFD and routes of every router that forwards, and the node's way out: as they are when nothing is broken. */
async function whole(): Promise<void> {
  await routersReady(lab.routers, 20_000);
  await becomes('the node’s own BFD', ['Up', 'Up', 'Up', 'Up'], async () => {
    const { stdout } = await lab.exec('n', [
      'birdc',
      '-r',
      '-s',
      CONTROL,
      'show',
      'bfd',
      'sessions',
    ]);
    return [...stdout.matchAll(/ (Up|Down|Init) /g)].map(([, state]) => state);
  });
  for (const prefix of Object.values(PODS)) {
    for (const leaf of ['leaf-1', 'leaf-2'])
      await becomes(`${leaf} has ${prefix}`, ['n'], () => hops(leaf, prefix));
    for (const spine of ['spine-1', 'spine-2'])
      await becomes(`${spine} has ${prefix} over both`, ['leaf-1', 'leaf-2'], () =>
        hops(spine, prefix),
      );
  }
  for (const family of ['-4', '-6'])
    await becomes(`two ways out (${family})`, 2, () => waysOut(family));
}

async function waysOut(family: string): Promise<number> {
  const argv = ['ip', family, 'route', 'show', 'default', 'proto', 'bird'];
  return (await lab.exec('n', argv)).stdout.match(/\bvia\b/g)?.length ?? 0;
}

test('routers of three makes speak with each other and with nodes out of a range, over both families', async () => {
  await whole();
  const leaf = (await lab.router('leaf-1').sessions()).filter((each) => each.established);
  assert.equal(leaf.length, 6, 'two spines and one node, two families');
  const node = leaf.find((each) => each.remote === '10.9.1.11');
  assert.equal(node?.asn, 65201);
  assert.equal(node?.received, 1, 'what is not accepted is not taken');
  const listener = await lab.router('listener').sessions();
  assert.deepEqual(
    listener.map((each) => each.established),
    [true, true, true, true],
  );
  assert.deepEqual(await hops('spine-1', '10.2.0.0/24'), [], 'nor is it passed on');
});

test('a node learns the way out from both switches and takes both; the programs answer in their places', async () => {
  await whole();
  const [ipv4] = await lab.addresses('outside');
  await becomes('the outside is reached', 'answered', async () => {
    return (await lab.traffic.ping('n', ipv4!)).outcome;
  });
  for (const [router, argv, words] of [
    ['leaf-1', ['birdc', 'show', 'route', 'for', '10.1.7.1'], /10\.9\.1\.11/],
    ['leaf-2', ['vtysh', '-c', 'show ip bgp 10.1.7.0/24'], /65201/],
    ['listener', ['gobgp', 'global', 'rib'], /10\.1\.7\.0\/24/],
  ] as const) {
    const { stdout, stderr } = await lab.exec(router, argv);
    assert.match(stdout, words, stderr);
  }
});

test('a switch without power is gone everywhere within a second, and comes back', async (t) => {
  for (const name of ['leaf-1', 'leaf-2']) {
    const other = name === 'leaf-1' ? 'leaf-2' : 'leaf-1';
    // 900 ms of BFD, what a look takes and what FRR waits before it tells its kernel.
    await within(t, `spines without ${name}`, 1500, async () => {
      await whole();
      await lab.router(name).powerOff();
      const start = performance.now();
      for (const prefix of Object.values(PODS))
        for (const spine of ['spine-1', 'spine-2'])
          await becomes(`${spine} leaves ${name} out`, [other], () => hops(spine, prefix));
      const took = performance.now() - start;
      for (const family of ['-4', '-6'])
        await becomes('so does the node', 1, () => waysOut(family));
      await lab.router(name).powerOn();
      await whole();
      return took;
    });
  }
});

test('a frozen node is gone from every router within BFD’s time, and comes back thawed', async (t) => {
  // Far less than the hold time of 9 s: BFD it is.
  await within(t, 'routers without the node', 3000, async () => {
    await whole();
    const start = performance.now();
    await lab.freeze('n');
    for (const router of ['leaf-1', 'leaf-2', 'spine-1', 'spine-2'])
      for (const prefix of Object.values(PODS))
        await becomes(`${router} forgets`, [], () => hops(router, prefix));
    const took = performance.now() - start;
    await lab.thaw('n');
    await whole();
    return took;
  });
});

test('a killed daemon leaves the kernel forwarding, and a new one takes over', async () => {
  await whole();
  const forwarding = () =>
    Promise.all(Object.values(PODS).map(async (prefix) => [prefix, await hops('spine-1', prefix)]));
  const before = await forwarding();
  await lab.router('spine-1').stop('SIGKILL');
  assert.deepEqual(lab.router('spine-1').running, []);
  assert.deepEqual(await forwarding(), before);
  await lab.router('spine-1').start();
  await whole();
});
