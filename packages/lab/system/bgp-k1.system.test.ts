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
import { inOneOf } from '../testing/within.ts';
import { becomes, node, podsOf, routersForward, withPods } from './bgp-fabric.ts';
import { installVersion } from './bgp-upgrade.ts';
import { RouteWatch } from './bgp-watch.ts';
import { useLab } from './support.ts';

const PORT = 7777;
const PODS = [
  { name: 'east', node: 'a1' },
  { name: 'west', node: 'b1' },
] as const;
const NODES = ['a1', 'b1'] as const;

/**
 * BFD takes up to 900 ms, and FRR 8.4 holds back every change for 50 ms, wherever it stands: two of them in a
 * row would leave nothing of the second. So one switch of four is FRR's here; the others are all BIRD's.
 */
const BIRDS_HERE: readonly string[] = ['leaf-a2', 'spine-2'];

const lab = useLab('k1', {
  shipped: 'spine-leaf',
  change: (file) => {
    const small = withPods(file, PODS);
    return {
      ...small,
      routers: small.routers.map((router) =>
        BIRDS_HERE.includes(router.name) && router.routing.type !== 'static'
          ? { ...router, routing: { ...router.routing, type: 'bird' } }
          : router,
      ),
    };
  },
});

async function targets(names: readonly string[]): Promise<LoadTarget[]> {
  const found = await inParallel(names, 2, async (name) => ({
    name,
    addresses: await lab().addresses(`main/default/${name}`),
  }));
  return found.flatMap(({ name, addresses }) =>
    addresses.map((address) => ({ name, address, port: PORT })),
  );
}

/** Every router that forwards, by every way there is. */
async function everyRouterKnows(): Promise<void> {
  const leaf = (rack: string) =>
    podsOf(lab(), NODES, (name) => (name.startsWith(rack) ? [name] : ['spine-1', 'spine-2']));
  const spine = podsOf(lab(), NODES, (name) => [`leaf-${name[0]}1`, `leaf-${name[0]}2`]);
  await routersForward(lab(), {
    'leaf-a1': leaf('a'),
    'leaf-a2': leaf('a'),
    'leaf-b1': leaf('b'),
    'leaf-b2': leaf('b'),
    'spine-1': spine,
    'spine-2': spine,
    border: podsOf(lab(), NODES, () => ['spine-1', 'spine-2']),
  });
}

/** One end of a BFD session: how it stands, how often it fell, or since when it stands (milliseconds of a day). */
interface BfdEnd {
  readonly state: string;
  readonly falls: number;
  readonly since: number;
}

/** By place and neighbour, as both ends of every session tell it. */
async function bfdEnds(of: Lab): Promise<Map<string, BfdEnd>> {
  const ends = new Map<string, BfdEnd>();
  for (const { bfd } of of.cluster().agents) {
    const sessions = (await bfd!.get('/v1/sessions')) as {
      key: string;
      state: string;
      flaps: number;
    }[];
    for (const { key, state, flaps } of sessions)
      ends.set(`${bfd!.place} ${key}`, { state, falls: flaps, since: 0 });
  }
  for (const router of of.routers) {
    if (router.plan.daemon === 'bird') {
      const { stdout } = await router.exec(['birdc', 'show', 'bfd', 'sessions']);
      const line = /^(\S+) +(\S+) +(Up|Down|Init|AdminDown) +(\d+):(\d+):([\d.]+)/gm;
      for (const [, address, device, state, hours, minutes, seconds] of stdout.matchAll(line))
        ends.set(`${router.name} ${address} ${device}`, {
          state: state!.toLowerCase(),
          falls: 0,
          since: (Number(hours) * 3600 + Number(minutes) * 60 + Number(seconds)) * 1000,
        });
    }
    if (router.plan.daemon === 'frr') {
      const { stdout } = await router.exec(['vtysh', '-c', 'show bfd peers counters json']);
      const peers = JSON.parse(stdout) as { peer: string; 'session-down': number }[];
      for (const each of peers)
        ends.set(`${router.name} ${each.peer}`, {
          state: 'up',
          falls: each['session-down'],
          since: 0,
        });
    }
  }
  return ends;
}

/** BIRD's times of the same moment differ by a millisecond from look to look. */
function fellMeanwhile(
  before: ReadonlyMap<string, BfdEnd>,
  after: ReadonlyMap<string, BfdEnd>,
): string[] {
  return [...before].flatMap(([key, was]) => {
    const is = after.get(key);
    const stood =
      is?.state === 'up' && is.falls === was.falls && Math.abs(is.since - was.since) < 50;
    return stood ? [] : [`${key}: ${JSON.stringify(was)}, then ${JSON.stringify(is)}`];
  });
}

/** What routers count themselves: withdrawals taken by BIRD's sessions, versions of FRR's tables, which each change raises. */
async function countedByRouters(): Promise<string[]> {
  const rows = await inParallel(lab().routers, 3, async ({ name, plan }) => {
    if (plan.daemon === 'gobgp') return [];
    if (plan.daemon === 'bird') {
      const { stdout } = await lab().exec(name, ['birdc', 'show', 'protocols', 'all']);
      const counts = [...stdout.matchAll(/Import withdraws: +(\d+)/g)].map(([, count]) =>
        Number(count),
      );
      return [`${name} withdrawals ${counts.reduce((sum, count) => sum + count, 0)}`];
    }
    const { stdout } = await lab().exec(name, ['vtysh', '-c', 'show bgp summary json']);
    const tables = JSON.parse(stdout) as Record<string, { tableVersion: number }>;
    return Object.entries(tables).map(
      ([family, { tableVersion }]) => `${name} ${family} version ${tableVersion}`,
    );
  });
  return rows.flat();
}

