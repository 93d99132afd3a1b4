import assert from 'node:assert/strict';
import { isIP } from 'node:net';
import { test } from 'node:test';
import fc from 'fast-check';
import { Address } from './address.ts';
import { IpError } from './errors.ts';
import { Mac } from './mac.ts';

const code = (expected: string) => (error: unknown) =>
  error instanceof IpError && error.code === expected;

/** Text in, canonical text out: RFC 5952 section 4, and IPv4-mapped as IPv4. */
const spellings: readonly (readonly [string, string])[] = [
  ['0.0.0.0', '0.0.0.0'],
  ['255.255.255.255', '255.255.255.255'],
  ['10.0.0.1', '10.0.0.1'],
  ['::', '::'],
  ['::1', '::1'],
  ['1::', '1::'],
  ['2001:DB8::1', '2001:db8::1'],
  ['2001:0db8:0000:0000:0000:0000:0002:0001', '2001:db8::2:1'],
  ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
  ['2001:db8::1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
  ['2001:0:0:1:0:0:0:1', '2001:0:0:1::1'],
  ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
  ['0:0:0:0:0:0:0:0', '::'],
  ['1:2:3:4:5:6:7::', '1:2:3:4:5:6:7:0'],
  ['::2:3:4:5:6:7:8', '0:2:3:4:5:6:7:8'],
  ['64:ff9b::192.0.2.33', '64:ff9b::c000:221'],
  ['1:2:3:4:5:6:1.2.3.4', '1:2:3:4:5:6:102:304'],
  ['::ffff:192.0.2.1', '192.0.2.1'],
  ['::FFFF:c000:0201', '192.0.2.1'],
  ['::1.2.3.4', '::102:304'],
];

test('every spelling has one canonical form', () => {
  for (const [text, canonical] of spellings) {
    assert.equal(Address.parse(text), canonical, text);
    assert.equal(Address.is(text), text === canonical, text);
  }
});

test('what is not exactly an address is refused with the value', () => {
  const wrong = [
    '',
    ' ',
    '1',
    '1.2.3',
    '1.2.3.4.5',
    '1.2.3.256',
    '01.2.3.4',
    '1.2.3.04',
    '1.2.3.4 ',
    ' 1.2.3.4',
    '1..2.3',
    '.1.2.3.4',
    '1.2.3.',
    '1.2.3.-4',
    '1.2.3.4/32',
    '0x1.2.3.4',
    '1.2.3.4a',
    '١.2.3.4',
    ':',
    ':::',
    '1:2:3:4:5:6:7',
    '1:2:3:4:5:6:7:8:9',
    '1:2:3:4:5:6:7:8::',
    '::1:2:3:4:5:6:7:8',
    '1::2::3',
    '12345::',
    'g::',
    '::1%eth0',
    'fe80::1%1',
    '[::1]',
    ':1:2:3:4:5:6:7:8',
    '1:2:3:4:5:6:7:8:',
    '::1.2.3',
    '::01.2.3.4',
    '1.2.3.4::',
    '::1.2.3.4:5',
    '1:2:3:4:5:6:7:1.2.3.4',
    '::ffff:1.2.3.4.5',
    'a'.repeat(100_000),
  ];
  for (const text of wrong) {
    assert.equal(Address.tryParse(text), undefined, text.slice(0, 50));
    assert.throws(
      () => Address.parse(text),
      (error: IpError) => {
        assert.equal(error.code, 'invalid-address');
        assert.equal(error.value, text);
        assert.ok(error.message.length < 200);
        return true;
      },
    );
  }
  assert.throws(() => Address.parse(undefined as never), code('invalid-address'));
});

const anyWord = fc.bigInt({ min: 0n, max: 2n ** 128n - 1n });
/** Addresses with many zero groups, which is where compression goes wrong. */
const sparse: fc.Arbitrary<bigint> = fc
  .array(fc.constantFrom<bigint[]>(0n, 0n, 0n, 1n, 0xffffn, 0xdb8n), { minLength: 8, maxLength: 8 })
  .map((groups) => groups.reduce<bigint>((sum, group) => (sum << 16n) | group, 0n));
const ipv6 = fc.oneof(anyWord, sparse).map((value) => Address.fromBigInt('ipv6', value));
const ipv4 = fc.nat(0xffffffff).map((value) => Address.fromBigInt('ipv4', BigInt(value)));
const address = fc.oneof(ipv4, ipv6);

test('text, bytes and number all lead back to the same address', () => {
  fc.assert(
    fc.property(address, (a) => {
      assert.equal(Address.parse(a), a);
      assert.equal(isIP(a), Address.isIPv4(a) ? 4 : 6, 'Node agrees on the family');
      assert.equal(Address.fromBytes(Address.toBytes(a)), a);
      assert.equal(Address.fromBytes(Address.toBytes16(a)), a);
      assert.equal(Address.fromBigInt(Address.family(a), Address.toBigInt(a)), a);
      const buffer = new Uint8Array(20);
      Address.write16(a, buffer, 3);
      assert.deepEqual(buffer.slice(3, 19), Address.toBytes16(a));
    }),
    { numRuns: 1000 },
  );
});

test('canonical IPv6 is what the URL standard prints, which follows RFC 5952', () => {
  fc.assert(
    fc.property(ipv6.filter(Address.isIPv6), (a) => {
      assert.equal(new URL(`http://[${a}]/`).hostname, `[${a}]`);
    }),
    { numRuns: 1000 },
  );
});

test('any text parses to something canonical or not at all', () => {
  const part = fc.constantFrom(
    '0',
    '1',
    'ff',
    '::',
    ':',
    '.',
    '1.2.3.4',
    'ffff',
    '%',
    '/',
    '00',
    '255',
    '256',
  );
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.array(part, { maxLength: 12 }).map((parts) => parts.join('')),
      ),
      (text) => {
        const parsed = Address.tryParse(text);
        if (parsed === undefined) {
          // Node takes zones, which name an interface and not an address; beyond that we agree.
          assert.ok(isIP(text) === 0 || text.includes('%'), text);
        } else {
          assert.equal(Address.parse(parsed), parsed);
          assert.notEqual(isIP(text), 0, text);
        }
      },
    ),
    { numRuns: 3000 },
  );
});

