import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BmpError, type BmpErrorCode } from '../errors.ts';
import { Framer, frameAt } from './framer.ts';
import { decodeMessage, encodeMessage } from './message.ts';

const header =
  '00 00 0000000000000000 000000000000000000000000c0000202 0000fdea c0000202 00000000 00000000';
const marker = 'ffffffffffffffffffffffffffffffff';
const open = `${marker} 001d 01 04 fde9 005a c0000201 00`;

function message(type: string, body: string): Uint8Array {
  const bytes = Buffer.from(`0300000000${type}${body}`.replace(/[^0-9a-f]/g, ''), 'hex');
  bytes.writeUInt32BE(bytes.length, 1);
  return new Uint8Array(bytes);
}

/** Type, body, the code and the offset at which it is seen. */
const bodies: readonly (readonly [string, Uint8Array, BmpErrorCode, number | undefined])[] = [
  ['a per-peer header cut short', message('00', '00 00 00000000'), 'truncated', 8],
  ['Route Monitoring without UPDATE', message('00', header), 'truncated', 48],
  [
    'an UPDATE without marker',
    message('00', `${header} 00${marker.slice(2)} 0017 02 00000000`),
    'bad-bgp-message',
    48,
  ],
  ['an UPDATE that is an OPEN', message('00', `${header} ${open}`), 'bad-bgp-message', 66],
  [
    'an UPDATE below its header',
    message('00', `${header} ${marker} 0012 02 00000000`),
    'bad-bgp-message',
    64,
  ],
  [
    'an UPDATE beyond the message',
    message('00', `${header} ${marker} 0018 02 00000000`),
    'truncated',
    67,
  ],
  [
    'bytes behind the UPDATE',
    message('00', `${header} ${marker} 0017 02 00000000 00`),
    'trailing-bytes',
    71,
  ],
  ['Peer Up with one OPEN', message('03', `${header} ${'00'.repeat(20)} ${open}`), 'truncated', 97],
  [
    'Peer Up with half a TLV',
    message('03', `${header} ${'00'.repeat(20)} ${open} ${open} 0000`),
    'truncated',
    128,
  ],
  ['Peer Down without reason', message('02', header), 'truncated', 48],
  ['Peer Down without its NOTIFICATION', message('02', `${header} 01`), 'truncated', 49],
  [
    'Peer Down with data that do not belong',
    message('02', `${header} 04 00`),
    'trailing-bytes',
    49,
  ],
  ['Peer Down with half an event', message('02', `${header} 02 00`), 'truncated', 49],
  ['a TLV longer than Initiation', message('04', '0001 0009 41'), 'truncated', 10],
  ['a reason for termination of one byte', message('05', '0001 0001 00'), 'bad-length', undefined],
  [
    'a count of statistics that is too high',
    message('01', `${header} 00000002 0000 0004 00000001`),
    'bad-length',
    undefined,
  ],
  [
    'a count of statistics that is too low',
    message('01', `${header} 00000000 0000 0004 00000001`),
    'bad-length',
    undefined,
  ],
  [
    'a mirroring code of three bytes',
    message('06', `${header} 0001 0003 000000`),
    'bad-length',
    55,
  ],
];

for (const [name, bytes, code, offset] of bodies) {
  test(`refused: ${name}`, () => {
    assert.throws(
      () => decodeMessage(bytes),
      (error) => {
        assert.ok(error instanceof BmpError);
        assert.deepEqual([error.code, error.offset], [code, offset], error.message);
        return true;
      },
    );
  });
}

test('the framer answers frame, more, or never', () => {
  const frame = message('08', 'abcd');
  assert.deepEqual(frameAt(new Uint8Array(0), 0, 100), { type: 'more', wanted: 6 });
  assert.deepEqual(frameAt(frame.subarray(0, 4), 0, 100), { type: 'more', wanted: 2 });
  assert.deepEqual(frameAt(frame.subarray(0, 7), 0, 100), { type: 'more', wanted: 1 });
  assert.deepEqual(frameAt(frame, 0, 100), { type: 'frame', frame });
  for (const [bytes, code] of [
    [[4], 'bad-version'],
    [[3, 0, 0, 0, 5], 'bad-length'],
    [[3, 0xff, 0xff, 0xff, 0xff], 'too-large'],
    [[3, 0, 0, 0, 101], 'too-large'],
  ] as const) {
    assert.throws(() => frameAt(new Uint8Array(bytes), 0, 100), { code });
  }
});

test('the framer keeps no more than one message, whatever length is claimed', () => {
  const framer = new Framer(1 << 20);
  framer.push(new Uint8Array([3, 0, 0x10, 0, 0, 0]), () => assert.fail('no frame is whole'));
  assert.equal(framer.buffered, 6);
});

test('values that no field holds are refused', () => {
  const information = [{ type: 'string', text: 'x'.repeat(65_536) }] as const;
  assert.throws(() => encodeMessage({ type: 'initiation', information }), {
    name: 'BmpError',
    code: 'out-of-range',
  });
});
