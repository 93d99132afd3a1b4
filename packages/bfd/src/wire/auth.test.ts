import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import type { DiscardReason } from '../discards.ts';
import {
  type AuthKey,
  type AuthType,
  authLength,
  authTypes,
  checkPacket,
  type Digest,
  sealPacket,
} from './auth.ts';

const hex = (text: string) => Uint8Array.from(Buffer.from(text.replaceAll(' ', ''), 'hex'));
const digest: Digest = (algorithm, bytes) => createHash(algorithm).update(bytes).digest();
const key = new TextEncoder().encode('secret');
const types = Object.keys(authTypes) as AuthType[];

/** A packet of a session that is up, sealed. */
function sealed(auth: AuthKey, sequence: number, multiplier = 3): Uint8Array {
  const length = 24 + authLength(auth);
  const bytes = new Uint8Array(length);
  bytes.set(hex('20 c4 03 00 11223344 55667788 000493e0 000493e0 00000000'));
  bytes[2] = multiplier;
  bytes[3] = length;
  sealPacket(bytes, auth, sequence, digest);
  return bytes;
}

const check = (bytes: Uint8Array, auth: AuthKey, window = { known: false, last: 0 }) =>
  checkPacket(bytes, bytes[3]!, bytes[2]!, auth, window, digest);

// The digests were calculated by another program (Python's hashlib).
const golden: readonly [AuthType, string][] = [
  ['simple', '01 09 07 736563726574'],
  ['keyed-md5', '02 18 07 00 01020304 29503c58f538d7d49dc6aa7be5d8acb1'],
  ['meticulous-keyed-sha1', '05 1c 07 00 01020304 c9d8d069320a4aed25a1d6785a616e014a6c7841'],
];

for (const [type, section] of golden)
  test(`golden, both ways: ${type}`, () => {
    const auth = { type, keyId: 7, key };
    const bytes = sealed(auth, 0x01020304);
    assert.deepEqual(bytes.subarray(24), hex(section));
    assert.equal(check(bytes, auth), undefined);
  });

for (const type of types) {
  const auth: AuthKey = { type, keyId: 7, key };
  const refused: readonly [DiscardReason, string, (bytes: Uint8Array) => void, AuthKey?][] = [
    ['auth-type', 'a type that nobody uses', (b) => b.set([9], 24)],
    ['auth-type', 'no type', (b) => b.set([0], 24)],
    ['auth-length', 'a section too short', (b) => b.set([3], 25)],
    ['auth-length', 'a section longer than the packet', (b) => b.set([b[25]! + 1], 25)],
    ['auth-key', 'another key ID', (b) => b.set([8], 26)],
    ['auth-digest', 'another key', () => {}, { ...auth, key: new TextEncoder().encode('secreT') }],
    ['auth-digest', 'a changed last byte', (b) => b.set([b.at(-1)! ^ 1], b.length - 1)],
    ...(type === 'simple'
      ? []
      : ([
          ['auth-digest', 'a changed state', (b) => b.set([0x44], 1)],
          ['auth-digest', 'a changed sequence number', (b) => b.set([99], 31)],
        ] satisfies [DiscardReason, string, (b: Uint8Array) => void][])),
  ];
  for (const [reason, what, spoil, other] of refused)
    test(`${type}: ${what} is ${reason}, and moves no window`, () => {
      const bytes = sealed(auth, 5);
      spoil(bytes);
      const window = { known: false, last: 0 };
      assert.equal(check(bytes, other ?? auth, window), reason);
      assert.deepEqual(window, { known: false, last: 0 });
    });
}

test('a password of another length is wrong, not malformed', () => {
  const auth: AuthKey = { type: 'simple', keyId: 1, key };
  const other: AuthKey = { ...auth, key: new TextEncoder().encode('secrets') };
  assert.equal(check(sealed(auth, 0), other), 'auth-digest');
});

const windows: readonly [last: number, got: number, keyed: boolean, meticulous: boolean][] = [
  [100, 100, true, false],
  [100, 101, true, true],
  [100, 109, true, true],
  [100, 110, false, false],
  [100, 99, false, false],
  [100, 0, false, false],
  // "... when treated as an unsigned 32-bit circular number space"
  [0xffffffff, 0xffffffff, true, false],
  [0xffffffff, 0, true, true],
  [0xffffffff, 8, true, true],
  [0xffffffff, 9, false, false],
  [0xfffffffe, 6, true, true],
  [5, 0xffffffff, false, false],
];

for (const [last, got, keyed, meticulous] of windows)
  test(`after ${last}, ${got} of a sender with multiplier 3`, () => {
    for (const type of types) {
      if (authTypes[type].digest === undefined) continue;
      const auth: AuthKey = { type, keyId: 0, key };
      const window = { known: true, last };
      const fine = authTypes[type].meticulous ? meticulous : keyed;
      assert.equal(
        check(sealed(auth, got), auth, window),
        fine ? undefined : 'auth-sequence',
        type,
      );
      assert.equal(window.last, fine ? got : last);
    }
  });

test('the first number is as good as any', () => {
  for (const type of types) {
    const auth: AuthKey = { type, keyId: 255, key: Uint8Array.of(1) };
    const window = { known: false, last: 77 };
    assert.equal(check(sealed(auth, 0xdeadbeef), auth, window), undefined);
    if (type !== 'simple') assert.deepEqual(window, { known: true, last: 0xdeadbeef });
  }
});

test('a sealed packet is genuine under its key and under no other', () => {
  const keys = fc.record({
    type: fc.constantFrom(...types),
    keyId: fc.nat(255),
    key: fc.uint8Array({ minLength: 1, maxLength: 16 }),
  });
  fc.assert(
    fc.property(keys, keys, fc.nat(0xffffffff), (auth, other, sequence) => {
      const bytes = sealed(auth, sequence);
      assert.equal(check(bytes, auth), undefined);
      const padded = (k: Uint8Array) => Buffer.from(k).toString('hex').padEnd(40, '0');
      const equal =
        auth.type === other.type &&
        auth.keyId === other.keyId &&
        // Keys are padded with zeros: those that differ only in them are one, but for passwords.
        (auth.type === 'simple'
          ? Buffer.from(auth.key).equals(Buffer.from(other.key))
          : padded(auth.key) === padded(other.key));
      assert.equal(check(bytes, other) === undefined, equal);
    }),
  );
});