test('order is by number, IPv4 first', () => {
  fc.assert(
    fc.property(address, address, (a, b) => {
      const expected =
        Address.family(a) === Address.family(b)
          ? Address.toBigInt(a) < Address.toBigInt(b)
            ? -1
            : Address.toBigInt(a) > Address.toBigInt(b)
              ? 1
              : 0
          : Address.isIPv4(a)
            ? -1
            : 1;
      assert.equal(Math.sign(Address.compare(a, b)), expected);
    }),
  );
});

test('addition stays inside the family or says so', () => {
  const first = Address.parse('10.0.0.255');
  assert.equal(Address.add(first, 1), '10.0.1.0');
  assert.equal(Address.add(first, -256n), '9.255.255.255');
  assert.equal(Address.add(Address.parse('::1'), 2n ** 64n), '::1:0:0:0:1');
  assert.throws(() => Address.add(Address.parse('255.255.255.255'), 1), code('out-of-range'));
  assert.throws(() => Address.add(Address.parse('::'), -1), code('out-of-range'));
  assert.throws(() => Address.fromBigInt('ipv4', 2n ** 32n), code('out-of-range'));
  assert.throws(() => Address.fromBytes(new Uint8Array(5)), code('invalid-address'));
});

test('special addresses are told apart at the edges of their ranges', () => {
  const is =
    (property: 'isUnspecified' | 'isLoopback' | 'isLinkLocal' | 'isMulticast') => (text: string) =>
      Address[property](Address.parse(text));
  assert.deepEqual(['0.0.0.0', '::', '0.0.0.1', '::1'].map(is('isUnspecified')), [
    true,
    true,
    false,
    false,
  ]);
  assert.deepEqual(
    ['127.0.0.1', '127.255.255.255', '128.0.0.0', '::1', '::2'].map(is('isLoopback')),
    [true, true, false, true, false],
  );
  assert.deepEqual(
    ['169.254.0.0', '169.255.0.0', 'fe80::', 'febf::1', 'fec0::', 'fe7f::'].map(is('isLinkLocal')),
    [true, false, true, true, false, false],
  );
  assert.deepEqual(
    ['224.0.0.1', '239.255.255.255', '240.0.0.0', 'ff02::1', 'fe00::'].map(is('isMulticast')),
    [true, true, false, true, false],
  );
});

test('MAC addresses have one form too', () => {
  assert.equal(Mac.parse('02:00:5E:10:00:FF'), '02:00:5e:10:00:ff');
  assert.equal(Mac.parse('02-00-5e-10-00-ff'), '02:00:5e:10:00:ff');
  for (const text of [
    '',
    '02:00:5e:10:00',
    '02:00:5e:10:00:ff:00',
    '02:00-5e:10:00:ff',
    '2:0:5e:10:0:ff',
    'gg:00:5e:10:00:ff',
    '02005e1000ff',
  ]) {
    assert.throws(() => Mac.parse(text), code('invalid-mac'), text);
    assert.equal(Mac.is(text), false);
  }
  assert.throws(() => Mac.fromBytes(new Uint8Array(5)), code('invalid-mac'));
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 6, maxLength: 6 }), (bytes) => {
      const mac = Mac.fromBytes(bytes);
      assert.equal(Mac.parse(mac), mac);
      assert.deepEqual([...Mac.toBytes(mac)], [...bytes]);
      const local = Mac.local(bytes);
      assert.equal(Mac.isMulticast(local), false);
      assert.equal((Mac.toBytes(local)[0] ?? 0) & 2, 2);
      assert.equal(Address.isLinkLocal(Mac.linkLocal(mac)), true);
    }),
  );
  // RFC 4291 appendix A, example.
  assert.equal(Mac.linkLocal(Mac.parse('34:56:78:9a:bc:de')), 'fe80::3656:78ff:fe9a:bcde');
});
