import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { after, before, test } from 'node:test';
import { silentLog } from '@causeway/daemon';
import { Address, Prefix } from '@causeway/ip';
import { causewayProtocol, Netns, RtSocket, request, speakerProtocol } from '@causeway/linux';
import type { KernelConfig } from '../config/settings.ts';
import { KernelObserver } from './observer.ts';
import { RouteReconciler } from './reconciler.ts';

const name = `cwspk${process.pid}`;
let ns: Netns;
let socket: RtSocket;

const ip = (...args: string[]) => execFileSync('ip', ['-n', name, ...args], { encoding: 'utf8' });

/** What iproute2 says of a prefix: protocol, metric and ways, sorted. */
function shown(prefix: string, table = 'main'): string[] {
  const family = prefix.includes(':') ? '-6' : '-4';
  const rows = JSON.parse(
    ip(family, '-j', '-N', 'route', 'show', 'table', table, 'exact', prefix) || '[]',
  );
  return rows
    .map((row: Record<string, unknown>) => {
      const hops = (row.nexthops ?? [row]) as {
        gateway?: string;
        dev: string;
        via?: { host: string };
      }[];
      const ways = hops.map((hop) => `${hop.gateway ?? hop.via?.host ?? 'link'}%${hop.dev}`).sort();
      return `${row.protocol} ${row.metric ?? 0} ${ways.join(' ')}`;
    })
    .sort();
}

before(() => {
  ns = Netns.create(name);
  socket = RtSocket.open(ns);
  for (const dev of ['a', 'b']) {
    ip('link', 'add', `${dev}0`, 'type', 'veth', 'peer', 'name', `${dev}1`);
    ip('link', 'set', `${dev}1`, 'up');
    ip('link', 'set', `${dev}0`, 'up');
  }
  ip('addr', 'add', '10.1.0.5/24', 'dev', 'a0');
  ip('addr', 'add', '2001:db8:1::5/64', 'dev', 'a0', 'nodad');
  ip('addr', 'add', '10.2.0.5/24', 'dev', 'b0');
  ip('addr', 'add', '2001:db8:2::5/64', 'dev', 'b0', 'nodad');
});
after(() => {
  socket.close();
  ns.close();
  Netns.remove(name);
});

const config: KernelConfig = { mode: 'all', prefixes: undefined, table: 254, metric: 512 };

interface World extends Disposable {
  readonly routes: RouteReconciler;
  want(prefix: string, ...nextHops: string[]): void;
}

function world(settings = config): World {
  let routes: RouteReconciler | undefined;
  const observer = new KernelObserver({
    socket,
    ns,
    log: silentLog,
    onChange: () => routes?.recheck(),
    onDoubt: () => routes?.reread(),
    onOwnRoute: (change, route) => routes?.observed(change, route),
    onNeighbour: () => {},
  });
  const made = new RouteReconciler({
    socket,
    fib: observer.fib,
    config: settings,
    peer: () => undefined,
    log: silentLog,
  });
  routes = made;
  return {
    routes: made,
    want(text, ...nextHops) {
      const prefix = Prefix.parse(text);
      const best = { prefix, nextHops: nextHops.map((address) => ({ address, peer: 'p' })) };
      made.set(prefix, nextHops.length === 0 ? undefined : best);
    },
    [Symbol.dispose]() {
      made[Symbol.dispose]();
      observer[Symbol.dispose]();
    },
  };
}

