import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Address } from '@causeway/ip';
import fc from 'fast-check';
import {
  ignoreEffects,
  Neighbor,
  type NeighborOptions,
  seeded,
  VirtualNetwork,
  type VirtualSpeaker,
} from '../testing/index.ts';
import type { PolicyLibrary, PolicyStatement } from './policy/types.ts';
import type { SpeakerConfig, SpeakerPeerConfig } from './speaker/config.ts';
import type { RouteRow, SpeakerEvent } from './speaker/types.ts';
import { Speaker } from './speaker.ts';
import { type Asn, type FamilyKey, RouterId } from './types.ts';
import { Community } from './wire/communities.ts';

const asn = (value: number) => value as Asn;
const decide = (verdict: 'accept' | 'reject', rest: PolicyStatement = {}): PolicyStatement => ({
  ...rest,
  // biome-ignore lint/suspicious/noThenProperty: the policy language's word
  then: verdict,
});
const open: PolicyLibrary = { policies: { all: { statements: [decide('accept')] } } };
const both = [
  { family: 'ipv4-unicast', import: 'all', export: 'all' },
  { family: 'ipv6-unicast', import: 'all', export: 'all' },
] as const;
const v4only = [{ family: 'ipv4-unicast', import: 'all', export: 'all' }] as const;

const config = (number: number, id: string, rest: Partial<SpeakerConfig> = {}): SpeakerConfig => ({
  asn: asn(number),
  routerId: RouterId.parse(id),
  policies: open,
  ...rest,
});

function pair(rest: Partial<SpeakerConfig> = {}) {
  const network = new VirtualNetwork({ random: seeded(1) });
  const a = network.add('a', '192.0.2.1', config(65001, '192.0.2.1', rest));
  const b = network.add('b', '192.0.2.2', config(65002, '192.0.2.2', rest));
  return { network, a, b };
}

const loc = (node: VirtualSpeaker): readonly RouteRow[] =>
  node.speaker.routes({ view: 'loc' }).rows;
const prefixesOf = (rows: readonly RouteRow[]): string[] => rows.map(({ prefix }) => prefix).sort();

test('two external speakers tell each other what their owners originate', () => {
  const { network, a, b } = pair();
  network.connect(a, b, { asn: asn(65002), families: both }, { asn: asn(65001), families: both });
  network.run(5_000);
  assert.equal(a.speaker.peer('b')?.state, 'established');
  a.speaker.setPaths(
    'agent',
    [{ prefix: '10.0.0.0/24', communities: ['65001:7'], med: 5 }, { prefix: '10.0.1.0/24' }],
    network.now,
  );
  network.run(1_000);
  assert.deepEqual(
    loc(b).map(({ prefix, nextHop, attributes, best }) => [
      prefix,
      nextHop,
      attributes.asPath,
      attributes.communities,
      attributes.med,
      best,
    ]),
    [
      [
        '10.0.0.0/24',
        '192.0.2.1',
        [{ type: 'sequence', asns: [65001] }],
        [65001 * 65536 + 7],
        5,
        true,
      ],
      [
        '10.0.1.0/24',
        '192.0.2.1',
        [{ type: 'sequence', asns: [65001] }],
        undefined,
        undefined,
        true,
      ],
    ],
  );
  assert.deepEqual(prefixesOf(a.speaker.routes({ view: 'advertised', peer: 'b' }).rows), [
    '10.0.0.0/24',
    '10.0.1.0/24',
  ]);
  assert.equal(a.speaker.peer('b')?.families[0]?.advertised, 2);
  assert.equal(a.speaker.why('10.0.0.0/24')?.exports[0]?.outcome, 'sent');
  a.speaker.setPaths('agent', [{ prefix: '10.0.1.0/24' }], network.now);
  network.run(1_000);
  assert.deepEqual(prefixesOf(loc(b)), ['10.0.1.0/24']);
  network.cut(a, b);
  network.run(100);
  assert.deepEqual(loc(b), []);
  // A session that is down has been advertised nothing.
  assert.deepEqual(a.speaker.routes({ view: 'advertised', peer: 'b' }).rows, []);
  assert.equal(a.speaker.peer('b')?.families[0]?.advertised, 0);
  assert.equal(a.speaker.why('10.0.1.0/24')?.exports[0]?.outcome, 'session-down');
});

test('a neighbour hears the router id that is meant for it', () => {
  const { network, a, b } = pair();
  network.connect(
    a,
    b,
    { asn: asn(65002), families: both, localRouterId: RouterId.parse('203.0.113.7') },
    { asn: asn(65001), families: both },
  );
  network.run(10_000);
  assert.equal(b.speaker.peer('a')?.negotiated?.peerId, RouterId.parse('203.0.113.7'));
});

