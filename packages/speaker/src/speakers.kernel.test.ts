import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import type { ApiError } from '@causeway/daemon';
import { speakerProtocol } from '@causeway/linux';
import type { StatusView } from './api/status.ts';
import type { SpeakerConfigInput } from './config/schema.ts';
import { TestNetwork, type TestSpeaker, until } from './testing/speakers.ts';

/**
 * Real speakers in network namespaces: `a` on one side of a link, `b` and `c` on the other. Their
 * configuration comes from the owner `test`, so that each test changes it while sessions are up.
 */
const families = [
  { family: 'ipv4-unicast' as const, import: 'all', export: 'all' },
  { family: 'ipv6-unicast' as const, import: 'all', export: 'all' },
];
const policies = { all: { statements: [], otherwise: 'accept' as const } };
const timers = { hold: 9, keepalive: 3, connectRetry: 1, idleHold: 0.2 };

type NeighborInput = NonNullable<SpeakerConfigInput['neighbors']>[number];

const A = { asn: 65001, routerId: '192.0.2.1', address: '10.0.0.1' };
const B = { asn: 65002, routerId: '192.0.2.2', address: '10.0.0.2' };
const C = { asn: 65003, routerId: '192.0.2.3', address: '10.0.0.3' };

const neighbor = (
  name: string,
  { asn, address }: typeof A,
  change: Partial<NeighborInput> = {},
): NeighborInput => ({
  name,
  peer: { address },
  asn,
  families,
  timers,
  ...change,
});

function config(
  self: typeof A,
  neighbors: NeighborInput[],
  more: SpeakerConfigInput = {},
): SpeakerConfigInput {
  const { asn, routerId, address } = self;
  return {
    asn,
    routerId,
    listen: [{ address }],
    gracefulRestart: { restartTime: 30 },
    policies,
    neighbors: neighbors.map((each) => ({ localAddress: address, ...each })),
    ...more,
  };
}

let net: TestNetwork;
let a: TestSpeaker;
let b: TestSpeaker;
let c: TestSpeaker;

const baseA = (change: Partial<NeighborInput> = {}, more: SpeakerConfigInput = {}) =>
  config(A, [neighbor('b', B), neighbor('c', C, change)], more);

async function whole(): Promise<void> {
  await a.configure('test', baseA());
  await b.configure('test', config(B, [neighbor('a', A)]));
  await c.configure('test', config(C, [neighbor('a', A)]));
  await up(a, 'b');
  await up(a, 'c');
}

const up = (speaker: TestSpeaker, name: string) =>
  until(async () => {
    const peer = await speaker.peer(name);
    assert.equal(peer.state, 'established', JSON.stringify(peer.lastDown));
    return peer;
  });

/** Neighbours that a speaker would wait for if it died now. */
function recorded(speaker: TestSpeaker): string[] {
  const text = fs.readFileSync(
    path.join(speaker.directory, 'speaker/sessions/sessions.json'),
    'utf8',
  );
  return (JSON.parse(JSON.parse(text).payload) as { peers: string[] }).peers;
}

const refusal = (error: unknown) => {
  const { code, field, value } = error as ApiError;
  return { code, field, value };
};

before(async () => {
  net = new TestNetwork();
  net.add('a', 'bc');
  net.link(['a', 'eth0', '10.0.0.1/24', 'fd00::1/64'], ['bc', 'eth0', '10.0.0.2/24', 'fd00::2/64']);
  net.ip('bc', 'addr', 'add', '10.0.0.3/24', 'dev', 'eth0');
  a = net.speaker('a', 'a');
  b = net.speaker('b', 'bc');
  c = net.speaker('c', 'bc');
  await Promise.all([a.start(), b.start(), c.start()]);
  await whole();
});
after(() => net[Symbol.asyncDispose]());