/** Sixteen of the nodes with their switches, at each of their ends. */
async function everyBfdSessionStands(): Promise<void> {
  await until(
    'BFD of the nodes',
    async () => {
      const ends = [...(await bfdEnds(lab()))];
      const missing = ends.filter(([, { state }]) => state !== 'up').map(([key]) => key);
      const nodes = ends.filter(([key]) => /^[ab]\d /.test(key));
      if (nodes.length < 16) return `${nodes.length} sessions of 16`;
      return missing.length === 0 ? undefined : missing.join(', ');
    },
    { timeoutMs: 15_000 },
  );
}

test('K1: a node that freezes is gone from every router within a second', async (t) => {
  const [frozen] = NODES;
  const prefixes: readonly string[] = node(lab(), frozen).podCIDRs;
  const others: readonly string[] = node(lab(), NODES[1]).podCIDRs;
  const wanted = lab().routers.flatMap(({ name }) => prefixes.map((prefix) => `${name} ${prefix}`));
  await using _servers = await echoServers(lab(), ['main/default/east', 'main/default/west'], PORT);
  await using watch = await RouteWatch.start(lab());
  await inOneOf(t, 'gone within a second', async () => {
    await lab().settled();
    await everyRouterKnows();
    await everyBfdSessionStands();
    await using load = await Load.start(lab(), 'outside', await targets(['east', 'west']));
    await sleep(1000);
    await using stack = new AsyncDisposableStack();
    stack.defer(() => lab().thaw(frozen));
    const cut = performance.timeOrigin + performance.now();
    await lab().freeze(frozen);
    // The last word counts: on its way out a route over two ways goes over one for a moment.
    const gone = (): Map<string, number> => {
      const last = new Map(
        watch
          .of(prefixes, cut - 100)
          .map((change) => [`${change.router} ${change.prefix}`, change]),
      );
      return new Map(
        [...last].filter(([, { deleted }]) => deleted).map(([where, { at }]) => [where, at - cut]),
      );
    };
    await becomes('every router has withdrawn', wanted.toSorted(), async () =>
      [...gone().keys()].sort(),
    );
    const times = [...gone()].sort(([, a], [, b]) => a - b);
    t.diagnostic(
      `gone after ${times.map(([where, ms]) => `${where} ${ms.toFixed(0)} ms`).join(', ')}`,
    );
    const moved = watch.of(others, cut - 100);
    const results = await load.stop();
    t.diagnostic(loadInWords(results));
    await stack.disposeAsync();
    await lab().settled();
    await everyRouterKnows();
    const [where, last] = times.at(-1)!;
    if (last >= 1000) return `${where} only after ${last.toFixed(0)} ms`;
    if (moved.length > 0) return `the other node's routes moved: ${JSON.stringify(moved)}`;
    const lost = results.filter(({ name, sent, received }) => name === 'west' && received !== sent);
    return lost.length === 0 ? undefined : `the other node lost packets: ${loadInWords(lost)}`;
  });
});

test('K1: agents killed and upgraded, speakers killed and started: nothing withdrawn, no BFD down, no packet lost', async (t) => {
  const version = '9.9.9';
  const next = installVersion(join(nodePaths(lab().name, NODES[0]).directory, 'next'), version);
  const prefixes = NODES.flatMap((name) => node(lab(), name).podCIDRs as readonly string[]);
  await using _servers = await echoServers(lab(), ['main/default/east', 'main/default/west'], PORT);
  await using watch = await RouteWatch.start(lab());
  await inOneOf(t, 'an upgrade of all', async () => {
    await lab().settled();
    await everyRouterKnows();
    await everyBfdSessionStands();
    const before = await bfdEnds(lab());
    const counted = await countedByRouters();
    const start = performance.timeOrigin + performance.now();
    await using load = await Load.start(lab(), 'outside', await targets(['east', 'west']));
    await sleep(1000);

    for (const name of NODES) await lab().agent(name).kill('SIGKILL');
    await sleep(1000);
    for (const name of NODES) await lab().agent(name).start({ executable: next });
    await lab().settled();
    for (const name of NODES) {
      const status = (await lab().agent(name).get('/v1/status')) as { version: string };
      assert.equal(status.version, version, 'the agent that came is the new one');
    }
    t.diagnostic(`agents killed, upgraded and ready: ${watch.of(prefixes, start).length} changes`);

    const pids = NODES.map((name) => lab().agent(name).speaker!.pid);
    for (const name of NODES) await lab().agent(name).speaker!.kill('SIGKILL');
    await sleep(1000);
    for (const name of NODES) await lab().agent(name).speaker!.start();
    await lab().settled();
    for (const [i, name] of NODES.entries())
      assert.notEqual(lab().agent(name).speaker!.pid, pids[i]);
    // What a restart would take back is taken back when the last End-of-RIB is in, or the deferral ends.
    await sleep(3000);

    const results = await load.stop();
    t.diagnostic(loadInWords(results));
    assert.ok(results.every(({ sent }) => sent > 500));
    const wrong = [
      ...watch.of(prefixes, start).map(({ router, text }) => `${router}: ${text}`),
      ...fellMeanwhile(before, await bfdEnds(lab())),
      ...results.filter(({ sent, received }) => received !== sent).map((row) => loadInWords([row])),
    ];
    const after = await countedByRouters();
    if (JSON.stringify(after) !== JSON.stringify(counted))
      wrong.push(`routers counted ${counted.join(', ')}, then ${after.join(', ')}`);
    return wrong.length === 0 ? undefined : wrong.join('\n');
  });
});
