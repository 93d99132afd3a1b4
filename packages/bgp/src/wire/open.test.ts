import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { hex, toHex } from '../../testing/bytes.ts';
import { BgpError } from '../errors.ts';
import { Asn, RouterId } from '../types.ts';
import type { Capability } from './capabilities.ts';
import { decodeOpen, encodeOpen, type OpenMessage, openAsn } from './open.ts';

const v4 = { afi: 1, safi: 1 };
const v6 = { afi: 2, safi: 1 };

/** What real routers sent, and what it says. Bodies behind the header. */
const captured: readonly { from: string; bytes: string; value: OpenMessage; ours: boolean }[] = [
  {
    from: 'BIRD 2.0.12',
    ours: true,
    bytes: `
      04 5ba0 001e 0a090902  # version, AS_TRANS, hold time 30, identifier
      3c 02 3a               # one parameter with all capabilities
      01 04 0001 00 01       # IPv4 unicast
      01 04 0002 00 01       # IPv6 unicast
      02 00                  # route refresh
      06 00                  # extended messages
      40 0a 0078 0001 01 00 0002 01 00  # graceful restart, 120 s
      41 04 fa56ea02         # AS 4200000002
      45 04 0001 01 03       # ADD-PATH, both ways
      46 00                  # enhanced route refresh
      47 0e 0001 01 00 000e10 0002 01 00 000e10  # LLGR, an hour`,
    value: {
      version: 4,
      myAs: 23456,
      holdTime: 30,
      routerId: RouterId.parse('10.9.9.2'),
      capabilities: [
        { type: 'multiprotocol', family: v4 },
        { type: 'multiprotocol', family: v6 },
        { type: 'route-refresh' },
        { type: 'extended-message' },
        {
          type: 'graceful-restart',
          restarting: false,
          notification: false,
          restartTime: 120,
          families: [
            { family: v4, forwarding: false },
            { family: v6, forwarding: false },
          ],
        },
        { type: 'four-octet-as', asn: Asn.of(4200000002) },
        { type: 'add-path', families: [{ family: v4, mode: 'both' }] },
        { type: 'enhanced-route-refresh' },
        {
          type: 'long-lived-graceful-restart',
          families: [
            { family: v4, forwarding: false, staleTime: 3600 },
            { family: v6, forwarding: false, staleTime: 3600 },
          ],
        },
      ],
    },
  },
  {
    from: 'FRR 8.4.4: a parameter for each capability',
    ours: false,
    bytes: `
      04 fdeb 0009 0a090903 5d
      02 06 01 04 0001 00 01
      02 06 01 04 0002 00 01
      02 02 80 00            # the old code of route refresh: kept as bytes
      02 02 02 00
      02 02 46 00
      02 06 41 04 0000fdeb
      02 02 06 00
      02 0a 45 08 0001 01 01 0002 01 01  # ADD-PATH, receives
      02 07 49 05 03 667272 00           # its name: frr
      02 0c 40 0a c078 0001 01 00 0002 01 00  # restarting, with NOTIFICATIONs
      02 10 47 0e 0001 01 80 000000 0002 01 80 000000`,
    value: {
      version: 4,
      myAs: 65003,
      holdTime: 9,
      routerId: RouterId.parse('10.9.9.3'),
      capabilities: [
        { type: 'multiprotocol', family: v4 },
        { type: 'multiprotocol', family: v6 },
        { type: 'unknown', code: 128, value: new Uint8Array(0) },
        { type: 'route-refresh' },
        { type: 'enhanced-route-refresh' },
        { type: 'four-octet-as', asn: Asn.of(65003) },
        { type: 'extended-message' },
        {
          type: 'add-path',
          families: [
            { family: v4, mode: 'receive' },
            { family: v6, mode: 'receive' },
          ],
        },
        { type: 'fqdn', host: 'frr', domain: '' },
        {
          type: 'graceful-restart',
          restarting: true,
          notification: true,
          restartTime: 120,
          families: [
            { family: v4, forwarding: false },
            { family: v6, forwarding: false },
          ],
        },
        {
          type: 'long-lived-graceful-restart',
          families: [
            { family: v4, forwarding: true, staleTime: 0 },
            { family: v6, forwarding: true, staleTime: 0 },
          ],
        },
      ],
    },
  },
  {
    from: 'GoBGP 3.10.0',
    ours: true,
    bytes: `
      04 fdec 005a 0a090904 2c 02 2a
      02 00
      49 04 02 766d 00
      01 04 0001 00 01
      01 04 0002 00 01
      41 04 0000fdec
      40 06 4014 0001 01 00
      05 06 0001 0001 0002   # IPv4 with IPv6 next hops`,
    value: {
      version: 4,
      myAs: 65004,
      holdTime: 90,
      routerId: RouterId.parse('10.9.9.4'),
      capabilities: [
        { type: 'route-refresh' },
        { type: 'fqdn', host: 'vm', domain: '' },
        { type: 'multiprotocol', family: v4 },
        { type: 'multiprotocol', family: v6 },
        { type: 'four-octet-as', asn: Asn.of(65004) },
        {
          type: 'graceful-restart',
          restarting: false,
          notification: true,
          restartTime: 20,
          families: [{ family: v4, forwarding: false }],
        },
        { type: 'extended-next-hop', entries: [{ family: v4, nextHopAfi: 2 }] },
      ],
    },
  },
  {
    from: 'an old speaker without parameters',
    ours: true,
    bytes: '04 fdea 0000 0a000003 00',
    value: {
      version: 4,
      myAs: 65002,
      holdTime: 0,
      routerId: RouterId.parse('10.0.0.3'),
      capabilities: [],
    },
  },
  {
    from: 'RFC 9072 section 2, the extended form though it is not needed',
    ours: false,
    bytes: '04 fdea 0003 0a000003 ff ff 0009 02 0006 41 04 0000fdea',
    value: {
      version: 4,
      myAs: 65002,
      holdTime: 3,
      routerId: RouterId.parse('10.0.0.3'),
      capabilities: [{ type: 'four-octet-as', asn: Asn.of(65002) }],
    },
  },
];

