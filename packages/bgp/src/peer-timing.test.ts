import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Address } from '@causeway/ip';
import {
  Asn,
  type ConnectionId,
  encodeKeepalive,
  encodeOpen,
  type OpenMessage,
  Peer,
  type PeerConfig,
  type PeerOutput,
  RouterId,
} from '../index.ts';
import { connectionIds, seededRandom, VirtualLink } from '../testing/peers.ts';

const config = (rest: Partial<PeerConfig> = {}): PeerConfig => ({
  name: 'far',
  target: { address: Address.parse('192.0.2.2') },
  asn: 'any',
  localAsn: Asn.of(65001),
  routerId: RouterId.parse('10.0.0.1'),
  families: [{ family: 'ipv4-unicast' }],
  ...rest,
});

const farOpen: OpenMessage = {
  version: 4,
  myAs: 65002,
  holdTime: 90,
  routerId: RouterId.parse('10.0.0.2'),
  capabilities: [
    { type: 'multiprotocol', family: { afi: 1, safi: 1 } },
    { type: 'four-octet-as', asn: Asn.of(65002) },
  ],
};

/** A peer and what it does, without a neighbour that answers. */
function alone(rest: Partial<PeerConfig> = {}) {
  const peer = new Peer(config(rest), { random: () => 0.5, nextConnection: connectionIds() });
  const outputs: PeerOutput[] = [];
  const emit = (output: PeerOutput) => void outputs.push(output);
  const accept = (connection: ConnectionId, now: number) =>
    peer.handle(
      {
        type: 'accepted',
        connection,
        endpoints: {
          localAddress: Address.parse('192.0.2.1'),
          localPort: 179,
          remoteAddress: Address.parse('192.0.2.2'),
          remotePort: 40_000,
        },
      },
      now,
      emit,
    );
  const bytes = (connection: ConnectionId, data: Uint8Array, now: number) =>
    peer.handle({ type: 'bytes', connection, bytes: data }, now, emit);
  const last = (type: PeerOutput['type']) => outputs.findLast((one) => one.type === type);
  return { peer, outputs, emit, accept, bytes, last };
}

test('who connects and says nothing is let go: after four minutes, or as soon as configured', () => {
  for (const [timers, seconds] of [
    [{}, 240],
    [{ open: 30 }, 30],
  ] as const) {
    const { peer, emit, accept, last } = alone({ passive: true, timers });
    peer.handle({ type: 'start' }, 0, emit);
    accept(9, 1_000);
    assert.equal(peer.state, 'open-sent');
    peer.handle({ type: 'timer' }, 1_000 + seconds * 1000 - 1, emit);
    assert.equal(peer.state, 'open-sent');
    peer.handle({ type: 'timer' }, 1_000 + seconds * 1000, emit);
    assert.equal(last('close')?.type, 'close');
    const down = last('down');
    assert.ok(down?.type === 'down' && down.reason.why === 'hold-timer');
    assert.equal(down.established, false);
  }
});

test('once an OPEN came, the hold time that was agreed counts', () => {
  const { peer, emit, accept, bytes } = alone({ passive: true, timers: { open: 5, hold: 90 } });
  peer.handle({ type: 'start' }, 0, emit);
  accept(9, 0);
  bytes(9, encodeOpen(farOpen), 4_000);
  assert.equal(peer.state, 'open-confirm');
  peer.handle({ type: 'timer' }, 60_000, emit);
  assert.equal(peer.state, 'open-confirm');
  bytes(9, encodeKeepalive(), 61_000);
  assert.equal(peer.state, 'established');
});

test('a change of configuration in OpenConfirm ends that connection, and the next one follows it', () => {
  const { peer, outputs, emit, accept, bytes, last } = alone({ passive: true });
  peer.handle({ type: 'start' }, 0, emit);
  accept(9, 0);
  bytes(9, encodeOpen(farOpen), 100);
  assert.equal(peer.state, 'open-confirm');
  assert.equal(
    peer.reconfigure(config({ passive: true, timers: { hold: 33 } }), 200, emit),
    'restarted',
  );
  const notice = outputs.filter((one) => one.type === 'send').at(-1);
  assert.ok(notice?.type === 'send');
  // NOTIFICATION, Cease, Other Configuration Change.
  assert.deepEqual([...notice.bytes.subarray(18, 21)], [3, 6, 6]);
  assert.deepEqual(last('close'), { type: 'close', connection: 9 });
  // What was on its way on the old connection changes nothing.
  bytes(9, encodeKeepalive(), 300);
  assert.notEqual(peer.state, 'established');
  peer.handle({ type: 'timer' }, peer.deadline ?? 5_000, emit);
  const now = (peer.deadline ?? 5_000) + 5_000;
  accept(10, now);
  bytes(10, encodeOpen(farOpen), now + 100);
  bytes(10, encodeKeepalive(), now + 200);
  assert.equal(peer.state, 'established');
  assert.equal(peer.negotiated?.holdTime, 33);
});

test('a clock that jumps ahead costs a session at most; one that goes back costs nothing', () => {
  const random = seededRandom(3);
  const nextConnection = connectionIds();
  const make = (rest: Partial<PeerConfig>) =>
    new Peer(config({ timers: { hold: 9, idleHold: 0.1 }, ...rest }), { random, nextConnection });
  const link = new VirtualLink(
    make({}),
    make({
      target: { address: Address.parse('192.0.2.1') },
      localAsn: Asn.of(65002),
      routerId: RouterId.parse('10.0.0.2'),
    }),
    { delay: () => 1 + random() * 20 },
  );
  link.input(link.a, { type: 'start' });
  link.input(link.b, { type: 'start' });
  assert.ok(link.run(60_000, () => link.established));
  // As after a suspension of the machine: all timers are due at once.
  link.now += 3_600_000;
  link.input(link.a, { type: 'timer' });
  const down = link.a.outputs.findLast((one) => one.type === 'down');
  assert.ok(down?.type === 'down' && down.reason.why === 'hold-timer');
  assert.ok(
    link.run(60_000, () => link.established),
    'comes up again',
  );
  const falls = link.a.outputs.filter((one) => one.type === 'down').length;
  link.now -= 5_000;
  link.input(link.a, { type: 'timer' });
  link.input(link.b, { type: 'timer' });
  link.now += 5_000;
  link.run(30_000);
  assert.ok(link.established);
  assert.equal(link.a.outputs.filter((one) => one.type === 'down').length, falls);
});