test('paths that make no sense are refused before there is a configuration, and do not stand in its way', async () => {
  const fresh = net.speaker('early', 'a');
  await fresh.start();
  const put = (...paths: object[]) => fresh.api.ask('PUT', '/v1/paths/test', paths);
  const prefix = '10.1.0.0/24';
  await assert.rejects(put({ prefix, communities: ['nonsense'] }), { status: 400 });
  await assert.rejects(put({ prefix }, { prefix }), { status: 400 });
  await fresh.configure('test', { asn: 65009, routerId: '192.0.2.9', listen: [], policies });
  const ask = (policy: string, attributes: object) =>
    fresh.api.ask('POST', '/v1/policy/test', { policy, prefix, attributes });
  await assert.rejects(ask('constructor', {}), { code: 'not-found' });
  await assert.rejects(ask('all', { communities: ['x'] }), { code: 'bad-request' });
  await fresh.stop();
});

test('what cannot be kept for want of room is refused, and changes nothing', async () => {
  const full = net.speaker('full', 'a', { asn: 65009, routerId: '192.0.2.9', listen: [] });
  const state = path.join(full.directory, 'speaker');
  fs.mkdirSync(state);
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'none', state]);
  try {
    await full.start();
    await full.paths('test', '10.1.0.0/24');
    const many = Array.from({ length: 5000 }, (_, i) => `10.2.${i >> 8}.${i & 255}/32`);
    const hopeless = { code: 'state-write-failed', status: 500 };
    await assert.rejects(full.paths('test', ...many), hopeless);
    const description = 'x'.repeat(1000);
    const neighbors = Array.from({ length: 100 }, (_, i) =>
      neighbor(`n${i}`, { ...B, address: `10.9.0.${i}` }, { description }),
    );
    await assert.rejects(full.configure('test', { policies, neighbors }), hopeless);
    assert.deepEqual([await full.prefixes(), await full.peers()], [['10.1.0.0/24'], []]);
    assert.deepEqual(fs.readdirSync(path.join(state, 'paths')), ['test.json']);
    await full.paths('test', '10.3.0.0/24');
    await full.stop('SIGKILL');
    await full.start();
    assert.deepEqual(await full.prefixes(), ['10.3.0.0/24']);
  } finally {
    await full.stop('SIGKILL');
    execFileSync('umount', [state]);
  }
});

test('a speaker that nobody has told anything answers and says so; then routes go both ways', async () => {
  const fresh = net.speaker('fresh', 'a');
  await fresh.start();
  const status = (await fresh.api.ask('GET', '/v1/status')) as StatusView;
  assert.deepEqual([status.configured, status.ready], [false, true]);
  await assert.rejects(fresh.api.ask('GET', '/v1/routes'), { code: 'not-configured', status: 409 });
  await fresh.stop();

  await a.paths('test', '10.1.0.0/24', 'fd01::/64');
  await b.paths('test', '10.2.0.0/24', 'fd02::/64');
  await until(async () =>
    assert.deepEqual(await b.prefixes(), ['10.1.0.0/24', '10.2.0.0/24', 'fd01::/64', 'fd02::/64']),
  );
  await until(async () =>
    assert.deepEqual(await a.prefixes('view=received&peer=b'), ['10.2.0.0/24', 'fd02::/64']),
  );
  const [v6] = await b.routes('prefix=fd01::/64');
  assert.equal(v6?.nextHop, 'fd00::1');
  const peer = await a.peer('b');
  assert.deepEqual(
    peer.families.map(({ received, advertised }) => [received, advertised]),
    [
      [1, 1],
      [1, 1],
    ],
  );
});

test('a bad configuration is refused by field and value, and changes nothing', async () => {
  const before = await a.api.ask('GET', '/v1/config/test');
  const cases: [SpeakerConfigInput, object][] = [
    [baseA({ asn: 0 }), { code: 'bad-config', field: 'neighbors.1.asn', value: 0 }],
    [
      baseA({ password: 'x'.repeat(99) }),
      { code: 'bad-config', field: 'neighbors.1.password', value: '(secret)' },
    ],
    [
      baseA({}, { policies: { all: { statements: [{ match: { prefixSets: ['none'] } }] } } }),
      { code: 'invalid-config' },
    ],
    [
      baseA(
        {},
        {
          listen: [
            { address: '10.0.0.1' },
            { address: '203.0.113.9', port: 1 },
            { address: '0.0.0.0' },
          ],
        },
      ),
      { code: 'listen-failed' },
    ],
  ];
  for (const [bad, wanted] of cases) {
    const error = await a.configure('test', bad).catch(refusal);
    assert.deepEqual({ ...error, ...wanted }, error, JSON.stringify(error));
  }
  assert.deepEqual(await a.api.ask('GET', '/v1/config/test'), before);
  for (const name of ['b', 'c']) {
    const { state, ups } = await a.peer(name);
    assert.deepEqual([state, ups], ['established', 1]);
  }
  const { listening } = (await a.api.ask('GET', '/v1/status')) as StatusView;
  assert.deepEqual(listening, ['10.0.0.1 179']);
});

