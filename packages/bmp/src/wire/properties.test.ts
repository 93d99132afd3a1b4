import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Asn, RouterId } from '@causeway/bgp';
import { Address } from '@causeway/ip';
import fc from 'fast-check';
import { BmpError } from '../errors.ts';
import { Framer } from './framer.ts';
import { type BmpMessage, decodeMessage, encodeMessage } from './message.ts';
import type { PeerHeader } from './peer-header.ts';

/** Plain objects, as the codec makes them. */
function record<T extends object>(
  model: { [K in keyof T]: fc.Arbitrary<T[K]> },
  requiredKeys?: (keyof T)[],
): fc.Arbitrary<T> {
  return fc.record(model, {
    noNullPrototype: true,
    ...(requiredKeys === undefined ? {} : { requiredKeys }),
  }) as fc.Arbitrary<T>;
}

const u16 = fc.integer({ min: 0, max: 0xffff });
const u32 = fc.integer({ min: 0, max: 0xffff_ffff });
const u64 = fc.bigInt({ min: 0n, max: 0xffff_ffff_ffff_ffffn });
const blob = fc.uint8Array({ maxLength: 40 });
const text = fc.string({ maxLength: 20, unit: 'grapheme' }).filter((one) => !one.includes('\0'));
const address = fc
  .oneof(
    fc.uint8Array({ minLength: 4, maxLength: 4 }),
    fc.uint8Array({ minLength: 16, maxLength: 16 }),
  )
  .map((bytes) => Address.fromBytes(bytes));

const bgp = (type: number) =>
  blob.map((body) => {
    const bytes = new Uint8Array(19 + body.length).fill(0xff);
    bytes.set([0, 19 + body.length, type], 16);
    bytes.set(body, 19);
    return bytes;
  });

const common = {
  distinguisher: u64,
  asn: u32.map((value) => value as Asn),
  bgpId: u32.map((value) => RouterId.fromNumber(value)),
  timestamp: fc.tuple(u32, fc.integer({ min: 0, max: 999_999 })).map(([s, us]) => s * 1e6 + us),
};
const session = record({
  type: fc.constantFrom('global', 'rd', 'local'),
  view: fc.constantFrom('in-pre', 'in-post', 'out-pre', 'out-post'),
  legacyAsPath: fc.boolean(),
  address,
  ...common,
});
const locRib = record({
  type: fc.constant('loc-rib'),
  view: fc.constant('loc'),
  filtered: fc.boolean(),
  ...common,
});
const peer: fc.Arbitrary<PeerHeader> = fc.oneof(session, locRib);

const unknownTlv = (least: number) =>
  record({
    type: fc.constant('unknown'),
    code: fc.integer({ min: least, max: 0xffff }),
    value: blob,
  });
const textTlv = <Name extends string>(...names: Name[]) =>
  record({ type: fc.constantFrom(...names), text });
const tlvs = <Name extends string>(...names: Name[]) =>
  fc.array(fc.oneof(textTlv(...names), unknownTlv(10)), { maxLength: 4 });

const statistic = fc.oneof(
  record({
    type: fc.constant('counter'),
    name: fc.constantFrom('rejected-by-import-policy', 'duplicate-updates'),
    value: u32,
  }),
  record({
    type: fc.constant('gauge'),
    name: fc.constantFrom('loc-rib-routes', 'out-post-routes', 'in-pre-routes'),
    value: u64,
  }),
  record({
    type: fc.constant('family'),
    name: fc.constantFrom('loc-rib-routes-of-family', 'out-pre-routes-of-family'),
    afi: u16,
    safi: fc.integer({ min: 0, max: 255 }),
    value: u64,
  }),
  record({
    type: fc.constant('unknown'),
    code: fc.integer({ min: 1000, max: 0xffff }),
    data: blob,
  }),
);

const reason = fc.oneof(
  record({ type: fc.constant('local-notification'), notification: bgp(3) }),
  record({ type: fc.constant('local-event'), event: u16 }),
  record({ type: fc.constant('remote-notification'), notification: bgp(3) }),
  record({ type: fc.constant('remote-closed') }),
  record({ type: fc.constant('deconfigured') }),
  record({ type: fc.constant('local-tlvs'), information: tlvs('tableName') }),
  record({
    type: fc.constant('unknown'),
    code: fc.integer({ min: 7, max: 255 }),
    data: blob,
  }),
);

