import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { hex, toHex } from '../../testing/bytes.ts';
import { BgpError } from '../errors.ts';
import { Framer } from './framer.ts';
import { encodeKeepalive, frame, MessageType } from './message.ts';

const keepalive = encodeKeepalive();
const update = frame(MessageType.update, hex('0000 0000'));

/** Each message as text, from the chunks. */
function read(framer: Framer, ...chunks: readonly Uint8Array[]): string[] {
  const messages: string[] = [];
  for (const chunk of chunks) {
    framer.push(chunk);
    for (let one = framer.next(); one !== undefined; one = framer.next()) {
      assert.equal(one.body, one.start + 19);
      messages.push(toHex(one.bytes.subarray(one.start, one.end)));
    }
  }
  return messages;
}

test('the three answers: a frame, more is needed, never', () => {
  const framer = new Framer();
  framer.push(keepalive);
  assert.equal(framer.next()?.type, 4);
  assert.equal(framer.next(), undefined);
  framer.push(keepalive.subarray(0, 18));
  assert.equal(framer.next(), undefined);
  assert.equal(framer.held, 18);
  framer.push(hex('09'));
  assert.throws(() => framer.next(), BgpError);
});

/** Header, the NOTIFICATION's subcode and data. */
const refused: readonly [string, string, number, string][] = [
  ['a marker with a zero', `${'ff*15'} 00 0013 04`, 1, ''],
  ['type 0', 'ff*16 0013 00', 3, '00'],
  ['type 6', 'ff*16 0013 06', 3, '06'],
  ['length 18', 'ff*16 0012 04', 2, '0012'],
  ['a keep-alive with a body', 'ff*16 0014 04 00', 2, '0014'],
  ['a short OPEN', 'ff*16 001c 01', 2, '001c'],
  ['a short UPDATE', 'ff*16 0016 02', 2, '0016'],
  ['a short NOTIFICATION', 'ff*16 0014 03', 2, '0014'],
  ['4097 bytes that were not agreed on', 'ff*16 1001 02', 2, '1001'],
];

for (const [what, bytes, subcode, data] of refused) {
  test(`header refused: ${what}`, () => {
    const framer = new Framer();
    framer.push(hex(bytes));
    assert.throws(
      () => framer.next(),
      (error: BgpError) => {
        assert.equal(error.code, 'header-error');
        assert.equal(error.notification?.code, 1);
        assert.equal(error.notification?.subcode, subcode);
        assert.equal(toHex(error.notification?.data ?? new Uint8Array(0)), data);
        return true;
      },
    );
  });
}

test('RFC 8654: long UPDATEs once agreed, but never long OPENs', () => {
  const framer = new Framer();
  framer.maximum = 65535;
  const long = frame(MessageType.update, new Uint8Array(60_000));
  assert.deepEqual(read(framer, long.subarray(0, 7), long.subarray(7)), [toHex(long)]);
  framer.push(hex('ff*16 1001 01'));
  assert.throws(() => framer.next(), BgpError);
});

test('property: cutting the stream changes nothing', () => {
  const piece = fc.oneof(
    fc.constant(keepalive),
    fc.constant(update),
    fc.uint8Array({ minLength: 4, maxLength: 300 }).map((body) => frame(MessageType.update, body)),
  );
  fc.assert(
    fc.property(
      fc.array(piece, { maxLength: 20 }),
      fc.array(fc.integer({ min: 1, max: 400 }), { minLength: 1, maxLength: 30 }),
      (messages, cuts) => {
        const stream = Buffer.concat(messages);
        const chunks: Uint8Array[] = [];
        for (let at = 0, i = 0; at < stream.length; i++) {
          const size = cuts[i % cuts.length] as number;
          chunks.push(Uint8Array.from(stream.subarray(at, at + size)));
          at += size;
        }
        assert.deepEqual(read(new Framer(), ...chunks), messages.map(toHex));
        const bytewise = Array.from(stream, (byte) => Uint8Array.of(byte));
        assert.deepEqual(read(new Framer(), ...bytewise), messages.map(toHex));
      },
    ),
    { numRuns: 50 },
  );
});

test('property: a chunk may be used again for the next', () => {
  const stream = Buffer.concat([keepalive, update, keepalive, update]);
  const chunk = new Uint8Array(13);
  const framer = new Framer();
  const got: string[] = [];
  for (let at = 0; at < stream.length; at += 13) {
    const part = stream.subarray(at, at + 13);
    chunk.fill(0);
    chunk.set(part);
    got.push(...read(framer, chunk.subarray(0, part.length)));
  }
  assert.deepEqual(got, [keepalive, update, keepalive, update].map(toHex));
});
