import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { otherSide, type Side, TwoSystems } from '../testing/two-systems.ts';
import { Micros } from './values.ts';
import { type AuthType, authTypes } from './wire/auth.ts';
import { decodeControl } from './wire/control.ts';

const second = 1_000_000;

test('two systems come up, poll their intervals, and settle at what both want', () => {
  const world = new TwoSystems();
  world.start(
    { desiredMinTx: Micros.of(50_000), multiplier: 5 },
    { requiredMinRx: Micros.of(100_000) },
  );
  world.run(3 * second);
  assert.equal(world.states, 'up up');
  const a = world.session('a');
  const b = world.session('b');
  assert.equal(a.intervals.transmitInterval, 100_000);
  assert.equal(b.intervals.transmitInterval, 300_000);
  assert.equal(a.detectionTime, 3 * 300_000);
  assert.equal(b.detectionTime, 5 * 100_000);
  assert.equal(a.intervals.polling, false);
  assert.equal(b.intervals.polling, false);
  assert.equal(a.remoteDiscriminator, b.discriminator);
  assert.equal(a.signal, 'up');
  assert.equal(a.flaps, 0);
});

test('packets go at the slow rate until up, and jittered by 0 to 25% after', () => {
  for (const multiplier of [3, 1]) {
    const world = new TwoSystems(7);
    world.start({ multiplier }, { multiplier });
    world.run(500 * second);
    const gaps = world.packets
      .filter(({ from, bytes }) => from === 'a' && !decodeControl(bytes).final)
      .map(({ at }, i, all) => at - (all[i - 1]?.at ?? at))
      .slice(20);
    const least = Math.min(...gaps);
    const most = Math.max(...gaps);
    assert.ok(least >= 0.75 * 300_000 && least < 0.77 * 300_000, `${least}`);
    const bound = multiplier === 1 ? 0.9 : 1;
    assert.ok(most <= bound * 300_000 && most > (bound - 0.02) * 300_000, `${most}`);
  }
  const alone = new TwoSystems();
  alone.link = () => undefined;
  alone.start();
  alone.run(100 * second);
  const sent = alone.packets.filter(({ from }) => from === 'a').length;
  assert.ok(sent >= 100 && sent <= 135, `${sent} in 100 s`);
});

test('a cut is noticed by both within the detection time, with the right words', () => {
  for (const [interval, multiplier] of [
    [300_000, 3],
    [50_000, 3],
    [300_000, 1],
  ] as const) {
    const world = new TwoSystems(interval);
    const spec = {
      desiredMinTx: Micros.of(interval),
      requiredMinRx: Micros.of(interval),
      multiplier,
    };
    world.start(spec, spec);
    world.run(10 * second);
    assert.equal(world.states, 'up up');
    world.link = () => undefined;
    const cut = world.now;
    world.run(multiplier * interval + 2000);
    assert.equal(world.states, 'down down');
    for (const side of ['a', 'b'] as const) {
      const down = world.changes.findLast((seen) => seen.side === side)!;
      assert.ok(down.at - cut <= multiplier * interval + 2000);
      assert.ok(down.at - cut >= (multiplier - 1) * interval);
      assert.equal(down.change.reason.type, 'detection-expired');
      const session = world.session(side);
      assert.equal(session.diagnostic, 'detection-time-expired');
      assert.equal(session.remoteDiscriminator, 0);
      assert.equal(session.signal, 'failed');
      assert.equal(session.flaps, 1);
    }
    world.link = () => 500;
    world.run(5 * second);
    assert.equal(world.states, 'up up');
    assert.equal(world.session('a').diagnostic, 'none');
  }
});

test('when only one direction is cut, the other end is told', () => {
  const world = new TwoSystems();
  world.start();
  world.run(5 * second);
  world.link = (from) => (from === 'a' ? undefined : 1000);
  world.run(1 * second);
  assert.equal(world.session('b').lastDown?.reason.type, 'detection-expired');
  const { reason } = world.session('a').lastDown!;
  assert.deepEqual(reason, { type: 'neighbor-down', remoteDiagnostic: 'detection-time-expired' });
  assert.equal(world.session('a').diagnostic, 'neighbor-signaled-down');
  assert.equal(world.session('a').signal, 'failed');
});