test('an external neighbour without policies gets nothing and gives nothing (RFC 8212)', () => {
  const { network, a, b } = pair();
  const none = [{ family: 'ipv4-unicast' }] as const;
  network.connect(a, b, { asn: asn(65002), families: none }, { asn: asn(65001), families: v4only });
  a.speaker.setPaths('agent', [{ prefix: '10.0.0.0/24' }], 0);
  b.speaker.setPaths('agent', [{ prefix: '10.1.0.0/24' }], 0);
  network.run(5_000);
  assert.deepEqual(prefixesOf(loc(b)), ['10.1.0.0/24']);
  assert.equal(a.speaker.why('10.0.0.0/24')?.exports[0]?.outcome, 'no-policy');
  const [row] = a.speaker.routes({ view: 'received', peer: 'b' }).rows;
  assert.deepEqual([row?.prefix, row?.refused], ['10.1.0.0/24', 'no-policy']);
});

const helper = { gracefulRestart: { restartTime: 60 } } as const;

/** a - b - c in a row, each external to the next; b is what restarts. */
function row(llgr?: number) {
  const network = new VirtualNetwork({ random: seeded(7) });
  const rest = { gracefulRestart: { restartTime: 60, deferral: 20 } };
  const a = network.add('a', '192.0.2.1', config(65001, '192.0.2.1', rest));
  const b = network.add('b', '192.0.2.2', config(65002, '192.0.2.2', rest));
  const c = network.add('c', '192.0.2.3', config(65003, '192.0.2.3', rest));
  const families = v4only.map((one) => (llgr === undefined ? one : { ...one, llgr }));
  const join = (x: VirtualSpeaker, y: VirtualSpeaker, ofX: number, ofY: number) =>
    network.connect(
      x,
      y,
      { asn: asn(ofY), families, ...helper },
      { asn: asn(ofX), families, ...helper },
    );
  join(a, b, 65001, 65002);
  join(b, c, 65002, 65003);
  a.speaker.setPaths('agent', [{ prefix: '10.0.0.0/24' }, { prefix: '10.0.1.0/24' }], 0);
  network.run(10_000);
  assert.deepEqual(prefixesOf(loc(c)), ['10.0.0.0/24', '10.0.1.0/24']);
  return { network, a, b, c, families, rest };
}

test('a speaker that restarts keeps its routes at its neighbours, and takes back what it no longer has', () => {
  const { network, a, b, c, families, rest } = row();
  network.kill(b);
  network.run(1_000);
  assert.deepEqual(
    loc(c).map(({ stale }) => stale),
    ['graceful-restart', 'graceful-restart'],
  );
  assert.equal(c.speaker.peer('b')?.restart?.phase, 'stale');
  // While it was away one of the two went.
  a.speaker.setPaths('agent', [{ prefix: '10.0.0.0/24' }], network.now);
  const again = network.add('b', '192.0.2.2', config(65002, '192.0.2.2', rest), {
    expected: ['a', 'c'],
  });
  const timers = { connectRetry: 1, idleHold: 0.1, hold: 90 };
  for (const [name, address, number] of [
    ['a', '192.0.2.1', 65001],
    ['c', '192.0.2.3', 65003],
  ] as const) {
    again.speaker.addPeer(
      {
        name,
        target: { address: Address.parse(address) },
        asn: asn(number),
        families,
        timers,
        ...helper,
      },
      network.now,
    );
  }
  let missing = 0;
  for (let i = 0; i < 100; i++) {
    network.run(100);
    if (!prefixesOf(loc(c)).includes('10.0.0.0/24')) missing++;
  }
  assert.equal(missing, 0);
  assert.deepEqual(prefixesOf(loc(c)), ['10.0.0.0/24']);
  assert.equal(loc(c)[0]?.stale, undefined);
  const over = again.events.find((event) => event.type === 'deferral-over');
  assert.equal(over?.why, 'all-end-of-rib');
  assert.ok(over.afterMs < 15_000, `deferred for ${over.afterMs} ms`);
  assert.ok(c.events.some((event) => event.type === 'stale-purged' && event.count === 1));
});

test('what does not come again in time goes, or stays as long-lived stale and goes then', () => {
  {
    const { network, b, c } = row();
    network.kill(b);
    network.run(59_000);
    assert.equal(loc(c).length, 2);
    network.run(3_000);
    assert.equal(loc(c).length, 0);
  }
  const { network, b, c } = row(300);
  network.kill(b);
  network.run(65_000);
  assert.deepEqual(
    loc(c).map(({ stale, attributes }) => [stale, attributes.communities?.map(Community.format)]),
    [
      ['long-lived', ['llgr-stale']],
      ['long-lived', ['llgr-stale']],
    ],
  );
  network.run(300_000);
  assert.equal(loc(c).length, 0);
});