for (const { from, bytes, value, ours } of captured) {
  test(`OPEN both ways: ${from}`, () => {
    const open = decodeOpen(hex(bytes));
    assert.deepEqual(open, value);
    const again = encodeOpen(open).subarray(19);
    if (ours) assert.equal(toHex(again), toHex(hex(bytes)));
    assert.deepEqual(decodeOpen(again), value);
  });
}

test('more than 255 bytes of capabilities go in the extended form, and come back', () => {
  const capabilities: Capability[] = Array.from({ length: 60 }, (_, i) => ({
    type: 'unknown',
    code: 200,
    value: Uint8Array.of(i, 1, 2, 3),
  }));
  const open: OpenMessage = { ...(captured[3] as { value: OpenMessage }).value, capabilities };
  const bytes = encodeOpen(open);
  assert.deepEqual([...bytes.subarray(28, 30)], [255, 255]);
  assert.deepEqual(decodeOpen(bytes.subarray(19)), open);
});

/** Bytes, the NOTIFICATION's subcode and data that answer them, and where. */
const refused: readonly [string, string, number, string, number | undefined][] = [
  ['version 3', '03 fdea 005a 0a000003 00', 1, '0004', 0],
  ['AS 0', '04 0000 005a 0a000003 00', 2, '', 1],
  ['AS 0 in the capability', '04 5ba0 005a 0a000003 08 02 06 41 04 00000000', 2, '', 1],
  ['hold time 2', '04 fdea 0002 0a000003 00', 6, '', 3],
  ['identifier 0.0.0.0', '04 fdea 005a 00000000 00', 3, '', 5],
  ['parameter 1', '04 fdea 005a 0a000003 03 01 01 00', 4, '', 10],
  ['parameters that end early', '04 fdea 005a 0a000003 09 02 06 41 04 0000fdea', 0, '', 10],
  ['parameters that go on', '04 fdea 005a 0a000003 00 00', 0, '', 10],
  ['a capability over the end', '04 fdea 005a 0a000003 04 02 02 01 04', 0, '', 14],
  ['a short AS capability', '04 fdea 005a 0a000003 06 02 04 41 02 fdea', 0, '', undefined],
  ['extended parameters cut', '04 fdea 005a 0a000003 ff ff 00', 0, '', 11],
];

