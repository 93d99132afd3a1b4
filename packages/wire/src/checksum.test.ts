import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  internetChecksum,
  onesSum,
  pseudoHeaderSum,
  updateChecksum,
  updateChecksumBytes,
} from './checksum.ts';
import { WireError } from './errors.ts';

const hex = (text: string) =>
  Uint8Array.from(text.replaceAll(' ', '').match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));

test('RFC 1071 section 3: the worked example', () => {
  assert.equal(onesSum(hex('0001 f203 f4f5 f6f7')), 0xddf2);
  assert.equal(internetChecksum(hex('0001 f203 f4f5 f6f7')), 0x220d);
});

test('an IPv4 header with its checksum in place sums to zero', () => {
  const header = hex('4500 0073 0000 4000 4011 b861 c0a8 0001 c0a8 00c7');
  assert.equal(internetChecksum(header), 0);
  header.set([0, 0], 10);
  assert.equal(internetChecksum(header), 0xb861);
});

test('an odd last byte counts as the high half of a word', () => {
  assert.equal(internetChecksum(hex('01')), internetChecksum(hex('0100')));
  assert.equal(internetChecksum(new Uint8Array()), 0xffff);
});

/** UDP 192.168.0.31:20 to 192.168.0.30:10, 10 bytes of which "Hi" is the data; and ICMPv6 echo ::1 to ::1. */
test('pseudo headers of both families', () => {
  const udp = { source: hex('c0a8001f'), destination: hex('c0a8001e'), protocol: 17, length: 10 };
  const datagram = hex('0014 000a 000a 0000 4869');
  const checksum = internetChecksum(datagram, pseudoHeaderSum(udp));
  assert.equal(checksum, 0x35c5);
  datagram.set([checksum >> 8, checksum & 0xff], 6);
  assert.equal(internetChecksum(datagram, pseudoHeaderSum(udp)), 0);

  const loopback = hex('00000000000000000000000000000001');
  const sum = pseudoHeaderSum({
    source: loopback,
    destination: loopback,
    protocol: 58,
    length: 0x1_0008,
  });
  // 1 + 1 + 58 + the two halves of the length.
  assert.equal(sum, 1 + 1 + 58 + 1 + 8);
  const wrong = (source: Uint8Array, destination: Uint8Array) => () =>
    pseudoHeaderSum({ source, destination, protocol: 6, length: 0 });
  assert.throws(wrong(loopback, hex('7f000001')), WireError);
  assert.throws(wrong(new Uint8Array(3), new Uint8Array(3)), WireError);
});

test('RFC 1624 section 4: the example that the older equation gets wrong', () => {
  // The header sums to 0xcd7a without the field that goes from 0x5555 to 0x3285.
  assert.equal(updateChecksum(0xdd2f, 0x5555, 0x3285), 0x0000);
});

test('property: an update is a new sum, for words and for whole fields', () => {
  const even = fc
    .uint8Array({ minLength: 4, maxLength: 64 })
    .map((bytes) => bytes.subarray(0, bytes.length & ~1));
  fc.assert(
    fc.property(
      even,
      fc.nat(),
      fc.uint8Array({ minLength: 4, maxLength: 4 }),
      (bytes, place, field) => {
        // A packet always holds some byte that is not zero (its version), and so does its sum.
        const before = Uint8Array.from([0x45, 0, ...bytes]);
        const at = 2 + ((place % (bytes.length / 2)) & ~1);
        const width = Math.min(4, before.length - at) & ~1;
        const after = before.slice();
        after.set(field.subarray(0, width), at);
        const fresh = internetChecksum(after);
        const old = before.slice(at, at + width);
        assert.equal(
          updateChecksumBytes(internetChecksum(before), old, after.slice(at, at + width)),
          fresh,
        );
        const word = (from: Uint8Array, i: number) =>
          ((from[i] as number) << 8) | (from[i + 1] as number);
        let stepwise = internetChecksum(before);
        for (let i = 0; i < width; i += 2)
          stepwise = updateChecksum(stepwise, word(before, at + i), word(after, at + i));
        assert.equal(stepwise, fresh);
      },
    ),
    { numRuns: 1000 },
  );
  assert.throws(() => updateChecksumBytes(0, new Uint8Array(4), new Uint8Array(16)), WireError);
  assert.throws(() => updateChecksumBytes(0, new Uint8Array(3), new Uint8Array(3)), WireError);
});

test('property: sums chain over parts, and long input stays exact', () => {
  fc.assert(
    fc.property(fc.uint8Array(), fc.uint8Array(), (a, b) => {
      const even = a.subarray(0, a.length & ~1);
      const whole = Uint8Array.from([...even, ...b]);
      assert.equal(onesSum(b, onesSum(even)), onesSum(whole));
    }),
  );
  const long = new Uint8Array(4_000_000).fill(0xff);
  assert.equal(onesSum(long), 0xffff);
});
