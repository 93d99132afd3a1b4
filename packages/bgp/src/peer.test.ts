import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Address } from '@causeway/ip';
import fc from 'fast-check';
import {
  Asn,
  encodeEndOfRib,
  encodeKeepalive,
  encodeNotification,
  encodeOpen,
  type FamilyKey,
  frame,
  MessageType,
  notification,
  type OpenMessage,
  Peer,
  type PeerConfig,
  type PeerInput,
  type PeerOutput,
  RouterId,
} from '../index.ts';
import { hex } from '../testing/bytes.ts';
import { connectionIds, seededRandom, VirtualLink } from '../testing/peers.ts';

const base = (name: string, asn: number, routerId: string, remote: string): PeerConfig => ({
  name,
  target: { address: Address.parse(remote) },
  asn: 'any',
  localAsn: Asn.of(asn),
  routerId: RouterId.parse(routerId),
  families: [{ family: 'ipv4-unicast' }, { family: 'ipv6-unicast' }],
});

interface PairOptions {
  readonly a?: Partial<PeerConfig>;
  readonly b?: Partial<PeerConfig>;
  readonly seed?: number;
  readonly delay?: number;
  readonly segments?: boolean;
}

function pair(options: PairOptions = {}): VirtualLink {
  const random = seededRandom(options.seed ?? 1);
  const nextConnection = connectionIds();
  const peer = (config: PeerConfig) => new Peer(config, { random, nextConnection });
  return new VirtualLink(
    peer({ ...base('a', 65001, '10.0.0.1', '192.0.2.2'), ...options.a }),
    peer({ ...base('b', 65002, '10.0.0.2', '192.0.2.1'), ...options.b }),
    {
      delay: () => options.delay ?? 1 + random() * 20,
      ...(options.segments ? { segment: () => Math.ceil(random() * 30) } : {}),
    },
  );
}

type Node = VirtualLink['a'];

const start = (link: VirtualLink) => {
  link.input(link.a, { type: 'start' });
  link.input(link.b, { type: 'start' });
};

function up(options: PairOptions = {}): VirtualLink {
  const link = pair(options);
  start(link);
  assert.ok(
    link.run(60_000, () => link.established),
    'comes up',
  );
  return link;
}

function of<T extends PeerOutput['type']>(node: Node, type: T) {
  return node.outputs.filter((one): one is Extract<PeerOutput, { type: T }> => one.type === type);
}

/** The last fall of a session that was up. */
const lastDown = (node: Node) => of(node, 'down').findLast((one) => one.established);

test('two peers come up, whoever connects, and leave one connection', () => {
  for (let seed = 1; seed < 60; seed++) {
    for (const change of [{}, { a: { passive: true } }, { b: { passive: true } }]) {
      const link = pair({ seed, segments: seed % 2 === 0, ...change });
      start(link);
      const what = `seed ${seed} ${JSON.stringify(change)}`;
      assert.ok(
        link.run(60_000, () => link.established),
        what,
      );
      link.run(5_000);
      assert.ok(link.established, `${what}: stays`);
      assert.equal(link.openConnections, 1, what);
      link.run(600_000);
      assert.ok(link.established, `${what}: keep-alives`);
      assert.equal(of(link.a, 'established').length, 1, `${what}: once`);
    }
  }
});

test('OpenDelay on either side', () => {
  for (const change of [
    { a: { timers: { delayOpen: 3 } } },
    { b: { timers: { delayOpen: 3 } } },
    { a: { timers: { delayOpen: 2 } }, b: { timers: { delayOpen: 5 } } },
  ]) {
    const link = pair(change);
    start(link);
    assert.ok(
      link.run(60_000, () => link.established),
      JSON.stringify(change),
    );
  }
});