test('a policy that changes while a neighbour is away is asked about the routes that are kept of it', () => {
  const { network, b, c } = row(300);
  const refusing: PolicyLibrary = {
    policies: {
      all: {
        statements: [
          decide('reject', { match: { prefixes: [{ prefix: '10.0.1.0/24' }] } }),
          decide('accept'),
        ],
      },
    },
  };
  network.kill(b);
  network.run(1_000);
  c.speaker.setPolicies(refusing, network.now);
  network.run(1_000);
  assert.deepEqual(
    loc(c).map(({ prefix, stale }) => [prefix, stale]),
    [['10.0.0.0/24', 'graceful-restart']],
  );
  // The same when they are kept for long, and by the neighbour's own configuration.
  network.run(65_000);
  const kept = c.speaker.peerConfig('b')!;
  c.speaker.setPolicies(open, network.now);
  network.run(1_000);
  assert.deepEqual(
    loc(c).map(({ prefix, stale }) => [prefix, stale]),
    [
      ['10.0.0.0/24', 'long-lived'],
      ['10.0.1.0/24', 'long-lived'],
    ],
  );
  const [{ import: _policy, ...family }] = kept.families as [(typeof kept.families)[number]];
  c.speaker.updatePeer({ ...kept, families: [family] }, network.now);
  network.run(1_000);
  assert.deepEqual(loc(c), [], 'an external neighbour without a policy (RFC 8212)');
});

test('deferral ends by the clock when an expected neighbour never comes', () => {
  const events: SpeakerEvent[] = [];
  const speaker = new Speaker(
    {
      config: config(65001, '192.0.2.1', { gracefulRestart: { deferral: 5 } }),
      random: () => 0.5,
      nextConnection: () => 1,
      emit: (effect) => {
        if (effect.type === 'event') events.push(effect.event);
      },
      restarting: { expected: ['gone'] },
    },
    0,
  );
  speaker.setPaths('agent', [{ prefix: '10.0.0.0/24' }], 0);
  assert.equal(speaker.counters().prefixes['ipv4-unicast'], 0);
  for (let now = 0; now <= 5_000; now += 500) speaker.work(now);
  while ((speaker.deadline ?? Number.POSITIVE_INFINITY) <= 5_000) speaker.work(5_000);
  assert.equal(speaker.counters().prefixes['ipv4-unicast'], 1);
  assert.deepEqual(events, [{ type: 'deferral-over', why: 'timeout', afterMs: 5_000 }]);
});

/** One speaker and neighbours that do what the test says. */
function star(rest: Partial<SpeakerConfig> = {}) {
  let next = 1;
  const events: SpeakerEvent[] = [];
  const speaker = new Speaker(
    {
      config: config(65000, '192.0.2.254', rest),
      random: () => 0.5,
      nextConnection: () => next++,
      emit: (effect) => {
        if (effect.type === 'event') events.push(effect.event);
        else ignoreEffects(effect);
      },
    },
    0,
  );
  const neighbor = (
    name: string,
    number: number,
    last: number,
    peer: Partial<SpeakerPeerConfig> = {},
    options: Partial<NeighborOptions> = {},
  ): Neighbor => {
    const full: SpeakerPeerConfig = {
      name,
      target: { address: Address.parse(`192.0.2.${last}`) },
      asn: asn(number),
      passive: true,
      families: v4only,
      ...peer,
    };
    speaker.addPeer(full, 0);
    const one = new Neighbor(speaker, {
      config: full,
      asn: asn(number),
      localAsn: asn(65000),
      routerId: RouterId.parse(`198.51.100.${last}`),
      ...options,
    });
    one.up(0);
    return one;
  };
  const settle = (now: number): void => {
    for (let i = 0; (speaker.deadline ?? Number.POSITIVE_INFINITY) <= now && i < 1000; i++)
      speaker.work(now);
  };
  return { speaker, events, neighbor, settle };
}

const path = (...asns: number[]) =>
  asns.length === 0 ? [] : [{ type: 'sequence' as const, asns: asns.map(asn) }];
const hop = (text: string) => Address.toBytes(Address.parse(text));
const ten = [24, 0x0a000000, 0] as const;

