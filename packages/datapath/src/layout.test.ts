import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Address } from '@causeway/ip';
import fc from 'fast-check';
import { conntrack } from './maps/conntrack.ts';
import { endpoints } from './maps/endpoints.ts';
import { fromTrie, toTrie } from './prefixes.ts';

const ipv4 = fc.uint8Array({ minLength: 4, maxLength: 4 }).map((b) => Address.fromBytes(b));
const ipv6 = fc.uint8Array({ minLength: 16, maxLength: 16 }).map((b) => Address.fromBytes(b));
const anyAddress = fc.oneof(ipv4, ipv6);
const number32 = fc.nat(0xffff_ffff);
const port = fc.nat(0xffff);

describe('layouts', () => {
  test('a conntrack key in bytes: addresses and ports in network order, padding zero', () => {
    assert.deepEqual(
      [
        ...conntrack.key.encode({
          addrA: Address.parse('10.1.0.2'),
          addrB: Address.parse('fd00::1'),
          portA: 0x1234,
          portB: 443,
          protocol: 6,
          scope: 0,
        }),
      ],
      [
        ...[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 1, 0, 2],
        ...[0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
        ...[0x12, 0x34, 0x01, 0xbb, 6, 0, 0, 0],
      ],
    );
  });

  test('decode undoes encode', () => {
    fc.assert(
      fc.property(
        anyAddress,
        anyAddress,
        port,
        port,
        fc.nat(255),
        (addrA, addrB, portA, portB, protocol) => {
          const key = { addrA, addrB, portA, portB, protocol, scope: 0 };
          assert.deepEqual(conntrack.key.decode(conntrack.key.encode(key)), key);
        },
      ),
    );
    fc.assert(
      fc.property(fc.array(number32, { minLength: 10, maxLength: 10 }), (n) => {
        const [a, b, c, d, e, f, g, h, i, j] = n as [
          number,
          number,
          number,
          number,
          number,
          number,
          number,
          number,
          number,
          number,
        ];
        const entry = {
          expires: a,
          flags: b,
          service: c,
          backend: d,
          sourceIdentity: e,
          epoch: f,
          egressRevision: g,
          ingressRevision: h,
          egressRule: i,
          ingressRule: j,
        };
        assert.deepEqual(conntrack.value.decode(conntrack.value.encode(entry)), entry);
      }),
    );
  });

  test('a number that does not fit is refused, not cut', () => {
    const at = (ifindex: number) => () =>
      endpoints.value.encode({
        ifindex,
        id: 0,
        identity: 0,
        policyId: 0,
        policyRevision: 0,
        mac: '00:00:00:00:00:00' as never,
        hostMac: '00:00:00:00:00:00' as never,
        flags: 0,
      });
    assert.throws(at(-1), RangeError);
    assert.throws(at(2 ** 32), RangeError);
    assert.throws(at(1.5), RangeError);
    assert.throws(() => endpoints.value.decode(new Uint8Array(35)), RangeError);
  });

  test('prefixes of both families share one trie and come back as they were', () => {
    for (const text of [
      '0.0.0.0/0',
      '10.0.0.0/8',
      '10.1.2.3/32',
      '::/0',
      'fd00::/8',
      'fd00::1/128',
    ]) {
      assert.equal(fromTrie(toTrie(text as never)), text);
    }
  });
});
