import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  echoServers,
  inParallel,
  type Lab,
  Load,
  type LoadTarget,
  loadInWords,
  nodePaths,
  until,
} from '../index.ts';
import { becomes, hops, node, useFabric, withPods } from './bgp-fabric.ts';
import { installVersion } from './bgp-upgrade.ts';
import { RouteWatch } from './bgp-watch.ts';

const PORT = 7777;
const PODS = [
  { name: 'east', node: 'a1' },
  { name: 'west', node: 'b1' },
] as const;
const NODES = ['a1', 'b1'] as const;

const lab = useFabric('k1', 'spine-leaf', (file) => withPods(file, PODS));

async function targets(names: readonly string[]): Promise<LoadTarget[]> {
  const found = await inParallel(names, 2, async (name) => ({
    name,
    addresses: await lab().addresses(`main/default/${name}`),
  }));
  return found.flatMap(({ name, addresses }) =>
    addresses.map((address) => ({ name, address, port: PORT })),
  );
}

/** Routers that forward, as the names of those that must know a node's pods, and by which next hops. */
async function everyRouterKnows(names: readonly string[]): Promise<void> {
  for (const name of names)
    for (const prefix of node(lab(), name).podCIDRs)
      for (const { name: router, plan } of lab().routers)
        if (plan.daemon !== 'gobgp')
          await until(
            `${router} has ${prefix}`,
            async () => ((await hops(lab(), router, prefix)).length > 0 ? undefined : 'no route'),
            { timeoutMs: 20_000 },
          );
}

/** How often BFD sessions fell, as the nodes count it, and since when those of FRR and BIRD stand. */
async function bfdHistory(of: Lab): Promise<string[]> {
  const rows: string[] = [];
  for (const { bfd } of of.cluster().agents) {
    const sessions = (await bfd!.get('/v1/sessions')) as {
      key: string;
      state: string;
      flaps: number;
    }[];
    rows.push(
      ...sessions.map(({ key, state, flaps }) => `${bfd!.node.name} ${key} ${state} ${flaps}`),
    );
  }
  for (const router of of.routers) {
    if (router.plan.daemon === 'bird') {
      const { stdout } = await router.exec(['birdc', 'show', 'bfd', 'sessions']);
      // Address, interface, state, since when; what follows is the interval in force.
      const lines = stdout
        .split('\n')
        .map((line) => line.trim().split(/\s+/).slice(0, 4).join(' '));
      rows.push(
        ...lines.filter((line) => / Up /.test(line)).map((line) => `${router.name} ${line}`),
      );
    }
    if (router.plan.daemon === 'frr') {
      const { stdout } = await router.exec(['vtysh', '-c', 'show bfd peers counters json']);
      const peers = JSON.parse(stdout) as { peer: string; 'session-down': number }[];
      rows.push(...peers.map((each) => `${router.name} ${each.peer} ${each['session-down']}`));
    }
  }
  return rows.sort();
}

/** As the nodes see them, and the routers' rows are no fewer: a session has two ends. */
async function everyBfdSessionStands(): Promise<void> {
  await until(
    'BFD of the nodes',
    async () => {
      const rows = (await bfdHistory(lab())).filter((row) => / (up|init|down) \d+$/.test(row));
      const missing = rows.filter((row) => !/ up \d+$/.test(row));
      if (rows.length < 16) return `${rows.length} sessions of 16`;
      return missing.length === 0 ? undefined : missing.join(', ');
    },
    { timeoutMs: 15_000 },
  );
}