test('equal-cost paths are a set, as large as the limit says, and the kernel is told of it', () => {
  const { speaker, neighbor, settle } = star({ multipath: { ebgp: 2 } });
  const one = neighbor('one', 65001, 1);
  const two = neighbor('two', 65002, 2);
  const three = neighbor('three', 65003, 3);
  const feed = speaker.openFeed({ type: 'best' });
  const read = () =>
    speaker
      .readFeed(feed, 100)
      .flatMap((item) =>
        item.type === 'best'
          ? [[item.prefix, item.nextHops.map(({ address }) => address).sort()]]
          : [],
      );
  assert.deepEqual(read(), []);
  for (const [from, number, last] of [
    [one, 65001, 1],
    [two, 65002, 2],
    [three, 65003, 3],
  ] as const) {
    from.announce(
      'ipv4-unicast',
      { origin: 0, asPath: path(number, 65010) },
      hop(`192.0.2.${last}`),
      [ten],
      1,
    );
  }
  settle(1);
  assert.deepEqual(read(), [['10.0.0.0/24', ['192.0.2.1', '192.0.2.2']]]);
  one.withdraw('ipv4-unicast', [ten], 2);
  assert.deepEqual(read(), [['10.0.0.0/24', ['192.0.2.2', '192.0.2.3']]]);
  two.announce(
    'ipv4-unicast',
    { origin: 0, asPath: path(65002, 65010, 65011) },
    hop('192.0.2.2'),
    [ten],
    3,
  );
  assert.deepEqual(read(), [['10.0.0.0/24', ['192.0.2.3']]]);
  speaker.setNextHop(Address.parse('192.0.2.3'), { reachable: false, metric: 0 }, 4);
  settle(4);
  assert.deepEqual(read(), [['10.0.0.0/24', ['192.0.2.2']]]);
  two.down(5);
  settle(5);
  assert.deepEqual(read(), [['10.0.0.0/24', []]]);
  assert.deepEqual(read(), []);
});

test('every lost comparison names its step and both values, and agrees with the choice', () => {
  const { speaker, neighbor } = star();
  const one = neighbor('one', 65001, 1);
  const two = neighbor('two', 65002, 2);
  one.announce(
    'ipv4-unicast',
    { origin: 0, asPath: path(65001, 65010) },
    hop('192.0.2.1'),
    [ten],
    1,
  );
  two.announce(
    'ipv4-unicast',
    { origin: 2, asPath: path(65002, 65010) },
    hop('192.0.2.2'),
    [ten],
    1,
  );
  const why = speaker.why('10.0.0.0/24');
  assert.deepEqual(why?.paths[0]?.route.peer, 'one');
  assert.deepEqual(why?.paths[1]?.lostTo, {
    peer: 'one',
    comparison: { step: 'origin', winner: 'igp', loser: 'incomplete' },
  });
  assert.deepEqual(
    why?.exports.map(({ peer, outcome }) => [peer, outcome]),
    [
      ['one', 'split-horizon'],
      ['two', 'pending'],
    ],
  );
  two.announce('ipv4-unicast', { origin: 0, asPath: path(65002) }, hop('192.0.2.2'), [ten], 1);
  assert.deepEqual(speaker.why('10.0.0.0/24')?.paths[1]?.lostTo?.comparison, {
    step: 'as-path-length',
    winner: 1,
    loser: 2,
  });
});

test('a neighbour that comes up is told each route once', () => {
  const { speaker, neighbor, settle } = star();
  speaker.setPaths('agent', [{ prefix: '10.0.0.0/24' }, { prefix: '10.0.1.0/24' }], 0);
  for (const last of [1, 2]) {
    const one = neighbor(`n${last}`, 65000 + last, last);
    settle(1);
    while (one.take(10_000, 1));
    // Both prefixes in one message, and End-of-RIB.
    assert.deepEqual([one.table.size, one.updates, one.endOfRib.size], [2, 2, 1]);
  }
});

test('a limit of prefixes warns, refuses what is beyond it, or ends the session for a while', () => {
  const { speaker, events, neighbor, settle } = star();
  const families = (action: 'warn' | 'refuse' | 'reset') => [
    {
      ...v4only[0],
      maxPrefixes: {
        limit: 4,
        warnAt: 50,
        action,
        ...(action === 'reset' ? { restartAfter: 30 } : {}),
      },
    },
  ];
  const many = Array.from({ length: 6 }, (_, i) => [24, 0x0a000000 + i * 256, 0] as const);
  for (const action of ['warn', 'refuse', 'reset'] as const) {
    const last = { warn: 1, refuse: 2, reset: 3 }[action];
    const one = neighbor(action, 65000 + last, last, { families: families(action) });
    for (const prefix of many) {
      one.announce(
        'ipv4-unicast',
        { origin: 0, asPath: path(65000 + last) },
        hop(`192.0.2.${last}`),
        [prefix],
        1,
      );
    }
    settle(1);
    assert.equal(
      speaker.peer(action)?.families[0]?.received,
      { warn: 6, refuse: 4, reset: 0 }[action],
    );
    assert.deepEqual(
      events.flatMap((event) =>
        event.type === 'max-prefix' && event.peer === action ? [[event.level, event.count]] : [],
      ),
      {
        warn: [
          ['warning', 2],
          ['limit', 5],
        ],
        refuse: [
          ['warning', 2],
          ['limit', 4],
        ],
        reset: [
          ['warning', 2],
          ['limit', 5],
        ],
      }[action],
    );
  }
  assert.equal(speaker.peer('reset')?.lastDown?.reason.why, 'max-prefix');
});