test('a change touches only the session that it concerns, and only as much as it must', async () => {
  const ups = async () => [(await a.peer('b')).ups, (await a.peer('c')).ups];
  const first = await ups();
  const stated = (changes: Record<string, string>) => [changes.b, changes.c];
  assert.deepEqual(stated(await a.configure('test', baseA())), ['unchanged', 'unchanged']);
  assert.deepEqual(stated(await a.configure('test', baseA({ description: 'rack 3' }))), [
    'unchanged',
    'unchanged',
  ]);
  assert.equal((await a.peer('c')).description, 'rack 3');

  const drop = { none: { statements: [], otherwise: 'reject' as const } };
  const changed = await a.configure(
    'test',
    baseA(
      { families: families.map((each) => ({ ...each, export: 'none' })) },
      { policies: { ...policies, ...drop } },
    ),
  );
  assert.deepEqual(stated(changed), ['unchanged', 'soft-reset']);
  await until(async () => assert.deepEqual(await c.prefixes('view=received&peer=a'), []));
  assert.deepEqual(await ups(), first);

  await a.configure('test', baseA());
  await until(async () =>
    assert.ok((await c.prefixes('view=received&peer=a')).includes('10.1.0.0/24')),
  );
  assert.deepEqual(await ups(), first);

  const slower = await a.configure('test', baseA({ timers: { ...timers, hold: 30 } }));
  assert.deepEqual(stated(slower), ['unchanged', 'restarted']);
  await until(async () => assert.deepEqual(await ups(), [first[0], first[1]! + 1]));

  const without = await a.configure('test', config(A, [neighbor('b', B)]));
  assert.deepEqual(stated(without), ['unchanged', 'removed']);
  await until(async () =>
    assert.match((await c.peer('a')).lastDown?.text ?? '', /de-configured|hard reset/),
  );
  const again = await a.configure('test', baseA());
  assert.deepEqual(stated(again), ['unchanged', 'added']);
  await up(a, 'c');
  assert.equal((await a.peer('b')).ups, first[0]);
});

for (const signal of ['SIGKILL', 'SIGTERM'] as const) {
  test(`after ${signal} a speaker comes back, and its neighbours never lose a route`, async () => {
    await a.paths('test', '10.1.0.0/24', 'fd01::/64');
    await until(async () => assert.equal((await b.prefixes('view=received&peer=a')).length, 2));
    using events = b.events();
    const missing: string[] = [];
    const stop = new AbortController();
    using end = new DisposableStack();
    end.defer(() => stop.abort());
    const watch = (async () => {
      while (!stop.signal.aborted) {
        const seen = await b.prefixes();
        for (const prefix of ['10.1.0.0/24', 'fd01::/64'])
          if (!seen.includes(prefix)) missing.push(prefix);
      }
    })();
    await until(() => assert.deepEqual(recorded(a), ['b', 'c']));
    await a.stop(signal);
    await until(async () => assert.equal((await b.peer('a')).restart?.phase, 'stale'));
    await a.start();
    await up(b, 'a');
    await until(async () => {
      const { restarting } = (await a.api.ask('GET', '/v1/status')) as StatusView;
      assert.equal(restarting, undefined);
      assert.ok((await b.routes('view=received&peer=a')).every(({ stale }) => stale === undefined));
    });
    stop.abort();
    await watch;
    assert.deepEqual(missing, []);
    const types = events.seen.map(({ type }) => type);
    assert.ok(!types.includes('stale-purged'), JSON.stringify(events.seen));
    const negotiated = (await b.peer('a')).negotiated;
    assert.equal(negotiated?.gracefulRestart?.restarting, true);
    assert.deepEqual(
      negotiated?.families.map(({ gracefulRestart }) => gracefulRestart?.forwarding),
      [true, true],
    );
    await up(a, 'b');
    assert.ok((await a.prefixes()).includes('10.2.0.0/24'));
  });
}

