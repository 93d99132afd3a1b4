import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ByteWriter } from '@causeway/wire';
import fc from 'fast-check';
import { LinuxError } from '../errors.ts';
import { decodeAddress } from './address.ts';
import { row, u32 } from './attributes.ts';
import { decodeLink } from './link.ts';
import { type NlMessage, parseMessages, readAck, writeMessage } from './message.ts';
import { decodeEvent } from './monitor.ts';
import { decodeNeighbour } from './neighbour.ts';
import { decodeRoute } from './route.ts';
import { decodeRule } from './rule.ts';

const request = {
  name: 'new-route',
  body: Uint8Array.from([...new Array(12).fill(0), 8, 0, 4, 0, 2, 0, 0, 0]),
  schema: { headerSize: 12, table: { oif: row(4, u32), gateway: row(5, u32) } },
};

const ack = (flags: number, bytes: number[]): NlMessage => ({
  type: 2,
  flags,
  sequence: 1,
  payload: Uint8Array.from(bytes),
});
const echoedHeader = [36, 0, 0, 0, 24, 0, 5, 4, 1, 0, 0, 0, 0, 0, 0, 0];

test('messages are framed with a header and padded', () => {
  const writer = new ByteWriter('little');
  writeMessage(writer, { type: 16, flags: 0x605, body: Uint8Array.of(1, 2, 3) }, 7);
  assert.deepEqual(
    writer.finish(),
    Uint8Array.from([19, 0, 0, 0, 16, 0, 5, 6, 7, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 0]),
  );
  const [message] = parseMessages(writer.finish());
  assert.deepEqual(message, {
    type: 16,
    flags: 0x605,
    sequence: 7,
    payload: Uint8Array.of(1, 2, 3),
  });
});

test('an acknowledgement without error is none', () => {
  assert.equal(readAck(ack(0x100, [0, 0, 0, 0, ...echoedHeader]), request), undefined);
});

test("the kernel's text and the offending attribute are kept", () => {
  const error = readAck(
    ack(0x300, [
      ...[0xea, 0xff, 0xff, 0xff], // -22
      ...echoedHeader,
      ...[10, 0, 1, 0, 0x77, 0x72, 0x6f, 0x6e, 0x67, 0, 0, 0], // "wrong"
      ...[8, 0, 2, 0, 28, 0, 0, 0], // offset: 16 header, 12 rtmsg
    ]),
    request,
  );
  assert.equal(error?.kernelText, 'wrong');
  assert.equal(error?.attribute, 'oif');
  assert.equal(error?.errnoName, 'EINVAL');
  assert.equal(error?.code, 'invalid-argument');
  assert.match(error?.message ?? '', /new-route: wrong \(attribute oif\): EINVAL/);
});

test('a missing attribute is named', () => {
  const error = readAck(
    ack(0x300, [0xea, 0xff, 0xff, 0xff, ...echoedHeader, 8, 0, 5, 0, 5, 0, 0, 0]),
    request,
  );
  assert.equal(error?.attribute, 'gateway');
});

test('an uncapped error repeats the request before its attributes', () => {
  const echoedBody = [...request.body];
  const error = readAck(
    ack(0x200, [0xef, 0xff, 0xff, 0xff, ...echoedHeader, ...echoedBody, 6, 0, 1, 0, 0x68, 0, 0, 0]),
    request,
  );
  assert.equal(error?.kernelText, 'h');
  assert.equal(error?.code, 'exists');
});

const malformed = (decode: () => unknown) => {
  try {
    decode();
  } catch (error) {
    assert.ok(error instanceof LinuxError && error.code === 'netlink-malformed', String(error));
  }
};

test('any bytes decode or are netlink-malformed', () => {
  const decoders = [
    decodeLink,
    decodeAddress,
    decodeRoute,
    decodeNeighbour,
    decodeRule,
    parseMessages,
    (payload: Uint8Array) => readAck({ ...ack(0x300, []), payload }, request),
  ];
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 120 }), (garbage) => {
      for (const decode of decoders) malformed(() => decode(garbage));
    }),
  );
  assert.throws(() => decodeLink(new Uint8Array(3)), { code: 'netlink-malformed' });
});

test('a port that leaves its bridge is no link that goes', () => {
  const payload = new Uint8Array(16);
  payload[0] = 7; // AF_BRIDGE
  assert.equal(decodeEvent({ type: 17, flags: 0, sequence: 0, payload }), undefined);
  payload[0] = 0;
  assert.equal(decodeEvent({ type: 17, flags: 0, sequence: 0, payload })?.type, 'link');
});