test('property: whatever TCP does, two peers are together again soon after it stops doing it', () => {
  const trouble = fc.array(
    fc.tuple(fc.constantFrom('reset', 'silent', 'dead', 'stop', 'refuse'), fc.nat(20_000)),
    { minLength: 1, maxLength: 6 },
  );
  fc.assert(
    fc.property(fc.nat(), trouble, fc.boolean(), (seed, troubles, graceful) => {
      const restart = graceful ? { gracefulRestart: { restartTime: 60 } } : {};
      const timers = { hold: 9 };
      const link = pair({
        seed,
        segments: true,
        a: { ...restart, timers },
        b: { ...restart, timers },
      });
      start(link);
      for (const [what, ms] of troubles) {
        link.run(ms);
        if (what === 'reset' || what === 'silent') link.cut(what === 'silent');
        else if (what === 'dead') link.alive = !link.alive;
        else if (what === 'refuse') link.b.listens = !link.b.listens;
        else link.input(link.a, { type: 'stop', how: 'admin-reset', text: 'again' });
      }
      if (!link.alive) link.cut(true);
      link.alive = true;
      link.a.listens = true;
      link.b.listens = true;
      // A half-open connection holds until the large hold time.
      assert.ok(
        link.run(400_000, () => link.established),
        JSON.stringify(troubles),
      );
      link.run(30_000);
      assert.ok(link.established);
      assert.equal(link.openConnections, 1);
    }),
    { numRuns: 150 },
  );
});

test('what is negotiated: the least hold time, families both have, ADD-PATH by direction', () => {
  const link = up({
    a: {
      timers: { hold: 30 },
      families: [
        { family: 'ipv4-unicast', addPath: { receive: true, send: 0 }, llgr: 60 },
        { family: 'ipv6-unicast' },
      ],
      gracefulRestart: { restartTime: 100 },
      extendedNextHop: true,
    },
    b: {
      families: [{ family: 'ipv4-unicast', addPath: { receive: true, send: 4 } }],
      extendedMessages: false,
      extendedNextHop: true,
      gracefulRestart: { restartTime: 50, notification: false },
    },
  });
  const { negotiated } = link.a.peer;
  assert.ok(negotiated);
  assert.equal(negotiated.holdTime, 30);
  assert.equal(negotiated.keepaliveTime, 10);
  assert.equal(negotiated.maxMessage, 4096);
  assert.equal(negotiated.kind, 'external');
  assert.deepEqual(negotiated.families, [
    {
      family: 'ipv4-unicast',
      addPathReceive: true,
      addPathSend: false,
      extendedNextHop: true,
      gracefulRestart: { forwarding: true },
    },
  ]);
  assert.deepEqual(negotiated.gracefulRestart, {
    restarting: false,
    notification: false,
    restartTime: 50,
  });
  assert.deepEqual(negotiated.receive.addPath, ['ipv4-unicast']);
  assert.deepEqual(link.b.peer.negotiated?.families[0]?.llgr, { forwarding: true, staleTime: 60 });
});

/** Our configuration, the neighbour's, and the NOTIFICATION that one of them sends. */
const refusals: readonly [string, PairOptions, number, number][] = [
  ['another AS than configured', { a: { asn: Asn.of(65009) } }, 2, 2],
  ['none of the list', { a: { asn: [Asn.of(65009), Asn.of(65010)] } }, 2, 2],
  ['internal wanted', { a: { asn: 'internal' } }, 2, 2],
  ['external wanted', { a: { asn: 'external' }, b: { localAsn: Asn.of(65001) } }, 2, 2],
  [
    'our own identifier inside of an AS',
    { b: { localAsn: Asn.of(65001), routerId: RouterId.parse('10.0.0.1') } },
    2,
    3,
  ],
  [
    'no family in common',
    {
      a: { families: [{ family: 'ipv4-unicast' }] },
      b: { families: [{ family: 'ipv6-unicast' }] },
    },
    2,
    7,
  ],
  [
    'a family that is required',
    { a: { requireFamilies: true }, b: { families: [{ family: 'ipv6-unicast' }] } },
    2,
    7,
  ],
];

