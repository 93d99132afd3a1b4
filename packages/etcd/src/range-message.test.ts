import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { entryOf } from './messages.ts';
import { services, type WireKeyValue, type WireRange } from './proto.ts';
import { decodeRange } from './range-message.ts';

const { responseSerialize } = services().KV.service.Range!;
const encode = (message: object): Buffer => responseSerialize(message as never);

const signed = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map(String);
const unsigned = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }).map(String);
const revision = fc.nat(Number.MAX_SAFE_INTEGER).map(String);
const bytes = fc.uint8Array({ maxLength: 300 }).map((each) => Buffer.from(each));
const kv = fc.record({
  key: fc.oneof(
    bytes,
    fc.string({ unit: 'grapheme' }).map((each) => Buffer.from(each)),
  ),
  create_revision: revision,
  mod_revision: revision,
  version: revision,
  value: bytes,
  lease: fc.oneof(fc.constant('0'), signed),
});
const header = fc.option(
  fc.record({ cluster_id: unsigned, member_id: unsigned, revision: signed }),
  { nil: null },
);
const range = fc.record({ header, kvs: fc.array(kv, { maxLength: 20 }), more: fc.boolean() });

test('an answer is read as the message library reads it', () => {
  fc.assert(
    fc.property(range, (message: WireRange) => {
      const { header, entries, more } = decodeRange(encode(message));
      const told = message.header && { ...message.header };
      assert.deepEqual({ header, more }, { header: told, more: message.more });
      assert.deepEqual(
        entries.map((each) => ({ ...each, value: Buffer.from(each.value) })),
        message.kvs.map((each: WireKeyValue) => ({ ...entryOf(each) })),
      );
    }),
  );
});

test('fields of later versions are passed over', () => {
  const message = { header: null, kvs: [], more: true };
  // Numbers 9 (varint), 10 (64 bits), 11 (bytes) and 12 (32 bits).
  const more = [0x48, 0x96, 0x01, 0x51, 1, 2, 3, 4, 5, 6, 7, 8, 0x5a, 2, 1, 2, 0x65, 1, 2, 3, 4];
  const decoded = decodeRange(Buffer.concat([Buffer.from(more), encode(message)]));
  assert.deepEqual(decoded, { header: null, entries: [], more: true });
});

test('whatever the bytes, they are read or refused by RangeError', () => {
  const wrong = fc.tuple(range.map(encode), fc.nat(), fc.integer({ min: 0, max: 255 }), fc.nat());
  fc.assert(
    fc.property(wrong, ([whole, at, byte, length]) => {
      const changed = Buffer.from(whole.subarray(0, length % (whole.length + 1)));
      if (changed.length > 0) changed[at % changed.length] = byte;
      try {
        decodeRange(changed);
      } catch (error) {
        assert.ok(error instanceof RangeError);
      }
    }),
  );
  assert.throws(() => decodeRange(Buffer.of(0x12, 5, 1)), /beyond the end/);
  assert.throws(() => decodeRange(Buffer.of(0x10, 1)), /wire type 0, not 2/);
  assert.throws(() => decodeRange(Buffer.of(0x18, ...new Array(11).fill(0xff))), /64 bits/);
});
