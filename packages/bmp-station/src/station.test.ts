import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Asn, RouterId } from '@causeway/bgp';
import { makeTable, rawWithdrawals, type SampleSet } from '@causeway/bgp/testing';
import { encodeMessage } from '@causeway/bmp';
import {
  sampleDown,
  sampleHeader,
  sampleInitiation,
  sampleNotification,
  samplePeer,
  sampleRoutes,
  sampleUp,
  sampleUpdate,
} from '@causeway/bmp/testing';
import fc from 'fast-check';
import { Rig } from '../testing/rig.ts';
import type { Fault } from './faults/types.ts';
import { findRoutes } from './queries/routes.ts';
import { whyPrefix } from './queries/why.ts';
import type { Router } from './routers/router.ts';

const attributes: SampleSet['attributes'] = {
  origin: 0,
  asPath: [64_900],
  asSet: [],
  communities: [],
  largeCommunities: [],
  extendedCommunities: [],
  atomicAggregate: false,
};
/** 10.0.i.0/24 for IPv4 peers, 2001:db8:i::/48 for IPv6 ones. */
const prefixOf = (family: 'ipv4' | 'ipv6', i: number): Uint8Array =>
  family === 'ipv4'
    ? Uint8Array.of(24, 10, i >>> 8, i & 255)
    : Uint8Array.of(48, 0x20, 0x01, 0x0d, 0xb8, i >>> 8, i & 255);
const setOf = (family: 'ipv4' | 'ipv6', from: number, to: number): SampleSet => ({
  attributes,
  prefixes: Array.from({ length: to - from }, (_, i) => prefixOf(family, from + i)),
});
const holdTimer = { type: 'local-notification', notification: sampleNotification(4, 0) } as const;

interface Site {
  readonly rig: Rig;
  readonly router: Router;
}

/** A router with peers 0 to `count` - 1, of `own` routes each, distinct, and `shared` that all of a family have. */
function site(
  rig: Rig,
  name: string,
  address: string,
  count: number,
  own: number,
  shared: number,
): Site {
  const router = rig.connect(address);
  rig.feed(router, sampleInitiation(name));
  const identity = { asn: 65_000 as Asn, bgpId: RouterId.parse(address) };
  for (let index = 0; index < count; index += 1) {
    const peer = samplePeer(index);
    const start = 1000 + index * own;
    rig.feed(
      router,
      sampleUp(peer, 0, identity),
      ...sampleRoutes(peer, 'in-pre', [
        setOf(peer.family, 0, shared),
        setOf(peer.family, start, start + own),
      ]),
    );
  }
  return { rig, router };
}

const lastFault = (rig: Rig): Fault => {
  const [stored] = rig.station.history.faults({ limit: 1 });
  assert.ok(stored !== undefined, 'there is a fault');
  return stored.data as Fault;
};

test('routes of a feed, before and after their peer falls', () => {
  using rig = new Rig();
  const { router } = site(rig, 'r1', '192.0.2.1', 2, 3, 2);
  assert.equal(rig.station.rib.size, 10);
  const { rows } = findRoutes(rig.station, { prefix: '10.0.0.0/24', limit: 10 });
  assert.deepEqual(
    rows.map(({ router: name, peer, view, asPath, nextHop }) => [
      name,
      peer,
      view,
      asPath,
      nextHop,
    ]),
    [['r1', '10.254.0.0', 'in-pre', '66000 64900', '10.254.0.0']],
  );
  assert.deepEqual(
    rig.ofType('table').map(({ peer, data }) => [peer, (data as { routes: number }).routes]),
    [
      ['10.254.0.0', 5],
      ['2001:db8:ffff::1', 5],
    ],
  );
  rig.feed(router, sampleDown(samplePeer(0), holdTimer));
  assert.equal(rig.station.rib.size, 5);
  assert.equal(findRoutes(rig.station, { prefix: '10.0.0.0/24', limit: 10 }).rows.length, 0);
});