for (const [what, options, code, subcode] of refusals) {
  test(`OPEN refused: ${what}; then pauses that grow`, () => {
    const link = pair({ ...options, delay: 5 });
    start(link);
    link.run(120_000);
    const downs = [...of(link.a, 'down'), ...of(link.b, 'down')];
    assert.ok(
      downs.some(
        ({ reason }) =>
          reason.notification?.code === code && reason.notification.subcode === subcode,
      ),
    );
    assert.equal(of(link.a, 'established').length, 0);
    const attempts = of(link.a, 'connect').length + of(link.b, 'connect').length;
    assert.ok(attempts < 40, `${attempts} attempts in two minutes`);
  });
}

test('the same identifier in another AS is no fault (RFC 6286)', () => {
  up({ b: { routerId: RouterId.parse('10.0.0.1') } });
});

test('shutdown with a text stays down until started; reset comes back', () => {
  const link = up();
  link.input(link.a, { type: 'stop', how: 'admin-shutdown', text: 'maintenance' });
  link.run(1_000);
  assert.deepEqual(lastDown(link.b)?.reason.text, 'maintenance');
  assert.equal(lastDown(link.b)?.reason.by, 'remote');
  assert.equal(lastDown(link.a)?.reason.why, 'admin-shutdown');
  link.run(120_000);
  assert.equal(link.a.peer.state, 'idle');
  link.input(link.a, { type: 'start' });
  assert.ok(link.run(90_000, () => link.established));
  link.input(link.a, { type: 'stop', how: 'admin-reset' });
  assert.ok(!link.established);
  assert.ok(link.run(30_000, () => link.established));
});

test('maximum prefixes: the family and the limit are told; it comes back when that was asked for', () => {
  const link = up();
  link.input(link.a, {
    type: 'stop',
    how: 'max-prefix',
    family: 'ipv6-unicast',
    limit: 1000,
    restartAfter: 30_000,
  });
  link.run(5_000);
  assert.deepEqual(lastDown(link.b)?.reason.notification, {
    code: 6,
    subcode: 1,
    data: hex('0002 01 000003e8'),
  });
  assert.ok(!link.run(20_000, () => link.established));
  assert.ok(link.run(40_000, () => link.established));
});

test('hold timer: who hears nothing says so, and keeps what it may keep', () => {
  for (const [restart, notifications, retain] of [
    [false, false, false],
    [true, false, false],
    [true, true, true],
  ] as const) {
    const gracefulRestart = { restartTime: 70, notification: notifications };
    const config = { timers: { hold: 9 }, ...(restart ? { gracefulRestart } : {}) };
    const link = up({ a: config, b: config });
    link.alive = false;
    link.run(10_000);
    const down = lastDown(link.a);
    assert.equal(down?.reason.why, 'hold-timer');
    assert.equal(down?.reason.by, 'local');
    assert.equal(down?.reason.notification?.code, 4);
    assert.equal(down?.reason.retain, retain);
    assert.equal(down?.reason.retainSeconds, retain ? 70 : 0);
  }
});

test('graceful restart: TCP that goes keeps routes, a detaching side says nothing, a hard stop keeps none', () => {
  const gracefulRestart = { restartTime: 120 };
  const link = up({ a: { gracefulRestart }, b: { gracefulRestart } });
  const sent = of(link.a, 'send').length;
  link.input(link.a, { type: 'stop', how: 'detach' });
  assert.equal(of(link.a, 'send').length, sent, 'no NOTIFICATION');
  link.run(100);
  assert.equal(lastDown(link.b)?.reason.why, 'tcp-closed');
  assert.equal(lastDown(link.b)?.reason.retain, true);
  assert.equal(lastDown(link.b)?.reason.retainSeconds, 120);
  // Back with the R bit, at once: the neighbour has not been waiting for a timer.
  link.a.peer.setRestarting(true);
  link.input(link.a, { type: 'start' });
  assert.ok(link.run(3_000, () => link.established));
  assert.equal(link.b.peer.negotiated?.gracefulRestart?.restarting, true);
  link.input(link.a, { type: 'stop', how: 'admin-shutdown', text: 'for good' });
  link.run(100);
  const { reason } = lastDown(link.b) as { reason: { retain: boolean; text?: string } };
  assert.equal(reason.retain, false, 'a hard reset (RFC 8538)');
  assert.equal(reason.text, 'for good');
});