test('routes of both families go over one session, with the next hops that the neighbour can use', () => {
  const { speaker, neighbor, settle } = star();
  const families: readonly FamilyKey[] = ['ipv4-unicast', 'ipv6-unicast'];
  const far = neighbor(
    'far',
    65001,
    1,
    { families: both, selfAddresses: ['2001:db8::fe'] },
    { families },
  );
  const bare = neighbor('bare', 65002, 2, { families: both }, { families });
  speaker.setPaths(
    'agent',
    [{ prefix: '2001:db8:1::/48' }, { prefix: '10.0.0.0/24', nextHop: '192.0.2.77' }],
    1,
  );
  settle(1);
  far.take(10_000, 1);
  bare.take(10_000, 1);
  assert.equal(far.table.get('2001:db8:1::/48')?.nextHop, '20010db80000000000000000000000fe');
  assert.equal(far.table.get('10.0.0.0/24')?.nextHop, 'c000024d');
  assert.deepEqual([...bare.table.keys()], ['10.0.0.0/24']);
  assert.equal(speaker.why('2001:db8:1::/48', 'bare')?.exports[0]?.outcome, 'no-next-hop');
  assert.deepEqual([...bare.endOfRib].sort(), ['ipv4-unicast', 'ipv6-unicast']);
});

test('IPv4 routes get an IPv6 next hop where both can (RFC 8950), with the link-local one on a link', () => {
  const { network, a, b } = (() => {
    const made = new VirtualNetwork({ random: seeded(3) });
    return {
      network: made,
      a: made.add('a', 'fe80::1', config(65001, '192.0.2.1')),
      b: made.add('b', 'fe80::2', config(65002, '192.0.2.2')),
    };
  })();
  const extendedNextHop = true;
  network.connect(
    a,
    b,
    { asn: asn(65002), families: both, extendedNextHop },
    { asn: asn(65001), families: both, extendedNextHop },
  );
  a.speaker.setPaths('agent', [{ prefix: '10.0.0.0/24' }, { prefix: '2001:db8:1::/48' }], 0);
  network.run(5_000);
  assert.deepEqual(
    loc(b).map(({ prefix, nextHop, linkLocalNextHop }) => [prefix, nextHop, linkLocalNextHop]),
    [
      ['10.0.0.0/24', 'fe80::1', 'fe80::1'],
      ['2001:db8:1::/48', 'fe80::1', 'fe80::1'],
    ],
  );
});

test('a refresh is framed and takes along what is not brought again (RFC 7313)', () => {
  const { speaker, neighbor, settle } = star();
  const one = neighbor('one', 65001, 1);
  const send = (text: string) => one.send(Buffer.from(`${'ff'.repeat(16)}${text}`, 'hex'), 2);
  const attributes = { origin: 0 as const, asPath: path(65001) };
  one.announce('ipv4-unicast', attributes, hop('192.0.2.1'), [ten, [24, 0x0a000100, 0]], 1);
  send('00170500010101'); // BoRR
  one.announce('ipv4-unicast', attributes, hop('192.0.2.1'), [ten], 2);
  settle(2);
  assert.equal(speaker.peer('one')?.families[0]?.received, 2);
  send('00170500010201'); // EoRR
  settle(2);
  assert.deepEqual(
    speaker.routes({ view: 'received', peer: 'one' }).rows.map(({ prefix }) => prefix),
    ['10.0.0.0/24'],
  );
  // Asked for ours, it is sent between the same marks.
  const two = neighbor('two', 65002, 2);
  two.take(10_000, 2);
  two.send(Buffer.from(`${'ff'.repeat(16)}00170500010001`, 'hex'), 2);
  const parts = Buffer.concat(speaker.produce('two', two.connection!, 10_000, 2)).toString('hex');
  assert.match(parts, /^f{32}00170500010101f{32}.*180a0000f{32}00170500010201$/);
});

test('a flood of refreshes costs no walk for each, and takes no route that is brought again', () => {
  const { speaker, neighbor, settle } = star();
  const one = neighbor('one', 65001, 1);
  const frame = (text: string) => Buffer.from(`${'ff'.repeat(16)}${text}`, 'hex');
  const begin = frame('00170500010101');
  const end = frame('00170500010201');
  const attributes = { origin: 0 as const, asPath: path(65001) };
  const many = Array.from({ length: 50_000 }, (_, i) => [32, 0x0a000000 + i, 0] as const);
  const bring = () => one.announce('ipv4-unicast', attributes, hop('192.0.2.1'), many, 1);
  bring();
  settle(1);
  one.send(end, 1); // never begun
  const before = process.cpuUsage();
  one.send(Buffer.concat(Array.from({ length: 40_000 }, () => begin)), 1);
  const { user } = process.cpuUsage(before);
  assert.ok(user < 1_000_000, `${user} us of the processor: a walk of the table for every BoRR`);
  // One ends while the purge of another one is still going on.
  one.send(end, 1);
  one.send(begin, 1);
  bring();
  one.send(Buffer.concat(Array.from({ length: 4000 }, () => end)), 1);
  settle(1);
  assert.equal(speaker.peer('one')?.families[0]?.received, 50_000);
});

