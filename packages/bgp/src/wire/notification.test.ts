import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { hex, toHex } from '../../testing/bytes.ts';
import { BgpError } from '../errors.ts';
import {
  decodeNotification,
  encodeNotification,
  encodeShutdownText,
  hardReset,
  notification,
  notificationName,
  shutdownText,
} from './notification.ts';
import { decodeRouteRefresh, encodeRouteRefresh } from './route-refresh.ts';

test('NOTIFICATION both ways: an administrative shutdown with its text (RFC 9003)', () => {
  const text = encodeShutdownText('down ✓');
  const message = notification(6, 2, text);
  assert.equal(
    toHex(encodeNotification(message)),
    toHex(hex('ff*16 001e 03 06 02 08 646f776e20e29c93')),
  );
  const back = decodeNotification(hex('06 02 08 646f776e20e29c93'));
  assert.deepEqual(back, message);
  assert.equal(shutdownText(back), 'down ✓');
  assert.equal(notificationName(6, 2), 'cease: administrative shutdown');
});

test('a hard reset wraps the reason, and the text is found in it (RFC 8538)', () => {
  const wrapped = hardReset(notification(6, 4, encodeShutdownText('again')));
  assert.equal(toHex(wrapped.data), '060405616761696e');
  assert.equal(shutdownText(wrapped), 'again');
});

test('texts that are none', () => {
  for (const data of ['', '00', '05 6162', 'ff 61']) {
    assert.equal(shutdownText(notification(6, 2, hex(data))), undefined, data);
  }
  assert.equal(shutdownText(notification(6, 1, hex('01 61'))), undefined);
  assert.equal(shutdownText(notification(6, 2, hex('04 610a1b5b'))), 'a\ufffd\ufffd[');
});

test('a long text is cut at a character, and data that does not fit at the message', () => {
  const bytes = encodeShutdownText('é'.repeat(200));
  assert.equal(bytes[0], 254);
  assert.equal(encodeNotification(notification(3, 1, new Uint8Array(9000))).length, 4096);
});

test('names for every code, and numbers for what has none', () => {
  assert.equal(notificationName(4, 0), 'hold timer expired');
  assert.equal(notificationName(2, 2), 'OPEN message error: bad peer AS');
  assert.equal(notificationName(6, 99), 'cease: subcode 99');
  assert.equal(notificationName(99, 1), 'code 99 subcode 1');
});

test('ROUTE-REFRESH both ways; a wrong length is answered with the message', () => {
  const message = { family: { afi: 2, safi: 1 }, subtype: 'begin' } as const;
  assert.equal(toHex(encodeRouteRefresh(message)), toHex(hex('ff*16 0017 05 0002 01 01')));
  assert.deepEqual(decodeRouteRefresh(hex('0002 01 01')), message);
  assert.equal(decodeRouteRefresh(hex('0002 07 01')), undefined);
  assert.throws(
    () => decodeRouteRefresh(hex('0002 01 01 00')),
    (error: BgpError) =>
      error.notification?.code === 7 &&
      toHex(error.notification.data) === toHex(hex('ff*16 0018 05 0002 01 01 00')),
  );
});

test('property: any bytes are a NOTIFICATION or refused, and text never has control characters', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.constantFrom(2, 4, 9), (data, subcode) => {
      const text = shutdownText(notification(6, subcode, data));
      // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
      assert.ok(text === undefined || !/[\x00-\x1f\x7f]/.test(text));
      try {
        const back = decodeNotification(data);
        assert.deepEqual(decodeNotification(encodeNotification(back).subarray(19)), back);
      } catch (error) {
        assert.ok(error instanceof BgpError && data.length < 2);
      }
    }),
    { numRuns: 500 },
  );
});