test('a shutdown is told with its text, and routes go at once', async () => {
  await c.paths('test', '10.3.0.0/24');
  await until(async () => assert.ok((await a.prefixes()).includes('10.3.0.0/24')));
  await c.api.ask('POST', '/v1/shutdown', { text: 'moving house' });
  await until(async () => {
    const { lastDown, restart } = await a.peer('c');
    assert.equal(lastDown?.notification?.text, 'moving house');
    assert.equal(restart, undefined);
    assert.ok(!(await a.prefixes()).includes('10.3.0.0/24'));
  });
  await c.stop('SIGKILL');
  await c.start();
  await up(a, 'c');
  // After a shutdown it is no restart.
  assert.equal((await a.peer('c')).negotiated?.gracefulRestart?.restarting, false);
  await until(async () => assert.ok((await a.prefixes()).includes('10.3.0.0/24')));
});

test('with passwords and TTL security a session comes up only if both sides agree', async () => {
  const secured = { password: 'opensesame', ttlSecurity: 1 };
  await a.configure('test', baseA(secured));
  await until(async () => assert.notEqual((await a.peer('c')).state, 'established'));
  assert.equal((await a.peer('b')).state, 'established');
  await c.configure('test', config(C, [neighbor('a', A, { ...secured, password: 'wrong' })]));
  await new Promise((resolve) => setTimeout(resolve, 1500));
  assert.notEqual((await a.peer('c')).state, 'established');
  await c.configure('test', config(C, [neighbor('a', A, secured)]));
  const peer = await up(a, 'c');
  assert.deepEqual([peer.authentication, peer.ttlSecurity], ['md5', 1]);
  for (const speaker of [a, c]) {
    const kept = JSON.stringify([
      await speaker.api.ask('GET', '/v1/config/test'),
      await speaker.peers(),
      speaker.log,
    ]);
    assert.ok(!kept.includes('opensesame'), 'a password was shown');
    assert.ok(kept.includes('(set)'));
  }
  await whole();
});

test('neighbours from a range come and go, as many as it may have', async () => {
  using events = a.events();
  const range = (limit: number): SpeakerConfigInput =>
    config(A, [], {
      dynamicNeighbors: [
        {
          name: 'rack',
          prefix: '10.0.0.0/24',
          asns: [65002, 65003],
          limit,
          template: { families, timers },
        },
      ],
    });
  await a.configure('test', range(1));
  const names = async () =>
    (await a.peers()).filter(({ state }) => state === 'established').map(({ name }) => name);
  await until(async () => assert.equal((await names()).length, 1));
  await until(() =>
    assert.ok(events.seen.some(({ type, limit }) => type === 'dynamic-refused' && limit === 1)),
  );
  assert.equal((await names()).length, 1);
  await a.configure('test', range(2));
  await until(async () =>
    assert.deepEqual((await names()).sort(), ['rack@10.0.0.2', 'rack@10.0.0.3']),
  );
  assert.equal((await a.peer('rack@10.0.0.3')).dynamic, 'rack');
  // One that leaves for good is forgotten; one of another AS is not taken.
  await c.api.ask('DELETE', '/v1/config/test');
  await until(async () =>
    assert.deepEqual(
      (await a.peers()).map(({ name }) => name),
      ['rack@10.0.0.2'],
    ),
  );
  await c.configure('test', { ...config(C, [neighbor('a', A)]), asn: 65009 });
  await until(async () => assert.match((await c.peer('a')).lastDown?.text ?? '', /bad peer AS/));
  assert.deepEqual(await names(), ['rack@10.0.0.2']);
  await c.stop();
  await c.start();
  await whole();
});