test('pages of routes cover all of both families, and lookups find covering and inner prefixes', () => {
  using rig = new Rig();
  site(rig, 'r1', '192.0.2.1', 4, 10, 5);
  const seen: string[] = [];
  for (let cursor: number | undefined = 0; cursor !== undefined; ) {
    const page = findRoutes(rig.station, { limit: 7, cursor });
    seen.push(...page.rows.map(({ prefix, peer }) => `${prefix} ${peer}`));
    cursor = page.next;
  }
  assert.equal(seen.length, 60);
  assert.equal(new Set(seen).size, 60);
  const inner = findRoutes(rig.station, { prefix: '10.0.0.0/16', lookup: 'longer', limit: 1000 });
  assert.equal(new Set(inner.rows.map(({ prefix }) => prefix)).size, 5);
  const match = findRoutes(rig.station, { prefix: '10.0.3.7/32', lookup: 'match', limit: 10 });
  assert.deepEqual([...new Set(match.rows.map(({ prefix }) => prefix))], ['10.0.3.0/24']);
});

test('forty peers down in two seconds by hold timer: one fault, and the router is the suspect', () => {
  using rig = new Rig();
  const { router } = site(rig, 'r1', '192.0.2.1', 40, 5, 10);
  for (let index = 0; index < 40; index += 1) {
    rig.feed(router, sampleDown(samplePeer(index), holdTimer));
    rig.pass(50);
  }
  assert.equal(rig.station.history.faults({ limit: 10 }).length, 0, 'not judged while it goes on');
  rig.pass(2500);
  const fault = lastFault(rig);
  assert.equal(fault.state, 'open');
  assert.equal(fault.sessions.length, 40);
  assert.deepEqual(fault.causes, [
    { why: 'hold-timer', closedBy: 'router', sessions: 40, name: fault.causes[0]?.name },
  ]);
  assert.equal(fault.suspects[0]?.node.name, 'r1');
  assert.equal(fault.suspects.length, 1);
  assert.match(
    fault.headline,
    /^40 sessions fell in 1\.9 s by hold-timer.*: r1 or its link is the suspect$/,
  );
  // 40 x 5 of their own, and 10 of each family that all had.
  assert.deepEqual(
    [fault.prefixes.lost, fault.prefixes.reachable, fault.prefixes.gone],
    [220, 0, 220],
  );
  for (let index = 0; index < 40; index += 1) rig.feed(router, sampleUp(samplePeer(index)));
  assert.equal(lastFault(rig).state, 'open', 'not written yet');
  rig.pass(250);
  const over = lastFault(rig);
  assert.equal(over.state, 'recovered');
  assert.ok(over.sessions.every(({ upAt, flaps }) => upAt !== undefined && flaps?.lastHour === 1));
});

test('one peer of many falls: it is the suspect, and what others still lead to is reachable', () => {
  using rig = new Rig();
  const { router } = site(rig, 'r1', '192.0.2.1', 20, 5, 10);
  rig.feed(router, sampleDown(samplePeer(4), holdTimer));
  rig.pass(2500);
  const fault = lastFault(rig);
  assert.equal(fault.suspects[0]?.node.name, '10.254.0.4');
  assert.deepEqual(
    [fault.prefixes.lost, fault.prefixes.reachable, fault.prefixes.gone],
    [15, 10, 5],
  );
  assert.deepEqual(fault.prefixes.perRouter, [
    { router: router.id, routerName: 'r1', lost: 15, reachable: 10 },
  ]);
  assert.ok(fault.prefixes.goneSample.includes('10.3.252.0/24'), fault.prefixes.goneSample.join());
});

test('two ends of one session are one session, and two routers that lose the same peer name it', () => {
  using rig = new Rig();
  const one = site(rig, 'r1', '192.0.2.1', 10, 2, 2);
  const two = site(rig, 'r2', '192.0.2.2', 10, 2, 2);
  rig.feed(one.router, sampleDown(samplePeer(3), { type: 'remote-closed' }));
  rig.pass(500);
  rig.feed(two.router, sampleDown(samplePeer(3), { type: 'remote-closed' }));
  rig.pass(2500);
  const fault = lastFault(rig);
  assert.equal(fault.sessions.length, 2);
  assert.deepEqual(
    fault.suspects.map(({ node, sessionsDown, sessionsKnown }) => [
      node.bgpId,
      sessionsDown,
      sessionsKnown,
    ]),
    [['10.253.0.3', 2, 2]],
  );
  assert.match(fault.headline, /tcp-closed, closed by the peer/);
});