test('a neighbour with identifiers without end for one prefix has so many paths taken and no more', () => {
  const { speaker, events, neighbor, settle } = star();
  const addPath = [{ ...v4only[0], addPath: { receive: true, send: 0 } }];
  const one = neighbor('one', 65001, 1, { families: addPath }, { addPath: true });
  const attributes = { origin: 0 as const, asPath: path(65001) };
  const many = Array.from({ length: 1000 }, (_, i) => [24, 0x0a000000, i + 1] as const);
  one.announce('ipv4-unicast', attributes, hop('192.0.2.1'), many, 1);
  settle(1);
  assert.equal(speaker.peer('one')?.families[0]?.received, 256);
  const told = events.filter(({ type }) => type === 'notice');
  assert.deepEqual(
    told.map((event) => 'code' in event && event.code),
    ['too-many-paths'],
  );
  // Those that were taken can change and go, which makes room.
  one.withdraw('ipv4-unicast', many.slice(0, 512), 2);
  one.announce('ipv4-unicast', attributes, hop('192.0.2.1'), many.slice(-3), 2);
  settle(2);
  assert.equal(speaker.peer('one')?.families[0]?.received, 3);
});

test('what changes in a configuration touches only what it concerns', () => {
  const { speaker, events, neighbor, settle } = star();
  const one = neighbor('one', 65001, 1);
  const two = neighbor('two', 65002, 2);
  one.announce('ipv4-unicast', { origin: 0, asPath: path(65001) }, hop('192.0.2.1'), [ten], 1);
  settle(1);
  two.take(10_000, 1);
  const before = two.updates;
  speaker.setPolicies({ policies: { ...open.policies, more: { statements: [] } } }, 2);
  settle(2);
  two.take(10_000, 2);
  assert.equal(two.updates, before, 'a policy that nobody uses is told to nobody');
  assert.equal(speaker.updatePeer(speaker.peerConfig('two')!, 2), 'unchanged');
  assert.equal(
    speaker.updatePeer({ ...speaker.peerConfig('two')!, timers: { connectRetry: 7 } }, 2),
    'updated-live',
  );
  const families = [{ ...v4only[0], export: 'more' }];
  assert.equal(speaker.updatePeer({ ...speaker.peerConfig('two')!, families }, 2), 'soft-reset');
  settle(2);
  two.take(10_000, 2);
  assert.equal(two.table.size, 0);
  assert.equal(two.isUp && speaker.peer('two')?.state, 'established');
  assert.equal(
    speaker.updatePeer({ ...speaker.peerConfig('two')!, timers: { hold: 30 } }, 2),
    'restarted',
  );
  assert.equal(events.filter((event) => event.type === 'peer-down').length, 1);
  assert.throws(
    () =>
      speaker.updatePeer(
        { ...speaker.peerConfig('one')!, families: [{ ...v4only[0], import: 'nil' }] },
        2,
      ),
    {
      code: 'invalid-config',
      message: /neighbour one, ipv4-unicast, import: there is no policy "nil"/,
    },
  );
  assert.throws(() => speaker.setPolicies({ policies: {} }, 2), { code: 'invalid-config' });
  assert.throws(
    () => speaker.setPaths('agent', [{ prefix: '10.0.0.0/24' }, { prefix: '10.0.0.1/24' }], 2),
    { code: 'invalid-config', message: /path 10.0.0.1\/24, prefix/ },
  );
  assert.deepEqual(speaker.paths('agent'), []);
});