test('timers change while up, at once or after the poll, and nothing falls', () => {
  const world = new TwoSystems(3);
  world.start();
  world.run(5 * second);
  const slow = { desiredMinTx: Micros.of(2_000_000), requiredMinRx: Micros.of(2_000_000) };
  // Nothing comes through, so the poll cannot end: the old rate has to be kept.
  const good = world.link;
  let cutUntil = 0;
  world.link = (from, now, random) => (now < cutUntil ? undefined : good(from, now, random));
  cutUntil = world.now + 250_000;
  const before = world.packets.length;
  world.configure('a', [{ ...world.session('a').spec, ...slow }]);
  assert.equal(world.session('a').intervals.polling, true);
  assert.equal(world.session('a').intervals.transmitInterval, 300_000);
  assert.equal(decodeControl(world.packets[before]!.bytes).poll, true);
  world.run(2 * second);
  assert.equal(world.session('a').intervals.polling, false);
  assert.equal(world.session('a').intervals.transmitInterval, 2_000_000);
  assert.equal(world.session('b').detectionTime, 6_000_000);
  world.run(20 * second);
  const fast = { desiredMinTx: Micros.of(50_000), requiredMinRx: Micros.of(50_000) };
  world.configure('a', [{ ...world.session('a').spec, ...fast }]);
  // What we require shrinks: the detection time waits for the Final, our own rate does not.
  assert.equal(world.session('a').detectionTime, 6_000_000);
  world.configure('b', [{ ...world.session('b').spec, ...fast }]);
  // Again before the poll could end: a second one follows it.
  world.configure('a', [{ ...world.session('a').spec, ...fast, requiredMinRx: Micros.of(60_000) }]);
  world.run(1 * second);
  assert.equal(world.session('a').detectionTime, 180_000);
  assert.equal(world.session('a').intervals.transmitInterval, 50_000);
  assert.equal(world.session('b').intervals.transmitInterval, 60_000);
  assert.equal(world.session('a').intervals.polling, false);
  assert.equal(world.states, 'up up');
  assert.equal(world.session('a').flaps + world.session('b').flaps, 0);
});

test('every Poll is answered at once by a Final, which never polls itself', () => {
  const world = new TwoSystems(9);
  world.start();
  world.run(5 * second);
  let polls = 0;
  for (const { from, at, bytes } of world.packets) {
    const packet = decodeControl(bytes);
    assert.ok(!(packet.poll && packet.final));
    if (!packet.poll) continue;
    polls++;
    assert.ok(
      world.packets.some(
        (other) =>
          other.from === otherSide(from) &&
          other.at === at + 1000 &&
          decodeControl(other.bytes).final,
      ),
    );
  }
  assert.ok(polls >= 2);
});

test('AdminDown is no fault, is told until it is heard, and ends as it began', () => {
  const world = new TwoSystems(4);
  world.start();
  world.run(5 * second);
  world.configure('a', [{ ...world.session('a').spec, adminDown: true }]);
  world.run(10 * second);
  assert.equal(world.states, 'admin-down down');
  const b = world.session('b');
  assert.equal(b.lastDown?.reason.type, 'neighbor-admin-down');
  assert.equal(b.signal, 'administrative');
  assert.equal(b.remoteDiagnostic, 'administratively-down');
  assert.equal(world.session('a').signal, 'administrative');
  assert.ok(world.session('a').discards['admin-down'] > 3);
  world.configure('a', [{ ...world.session('a').spec, adminDown: false }]);
  world.run(5 * second);
  assert.equal(world.states, 'up up');
});

test('a session that nobody wants any more says so for a detection time and is gone', () => {
  const world = new TwoSystems(5);
  world.start();
  world.run(5 * second);
  assert.deepEqual([...world.configure('a', [])], [['192.0.2.2', 'removed']]);
  world.run(100_000);
  assert.equal(world.session('b').signal, 'administrative');
  assert.equal([...world.engines.a.sessions()].length, 1);
  // Wanted again meanwhile: it comes back as itself.
  const { discriminator } = world.session('a');
  world.start();
  world.run(5 * second);
  assert.equal(world.states, 'up up');
  assert.equal(world.session('a').discriminator, discriminator);
  world.configure('a', []);
  world.run(10 * second);
  assert.equal([...world.engines.a.sessions()].length, 0);
  assert.equal(world.engines.a.deadline, Number.POSITIVE_INFINITY);
  assert.equal(world.session('b').state, 'down');
});