test('faults far apart are two; a peer that keeps falling is counted', () => {
  using rig = new Rig();
  const { router } = site(rig, 'r1', '192.0.2.1', 5, 2, 2);
  for (let round = 0; round < 3; round += 1) {
    rig.feed(router, sampleDown(samplePeer(2), holdTimer));
    rig.pass(3000);
    rig.feed(router, sampleUp(samplePeer(2)));
    rig.pass(3000);
  }
  const faults = rig.station.history.faults({ limit: 10 }).map(({ data }) => data as Fault);
  assert.equal(faults.length, 3);
  assert.deepEqual(
    faults.map(({ sessions }) => sessions[0]?.flaps?.lastHour),
    [3, 2, 1],
  );
});

test('a shutdown with a text: deliberate, with who and why', () => {
  using rig = new Rig();
  const { router } = site(rig, 'r1', '192.0.2.1', 3, 2, 2);
  const notification = sampleNotification(6, 2, 'new line cards');
  rig.feed(router, sampleDown(samplePeer(1), { type: 'remote-notification', notification }));
  rig.pass(2500);
  const fault = lastFault(rig);
  assert.equal(fault.causes[0]?.why, 'admin-shutdown');
  assert.equal(fault.causes[0]?.text, 'new line cards');
  assert.match(fault.headline, /saying "new line cards": somebody meant it at 2001:db8:ffff::1$/);
});

test('who else lost the same prefixes at that time', () => {
  using rig = new Rig();
  const one = site(rig, 'r1', '192.0.2.1', 4, 2, 6);
  const two = site(rig, 'r2', '192.0.2.2', 2, 2, 6);
  const withdrawn = [0, 1, 2].map((i) => prefixOf('ipv4', i));
  for (const update of rawWithdrawals(withdrawn, 'ipv4')) {
    rig.feed(two.router, sampleUpdate(samplePeer(0), 'in-pre', update));
  }
  rig.pass(500);
  rig.feed(one.router, sampleDown(samplePeer(0), holdTimer));
  rig.pass(2500);
  const fault = lastFault(rig);
  assert.deepEqual(
    fault.alsoLost.map(({ routerName, peerAddress, prefixes }) => [
      routerName,
      peerAddress,
      prefixes,
    ]),
    [['r2', '10.254.0.0', 3]],
  );
  const why = whyPrefix(rig.station, '10.0.1.0/24', rig.now - 3_600_000);
  assert.deepEqual(why.events.map(({ router, change }) => [router, change]).sort(), [
    ['r1', 'lost'],
    ['r2', 'withdrawn'],
  ]);
  assert.equal(why.faults.length, 1);
  assert.deepEqual(
    why.routes.map(({ router, peer }) => `${router} ${peer}`),
    ['r1 10.254.0.2'],
  );
});

test('the feed itself ends: a fault of its own, over when the router is back', () => {
  using rig = new Rig();
  const { router } = site(rig, 'r1', '192.0.2.1', 3, 2, 2);
  rig.station.closed(router, { code: 'closed', text: 'ECONNRESET' }, rig.now);
  assert.equal(rig.station.rib.size, 0);
  rig.pass(2500);
  assert.match(lastFault(rig).headline, /^the feed of r1 ended: closed \(ECONNRESET\)$/);
  site(rig, 'r1', '192.0.2.1', 3, 2, 2);
  rig.pass(250);
  assert.equal(lastFault(rig).state, 'recovered');
  const ids = rig.station.history.routers(0).map(({ id }) => id);
  assert.equal(ids.length, 1, 'it is the same router');
});

test('a restarted station follows the faults that were open', () => {
  using rig = new Rig();
  const { router } = site(rig, 'r1', '192.0.2.1', 3, 2, 2);
  rig.feed(router, sampleDown(samplePeer(1), holdTimer));
  rig.pass(2500);
  const { id } = lastFault(rig);
  rig.station.stop(rig.now);
  rig.restart();
  const again = rig.connect('192.0.2.1');
  rig.feed(again, sampleInitiation('r1'), sampleUp(samplePeer(1)));
  rig.pass(500);
  const stored = rig.station.history.fault(id)!.data as Fault;
  assert.equal(stored.state, 'recovered');
});