test('F bit by family, helper off', () => {
  const gracefulRestart = { restartTime: 120 };
  const link = pair({
    a: { gracefulRestart },
    b: { gracefulRestart: { ...gracefulRestart, helper: false } },
  });
  link.a.peer.setForwarding((family: FamilyKey) => family === 'ipv4-unicast');
  start(link);
  assert.ok(link.run(10_000, () => link.established));
  assert.deepEqual(
    link.b.peer.negotiated?.families.map((one) => one.gracefulRestart?.forwarding),
    [true, false],
  );
  link.cut(false);
  assert.equal(lastDown(link.a)?.reason.retain, true);
  assert.equal(lastDown(link.b)?.reason.retain, false);
});

test('a neighbour that restarted without a word is believed when it could restart gracefully', () => {
  for (const graceful of [true, false]) {
    const restart = graceful ? { gracefulRestart: { restartTime: 60 } } : {};
    const link = up({ a: restart, b: { ...restart, passive: true }, delay: 5 });
    // The power went: b does not know.
    link.cut(true);
    const random = seededRandom(9);
    const nextConnection = connectionIds();
    for (let i = 0; i < 1000; i++) nextConnection();
    const again = new VirtualLink(
      new Peer(link.a.peer.config, { random, nextConnection, restarting: true }),
      link.b.peer,
      { delay: () => 5 },
    );
    again.now = link.now;
    again.input(again.a, { type: 'start' });
    const back = again.run(5_000, () => again.established);
    assert.equal(back, graceful);
    if (graceful) {
      const [down] = of(again.b, 'down');
      assert.equal(down?.reason.retain, true);
      assert.equal(down?.established, true);
    }
  }
});

test('strict BFD: nothing before it is up, down with it at once, unknown changes nothing', () => {
  const link = pair({ a: { bfd: { strict: true } } });
  start(link);
  assert.ok(!link.run(60_000, () => link.established));
  assert.equal(of(link.a, 'connect').length, 0);
  assert.equal(of(link.b, 'established').length, 0);
  link.input(link.a, { type: 'bfd', state: 'up' });
  assert.ok(link.run(90_000, () => link.established));
  link.input(link.a, { type: 'bfd', state: 'unknown' });
  link.run(10_000);
  assert.ok(link.established);
  link.input(link.a, { type: 'bfd', state: 'up' });
  link.input(link.a, { type: 'bfd', state: 'down' });
  assert.equal(link.a.peer.state, 'idle');
  assert.equal(lastDown(link.a)?.reason.why, 'bfd-down');
  assert.equal(lastDown(link.a)?.reason.retain, false);
  link.run(100);
  assert.equal(lastDown(link.b)?.reason.notification?.subcode, 10);
});

test('BFD that is not strict: only a fall from up counts', () => {
  const link = pair({ a: { bfd: {} } });
  start(link);
  assert.ok(link.run(60_000, () => link.established));
  link.input(link.a, { type: 'bfd', state: 'down' });
  assert.ok(link.established);
});

test('a target that becomes known, and one that moves', () => {
  const link = pair({ a: { target: {} }, b: { passive: true } });
  start(link);
  link.run(30_000);
  assert.equal(link.a.peer.state, 'active');
  link.input(link.a, { type: 'target', address: Address.parse('192.0.2.2') });
  assert.ok(
    link.run(1_000, () => link.established),
    'at once',
  );
  link.input(link.a, { type: 'target', address: Address.parse('192.0.2.2') });
  assert.ok(link.established);
  link.input(link.a, { type: 'target', address: Address.parse('192.0.2.3') });
  assert.equal(lastDown(link.a)?.reason.why, 'config-change');
});

