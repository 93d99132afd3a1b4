import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Address } from '@causeway/ip';
import { type FilterInstruction, longestFilter } from '@causeway/linux';
import fc from 'fast-check';
import { isSealed, sealed } from '../seal.ts';
import { inletFilter } from './filter.ts';

/** Runs a filter as the kernel does (linux/filter.h), over an IP header and a UDP datagram. */
function takes(filter: readonly FilterInstruction[], ip: Uint8Array, udp: Uint8Array): boolean {
  let accumulator = 0;
  for (let at = 0; ; at++) {
    const { code, k, ifTrue, ifFalse } = filter[at]!;
    const [bytes, offset] = k < 0 ? [ip, k + 0x100000] : [udp, k];
    switch (code) {
      case 0x30:
        if (offset >= bytes.length) return false;
        accumulator = bytes[offset]!;
        break;
      case 0x20:
        if (offset + 4 > bytes.length) return false;
        accumulator = new DataView(bytes.buffer, bytes.byteOffset).getUint32(offset);
        break;
      case 0x24:
        accumulator = Math.imul(accumulator, k) >>> 0;
        break;
      case 0x74:
        accumulator >>>= k;
        break;
      case 0x15:
        at += accumulator === k ? ifTrue : ifFalse;
        break;
      case 0x35:
        at += accumulator >= k ? ifTrue : ifFalse;
        break;
      case 0x06:
        return k !== 0;
      default:
        assert.fail(`instruction ${code}`);
    }
  }
}

function packetOf(source: Address, ttl: number, yourDiscriminator: number) {
  const v6 = Address.isIPv6(source);
  const ip = new Uint8Array(v6 ? 40 : 20);
  ip[v6 ? 7 : 8] = ttl;
  ip.set(Address.toBytes(source), v6 ? 8 : 12);
  const udp = new Uint8Array(8 + 24);
  new DataView(udp.buffer).setUint32(16, yourDiscriminator);
  return { ip, udp };
}

const seal = { factor: 0x9e37_79b1, mark: 0xbeef };
const peers = ['10.0.0.1', '10.0.0.2', 'fd00::1', 'fd00::2', 'fe80::1'].map((text) =>
  Address.parse(text),
);

test('it takes what names one of ours or comes from a peer, from as far as it may', () => {
  const source = fc.constantFrom(
    ...peers,
    ...['10.0.0.3', '0.0.0.0', 'fd00::3', 'fd00:0:1::1', 'fe80::2'].map((text) =>
      Address.parse(text),
    ),
  );
  const ttl = fc.constantFrom(0, 1, 254, 255);
  const discriminator = fc.oneof(
    fc.constantFrom(0, 1, 0xbeef0000, 0xbeef1234),
    fc.nat(0xffff).map((low) => sealed(seal, low)),
  );
  const hops = fc.constantFrom('single' as const, 'multi' as const);
  fc.assert(
    fc.property(source, ttl, discriminator, hops, (from, distance, your, kind) => {
      const filter = inletFilter(kind, Address.family(from), seal, peers);
      const { ip, udp } = packetOf(from, distance, your);
      const near = kind === 'multi' || distance === 255;
      const ours = your === 0 ? peers.includes(from) : isSealed(seal, your);
      assert.equal(takes(filter, ip, udp), near && ours);
      assert.equal(takes(filter, ip, udp.subarray(0, 19)), false, 'cut short');
    }),
    { numRuns: 500 },
  );
});

test('more peers than fit leave the rest to the core, and no jump is too long', () => {
  const many = (count: number) =>
    Array.from({ length: count }, (_, i) => Address.add(Address.parse('fd00::'), i + 1));
  for (const count of [0, 1, 450, 455, 5000]) {
    const filter = inletFilter('single', 'ipv6', seal, many(count));
    assert.ok(filter.length <= longestFilter);
    for (const { ifTrue, ifFalse } of filter) assert.ok(ifTrue < 256 && ifFalse < 256);
    const stranger = packetOf(Address.parse('fe80::9'), 255, 0);
    assert.equal(takes(filter, stranger.ip, stranger.udp), count > 453);
    const last = packetOf(many(Math.max(1, count)).at(-1)!, 255, 0);
    assert.equal(takes(filter, last.ip, last.udp), count > 0);
  }
});
