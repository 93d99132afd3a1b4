import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Address } from '@causeway/ip';
import fc from 'fast-check';
import { addressOf, datagramOf, specOf, TwoSystems, tools } from '../testing/two-systems.ts';
import { type DiscardReason, discardReasons } from './discards.ts';
import { type BfdDatagram, BfdEngine } from './engine.ts';
import type { BfdError } from './errors.ts';
import type { SessionSpec } from './spec.ts';
import { type Discriminator, Micros } from './values.ts';
import { sealPacket } from './wire/auth.ts';
import { type ControlPacket, decodeControl, encodeControl } from './wire/control.ts';

const second = 1_000_000;

const packet = (change: Partial<ControlPacket> = {}): ControlPacket => ({
  diagnostic: 'none',
  state: 'down',
  poll: false,
  final: false,
  controlPlaneIndependent: false,
  authenticated: false,
  demand: false,
  multiplier: 3,
  length: 24,
  myDiscriminator: 7 as Discriminator,
  yourDiscriminator: 0,
  desiredMinTx: Micros.of(300_000),
  requiredMinRx: Micros.of(300_000),
  requiredMinEchoRx: Micros.of(0),
  ...change,
});

/** A system with one session to b, as a sees it. */
function alone(change: Partial<SessionSpec> = {}) {
  const engine = new BfdEngine(tools(1));
  engine.configure([specOf('a', change)], 0);
  const [session] = engine.sessions();
  return { engine, session: session! };
}

const snapshot = ({ engine, session }: ReturnType<typeof alone>) => ({
  state: session.state,
  remoteState: session.remoteState,
  remoteDiscriminator: session.remoteDiscriminator,
  detectionTime: session.detectionTime,
  expires: session.expires,
  received: session.received,
  sessions: [...engine.sessions()].length,
});

/** Every rule of section 6.8.6 and around it that discards: what comes, and that nothing changes by it. */
const discards: readonly [
  DiscardReason,
  string,
  (own: Discriminator) => { bytes: Uint8Array; change?: Partial<BfdDatagram> },
  Partial<SessionSpec>?,
][] = [
  ['ttl', 'one hop too many', () => ({ bytes: encodeControl(packet()), change: { ttl: 254 } })],
  [
    'ttl',
    'a TTL that nobody knows',
    () => ({ bytes: encodeControl(packet()), change: { ttl: -1 } }),
  ],
  [
    'ttl',
    'multihop, from further than allowed',
    () => ({ bytes: encodeControl(packet()), change: { hops: 'multi', ttl: 253 } }),
    { hops: 'multi', minTtl: 254 },
  ],
  ['truncated', 'nothing', () => ({ bytes: new Uint8Array(0) })],
  [
    'bad-version',
    'version 2',
    () => ({ bytes: Uint8Array.from([0x40, ...encodeControl(packet()).subarray(1)]) }),
  ],
  ['bad-length', 'a length of 8', () => ({ bytes: encodeControl(packet({ length: 8 })) })],
  [
    'length-beyond-payload',
    'a length of 200',
    () => ({ bytes: encodeControl(packet({ length: 200 })) }),
  ],
  ['zero-multiplier', 'no multiplier', () => ({ bytes: encodeControl(packet({ multiplier: 0 })) })],
  [
    'zero-my-discriminator',
    'no discriminator',
    () => ({ bytes: encodeControl(packet({ myDiscriminator: 0 as Discriminator })) }),
  ],
  [
    'zero-your-discriminator',
    'Up, to nobody',
    () => ({ bytes: encodeControl(packet({ state: 'up' })) }),
  ],
  [
    'unknown-discriminator',
    'to another session',
    (own) => ({
      bytes: encodeControl(packet({ state: 'up', yourDiscriminator: (own ^ 1) as Discriminator })),
    }),
  ],
  [
    'unknown-peer',
    'from a stranger',
    () => ({
      bytes: encodeControl(packet()),
      change: { source: Address.toBytes16(Address.parse('192.0.2.99')) },
    }),
  ],
  [
    'unknown-peer',
    'from the peer, but another interface',
    () => ({ bytes: encodeControl(packet()), change: { ifindex: 9 } }),
    { interface: 'eth7' },
  ],
  [
    'unknown-peer',
    'from the peer, to another address of ours',
    () => ({
      bytes: encodeControl(packet()),
      change: { destination: Address.toBytes16(Address.parse('192.0.2.3')) },
    }),
    { local: addressOf.a },
  ],
  [
    'unknown-peer',
    'from the peer, to the other port',
    () => ({ bytes: encodeControl(packet()), change: { hops: 'multi', ttl: 255 } }),
  ],
  [
    'wrong-port',
    'our discriminator, to the other port',
    (own) => ({
      bytes: encodeControl(packet({ yourDiscriminator: own })),
      change: { hops: 'multi', ttl: 255 },
    }),
  ],
  [
    'auth-unexpected',
    'authentication that nobody asked for',
    (own) => {
      const bytes = new Uint8Array(33);
      bytes.set(encodeControl(packet({ authenticated: true, length: 33, yourDiscriminator: own })));
      sealPacket(bytes, { type: 'simple', keyId: 1, key: new Uint8Array(6) }, 0, tools(1).digest);
      return { bytes };
    },
  ],
  [
    'auth-missing',
    'none, where it is asked for',
    (own) => ({ bytes: encodeControl(packet({ yourDiscriminator: own })) }),
    { auth: { type: 'keyed-sha1', keyId: 1, key: Uint8Array.of(1) } },
  ],
];