test('a changed configuration ends a session only when it was agreed on', () => {
  const link = up();
  const emit = (output: PeerOutput) => {
    link.a.outputs.push(output);
  };
  const { config } = link.a.peer;
  assert.equal(link.a.peer.reconfigure({ ...config }, link.now, emit), 'unchanged');
  const live = { ...config, timers: { connectRetry: 7 }, bfd: { strict: false } };
  assert.equal(link.a.peer.reconfigure(live, link.now, emit), 'updated-live');
  assert.ok(link.established);
  assert.equal(link.a.peer.reconfigure({ ...live, ttlSecurity: 1 }, link.now, emit), 'restarted');
  const { reason } = lastDown(link.a) as { reason: { why: string } };
  assert.equal(reason.why, 'config-change');
});

test('RFC 8654: long messages are taken from who does not take them', () => {
  for (const ours of [true, false]) {
    const link = up({ a: { extendedMessages: ours }, b: { extendedMessages: false } });
    assert.equal(link.a.peer.negotiated?.maxMessage, 4096);
    const body = Uint8Array.from([0x17, 0x54, ...new Uint8Array(5972), 0, 0]); // only withdrawals of 0.0.0.0/0
    const connection = link.a.peer.connection as number;
    link.input(link.a, { type: 'bytes', connection, bytes: frame(MessageType.update, body) });
    assert.equal(link.a.peer.state === 'established', ours);
  }
});

test('route refresh goes when both can, BoRR and EoRR as well', () => {
  const link = up();
  const message = { family: { afi: 1, safi: 1 }, subtype: 'begin' } as const;
  link.input(link.a, { type: 'route-refresh', message });
  link.run(100);
  assert.deepEqual(of(link.b, 'route-refresh')[0]?.message, message);
});

test('send hold timer (RFC 9687): a neighbour that takes nothing for eight minutes is given up', () => {
  const link = up();
  const connection = link.a.peer.connection as number;
  link.input(link.a, { type: 'blocked', connection });
  link.run(400_000);
  assert.ok(link.established);
  link.input(link.a, { type: 'drained', connection });
  link.run(400_000);
  assert.ok(link.established);
  link.input(link.a, { type: 'blocked', connection });
  link.run(481_000);
  assert.equal(lastDown(link.a)?.reason.why, 'send-hold-timer');
  assert.equal(lastDown(link.a)?.reason.notification?.code, 8);
});

test('an input from inside of an output comes before the next message of the chunk', () => {
  const link = up();
  const { peer } = link.b;
  const connection = peer.connection as number;
  const update = frame(MessageType.update, hex('0002 08 0a 0000'));
  const seen: string[] = [];
  const emit = (output: PeerOutput) => {
    seen.push(output.type);
    if (output.type === 'update') {
      peer.handle({ type: 'stop', how: 'max-prefix' }, link.now, emit);
    }
  };
  const bytes = Uint8Array.from([...update, ...update, ...update]);
  peer.handle({ type: 'bytes', connection, bytes }, link.now, emit);
  assert.deepEqual(
    seen.filter((type) => type === 'update' || type === 'down'),
    ['update', 'down'],
  );
});

const peerOpen: OpenMessage = {
  version: 4,
  myAs: 65002,
  holdTime: 90,
  routerId: RouterId.parse('10.0.0.9'),
  capabilities: [{ type: 'multiprotocol', family: { afi: 1, safi: 1 } }],
};

/** A message in a state where it does not belong, and the NOTIFICATION for it (RFC 6608). */
test('messages out of place', () => {
  const update = encodeEndOfRib('ipv4-unicast');
  const refresh = frame(MessageType.routeRefresh, hex('0001 00 01'));
  const table: readonly [readonly Uint8Array[], number, number][] = [
    [[update], 5, 1],
    [[encodeKeepalive()], 5, 1],
    [[refresh], 5, 1],
    [[encodeOpen(peerOpen), update], 5, 2],
    [[encodeOpen(peerOpen), encodeOpen(peerOpen)], 5, 2],
    [[encodeOpen(peerOpen), encodeKeepalive(), encodeOpen(peerOpen)], 5, 3],
    [[encodeOpen(peerOpen), encodeKeepalive(), hex('ff*16 0012 02')], 1, 2],
    [[encodeOpen(peerOpen), encodeKeepalive(), frame(MessageType.update, hex('0009 0000'))], 3, 1],
    [[encodeOpen({ ...peerOpen, version: 5 })], 2, 1],
  ];
  for (const [messages, code, subcode] of table) {
    const { peer, outputs, emit } = alone();
    for (const bytes of messages) peer.handle({ type: 'bytes', connection: 7, bytes }, 1000, emit);
    const down = outputs.find((one) => one.type === 'down');
    assert.equal(down?.type === 'down' && down.reason.notification?.code, code);
    assert.equal(down?.type === 'down' && down.reason.notification?.subcode, subcode);
    const last = outputs.filter((one) => one.type === 'send').at(-1);
    assert.equal(last?.type === 'send' && last.bytes[18], 3, 'is sent');
  }
});

