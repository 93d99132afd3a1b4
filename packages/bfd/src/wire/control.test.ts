import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { discardReasons } from '../discards.ts';
import { BfdError } from '../errors.ts';
import { type Discriminator, diagnostics, type Micros, sessionStates } from '../values.ts';
import { type ControlPacket, decodeControl, encodeControl } from './control.ts';

const hex = (text: string) => Uint8Array.from(Buffer.from(text.replaceAll(' ', ''), 'hex'));

const plain = {
  diagnostic: 'none',
  state: 'down',
  poll: false,
  final: false,
  controlPlaneIndependent: false,
  authenticated: false,
  demand: false,
  multiplier: 3,
  length: 24,
  myDiscriminator: 1 as Discriminator,
  yourDiscriminator: 0,
  desiredMinTx: 1_000_000 as Micros,
  requiredMinRx: 1_000_000 as Micros,
  requiredMinEchoRx: 0 as Micros,
} satisfies ControlPacket;

const golden: readonly { name: string; bytes: Uint8Array; packet: ControlPacket }[] = [
  {
    name: 'the first packet of a session',
    bytes: hex('20 40 03 18 00000001 00000000 000f4240 000f4240 00000000'),
    packet: plain,
  },
  {
    name: 'a poll of a session that is up, from a process of its own',
    bytes: hex('20 e8 05 18 deadbeef 00000001 0000c350 000493e0 00000000'),
    packet: {
      ...plain,
      state: 'up',
      poll: true,
      controlPlaneIndependent: true,
      multiplier: 5,
      myDiscriminator: 0xdeadbeef as Discriminator,
      yourDiscriminator: 1 as Discriminator,
      desiredMinTx: 50_000 as Micros,
      requiredMinRx: 300_000 as Micros,
    },
  },
  {
    name: 'a final with demand, echo and a diagnostic',
    bytes: hex('21 92 ff 18 ffffffff fffffffe ffffffff 00000000 00000032'),
    packet: {
      ...plain,
      diagnostic: 'detection-time-expired',
      state: 'init',
      final: true,
      demand: true,
      multiplier: 255,
      myDiscriminator: 0xffffffff as Discriminator,
      yourDiscriminator: 0xfffffffe as Discriminator,
      desiredMinTx: 0xffffffff as Micros,
      requiredMinRx: 0 as Micros,
      requiredMinEchoRx: 50 as Micros,
    },
  },
  {
    name: 'administratively down',
    bytes: hex('27 00 01 18 00000002 00000003 000f4240 000f4240 00000000'),
    packet: {
      ...plain,
      diagnostic: 'administratively-down',
      state: 'admin-down',
      multiplier: 1,
      myDiscriminator: 2 as Discriminator,
      yourDiscriminator: 3 as Discriminator,
    },
  },
];

for (const { name, bytes, packet } of golden)
  test(`golden, both ways: ${name}`, () => {
    assert.deepEqual(decodeControl(bytes), packet);
    assert.deepEqual(encodeControl(packet), bytes);
  });

const good = '20 40 03 18 00000001 00000000 000f4240 000f4240 00000000';
const changed = (at: number, byte: number) => {
  const bytes = hex(good);
  bytes[at] = byte;
  return bytes;
};

const refused: readonly [
  reason: (typeof discardReasons)[number],
  what: string,
  bytes: Uint8Array,
][] = [
  ['truncated', 'nothing', hex('')],
  ['truncated', 'three bytes', hex('204003')],
  ['truncated', '23 bytes that say 24', hex(good).subarray(0, 23)],
  ['bad-version', 'version 0', changed(0, 0x00)],
  ['bad-version', 'version 2', changed(0, 0x40)],
  ['bad-version', 'version 7', changed(0, 0xe0)],
  ['bad-length', 'length 23', changed(3, 23)],
  ['bad-length', 'length 0', changed(3, 0)],
  ['bad-length', 'A with length 24', changed(1, 0x44)],
  [
    'bad-length',
    'A with length 25',
    hex('20 44 03 19 00000001 00000000 000f4240 000f4240 00000000 00'),
  ],
  ['length-beyond-payload', 'length 25 in 24 bytes', changed(3, 25)],
  ['zero-multiplier', 'multiplier 0', changed(2, 0)],
  ['multipoint', 'M', changed(1, 0x41)],
  ['zero-my-discriminator', 'no discriminator of its own', changed(7, 0)],
  ['zero-your-discriminator', 'Init without ours', changed(1, 0x80)],
  ['zero-your-discriminator', 'Up without ours', changed(1, 0xc0)],
];

for (const [reason, what, bytes] of refused)
  test(`discarded as ${reason}: ${what}`, () => {
    assert.throws(
      () => decodeControl(bytes),
      (error) => error instanceof BfdError && error.code === 'bad-packet' && error.value === reason,
    );
  });

test('bytes behind the length are none of ours', () => {
  assert.deepEqual(decodeControl(hex(`${good} ffff`)), plain);
});

const u32 = fc.integer({ min: 0, max: 0xffffffff });
const packets: fc.Arbitrary<ControlPacket> = fc.record(
  {
    diagnostic: fc.constantFrom(...diagnostics),
    state: fc.constantFrom(...sessionStates),
    poll: fc.boolean(),
    final: fc.boolean(),
    controlPlaneIndependent: fc.boolean(),
    authenticated: fc.constant(false),
    demand: fc.boolean(),
    multiplier: fc.integer({ min: 1, max: 255 }),
    length: fc.constant(24),
    myDiscriminator: fc.integer({ min: 1, max: 0xffffffff }) as fc.Arbitrary<Discriminator>,
    yourDiscriminator: fc.integer({ min: 1, max: 0xffffffff }) as fc.Arbitrary<Discriminator>,
    desiredMinTx: u32 as fc.Arbitrary<Micros>,
    requiredMinRx: u32 as fc.Arbitrary<Micros>,
    requiredMinEchoRx: u32 as fc.Arbitrary<Micros>,
  },
  { noNullPrototype: true },
);

test('what is encoded decodes to the same', () => {
  fc.assert(
    fc.property(packets, (packet) => {
      assert.deepEqual(decodeControl(encodeControl(packet)), packet);
    }),
  );
});

test('any bytes decode, and encode to the same again, or are refused for a reason', () => {
  const seeds = fc.oneof(
    fc.uint8Array({ maxLength: 80 }),
    // Close to good ones, where the interesting mistakes are.
    fc
      .tuple(
        fc.constantFrom(...golden),
        fc.array(fc.tuple(fc.nat(23), fc.nat(255)), { maxLength: 3 }),
      )
      .map(([{ bytes }, edits]) => {
        const copy = bytes.slice();
        for (const [at, byte] of edits) copy[at] = byte;
        return copy;
      }),
  );
  fc.assert(
    fc.property(seeds, (bytes) => {
      let packet: ControlPacket;
      try {
        packet = decodeControl(bytes);
      } catch (error) {
        assert.ok(error instanceof BfdError);
        assert.ok((discardReasons as readonly unknown[]).includes(error.value));
        return;
      }
      assert.deepEqual(encodeControl(packet), bytes.slice(0, 24));
    }),
    { numRuns: 1000 },
  );
});