test('monitors are told what neighbours say and are told, before and after policy', () => {
  const library: PolicyLibrary = {
    policies: {
      ...open.policies,
      none: { statements: [decide('reject')] },
      half: {
        statements: [
          decide('reject', { match: { prefixes: ['10.0.0.0/24'] } }),
          decide('accept', { set: { communities: { add: ['65000:1'] } } }),
        ],
      },
    },
  };
  const { speaker, neighbor, settle } = star({ policies: library });
  const one = neighbor('one', 65001, 1, { families: [{ ...v4only[0], import: 'half' }] });
  const two = neighbor('two', 65002, 2);
  neighbor('three', 65003, 3, { families: [{ ...v4only[0], export: 'none' }] });
  const attributes = { origin: 0 as const, asPath: path(65001) };
  one.announce('ipv4-unicast', attributes, hop('192.0.2.1'), [ten, [24, 0x0a000100, 0]], 1);
  settle(1);
  const feeds = {
    pre: speaker.openFeed({ type: 'adj-rib-in', policy: 'pre' }),
    post: speaker.openFeed({ type: 'adj-rib-in', policy: 'post' }),
    outPre: speaker.openFeed({ type: 'adj-rib-out', policy: 'pre' }),
    out: speaker.openFeed({ type: 'adj-rib-out' }),
    loc: speaker.openFeed({ type: 'loc-rib' }),
  };
  /** What a monitor believes, by peer and prefix. */
  const views = Object.fromEntries(
    Object.keys(feeds).map((name) => [name, new Map<string, Neighbor>()]),
  );
  const read = () =>
    Object.fromEntries(
      Object.entries(feeds).map(([name, feed]) => {
        for (
          let items = speaker.readFeed(feed, 3);
          items.length > 0;
          items = speaker.readFeed(feed, 3)
        ) {
          for (const item of items) {
            if (item.type !== 'monitor') continue;
            const view = views[name]!;
            const peer = item.peer ?? 'loc';
            if (!view.has(peer)) {
              view.set(peer, new Neighbor(speaker, { ...one.options, asn: asn(65000) }));
            }
            view.get(peer)!.read(item.messages);
          }
        }
        return [
          name,
          [...views[name]!]
            .flatMap(([peer, { table }]) => [...table.keys()].map((key) => `${peer} ${key}`))
            .sort(),
        ];
      }),
    );
  assert.deepEqual(read(), {
    pre: ['one 10.0.0.0/24', 'one 10.0.1.0/24'],
    post: ['one 10.0.1.0/24'],
    outPre: ['three 10.0.1.0/24', 'two 10.0.1.0/24'],
    out: ['two 10.0.1.0/24'],
    loc: ['loc 10.0.1.0/24'],
  });
  one.withdraw('ipv4-unicast', [[24, 0x0a000100, 0]], 2);
  two.announce('ipv4-unicast', { origin: 0, asPath: path(65002) }, hop('192.0.2.2'), [ten], 2);
  settle(2);
  assert.deepEqual(read(), {
    pre: ['one 10.0.0.0/24', 'two 10.0.0.0/24'],
    post: ['two 10.0.0.0/24'],
    outPre: ['one 10.0.0.0/24', 'three 10.0.0.0/24'],
    out: ['one 10.0.0.0/24'],
    loc: ['loc 10.0.0.0/24'],
  });
  for (const feed of Object.values(feeds)) speaker.closeFeed(feed);
});

test('who reads nothing costs a bounded memory: a monitor starts again, a neighbour is let go', () => {
  const { speaker, neighbor } = star();
  const one = neighbor('one', 65001, 1);
  neighbor('stuck', 65002, 2).take(1, 0);
  const feed = speaker.openFeed({ type: 'adj-rib-in', policy: 'pre' });
  let now = 1;
  for (let round = 0; round < 240; round++) {
    const chunk = Array.from(
      { length: 800 },
      (_, i) => [32, ((round * 800 + i) * 7) | 0, 0] as const,
    );
    one.announce('ipv4-unicast', { origin: 0, asPath: path(65001) }, hop('192.0.2.1'), chunk, now);
    one.withdraw('ipv4-unicast', chunk, now);
    now += 600;
    speaker.work(now);
  }
  assert.equal(speaker.readFeed(feed, 1)[0]?.type, 'overrun');
  assert.equal(speaker.peer('stuck')?.lastDown?.reason.why, 'out-of-resources');
  assert.equal(speaker.peer('one')?.state, 'established');
  assert.ok(speaker.counters().tableBytes < 30_000_000, `${speaker.counters().tableBytes} bytes`);
});