/** A passive peer with an accepted connection 7. */
function alone(config: Partial<PeerConfig> = {}) {
  const peer = new Peer(
    { ...base('a', 65001, '10.0.0.1', '192.0.2.2'), passive: true, ...config },
    { random: () => 0.5, nextConnection: connectionIds(1_000_000) },
  );
  const outputs: PeerOutput[] = [];
  const emit = (output: PeerOutput) => {
    outputs.push(output);
  };
  const endpoints = {
    localAddress: Address.parse('192.0.2.1'),
    localPort: 179,
    remoteAddress: Address.parse('192.0.2.2'),
    remotePort: 40000,
  };
  peer.handle({ type: 'start' }, 0, emit);
  peer.handle({ type: 'accepted', connection: 7, endpoints }, 0, emit);
  return { peer, outputs, emit, endpoints };
}

test('nobody is let in who should not be: admin down, not started', () => {
  const { peer, emit, outputs, endpoints } = alone({ adminDown: true });
  assert.equal(peer.state, 'idle');
  const sends = outputs.filter((one) => one.type === 'send');
  assert.equal(sends.length, 1);
  assert.deepEqual([...(sends[0]?.bytes.subarray(18, 21) ?? [])], [3, 6, 5]);
  assert.ok(outputs.some((one) => one.type === 'close'));
  peer.handle({ type: 'closed', connection: 7 }, 1, emit);
  peer.handle({ type: 'accepted', connection: 8, endpoints }, 1, emit);
  assert.equal(peer.state, 'idle');
});