for (const [reason, what, make, spec] of discards)
  test(`discarded as ${reason}, without a trace: ${what}`, () => {
    const system = alone(spec);
    const before = snapshot(system);
    const { bytes, change } = make(system.session.discriminator);
    const effects = system.engine.receive(datagramOf('b', bytes, change), 1000);
    assert.deepEqual(effects, []);
    assert.deepEqual(snapshot(system), before);
    const counted = Object.entries(system.engine.discards).filter(([, count]) => count > 0);
    assert.deepEqual(counted, [[reason, 1]]);
  });

test('every reason to discard is in the table, there or in the tests of its own file', () => {
  const elsewhere = [
    'multipoint',
    'admin-down',
    'auth-type',
    'auth-length',
    'auth-key',
    'auth-sequence',
    'auth-digest',
  ];
  const here = discards.map(([reason]) => reason as string);
  assert.deepEqual(new Set([...here, ...elsewhere]), new Set(discardReasons));
});

test('a packet is for the session that it names, wherever it comes from; without a name, for the one that fits best', () => {
  const engine = new BfdEngine(tools(2));
  const b = addressOf.b;
  engine.configure(
    [
      specOf('a'),
      specOf('a', { interface: 'e1' }),
      specOf('a', { interface: 'e1', local: addressOf.a }),
      specOf('a', { hops: 'multi' }),
    ],
    0,
  );
  const byKey = (key: string) => engine.session(key)!;
  for (const session of engine.sessions()) if (session.spec.interface) session.interfaceIndex = 5;
  const first = encodeControl(packet());
  const heard = () => [...engine.sessions()].map(({ received }) => received).join();
  engine.receive(datagramOf('b', first, { ifindex: 1 }), 1);
  assert.equal(heard(), '1,0,0,0');
  engine.receive(datagramOf('b', first, { ifindex: 5 }), 2);
  assert.equal(heard(), '1,0,1,0');
  const other = Address.toBytes16(Address.parse('192.0.2.77'));
  engine.receive(datagramOf('b', first, { ifindex: 5, destination: other }), 3);
  assert.equal(heard(), '1,1,1,0');
  engine.receive(datagramOf('b', first, { ifindex: 5, hops: 'multi', ttl: 3 }), 4);
  assert.equal(heard(), '1,1,1,1');
  const named = encodeControl(packet({ yourDiscriminator: byKey(`${b}%e1`).discriminator }));
  engine.receive(datagramOf('b', named, { source: other, ifindex: 77 }), 5);
  assert.equal(heard(), '1,2,1,1');
});

