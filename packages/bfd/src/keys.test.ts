import assert from 'node:assert/strict';
import { test } from 'node:test';
import { datagramOf, TwoSystems } from '../testing/two-systems.ts';
import { checkSpec } from './spec.ts';
import { type AuthKey, type AuthType, authTypes } from './wire/auth.ts';

const second = 1_000_000;
const bytesOf = (text: string) => new TextEncoder().encode(text);
const types = Object.keys(authTypes) as AuthType[];

for (const type of types)
  test(`${type}: both ends go over to another key at their leisure, and nothing falls`, () => {
    const old = { keyId: 1, key: bytesOf('old') };
    // Of another length, which for a password is another length of packet.
    const fresh = { keyId: 2, key: bytesOf('the new one') };
    const world = new TwoSystems(11);
    const give = (side: 'a' | 'b', auth: AuthKey) => {
      world.configure(side, [{ ...world.session(side).spec, auth }]);
      world.run(30 * second);
      assert.equal(world.states, 'up up');
    };
    world.start({ auth: { type, ...old } }, { auth: { type, ...old } });
    world.run(10 * second);
    for (const side of ['a', 'b'] as const) give(side, { type, ...old, alsoAccept: fresh });
    for (const side of ['a', 'b'] as const) give(side, { type, ...fresh, alsoAccept: old });
    for (const side of ['a', 'b'] as const) give(side, { type, ...fresh });
    assert.deepEqual([world.session('a').flaps, world.session('b').flaps], [0, 0]);
    // The old key is nothing any more.
    world.configure('b', [{ ...world.session('b').spec, auth: { type, ...old } }]);
    world.run(5 * second);
    assert.equal(world.states, 'down down');
    assert.ok(world.session('a').discards['auth-key'] > 0);
  });

test('a second key is checked as the first is, and has an id of its own', () => {
  const world = new TwoSystems();
  world.start();
  const { spec } = world.session('a');
  const auth = { type: 'keyed-sha1', keyId: 1, key: bytesOf('k') } as const;
  for (const [alsoAccept, field] of [
    [{ keyId: 1, key: bytesOf('x') }, 'auth.alsoAccept.keyId'],
    [{ keyId: 256, key: bytesOf('x') }, 'auth.alsoAccept.keyId'],
    [{ keyId: 2, key: bytesOf('') }, 'auth.alsoAccept.key'],
    [{ keyId: 2, key: bytesOf('x'.repeat(21)) }, 'auth.alsoAccept.key'],
  ] as const)
    assert.throws(() => checkSpec({ ...spec, auth: { ...auth, alsoAccept } }), {
      code: 'bad-session',
      field,
    });
  checkSpec({ ...spec, auth: { ...auth, alsoAccept: { keyId: 2, key: bytesOf('x') } } });
});

for (const type of types.filter((each) => authTypes[each].digest !== undefined))
  test(`${type}: what was recorded on the wire neither ends a session nor keeps a dead one up`, () => {
    const auth: AuthKey = { type, keyId: 1, key: bytesOf('secret') };
    const world = new TwoSystems(5);
    world.start({ auth }, { auth });
    world.run(10 * second);
    assert.equal(world.states, 'up up');
    const recorded = world.packets.filter(({ from }) => from === 'b').map(({ bytes }) => bytes);
    const replay = (bytes: Uint8Array) =>
      world.do('a', world.engines.a.receive(datagramOf('b', bytes), world.now));
    const discarded = () => world.session('a').discards['auth-sequence'];
    // Those of its coming up say Down and Init: genuine once, and old now.
    const stateUp = 3;
    const old = recorded.filter((bytes) => bytes[1]! >> 6 !== stateUp);
    assert.ok(old.length > 0);
    for (const bytes of old) replay(bytes);
    world.run(second);
    assert.equal(world.states, 'up up');
    assert.equal(world.session('a').flaps, 0);
    assert.equal(discarded(), old.length);
    // The peer is gone. Its packets come again and again, all that there were.
    world.link = () => undefined;
    const gone = world.now;
    for (let round = 0; round < 20; round++) {
      for (const bytes of recorded.slice(0, -1)) replay(bytes);
      world.run(100_000);
    }
    const fell = world.changes.find(({ side, at }) => side === 'a' && at > gone);
    if (authTypes[type].meticulous) {
      assert.equal(fell?.change.to, 'down');
      assert.ok(fell.at - gone <= 900_000 + 100_000, 'within the detection time');
    } else {
      // Section 6.7.3: the number need not grow with each packet, so the last state's packets count again. That is
      // what meticulous authentication is for, and why nothing older may count.
      assert.ok(fell === undefined || fell.change.to === 'down');
      assert.ok(discarded() >= 21 * old.length);
    }
  });