test('a router that connects again takes its old connection’s place', () => {
  using rig = new Rig();
  const { router } = site(rig, 'r1', '192.0.2.1', 2, 2, 2);
  const again = rig.connect('192.0.2.1');
  rig.feed(again, sampleInitiation('r1'));
  assert.deepEqual(rig.hungUp, [router]);
  assert.equal(router.closing?.code, 'superseded');
  assert.equal(rig.station.routers.size, 1);
});

test('Peer Up twice is one session; with other OPENs it is another', () => {
  using rig = new Rig();
  const { router } = site(rig, 'r1', '192.0.2.1', 1, 2, 0);
  rig.feed(
    router,
    sampleUp(samplePeer(0), 5, { asn: 65_000 as Asn, bgpId: RouterId.parse('192.0.2.1') }),
  );
  assert.equal(rig.ofType('peer-up').length, 1);
  assert.equal(rig.station.rib.size, 2);
  rig.feed(
    router,
    sampleUp(samplePeer(0), 5, { asn: 65_001 as Asn, bgpId: RouterId.parse('192.0.2.1') }),
  );
  assert.equal(rig.ofType('peer-up').length, 2);
  assert.equal(rig.ofType('peer-down').length, 1);
  assert.equal(rig.station.rib.size, 0);
});

/** What a router sends, and what it is closed for. */
const up = sampleUp(samplePeer(0));
const hostile: readonly (readonly [string, readonly Uint8Array[], string, string | undefined])[] = [
  ['HTTP', [Buffer.from('GET / HTTP/1.1\r\n')], 'malformed', 'bad-version'],
  ['a message before Initiation', [up], 'malformed', 'bad-order'],
  ['a length of four gigabytes', [Uint8Array.of(3, 255, 255, 255, 255)], 'malformed', 'too-large'],
  ['a length of three', [Uint8Array.of(3, 0, 0, 0, 3, 4)], 'malformed', 'bad-length'],
  ['a Peer Up cut short', [sampleInitiation('r'), cut(up, 30)], 'malformed', 'truncated'],
  ['a Peer Up with bytes behind it', [sampleInitiation('r'), grow(up)], 'malformed', 'truncated'],
  [
    'Termination',
    [
      sampleInitiation('r'),
      encodeMessage({ type: 'termination', reason: 'out-of-resources', information: [] }),
    ],
    'terminated',
    'out-of-resources',
  ],
  [
    'more peers than allowed',
    [sampleInitiation('r'), ...Array.from({ length: 201 }, (_, i) => sampleUp(samplePeer(i)))],
    'too-many-peers',
    undefined,
  ],
];

function cut(frame: Uint8Array, bytes: number): Uint8Array {
  const short = frame.slice(0, frame.length - bytes);
  new DataView(short.buffer).setUint32(1, short.length);
  return short;
}

function grow(frame: Uint8Array): Uint8Array {
  const long = new Uint8Array(frame.length + 3);
  long.set(frame);
  new DataView(long.buffer).setUint32(1, long.length);
  return long;
}

for (const [name, frames, code, detail] of hostile) {
  test(`closed with a reason: ${name}`, () => {
    using rig = new Rig();
    const well = site(rig, 'well', '192.0.2.9', 1, 1, 1);
    const router = rig.connect('192.0.2.1');
    const reason = rig.feed(router, ...frames);
    assert.deepEqual([reason?.code, reason?.detail], [code, detail], reason?.text ?? '');
    const told = rig.events.find(
      ({ type, data }) =>
        (type === 'router-down' || type === 'router-refused') &&
        (data as { reason: { code: string } }).reason.code === code,
    );
    assert.ok(told !== undefined, 'an event says so');
    assert.equal(rig.station.rib.size, 2, 'the other router is untouched');
    assert.deepEqual([...rig.station.routers], [well.router]);
  });
}

test('a connection that says nothing is closed, and refusals of one address are told once a minute', () => {
  using rig = new Rig();
  for (let i = 0; i < 30; i += 1) {
    rig.connect('192.0.2.66');
    rig.pass(10_250);
  }
  assert.ok(rig.hungUp.every(({ closing }) => closing?.code === 'no-initiation'));
  const told = rig.ofType('router-refused').length;
  assert.ok(told >= 5 && told <= 6, `${told} events in five minutes`);
});

