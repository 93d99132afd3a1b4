import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Address } from '@causeway/ip';
import fc from 'fast-check';
import { decodeIp, encodeIp, type IpValue } from '../codec/ip.ts';
import { MeshError } from '../errors.ts';
import { canonicalPlace } from './canonical.ts';
import { EntryDecoder } from './decode.ts';
import { newPlace, placeOf, textOf } from './places.ts';

const encoder = new TextEncoder();

/** What the strict decoder makes of a key and its value, or undefined where it refuses. */
function strictly(rest: string, text: string): unknown {
  try {
    const value: IpValue = decodeIp(text);
    if (value.address !== rest) return undefined;
    return {
      address: value.address,
      identity: value.identity,
      host: value.hostIP,
      encryptionKey: value.encryptionKey,
      ports: value.namedPorts,
      pod: value.pod === '' ? undefined : [value.namespace, value.pod].filter(Boolean).join('/'),
    };
  } catch (error) {
    if (error instanceof MeshError) return undefined;
    throw error;
  }
}

const decoder = new EntryDecoder(true);

function quickly(rest: string, text: string): unknown {
  try {
    const raw = decoder.decode(rest, encoder.encode(text));
    const { identity, host, encryptionKey, ports, pod } = raw;
    return { address: textOf(raw), identity, host, encryptionKey, ports, pod };
  } catch (error) {
    if (error instanceof MeshError) return undefined;
    throw error;
  }
}

const agree = (rest: string, text: string) =>
  assert.deepEqual(quickly(rest, text), strictly(rest, text), `${rest} ${text}`);

const address = fc.oneof(
  fc.ipV4(),
  fc.ipV6(),
  fc.constantFrom('10.1.2.3', 'fd00::1', '2001:db8::a', '::ffff:10.0.0.1', '0.0.0.0', '::'),
);
const port = fc.record({
  Name: fc.oneof(fc.constantFrom('http', 'a]', ''), fc.string()),
  Port: fc.integer({ min: -1, max: 70_000 }),
  Protocol: fc.constantFrom('TCP', 'UDP', 'SCTP', '', 'QUIC'),
});
const value = fc.record(
  {
    IP: address,
    Mask: fc.constantFrom(null, '', '////AA==', '/////w=='),
    HostIP: fc.oneof(address, fc.constantFrom('', 'nowhere')),
    ID: fc.oneof(fc.nat(2 ** 25), fc.integer({ min: -5, max: 2 ** 33 }), fc.constant(1.5)),
    Key: fc.integer({ min: -1, max: 300 }),
    Metadata: fc.oneof(
      fc.constant('cilium-global:default:n1:17'),
      fc.string(),
      fc.string({ unit: 'binary' }),
    ),
    K8sNamespace: fc.constantFrom('shop', 'a"b', 'ü'),
    K8sPodName: fc.constantFrom('till-3', ''),
    K8sServiceAccount: fc.constantFrom('default', ''),
    NamedPorts: fc.array(port, { maxLength: 3 }),
  },
  {
    requiredKeys: ['IP', 'Mask', 'HostIP', 'ID', 'Key', 'Metadata'],
    noNullPrototype: true,
  },
);

test('what it reads from bytes is what the strict decoder reads, right or wrong', () => {
  fc.assert(
    fc.property(value, fc.boolean(), (fields, ownKey) => {
      const text = JSON.stringify(fields);
      let rest = fields.IP;
      if (ownKey) {
        try {
          rest = decodeIp(text).address;
        } catch {}
      }
      agree(rest, text);
    }),
    { numRuns: 2000 },
  );
});

test('and so it is with a byte of a good value taken out, put in or changed', () => {
  const good = encodeIp({
    address: '10.77.4.9' as never,
    hostIP: '198.51.100.21' as never,
    identity: 2_425_132,
    encryptionKey: 0,
    metadata: '',
    namespace: 'shop',
    pod: 'till-vm-3',
    serviceAccount: '',
    namedPorts: [{ name: 'http', port: 8080, protocol: 'TCP' }],
  });
  agree('10.77.4.9', good);
  assert.notEqual(quickly('10.77.4.9', good), undefined);
  for (let at = 0; at <= good.length; at++) {
    agree('10.77.4.9', good.slice(0, at));
    agree('10.77.4.9', good.slice(0, at) + good.slice(at + 1));
    for (const char of ['"', '\\', '0', ' ', ']', '}', ',', 'é', '\u0001']) {
      agree('10.77.4.9', good.slice(0, at) + char + good.slice(at));
      agree('10.77.4.9', good.slice(0, at) + char + good.slice(at + 1));
    }
  }
});

test('canonical texts, and no others, are read without the address parser', () => {
  const group = fc.oneof(
    fc.constantFrom('0', '0', '0', '1', '00', '0a', 'A', 'ffff', '10000', ''),
    fc.nat(65_535).map((n) => n.toString(16)),
  );
  const text = fc.oneof(
    fc.ipV4(),
    fc.ipV6(),
    fc.bigInt({ min: 0n, max: 2n ** 128n - 1n }).map((n) => Address.fromBigInt('ipv6', n)),
    fc.array(group, { minLength: 1, maxLength: 9 }).map((groups) => groups.join(':')),
    fc
      .tuple(fc.array(group, { maxLength: 7 }), fc.array(group, { maxLength: 7 }))
      .map(([a, b]) => `${a.join(':')}::${b.join(':')}`),
  );
  fc.assert(
    fc.property(text, (given) => {
      const place = newPlace();
      const found = canonicalPlace(given, place);
      assert.equal(found, Address.is(given), given);
      if (found) assert.equal(textOf(place), given);
    }),
    { numRuns: 5000 },
  );
});

test('places are the addresses and prefixes that they were made of', () => {
  for (const text of [
    '10.0.0.5',
    '10.0.0.5/32',
    '10.0.0.0/8',
    '0.0.0.0/0',
    '::/0',
    'fd00::1',
    'fd00::/64',
    '::/90',
  ]) {
    const place = newPlace();
    assert.ok(placeOf(text, place));
    const again = newPlace();
    assert.ok(placeOf(textOf(place), again));
    assert.deepEqual(again, place);
    if (!text.startsWith('::ffff')) assert.equal(textOf(place), text);
  }
  assert.equal(placeOf('nobody', newPlace()), false);
});