test('best paths get to the kernel, equal ones as one route, and go with the session', async () => {
  const shown = (prefix: string) => {
    const family = prefix.includes(':') ? '-6' : '-4';
    const rows = JSON.parse(
      net.ip('a', family, '-j', '-N', 'route', 'show', 'exact', prefix) || '[]',
    );
    return rows.map((row: Record<string, unknown>) => {
      const hops = (row.nexthops ?? [row]) as { gateway: string }[];
      return `${row.protocol} ${hops.map(({ gateway }) => gateway).sort()}`;
    });
  };
  net.ip(
    'a',
    'route',
    'add',
    '10.9.1.0/24',
    'via',
    '10.0.0.77',
    'metric',
    '512',
    'proto',
    'static',
  );
  await b.paths('test', '10.2.0.0/24', '10.9.0.0/24', '10.9.1.0/24', 'fd09::/64');
  await c.paths('test', '10.3.0.0/24', '10.9.0.0/24');
  await a.configure('test', baseA({}, { kernel: { mode: 'all' }, multipath: { ebgp: 4 } }));
  await until(() => {
    assert.deepEqual(shown('10.9.0.0/24'), [`${speakerProtocol} 10.0.0.2,10.0.0.3`]);
    assert.deepEqual(shown('10.2.0.0/24'), [`${speakerProtocol} 10.0.0.2`]);
    assert.deepEqual(shown('fd09::/64'), [`${speakerProtocol} fd00::2`]);
  });
  assert.deepEqual(shown('10.9.1.0/24'), ['4 10.0.0.77'], "somebody else's route stays");
  const why = (await a.api.ask('GET', '/v1/why?prefix=10.9.1.0/24')) as {
    kernel: { why?: string; error?: string };
  };
  assert.equal(why.kernel.why, 'refused-by-kernel');
  assert.match(why.kernel.error ?? '', /somebody else/);
  assert.deepEqual(shown('10.1.0.0/24'), [], 'what we originate is not installed');

  // Routes outlive the process, and are the next one's; who had sessions with it is waited for.
  await until(() => assert.deepEqual(recorded(a), ['b', 'c']));
  await a.stop('SIGKILL');
  await a.start();
  assert.deepEqual(shown('10.9.0.0/24'), [`${speakerProtocol} 10.0.0.2,10.0.0.3`]);
  await up(a, 'b');
  await up(a, 'c');
  await b.paths('test', '10.9.0.0/24');
  await c.paths('test');
  await until(() => {
    assert.deepEqual(shown('10.9.0.0/24'), [`${speakerProtocol} 10.0.0.2`]);
    assert.deepEqual(shown('10.2.0.0/24'), []);
  });
  await a.configure('test', baseA());
  await until(() => assert.deepEqual(shown('10.9.0.0/24'), []));
  assert.deepEqual(shown('10.9.1.0/24'), ['4 10.0.0.77']);
});