test('three speakers with a reflector come to the same routes, whatever links do meanwhile', () => {
  fc.assert(
    fc.property(fc.integer(), (seed) => {
      const random = seeded(seed);
      const network = new VirtualNetwork({ random, delay: [0, 40], chunk: 200 });
      const internal = [{ family: 'ipv4-unicast' }, { family: 'ipv6-unicast' }] as const;
      const nodes = ['192.0.2.1', '192.0.2.2', '192.0.2.3'].map((address, i) =>
        network.add(`n${i}`, address, config(65000, address)),
      ) as [VirtualSpeaker, VirtualSpeaker, VirtualSpeaker];
      const [reflector, ...clients] = nodes;
      for (const client of clients) {
        network.connect(
          reflector,
          client,
          {
            asn: asn(65000),
            families: internal,
            routeReflectorClient: true,
            selfAddresses: ['2001:db8::1'],
          },
          {
            asn: asn(65000),
            families: internal,
            selfAddresses: [`2001:db8::${client.name.slice(1)}:1`],
          },
        );
      }
      const wanted = new Map<VirtualSpeaker, string[]>();
      for (let step = 0; step < 30; step++) {
        const client = clients[random.below(2)]!;
        switch (random.below(4)) {
          case 0:
            network.cut(reflector, client);
            break;
          case 1:
            network.mend(reflector, client);
            break;
          default: {
            const node = nodes[random.below(3)]!;
            const chosen = Array.from({ length: 12 }, (_, i) => i)
              .filter(() => random.below(2) === 0)
              .map((i) =>
                i % 3 === 0 ? `2001:db8:${i + 1}::/48` : `10.${node.name.slice(1)}.${i}.0/24`,
              );
            node.speaker.setPaths(
              'agent',
              chosen.map((prefix) => ({ prefix })),
              network.now,
            );
            wanted.set(node, chosen);
          }
        }
        network.run(random.below(3_000));
      }
      for (const client of clients) network.mend(reflector, client);
      network.run(120_000);
      const expected = [...new Set([...wanted.values()].flat())].sort();
      for (const node of nodes) {
        assert.deepEqual(
          prefixesOf(loc(node).filter(({ best }) => best === true)),
          expected,
          `${node.name} has what all have`,
        );
        for (const one of node.speaker.peers()) {
          for (const counters of one.families) {
            assert.deepEqual([counters.pending, counters.stale], [0, 0], node.name);
          }
        }
      }
      for (const client of clients) {
        const sent = reflector.speaker.routes({ view: 'advertised', peer: client.name }).rows;
        const got = client.speaker.routes({ view: 'received', peer: reflector.name }).rows;
        const text = (rows: readonly RouteRow[]) =>
          rows
            .map(({ prefix, nextHop, attributes }) => JSON.stringify([prefix, nextHop, attributes]))
            .sort();
        assert.deepEqual(text(got), text(sent));
      }
    }),
    { numRuns: 15 },
  );
});

test('speakers that are killed and come again, as restarted or as new, end with what there is and nothing stale', () => {
  fc.assert(
    fc.property(fc.integer(), (seed) => {
      const random = seeded(seed);
      const network = new VirtualNetwork({ random, delay: [0, 60], chunk: 150 });
      const rest = { gracefulRestart: { restartTime: 20, deferral: 10 } };
      const families = [{ ...v4only[0], ...(random.below(2) === 0 ? { llgr: 15 } : {}) }];
      const asns = [65001, 65002, 65003] as const;
      const addressOf = (i: number): string => `192.0.2.${i + 1}`;
      const wanted: string[][] = [[], [], []];
      const nodes: VirtualSpeaker[] = [];
      const start = (i: number, restarting: boolean): void => {
        const others = [0, 1, 2].filter((j) => j !== i);
        const node = network.add(
          `n${i}`,
          addressOf(i),
          config(asns[i]!, addressOf(i), rest),
          restarting ? { expected: others.map((j) => `n${j}`) } : undefined,
        );
        nodes[i] = node;
        for (const j of others) {
          node.speaker.addPeer(
            {
              name: `n${j}`,
              target: { address: Address.parse(addressOf(j)) },
              asn: asn(asns[j]!),
              families,
              timers: { connectRetry: 1, idleHold: 0.1, hold: 90 },
              gracefulRestart: { restartTime: 20 },
            },
            network.now,
          );
        }
        node.speaker.setPaths(
          'agent',
          wanted[i]!.map((prefix) => ({ prefix })),
          network.now,
        );
      };
      for (const i of [0, 1, 2]) start(i, false);
      for (let step = 0; step < 25; step++) {
        const i = random.below(3);
        const j = (i + 1 + random.below(2)) % 3;
        switch (random.below(6)) {
          case 0:
            network.kill(nodes[i]!);
            network.run(random.below(30_000));
            start(i, random.below(2) === 0);
            break;
          case 1:
            network.cut(nodes[i]!, nodes[j]!);
            break;
          case 2:
            network.mend(nodes[i]!, nodes[j]!);
            break;
          default:
            wanted[i] = Array.from({ length: 8 }, (_, n) => `10.${i}.${n}.0/24`).filter(
              () => random.below(2) === 0,
            );
            nodes[i]!.speaker.setPaths(
              'agent',
              wanted[i].map((prefix) => ({ prefix })),
              network.now,
            );
        }
        network.run(random.below(4_000));
      }
      for (const [i, j] of [
        [0, 1],
        [1, 2],
        [0, 2],
      ] as const) {
        network.mend(nodes[i]!, nodes[j]!);
      }
      network.run(200_000);
      const expected = wanted.flat().sort();
      for (const node of nodes) {
        assert.deepEqual(
          prefixesOf(loc(node).filter(({ best }) => best === true)),
          expected,
          node.name,
        );
        for (const one of node.speaker.peers()) {
          assert.equal(one.state, 'established');
          assert.equal(one.families[0]?.stale, 0);
          assert.equal(one.families[0]?.pending, 0);
        }
      }
    }),
    { numRuns: 12 },
  );
});