for (const [what, bytes, subcode, data, offset] of refused) {
  test(`OPEN refused: ${what}`, () => {
    assert.throws(
      () => decodeOpen(hex(bytes)),
      (error: BgpError) => {
        assert.ok(error instanceof BgpError);
        assert.equal(error.code, 'open-error');
        assert.equal(error.notification?.code, 2);
        assert.equal(error.notification?.subcode, subcode);
        assert.equal(toHex(error.notification?.data ?? new Uint8Array(0)), data);
        if (offset !== undefined) assert.equal(error.offset, offset);
        return true;
      },
    );
  });
}

test('a malformed capability other than the AS number counts as unknown', () => {
  const open = decodeOpen(hex('04 fdea 005a 0a000003 07 02 05 01 03 0001 00'));
  assert.deepEqual(open.capabilities, [{ type: 'unknown', code: 1, value: hex('000100') }]);
});

const family = fc.record({ afi: fc.nat(0xffff), safi: fc.nat(255) });
const anyCapability: fc.Arbitrary<Capability> = fc.oneof(
  fc.record({ type: fc.constant('multiprotocol' as const), family }),
  fc.constant({ type: 'route-refresh' as const }),
  fc.constant({ type: 'extended-message' as const }),
  fc.record({
    type: fc.constant('graceful-restart' as const),
    restarting: fc.boolean(),
    notification: fc.boolean(),
    restartTime: fc.nat(4095),
    families: fc.array(fc.record({ family, forwarding: fc.boolean() }), { maxLength: 4 }),
  }),
  fc.record({
    type: fc.constant('four-octet-as' as const),
    asn: fc.integer({ min: 1, max: 0xffff_ffff }).map(Asn.of),
  }),
  fc.record({
    type: fc.constant('add-path' as const),
    families: fc.array(
      fc.record({ family, mode: fc.constantFrom('send' as const, 'receive', 'both') }),
      { maxLength: 4 },
    ),
  }),
  fc.record({
    type: fc.constant('long-lived-graceful-restart' as const),
    families: fc.array(
      fc.record({ family, forwarding: fc.boolean(), staleTime: fc.nat(0xff_ffff) }),
      { maxLength: 4 },
    ),
  }),
  fc.record({
    type: fc.constant('unknown' as const),
    code: fc.integer({ min: 130, max: 255 }),
    value: fc.uint8Array({ maxLength: 30 }),
  }),
);

test('property: what is encoded decodes to itself', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 0xffff }),
      fc.constantFrom(0, 3, 90, 65535),
      fc.integer({ min: 1, max: 0xffff_ffff }),
      fc.array(anyCapability, { maxLength: 30 }),
      (myAs, holdTime, id, capabilities) => {
        const open = {
          version: 4,
          myAs,
          holdTime,
          routerId: RouterId.fromNumber(id),
          capabilities,
        };
        // A clone has prototypes, which some of fast-check's records lack.
        assert.deepEqual(decodeOpen(encodeOpen(open).subarray(19)), structuredClone(open));
        assert.ok(openAsn(open) > 0);
      },
    ),
  );
});

test('property: any bytes decode stably or are refused with an answer', () => {
  const start = hex('04 fdea 005a 0a000003');
  fc.assert(
    fc.property(
      fc.oneof(
        fc.uint8Array({ maxLength: 80 }),
        fc
          .uint8Array({ maxLength: 80 })
          .map((rest) => Uint8Array.from([...start, rest.length, ...rest])),
        fc
          .uint8Array({ maxLength: 80 })
          .map((rest) => Uint8Array.from([...start, rest.length + 2, 2, rest.length, ...rest])),
      ),
      (bytes) => {
        let open: OpenMessage;
        try {
          open = decodeOpen(bytes);
        } catch (error) {
          assert.ok(error instanceof BgpError && error.notification?.code === 2, String(error));
          return;
        }
        assert.deepEqual(decodeOpen(encodeOpen(open).subarray(19)), open);
      },
    ),
    { numRuns: 2000 },
  );
});