test('limits: routers, and routes of all routers together', () => {
  using rig = new Rig({ routers: 2, routes: 50 });
  site(rig, 'r1', '192.0.2.1', 2, 10, 5);
  const router = rig.connect('192.0.2.2');
  rig.feed(router, sampleInitiation('r2'), sampleUp(samplePeer(0)));
  const refused = rig.station.accept('192.0.2.3', 1, rig.now);
  assert.equal((refused as { code: string }).code, 'too-many-routers');
  const reason = rig.feed(router, ...sampleRoutes(samplePeer(0), 'in-pre', [setOf('ipv4', 0, 40)]));
  assert.equal(reason?.code, 'too-many-routes');
  assert.equal(rig.station.rib.size, 30, 'what the other router told is still there');
});

test('an UPDATE that is wrong is treated as RFC 7606 has it, counted, and told once a second', () => {
  using rig = new Rig();
  const { router } = site(rig, 'r1', '192.0.2.1', 1, 0, 3);
  const bad = sampleRoutes(samplePeer(0), 'in-pre', [setOf('ipv4', 0, 3)])[0]!.slice();
  // ORIGIN's value.
  const origin = bad.findIndex((byte, i) => i > 67 && byte === 0x40 && bad[i + 1] === 1);
  bad[origin + 3] = 9;
  for (let i = 0; i < 5; i += 1) assert.equal(rig.feed(router, bad), undefined);
  assert.equal(rig.ofType('malformed').length, 1);
  assert.equal(rig.station.rib.size, 0, 'treated as withdrawn');
  assert.equal([...router.peers.values()][0]?.counters.malformed, 5);
});

test('when all routers are gone nothing is left', () => {
  using rig = new Rig();
  const sites = ['192.0.2.1', '192.0.2.2'].map((address, i) =>
    site(rig, `r${i}`, address, 20, 20, 30),
  );
  for (const { router } of sites) {
    for (let index = 0; index < 10; index += 1)
      rig.feed(router, sampleDown(samplePeer(index), holdTimer));
  }
  rig.pass(3000);
  for (const { router } of sites) rig.station.closed(router, { code: 'closed' }, rig.now);
  rig.pass(3000);
  const { rib } = rig.station;
  assert.equal(rib.size, 0);
  assert.deepEqual(
    rib.tables.map(({ prefixes }) => prefixes.size),
    [0, 0],
  );
  assert.equal(rib.attributes.size, 0);
  assert.equal(rig.station.feeds.size, 0);
});

test('whatever bytes come, the station closes with a reason or goes on, and forgets all in the end', () => {
  const frames = [
    sampleInitiation('r'),
    ...[0, 1].flatMap((index) => {
      const peer = samplePeer(index);
      return [
        sampleUp(peer),
        ...sampleRoutes(peer, 'in-pre', [
          ...makeTable({ family: peer.family, routes: 20, seed: 3 }),
        ]),
        sampleDown(peer, { type: 'remote-closed' }),
        encodeMessage({
          type: 'statistics',
          peer: sampleHeader(peer, 'in-pre'),
          statistics: [{ type: 'gauge', name: 'loc-rib-routes', value: 3n }],
        }),
      ];
    }),
  ];
  const step = fc.record({
    frame: fc.nat(frames.length - 1),
    edits: fc.array(fc.tuple(fc.nat(300), fc.nat(255)), { maxLength: 3 }),
    chunk: fc.integer({ min: 1, max: 200 }),
  });
  using rig = new Rig();
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
      const router = rig.connect('192.0.2.1');
      let reason = rig.feed(router, frames[0]!);
      for (const { frame, edits, chunk } of steps) {
        if (reason !== undefined) break;
        const bytes = frames[frame]!.slice();
        for (const [at, value] of edits) if (at < bytes.length) bytes[at] = value;
        for (let at = 0; at < bytes.length && reason === undefined; at += chunk) {
          reason = rig.feed(router, bytes.subarray(at, at + chunk));
        }
      }
      if (reason === undefined) rig.station.closed(router, { code: 'closed' }, rig.now);
      rig.pass(5000);
      assert.equal(rig.station.rib.size, 0);
      assert.equal(rig.station.feeds.size, 0);
      assert.equal(rig.station.rib.attributes.size, 0);
    }),
    { numRuns: 150 },
  );
});