async function until(check: () => void): Promise<void> {
  const end = performance.now() + 20_000;
  for (;;) {
    try {
      check();
      return;
    } catch (error) {
      if (performance.now() > end) throw error;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }
}

const PROTOCOL = String(speakerProtocol);

test('routes of both families come, become multipath, change back and go', async () => {
  using it = world();
  it.routes.prune();
  for (const [prefix, first, second] of [
    ['10.40.1.0/24', '10.1.0.9', '10.2.0.9'],
    ['fd40:1::/64', '2001:db8:1::9', '2001:db8:2::9'],
  ] as const) {
    it.want(prefix, first);
    await until(() => assert.deepEqual(shown(prefix), [`${PROTOCOL} 512 ${first}%a0`]));
    it.want(prefix, first, second);
    await until(() =>
      assert.deepEqual(shown(prefix), [`${PROTOCOL} 512 ${first}%a0 ${second}%b0`]),
    );
    it.want(prefix, second);
    await until(() => assert.deepEqual(shown(prefix), [`${PROTOCOL} 512 ${second}%b0`]));
    it.want(prefix);
    await until(() => assert.deepEqual(shown(prefix), []));
  }
  it.want('10.40.2.0/24', '2001:db8:1::9');
  await until(() => assert.deepEqual(shown('10.40.2.0/24'), [`${PROTOCOL} 512 2001:db8:1::9%a0`]));
  it.want('10.40.2.0/24');
  await until(() => assert.deepEqual(shown('10.40.2.0/24'), []));
});

test("somebody else's routes stay as they are, whatever is wanted", async () => {
  const foreign = ['10.50.1.0/24', 'fd50:1::/64'];
  ip('route', 'add', '10.50.1.0/24', 'via', '10.1.0.1', 'metric', '512', 'proto', 'static');
  ip(
    '-6',
    'route',
    'add',
    'fd50:1::/64',
    'via',
    '2001:db8:1::1',
    'metric',
    '512',
    'proto',
    'static',
  );
  ip(
    'route',
    'add',
    '10.50.2.0/24',
    'via',
    '10.1.0.1',
    'metric',
    '10',
    'proto',
    String(causewayProtocol),
  );
  const before = foreign.map((prefix) => shown(prefix));
  using it = world();
  it.routes.prune();
  it.want('10.50.1.0/24', '10.2.0.9');
  it.want('fd50:1::/64', '2001:db8:2::9');
  it.want('10.50.2.0/24', '10.2.0.9');
  await until(() => assert.equal(it.routes.status().failed, 2));
  assert.match(it.routes.status().firstFailure?.message ?? '', /somebody else.*kernel\.metric/);
  assert.deepEqual(
    foreign.map((prefix) => shown(prefix)),
    before,
  );
  await until(() => assert.equal(shown('10.50.2.0/24').length, 2));
  // When the other's route goes, ours comes by itself.
  ip('route', 'del', '10.50.1.0/24', 'metric', '512');
  await until(() => assert.deepEqual(shown('10.50.1.0/24'), [`${PROTOCOL} 512 10.2.0.9%b0`]));
  for (const prefix of ['10.50.1.0/24', 'fd50:1::/64', '10.50.2.0/24']) it.want(prefix);
  await until(() => assert.deepEqual(shown('10.50.1.0/24'), []));
  assert.deepEqual(shown('fd50:1::/64'), before[1]);
  assert.deepEqual(shown('10.50.2.0/24'), [`${causewayProtocol} 10 10.1.0.1%a0`]);
  ip('-6', 'route', 'del', 'fd50:1::/64');
  ip('route', 'del', '10.50.2.0/24');
});

test('what an earlier run left stays until all is known, and only then goes', async () => {
  {
    using it = world();
    it.want('10.60.1.0/24', '10.1.0.9');
    it.want('10.60.2.0/24', '10.1.0.9');
    it.want('fd60::/64', '2001:db8:1::9');
    await until(() => assert.equal(it.routes.status().installed, 3));
  }
  assert.equal(shown('10.60.1.0/24').length, 1, 'routes outlive the process');
  using it = world({ ...config, metric: 600 });
  it.want('10.60.1.0/24', '10.1.0.9');
  await until(() => assert.equal(shown('10.60.1.0/24').length, 2));
  assert.equal(shown('10.60.2.0/24').length, 1);
  it.routes.prune();
  await until(() => {
    assert.deepEqual(shown('10.60.1.0/24'), [`${PROTOCOL} 600 10.1.0.9%a0`]);
    assert.deepEqual([shown('10.60.2.0/24'), shown('fd60::/64')], [[], []]);
  });
  it.routes.removeAll();
  assert.deepEqual(shown('10.60.1.0/24'), []);
});

test('a route that somebody took away, and those that went with a link, come again', async () => {
  using it = world();
  it.routes.prune();
  it.want('10.70.1.0/24', '10.1.0.9', '10.2.0.9');
  it.want('10.70.2.0/24', '10.2.0.9');
  it.want('fd70::/64', '2001:db8:2::9');
  await until(() => assert.equal(shown('10.70.2.0/24').length, 1));
  ip('route', 'del', '10.70.2.0/24');
  await until(() => assert.equal(shown('10.70.2.0/24').length, 1));
  ip('link', 'set', 'b0', 'down');
  await until(() => {
    assert.deepEqual(shown('10.70.1.0/24'), [`${PROTOCOL} 512 10.1.0.9%a0`]);
    assert.deepEqual(shown('10.70.2.0/24'), []);
  });
  ip('link', 'set', 'b0', 'up');
  ip('addr', 'replace', '2001:db8:2::5/64', 'dev', 'b0', 'nodad');
  await until(() => {
    assert.deepEqual(shown('10.70.1.0/24'), [`${PROTOCOL} 512 10.1.0.9%a0 10.2.0.9%b0`]);
    assert.deepEqual(shown('10.70.2.0/24'), [`${PROTOCOL} 512 10.2.0.9%b0`]);
    assert.deepEqual(shown('fd70::/64'), [`${PROTOCOL} 512 2001:db8:2::9%b0`]);
  });
  it.routes.removeAll();
});

test('a next hop behind a router is reached by the router, and follows it', async () => {
  ip('route', 'add', '192.0.2.0/24', 'via', '10.1.0.1');
  using it = world();
  it.routes.prune();
  it.want('10.80.1.0/24', '192.0.2.7');
  await until(() => assert.deepEqual(shown('10.80.1.0/24'), [`${PROTOCOL} 512 10.1.0.1%a0`]));
  ip('route', 'replace', '192.0.2.0/24', 'via', '10.2.0.1');
  await until(() => assert.deepEqual(shown('10.80.1.0/24'), [`${PROTOCOL} 512 10.2.0.1%b0`]));
  ip('route', 'del', '192.0.2.0/24');
  await until(() => assert.deepEqual(shown('10.80.1.0/24'), []));
  it.routes.removeAll();
});

test('many routes at once never hold the loop for long', async () => {
  using it = world();
  it.routes.prune();
  // By the processor's time: how long others keep us from it is not our fault.
  const spent = () => {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1000;
  };
  let longest = 0;
  let last = spent();
  const tick = setInterval(() => {
    const now = spent();
    longest = Math.max(longest, now - last);
    last = now;
  }, 1);
  for (let i = 0; i < 4_000; i++)
    it.want(`100.${64 + (i >> 8)}.${i & 255}.0/24`, i % 2 === 0 ? '10.1.0.9' : '10.2.0.9');
  await new Promise((resolve) => setImmediate(resolve));
  last = spent();
  longest = 0;
  await until(() => assert.equal(it.routes.status().installed, 4_000));
  clearInterval(tick);
  assert.equal(socket.routes({ protocol: speakerProtocol }).length, 4_000);
  assert.ok(longest < 60, `one turn of the loop took ${longest} ms of the processor`);
  it.routes.removeAll();
  assert.deepEqual(socket.routes({ protocol: speakerProtocol }), []);
  assert.ok(
    socket.tryApply([
      request.deleteRoute({
        family: 4,
        destination: Address.toBytes(Address.parse('100.64.0.0')),
        prefixLength: 24,
      }),
    ])[0],
  );
});