test('K1: a node that freezes is gone from every router within a second', async (t) => {
  await everyRouterKnows(NODES);
  await using _servers = await echoServers(lab(), ['main/default/east', 'main/default/west'], PORT);
  await using watch = await RouteWatch.start(lab());
  await using load = await Load.start(lab(), 'outside', await targets(['east', 'west']));
  await sleep(1000);
  const [frozen] = NODES;
  const prefixes: readonly string[] = node(lab(), frozen).podCIDRs;
  const others: readonly string[] = node(lab(), NODES[1]).podCIDRs;
  await using _thawed = new AsyncDisposableStack();
  _thawed.defer(() => lab().thaw(frozen));
  await lab().freeze(frozen);
  const cut = performance.timeOrigin + performance.now();
  const wanted = lab().routers.flatMap(({ name }) => prefixes.map((prefix) => `${name} ${prefix}`));
  // The last word counts: on its way out a route over two ways goes over one for a moment.
  const gone = (): Map<string, number> => {
    const last = new Map(
      watch.of(prefixes, cut - 100).map((change) => [`${change.router} ${change.prefix}`, change]),
    );
    return new Map(
      [...last].filter(([, { deleted }]) => deleted).map(([where, { at }]) => [where, at - cut]),
    );
  };
  await becomes(
    'every router has withdrawn',
    wanted.sort(),
    async () => [...gone().keys()].sort(),
    3000,
  );
  const times = [...gone()].sort(([, a], [, b]) => a - b);
  t.diagnostic(
    `gone after ${times.map(([where, ms]) => `${where} ${ms.toFixed(0)} ms`).join(', ')}`,
  );
  assert.ok(
    times.every(([, ms]) => ms < 1000),
    `not within a second: ${times.at(-1)?.join(' ')}`,
  );
  assert.deepEqual(watch.of(others, cut - 100), [], "the other node's routes stay");
  const results = await load.stop();
  t.diagnostic(loadInWords(results));
  for (const { name, sent, received } of results)
    if (name === 'west') assert.equal(received, sent, loadInWords(results));
  await lab().thaw(frozen);
  await lab().settled();
  await everyRouterKnows(NODES);
});

test('K1: agents killed and upgraded, speakers killed and started: nothing withdrawn, no BFD down, no packet lost', async (t) => {
  const next = installVersion(join(nodePaths(lab().name, NODES[0]).directory, 'next'), '9.9.9');
  const prefixes = NODES.flatMap((name) => node(lab(), name).podCIDRs as readonly string[]);
  await using _servers = await echoServers(lab(), ['main/default/east', 'main/default/west'], PORT);
  await everyBfdSessionStands();
  const before = await bfdHistory(lab());
  await using watch = await RouteWatch.start(lab());
  const start = performance.timeOrigin + performance.now();
  await using load = await Load.start(lab(), 'outside', await targets(['east', 'west']));
  await sleep(1000);

  for (const name of NODES) await lab().agent(name).kill('SIGKILL');
  await sleep(1000);
  for (const name of NODES) await lab().agent(name).start({ executable: next });
  await lab().settled();
  for (const name of NODES) {
    const { version } = (await lab().agent(name).get('/v1/status')) as { version: string };
    assert.equal(version, '9.9.9', 'the agent that came is the new one');
  }
  t.diagnostic(`agents killed, upgraded and ready: ${watch.changes.length} changes of routes`);

  const pids = NODES.map((name) => lab().agent(name).speaker!.pid);
  for (const name of NODES) await lab().agent(name).speaker!.kill('SIGKILL');
  await sleep(1000);
  for (const name of NODES) await lab().agent(name).speaker!.start();
  await lab().settled();
  for (const [i, name] of NODES.entries()) assert.notEqual(lab().agent(name).speaker!.pid, pids[i]);
  // What a restart would take back is taken back when the last End-of-RIB is in, or the deferral ends.
  await sleep(3000);

  const results = await load.stop();
  t.diagnostic(loadInWords(results));
  assert.deepEqual(
    watch.of(prefixes, start).map(({ router, text }) => `${router}: ${text}`),
    [],
    'no route was withdrawn or changed anywhere',
  );
  assert.deepEqual(await bfdHistory(lab()), before, 'every BFD session stood all the time');
  for (const { sent, received } of results) assert.equal(received, sent, loadInWords(results));
  assert.ok(results.every(({ sent }) => sent > 500));
});