test('what cannot be is refused with its field, and changes nothing', () => {
  const { engine } = alone();
  const refused = (field: string, change: Partial<SessionSpec>) =>
    assert.throws(
      () => engine.configure([specOf('a', change)], 1),
      (error: BfdError) => {
        assert.equal(error.code, 'bad-session');
        assert.equal(error.field, field);
        return true;
      },
    );
  const at = (text: string) => text as Address;
  refused('remote', { remote: at('0.0.0.0') });
  refused('remote', { remote: at('ff02::1') });
  refused('remote', { remote: at('fd00::00') });
  refused('local', { local: at('::') });
  refused('local', { local: at('fd00::1') });
  refused('local', { local: addressOf.b });
  refused('interface', { remote: at('fe80::1') });
  refused('interface', { interface: 'a name that is too long' });
  refused('interface', { interface: 'a/b' });
  refused('multihop', { remote: at('fe80::1'), interface: 'e0', hops: 'multi' });
  refused('minTtl', { minTtl: 254 });
  refused('minTtl', { hops: 'multi', minTtl: 0 });
  refused('minTtl', { hops: 'multi', minTtl: 256 });
  refused('txInterval', { desiredMinTx: 300 as Micros });
  refused('rxInterval', { requiredMinRx: 0 as Micros });
  refused('rxInterval', { requiredMinRx: 1e15 as Micros });
  refused('multiplier', { multiplier: 0 });
  refused('multiplier', { multiplier: 256 });
  const key = Uint8Array.of(1);
  refused('auth.type', { auth: { type: 'md6' as 'simple', keyId: 1, key } });
  refused('auth.keyId', { auth: { type: 'simple', keyId: 256, key } });
  refused('auth.key', { auth: { type: 'simple', keyId: 1, key: new Uint8Array(0) } });
  refused('auth.key', { auth: { type: 'keyed-md5', keyId: 1, key: new Uint8Array(17) } });
  assert.throws(() => engine.configure([specOf('a'), specOf('a')], 1), {
    code: 'duplicate-session',
  });
  const small = new BfdEngine({ ...tools(1), limit: 1 });
  assert.throws(() => small.configure([specOf('a'), specOf('b')], 1), {
    code: 'too-many-sessions',
  });
  assert.deepEqual(
    [...engine.sessions()].map(({ key: each }) => each),
    ['192.0.2.2'],
  );
});

test('we ask for no echo and never for Demand mode, and do as a peer asks that does', () => {
  const world = new TwoSystems(11);
  world.start();
  world.run(5 * second);
  for (const { bytes } of world.packets) {
    const { requiredMinEchoRx, demand } = decodeControl(bytes);
    assert.equal(requiredMinEchoRx, 0);
    assert.equal(demand, false);
  }
  const a = world.session('a');
  const b = world.session('b');
  const demanding = (change: Partial<ControlPacket> = {}) =>
    datagramOf(
      'b',
      encodeControl(
        packet({
          state: 'up',
          demand: true,
          myDiscriminator: b.discriminator,
          yourDiscriminator: a.discriminator,
          ...change,
        }),
      ),
    );
  const { engines } = world;
  // "... the local system MUST cease the periodic transmission of BFD Control packets."
  world.do('a', engines.a.receive(demanding(), world.now));
  assert.equal(a.nextTransmit, Number.POSITIVE_INFINITY);
  // A Poll is answered all the same.
  const [answer] = engines.a.receive(demanding({ poll: true }), world.now);
  assert.ok(answer?.type === 'send' && decodeControl(answer.bytes).final);
  // A change of our timers is polled for, and then it is quiet again.
  const { effects } = engines.a.configure(
    [{ ...a.spec, desiredMinTx: Micros.of(400_000) }],
    world.now,
  );
  const [poll] = effects;
  assert.ok(poll?.type === 'send' && decodeControl(poll.bytes).poll);
  assert.ok(a.nextTransmit < Number.POSITIVE_INFINITY);
  engines.a.receive(demanding({ final: true }), world.now);
  assert.equal(a.nextTransmit, Number.POSITIVE_INFINITY);
  engines.a.receive(demanding({ demand: false }), world.now);
  assert.ok(a.nextTransmit < world.now + second);
  assert.equal(a.state, 'up');
});

test('a peer that takes no packets gets none but answers to its Polls', () => {
  const { engine, session } = alone();
  engine.receive(datagramOf('b', encodeControl(packet({ requiredMinRx: Micros.of(0) }))), 1000);
  assert.equal(session.state, 'init');
  assert.equal(session.nextTransmit, Number.POSITIVE_INFINITY);
  const poll = encodeControl(packet({ requiredMinRx: Micros.of(0), poll: true }));
  assert.equal(engine.receive(datagramOf('b', poll), 2000).length, 1);
  engine.receive(datagramOf('b', encodeControl(packet())), 3000);
  assert.ok(session.nextTransmit < 3000 + second);
});