test('neighbours on a link without addresses find each other, and give each other routes of both families', async () => {
  net.add('left', 'right');
  net.link(['left', 'up0'], ['right', 'up1']);
  net.ip('left', 'addr', 'add', '10.77.0.1/32', 'dev', 'lo');
  net.ip('right', 'addr', 'add', '10.77.0.2/32', 'dev', 'lo');
  const unnumbered = (
    device: string,
    self: { asn: number; routerId: string },
  ): SpeakerConfigInput => ({
    ...self,
    policies,
    listen: [{ address: '::' }],
    kernel: { mode: 'all' },
    neighbors: [{ name: 'other', peer: { interface: device }, asn: 'external', families, timers }],
  });
  const left = net.speaker(
    'left',
    'left',
    unnumbered('up0', { asn: 65101, routerId: '10.77.0.1' }),
  );
  const right = net.speaker(
    'right',
    'right',
    unnumbered('up1', { asn: 65102, routerId: '10.77.0.2' }),
  );
  await left.start();
  const waiting = await left.peer('other');
  assert.deepEqual([waiting.state, waiting.waitingFor], ['active', 'address']);
  await right.start();
  const peer = await up(left, 'other');
  assert.match(peer.address ?? '', /^fe80::/);
  await left.paths('test', '10.77.0.1/32', 'fd77:1::/64');
  await right.paths('test', '10.77.0.2/32', 'fd77:2::/64');
  await until(async () =>
    assert.deepEqual(await left.prefixes('view=received&peer=other'), [
      '10.77.0.2/32',
      'fd77:2::/64',
    ]),
  );
  await until(() =>
    assert.match(net.ip('left', 'route', 'show', '10.77.0.2/32'), /via inet6 fe80::/),
  );
  await until(() =>
    assert.match(net.ip('left', '-6', 'route', 'show', 'fd77:2::/64'), /via fe80::/),
  );
  await until(() =>
    execFileSync('ip', [
      'netns',
      'exec',
      net.netns('left'),
      'ping',
      '-c1',
      '-W1',
      '-I',
      '10.77.0.1',
      '10.77.0.2',
    ]),
  );
  // The other end is another machine now, with another link-local address.
  await right.stop();
  net.ip('right', 'link', 'set', 'up1', 'down', 'address', '02:00:00:00:77:77');
  net.ip('right', 'link', 'set', 'up1', 'up');
  await right.start();
  await until(async () => {
    const now = await left.peer('other');
    assert.equal(now.state, 'established');
    assert.match(now.address ?? '', /fe80::ff:fe00:7777/);
  }, 20);
  await left.stop();
  await right.stop();
});

test('the default gateway is a neighbour wherever the default route goes', async () => {
  const gateway = (asn: number): SpeakerConfigInput => ({
    asn: 65001,
    routerId: '192.0.2.1',
    policies,
    listen: [],
    neighbors: [{ name: 'gw', peer: { defaultGateway: 'ipv4' }, asn, families, timers }],
  });
  const node = net.speaker('node', 'a', gateway(65002));
  await b.configure('test', { ...config(B, [{ ...neighbor('a', A), passive: true }]) });
  await a.configure('test', config(A, []));
  await node.start();
  assert.equal((await node.peer('gw')).waitingFor, 'address');
  net.ip('a', 'route', 'add', 'default', 'via', '10.0.0.2');
  assert.equal((await up(node, 'gw')).address, '10.0.0.2');
  net.ip('a', 'route', 'replace', 'default', 'via', '10.0.0.3');
  await until(async () => assert.equal((await node.peer('gw')).address, '10.0.0.3'));
  net.ip('a', 'route', 'del', 'default');
  await until(async () => assert.equal((await node.peer('gw')).waitingFor, 'address'));
  await node.stop();
});

test('state files of another kind, age or make are set aside, and the rest is used', async () => {
  const one = net.speaker('state', 'a');
  await one.start();
  await one.configure('good', config({ ...A, address: '10.0.0.1' }, [], { listen: [] }));
  await one.paths('good', '10.1.0.0/24');
  await one.stop();
  const at = (...parts: string[]) => path.join(one.directory, 'speaker', ...parts);
  const good = fs.readFileSync(at('config', 'good.json'), 'utf8');
  assert.equal(fs.statSync(at('config', 'good.json')).mode & 0o777, 0o600);
  fs.writeFileSync(at('config', 'newer.json'), good.replace('"version":1', '"version":9'));
  fs.writeFileSync(at('config', 'garbage.json'), 'not what you think');
  fs.writeFileSync(at('config', 'edited.json'), good.replace('65001', '65000'));
  fs.writeFileSync(at('paths', 'other.json'), good);
  fs.writeFileSync(at('sessions', 'sessions.json'), '');
  await one.start();
  assert.deepEqual(
    ((await one.api.ask('GET', '/v1/config')) as { owner: string }[]).map(({ owner }) => owner),
    ['good'],
  );
  assert.deepEqual(await one.prefixes(), ['10.1.0.0/24']);
  assert.deepEqual(fs.readdirSync(at('config', 'refused')).sort(), [
    'edited.json',
    'garbage.json',
    'newer.json',
  ]);
  assert.equal(one.log.match(/a state file was set aside/g)?.length, 5);
  await one.stop();
});