/** Model: what a session may do, whatever the neighbour sends, in whatever pieces, with whatever timing. */
test('property: any sequence of messages and events stays within the RFC and within bounds', () => {
  const update = frame(
    MessageType.update,
    hex('0000 0014 40 01 01 00 40 02 06 02 01 0000fdea 40 03 04 c0000202 08 0a'),
  );
  const message = fc.oneof(
    { weight: 4, arbitrary: fc.constant(encodeOpen(peerOpen)) },
    { weight: 4, arbitrary: fc.constant(encodeKeepalive()) },
    { weight: 2, arbitrary: fc.constant(update) },
    fc.constant(frame(MessageType.routeRefresh, hex('0001 00 01'))),
    fc.constant(encodeNotification(notification(6, 2))),
    fc
      .constantFrom(MessageType.open, MessageType.update, MessageType.routeRefresh)
      .chain((type) =>
        fc.uint8Array({ minLength: 10, maxLength: 60 }).map((body) => frame(type, body)),
      ),
    fc.uint8Array({ minLength: 1, maxLength: 60 }),
  );
  const event = fc.oneof(
    { weight: 8, arbitrary: fc.tuple(fc.constant('message' as const), message) },
    fc.tuple(fc.constant('wait' as const), fc.nat(200_000)),
    fc.tuple(
      fc.constant('input' as const),
      fc.constantFrom<PeerInput['type']>(
        'start',
        'stop',
        'accepted',
        'closed',
        'bfd',
        'blocked',
        'drained',
        'connect-failed',
        'connected',
      ),
    ),
  );
  fc.assert(
    fc.property(
      fc.array(event, { maxLength: 40 }),
      fc.boolean(),
      fc.boolean(),
      (events, passive, delay) => {
        const { peer, emit, outputs, endpoints } = alone({
          passive,
          ...(delay ? { timers: { delayOpen: 5 } } : {}),
        });
        let now = 0;
        let accepted = 7;
        const opened = new Map<
          number,
          { open: boolean; openSent: boolean; notified: boolean; closed: boolean }
        >();
        let established: number | undefined;
        let read = 0;
        const check = () => {
          for (; read < outputs.length; read++) {
            const output = outputs[read] as PeerOutput;
            const known =
              'connection' in output
                ? (opened.get(output.connection) ?? {
                    open: true,
                    openSent: false,
                    notified: false,
                    closed: false,
                  })
                : undefined;
            if (known && 'connection' in output) opened.set(output.connection, known);
            switch (output.type) {
              case 'send': {
                assert.ok(known && !known.closed, 'nothing is sent on a closed connection');
                assert.ok(!known.notified, 'a NOTIFICATION is the last word');
                const type = output.bytes[18];
                const rejected = type === 3 && output.bytes[19] === 6 && output.bytes[20] === 5;
                if (type === 1) {
                  assert.ok(!known.openSent, 'one OPEN');
                  known.openSent = true;
                } else if (!rejected) assert.ok(known.openSent, 'OPEN comes first');
                if (type === 3) known.notified = true;
                break;
              }
              case 'close':
                assert.ok(known && !known.closed, 'closed once');
                known.closed = true;
                if (established === output.connection) established = undefined;
                break;
              case 'established':
                assert.equal(established, undefined, 'one session at a time');
                established = output.connection;
                break;
              case 'update':
              case 'route-refresh':
                assert.notEqual(established, undefined, 'routes in Established only');
                break;
            }
          }
          const live = [...opened.values()].filter((one) => !one.closed).length;
          assert.ok(live <= 2, `${live} connections`);
          assert.equal(peer.state === 'established', established !== undefined);
          assert.equal(peer.connection, established);
        };
        for (const [kind, value] of events) {
          if (kind === 'message') {
            for (const connection of [accepted, 7]) {
              peer.handle({ type: 'bytes', connection, bytes: value as Uint8Array }, now, emit);
            }
          } else if (kind === 'wait') {
            const end = now + (value as number);
            for (let i = 0; i < 1000 && (peer.deadline ?? Number.POSITIVE_INFINITY) <= end; i++) {
              now = Math.max(now, peer.deadline as number);
              peer.handle({ type: 'timer' }, now, emit);
              assert.ok((peer.deadline ?? Number.POSITIVE_INFINITY) > now, 'timers move on');
              check();
            }
            now = end;
          } else {
            const connection = accepted;
            switch (value) {
              case 'start':
                peer.handle({ type: 'start' }, now, emit);
                break;
              case 'stop':
                peer.handle({ type: 'stop', how: 'admin-reset' }, now, emit);
                break;
              case 'accepted':
                accepted++;
                peer.handle({ type: 'accepted', connection: accepted, endpoints }, now, emit);
                break;
              case 'closed': {
                const known = opened.get(connection);
                peer.handle({ type: 'closed', connection, error: 'ECONNRESET' }, now, emit);
                if (known) check();
                break;
              }
              case 'bfd':
                peer.handle({ type: 'bfd', state: 'up' }, now, emit);
                peer.handle({ type: 'bfd', state: 'down' }, now, emit);
                break;
              case 'blocked':
              case 'drained':
                peer.handle({ type: value, connection }, now, emit);
                break;
              case 'connect-failed':
              case 'connected': {
                const last = outputs.filter((one) => one.type === 'connect').at(-1);
                if (last?.type !== 'connect' || opened.get(last.connection)?.closed) break;
                if (opened.get(last.connection)?.openSent || peer.state !== 'connect') break;
                if (value === 'connected') {
                  peer.handle(
                    { type: 'connected', connection: last.connection, endpoints },
                    now,
                    emit,
                  );
                } else {
                  peer.handle(
                    { type: 'connect-failed', connection: last.connection, error: 'ETIMEDOUT' },
                    now,
                    emit,
                  );
                }
                break;
              }
            }
          }
          check();
        }
      },
    ),
    { numRuns: 400 },
  );
});