test('a late process judges by when packets came, and sends before it judges', () => {
  const world = new TwoSystems(12);
  world.start();
  world.run(5 * second);
  const { a } = world.engines;
  const session = world.session('a');
  const last = session.lastHeard!;
  const up = encodeControl(
    packet({
      state: 'up',
      myDiscriminator: session.remoteDiscriminator as Discriminator,
      yourDiscriminator: session.discriminator,
    }),
  );
  // Stopped for two seconds; three packets wait in the socket, of which the last came just now.
  const now = last + 2 * second;
  for (const at of [last + 600_000, last + 1_300_000, last + 1_900_000])
    a.receive(datagramOf('b', up), at);
  const effects = a.advance(now, now);
  assert.deepEqual(
    effects.map(({ type }) => type),
    ['send'],
  );
  assert.equal(session.state, 'up');
  assert.equal(session.flaps, 0);
  // Silence in a time of which not everything was read yet proves nothing.
  const later = now + 2 * second;
  a.advance(later, now + 100_000);
  assert.equal(session.state, 'up');
  a.advance(later + 1, later + 1);
  assert.equal(session.state, 'down');
});

test('no call sends two packets for one session, and a stranger makes no state, whatever comes when', () => {
  const world = new TwoSystems(13);
  world.recording = false;
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 70 }),
    fc
      .record({
        state: fc.constantFrom(
          'admin-down' as const,
          'down' as const,
          'init' as const,
          'up' as const,
        ),
        poll: fc.boolean(),
        final: fc.boolean(),
        demand: fc.boolean(),
        multiplier: fc.integer({ min: 0, max: 5 }),
        yourDiscriminator: fc.constantFrom(0, 1, 2),
        desiredMinTx: fc.constantFrom(0, 1, 50_000, 300_000, 0xffffffff),
        requiredMinRx: fc.constantFrom(0, 1, 50_000, 300_000, 0xffffffff),
      })
      .map((change) => change),
  );
  const step = fc.record({
    wait: fc.integer({ min: 0, max: 2 * second }),
    what: bytes,
    from: fc.constantFrom('b', 'stranger'),
    configure: fc.option(fc.constantFrom('down', 'up', 'fast', 'slow', 'none'), { freq: 6 }),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const engine = new BfdEngine(tools(5));
      engine.configure([specOf('a')], 0);
      let now = 0;
      const check = (effects: readonly { type: string; session: object }[]) => {
        const senders = effects.filter(({ type }) => type === 'send').map(({ session }) => session);
        assert.equal(new Set(senders).size, senders.length);
      };
      for (const { wait, what, from, configure } of steps) {
        now += wait;
        for (let turns = 0; engine.deadline <= now; turns++) {
          assert.ok(turns < 100, 'time stands still');
          check(engine.advance(Math.max(engine.deadline, 0), now));
        }
        const [session] = engine.sessions();
        const raw =
          what instanceof Uint8Array
            ? what
            : encodeControl(
                packet({
                  ...(what as Partial<ControlPacket>),
                  yourDiscriminator: [0, session?.discriminator ?? 1, 99][
                    what.yourDiscriminator
                  ] as Discriminator,
                }),
              );
        const source = from === 'b' ? addressOf.b : Address.parse('198.51.100.1');
        check(engine.receive(datagramOf('b', raw, { source: Address.toBytes16(source) }), now));
        if (configure !== null) {
          const interval = Micros.of(configure === 'slow' ? 3_000_000 : 50_000);
          const spec = specOf('a', {
            adminDown: configure === 'down',
            ...(configure === 'fast' || configure === 'slow'
              ? { desiredMinTx: interval, requiredMinRx: interval }
              : {}),
          });
          check(engine.configure(configure === 'none' ? [] : [spec], now).effects);
        }
        const all = [...engine.sessions()];
        assert.ok(all.length <= 1);
        for (const each of all) {
          assert.ok(!Number.isNaN(each.deadline));
          assert.ok(each.intervals.detectionTime >= 0);
        }
      }
    }),
    { numRuns: 150 },
  );
});