const ends = {
  localPort: u16,
  remotePort: u16,
  sentOpen: bgp(1),
  receivedOpen: bgp(1),
  information: tlvs('string', 'tableName', 'adminLabel'),
};
const anyMessage = fc.oneof(
  record({ type: fc.constant('initiation'), information: tlvs('string', 'sysName') }),
  record(
    {
      type: fc.constant('termination'),
      reason: fc.oneof(
        fc.constantFrom('unspecified', 'out-of-resources'),
        fc.integer({ min: 5, max: 9 }),
      ),
      information: tlvs('string'),
    },
    ['type', 'information'],
  ),
  session.chain((one) =>
    record({
      type: fc.constant('peer-up'),
      peer: fc.constant(one),
      // Both ends are of one family: there is one V flag.
      localAddress: address.map((other) =>
        Address.family(other) === Address.family(one.address) ? other : one.address,
      ),
      ...ends,
    }),
  ),
  record({ type: fc.constant('peer-up'), peer: locRib, ...ends }),
  record({ type: fc.constant('peer-down'), peer, reason }),
  record({ type: fc.constant('route-monitoring'), peer, update: bgp(2) }),
  record({
    type: fc.constant('statistics'),
    peer,
    statistics: fc.array(statistic, { maxLength: 5 }),
  }),
  record({
    type: fc.constant('route-mirroring'),
    peer,
    tlvs: fc.array(
      fc.oneof(
        record({ type: fc.constant('bgp-message'), message: blob }),
        record({ type: fc.constant('information'), code: fc.constantFrom('messages-lost', 7) }),
        unknownTlv(10),
      ),
      { maxLength: 4 },
    ),
  }),
  record({
    type: fc.constant('unknown'),
    messageType: fc.integer({ min: 7, max: 255 }),
    body: blob,
  }),
) as fc.Arbitrary<BmpMessage>;

test('what is encoded decodes to the same', () => {
  fc.assert(
    fc.property(anyMessage, (message) => {
      assert.deepEqual(decodeMessage(encodeMessage(message)), message);
    }),
    { numRuns: 500 },
  );
});

/** A frame around any bytes, most of them with a per-peer header of a known type. */
const anyFrame = fc
  .tuple(
    fc.integer({ min: 0, max: 8 }),
    fc.boolean(),
    fc.uint8Array({ maxLength: 160 }),
    fc.array(fc.tuple(fc.nat(200), fc.nat(255)), { maxLength: 4 }),
    anyMessage,
  )
  .map(([type, random, bytes, edits, message]) => {
    const frame = random ? new Uint8Array(6 + bytes.length) : encodeMessage(message);
    if (random) frame.set(bytes, 6);
    for (const [at, value] of edits) if (at >= 6 && at < frame.length) frame[at] = value;
    frame[0] = 3;
    new DataView(frame.buffer).setUint32(1, frame.length);
    if (random) frame[5] = type;
    return frame;
  });

test('any bytes decode or are refused as ours; what decodes is stable', () => {
  fc.assert(
    fc.property(anyFrame, (frame) => {
      let message: BmpMessage;
      try {
        message = decodeMessage(frame);
      } catch (error) {
        assert.ok(error instanceof BmpError, String(error));
        return;
      }
      const again = decodeMessage(encodeMessage(message));
      assert.deepEqual(encodeMessage(again), encodeMessage(message));
    }),
    { numRuns: 2000 },
  );
});

test('chunking changes nothing', () => {
  fc.assert(
    fc.property(
      fc.array(anyMessage, { minLength: 1, maxLength: 6 }),
      fc.array(fc.nat(90), { maxLength: 40 }),
      (messages, sizes) => {
        const frames = messages.map((message) => encodeMessage(message));
        const stream = Buffer.concat(frames);
        const framer = new Framer();
        const got: Buffer[] = [];
        let at = 0;
        for (const size of [...sizes, stream.length]) {
          // A chunk of its own memory, wiped afterwards: nothing may point into it.
          const chunk = Uint8Array.from(stream.subarray(at, at + size));
          framer.push(chunk, (frame) => got.push(Buffer.from(frame)));
          chunk.fill(0);
          at += size;
        }
        assert.deepEqual(
          got,
          frames.map((frame) => Buffer.from(frame)),
        );
        assert.equal(framer.buffered, 0);
      },
    ),
  );
});

test('one byte at a time', () => {
  fc.assert(
    fc.property(anyMessage, (message) => {
      const framer = new Framer();
      let frames = 0;
      for (const byte of encodeMessage(message)) {
        framer.push(Uint8Array.of(byte), (frame) => {
          frames += 1;
          assert.deepEqual(decodeMessage(frame), message);
        });
      }
      assert.equal(frames, 1);
    }),
    { numRuns: 50 },
  );
});