for (const type of Object.keys(authTypes) as AuthType[])
  test(`${type}: the same key comes up, another never does, and a change of key is survived`, () => {
    const auth = (text: string) => ({ type, keyId: 1, key: new TextEncoder().encode(text) });
    const world = new TwoSystems(6);
    world.start({ auth: auth('one') }, { auth: auth('one') });
    world.run(60 * second);
    assert.equal(world.states, 'up up');
    assert.equal(world.session('a').flaps, 0);
    for (const side of ['a', 'b'] as const) {
      world.configure(side, [{ ...world.session(side).spec, auth: auth('two') }]);
      world.run(100_000);
    }
    world.run(5 * second);
    assert.equal(world.states, 'up up');
    assert.equal(world.session('a').flaps, 0);
    world.configure('b', [{ ...world.session('b').spec, auth: auth('three') }]);
    world.run(5 * second);
    assert.equal(world.states, 'down down');
    assert.ok(world.session('a').discards['auth-digest'] > 0);
    const { auth: _, ...open } = world.session('b').spec;
    world.configure('b', [open]);
    world.run(5 * second);
    assert.equal(world.states, 'down down');
    assert.ok(world.session('a').discards['auth-missing'] > 0);
    assert.ok(world.session('b').discards['auth-unexpected'] > 0);
  });

test('a peer that restarts with a key is taken back once its old numbers are forgotten', () => {
  const auth = { type: 'meticulous-keyed-sha1', keyId: 1, key: Uint8Array.of(1) } as const;
  const world = new TwoSystems(8);
  world.start({ auth }, { auth });
  world.run(5 * second);
  const restarted = new TwoSystems(999);
  (world.engines as { b: unknown }).b = restarted.engines.b;
  world.configure('b', [{ ...world.session('a').spec, remote: '192.0.2.1' as never }]);
  world.run(10 * second);
  assert.equal(world.states, 'up up');
});

test('over a link that loses, delays and reorders, no end is up alone for longer than it takes to detect', () => {
  const worlds = fc.record({
    seed: fc.nat(1_000_000),
    loss: fc.double({ min: 0, max: 0.7, noNaN: true }),
    delay: fc.integer({ min: 0, max: 400_000 }),
    outages: fc.array(
      fc.record({
        after: fc.integer({ min: 1, max: 15 * second }),
        lasts: fc.integer({ min: 1, max: 5 * second }),
        sides: fc.constantFrom('a', 'b', 'both'),
      }),
      { maxLength: 4 },
    ),
    intervals: fc.tuple(
      fc.constantFrom(50_000, 300_000, 1_200_000),
      fc.constantFrom(50_000, 300_000),
    ),
    multipliers: fc.tuple(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 5 })),
  });
  fc.assert(
    fc.property(worlds, ({ seed, loss, delay, outages, intervals, multipliers }) => {
      const world = new TwoSystems(seed);
      world.recording = false;
      let cut: string | undefined;
      let lossNow = loss;
      world.link = (from, _now, random) =>
        cut === 'both' || cut === from || random() / 2 ** 32 < lossNow
          ? undefined
          : Math.floor((random() / 2 ** 32) * delay);
      const spec = (i: 0 | 1) => ({
        desiredMinTx: Micros.of(intervals[i]),
        requiredMinRx: Micros.of(intervals[1 - i]!),
        multiplier: multipliers[i],
      });
      // A Detection Time from the last packet that came; a packet late by `delay` may still say Up.
      const patience: Record<Side, number> = { a: 0, b: 0 };
      let aloneSince: Partial<Record<Side, number>> = {};
      world.watch = () => {
        for (const side of ['a', 'b'] as const) {
          const own = world.session(side);
          patience[side] = Math.max(patience[side], own.detectionTime);
          const alone = own.state === 'up' && world.session(otherSide(side)).state === 'down';
          if (!alone) delete aloneSince[side];
          else {
            aloneSince[side] ??= world.now;
            const lasted = world.now - aloneSince[side]!;
            assert.ok(
              lasted <= patience[side] + 2 * delay + 2000,
              `${side} up alone for ${lasted}`,
            );
          }
        }
      };
      world.start(spec(0), spec(1));
      for (const { after, lasts, sides } of outages) {
        world.run(after);
        cut = sides;
        world.run(lasts);
        cut = undefined;
      }
      aloneSince = {};
      lossNow = 0;
      world.link = () => 1000;
      world.run(30 * second);
      assert.equal(world.states, 'up up', 'a good link always ends in Up');
      const flaps = world.session('a').flaps + world.session('b').flaps;
      world.run(30 * second);
      assert.equal(world.session('a').flaps + world.session('b').flaps, flaps, 'and stays');
    }),
    { numRuns: 50 },
  );
});
