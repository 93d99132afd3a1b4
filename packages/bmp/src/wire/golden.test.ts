import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Asn, RouterId } from '@causeway/bgp';
import { Address } from '@causeway/ip';
import { type BmpMessage, decodeMessage, encodeMessage } from './message.ts';
import type { LocRibHeader, SessionHeader } from './peer-header.ts';

const hex = (text: string): Uint8Array<ArrayBuffer> =>
  new Uint8Array(Buffer.from(text.replace(/[^0-9a-f]/g, ''), 'hex'));

const marker = 'ffffffffffffffffffffffffffffffff';
// Version 4, AS 65001, hold time 90, identifier 192.0.2.1, no capabilities.
const openText = `${marker} 001d 01 04 fde9 005a c0000201 00`;
const notificationText = `${marker} 0015 03 06 02`;
const endOfRibText = `${marker} 0017 02 0000 0000`;

const v4: SessionHeader = {
  type: 'global',
  view: 'in-pre',
  legacyAsPath: false,
  distinguisher: 0n,
  address: Address.parse('192.0.2.2'),
  asn: 65002 as Asn,
  bgpId: RouterId.parse('192.0.2.2'),
  timestamp: 1_700_000_000_000_123,
};
const v4Text = `00 00 0000000000000000 000000000000000000000000 c0000202 0000fdea c0000202 6553f100 0000007b`;

const v6: SessionHeader = {
  ...v4,
  type: 'rd',
  view: 'out-post',
  legacyAsPath: true,
  distinguisher: 0x0000_fde9_0000_0064n,
  address: Address.parse('2001:db8::2'),
  timestamp: 0,
};
const v6Text = `01 f0 0000fde900000064 20010db8000000000000000000000002 0000fdea c0000202 00000000 00000000`;

const loc: LocRibHeader = {
  type: 'loc-rib',
  view: 'loc',
  filtered: true,
  distinguisher: 0n,
  asn: 4_200_000_001 as Asn,
  bgpId: RouterId.parse('192.0.2.1'),
  timestamp: 0,
};
const locText = `03 80 0000000000000000 00000000000000000000000000000000 fa56ea01 c0000201 00000000 00000000`;

/** Each: what it is, the bytes as annotated hex, the value. Both directions are asserted. */
const frames: readonly (readonly [string, string, BmpMessage])[] = [
  [
    'Initiation with all that the registry names, and one more',
    `03 0000002b 04  0001 0004 46525220  0002 0002 7231  0000 0002 6869  0004 0001 78  ffde 0008 0102030405060708`.replace(
      "'FRR'",
      '',
    ),
    {
      type: 'initiation',
      information: [
        { type: 'sysDescr', text: 'FRR ' },
        { type: 'sysName', text: 'r1' },
        { type: 'string', text: 'hi' },
        { type: 'adminLabel', text: 'x' },
        { type: 'unknown', code: 0xffde, value: hex('0102030405060708') },
      ],
    },
  ],
  [
    'Termination with text and reason',
    `03 00000012 05  0000 0002 6279  0001 0002 0003`,
    {
      type: 'termination',
      reason: 'redundant-connection',
      information: [{ type: 'string', text: 'by' }],
    },
  ],
  [
    'Peer Up of an IPv4 session',
    `03 0000007e 03 ${v4Text} 000000000000000000000000 c0000201 00b3 d431 ${openText} ${openText}`,
    {
      type: 'peer-up',
      peer: v4,
      localAddress: Address.parse('192.0.2.1'),
      localPort: 179,
      remotePort: 54321,
      sentOpen: hex(openText),
      receivedOpen: hex(openText),
      information: [],
    },
  ],
  [
    'Peer Up of an IPv6 session, with a label',
    `03 00000084 03 ${v6Text} 20010db8000000000000000000000001 00b3 d431 ${openText} ${openText} 0004 0002 6c62`,
    {
      type: 'peer-up',
      peer: v6,
      localAddress: Address.parse('2001:db8::1'),
      localPort: 179,
      remotePort: 54321,
      sentOpen: hex(openText),
      receivedOpen: hex(openText),
      information: [{ type: 'adminLabel', text: 'lb' }],
    },
  ],
  [
    'Peer Up of a Loc-RIB',
    `03 00000088 03 ${locText} 00000000000000000000000000000000 0000 0000 ${openText} ${openText} 0003 0006 676c6f62616c`,
    {
      type: 'peer-up',
      peer: loc,
      localPort: 0,
      remotePort: 0,
      sentOpen: hex(openText),
      receivedOpen: hex(openText),
      information: [{ type: 'tableName', text: 'global' }],
    },
  ],
  [
    'Peer Down 1',
    `03 00000046 02 ${v4Text} 01 ${notificationText}`,
    {
      type: 'peer-down',
      peer: v4,
      reason: { type: 'local-notification', notification: hex(notificationText) },
    },
  ],
  [
    'Peer Down 2',
    `03 00000033 02 ${v4Text} 02 000a`,
    { type: 'peer-down', peer: v4, reason: { type: 'local-event', event: 10 } },
  ],
  [
    'Peer Down 3',
    `03 00000046 02 ${v4Text} 03 ${notificationText}`,
    {
      type: 'peer-down',
      peer: v4,
      reason: { type: 'remote-notification', notification: hex(notificationText) },
    },
  ],
  [
    'Peer Down 4',
    `03 00000031 02 ${v4Text} 04`,
    { type: 'peer-down', peer: v4, reason: { type: 'remote-closed' } },
  ],
  [
    'Peer Down 5',
    `03 00000031 02 ${v4Text} 05`,
    { type: 'peer-down', peer: v4, reason: { type: 'deconfigured' } },
  ],
  [
    'Peer Down 6, of a Loc-RIB',
    `03 00000038 02 ${locText} 06 0003 0003 726564`,
    {
      type: 'peer-down',
      peer: loc,
      reason: { type: 'local-tlvs', information: [{ type: 'tableName', text: 'red' }] },
    },
  ],
  [
    'Peer Down with a reason of the future',
    `03 00000033 02 ${v4Text} 09 0102`,
    { type: 'peer-down', peer: v4, reason: { type: 'unknown', code: 9, data: hex('0102') } },
  ],
  [
    'Route Monitoring of a post-policy adj-RIB-out',
    `03 00000047 00 ${v6Text} ${endOfRibText}`,
    { type: 'route-monitoring', peer: v6, update: hex(endOfRibText) },
  ],
  [
    'Route Mirroring of a broken message, which is not looked into',
    `03 0000003d 06 ${v4Text} 0001 0002 0000  0000 0003 ffff00`,
    {
      type: 'route-mirroring',
      peer: v4,
      tlvs: [
        { type: 'information', code: 'errored-pdu' },
        { type: 'bgp-message', message: hex('ffff00') },
      ],
    },
  ],
  [
    'Statistics in all three forms, one unknown, one with a foreign length',
    `03 00000064 01 ${v4Text} 00000005
       0000 0004 00000007
       0007 0008 0000000000000bb8
       0009 000b 0002 01 0000000000000010
       0190 0001 ff
       0008 0004 00000001`,
    {
      type: 'statistics',
      peer: v4,
      statistics: [
        { type: 'counter', name: 'rejected-by-import-policy', value: 7 },
        { type: 'gauge', name: 'adj-rib-in-routes', value: 3000n },
        { type: 'family', name: 'adj-rib-in-routes-of-family', afi: 2, safi: 1, value: 16n },
        { type: 'unknown', code: 400, data: hex('ff') },
        { type: 'unknown', code: 8, data: hex('00000001') },
      ],
    },
  ],
  [
    'a message type of the future',
    `03 00000008 08 abcd`,
    { type: 'unknown', messageType: 8, body: hex('abcd') },
  ],
];

for (const [name, text, value] of frames) {
  test(name, () => {
    const bytes = hex(text);
    assert.equal(bytes.length, new DataView(bytes.buffer).getUint32(1), 'the frame’s own length');
    assert.deepEqual(decodeMessage(bytes), value);
    assert.deepEqual(Buffer.from(encodeMessage(value)), Buffer.from(bytes));
  });
}

test('a peer type of the future makes a message unknown, not an error', () => {
  const bytes = hex(`03 00000047 00 ${v4Text} ${endOfRibText}`);
  bytes[6] = 4;
  assert.equal(decodeMessage(bytes).type, 'unknown');
});

test('every registered statistic keeps its code and form', () => {
  // IANA, BMP Statistics Types: 24 and 25 are not assigned.
  const codes = Array.from({ length: 44 }, (_, code) => code).filter((c) => c !== 24 && c !== 25);
  const gauges = new Set([7, 8, 14, 15, 18, 20, 29, 31, 33, 39]);
  const counters = new Set([0, 1, 2, 3, 4, 5, 6, 11, 12, 13]);
  const tlvs = codes.map((code) => {
    const length = counters.has(code) ? 4 : gauges.has(code) ? 8 : 11;
    const value = `${'00'.repeat(length - 1)}07`;
    return [code, length].map((n) => n.toString(16).padStart(4, '0')).join('') + value;
  });
  const body = hex(v4Text + codes.length.toString(16).padStart(8, '0') + tlvs.join(''));
  const frame = new Uint8Array(6 + body.length);
  frame.set([3, 0, 0, (6 + body.length) >> 8, (6 + body.length) & 255, 1]);
  frame.set(body, 6);
  const message = decodeMessage(frame);
  assert.ok(message.type === 'statistics');
  assert.deepEqual(
    message.statistics.map((one) => (one.type === 'unknown' ? one.code : Number(one.value))),
    codes.map(() => 7),
  );
  assert.deepEqual(encodeMessage(message), frame);
});

test('the four views are the bits L and O', () => {
  const views = ['in-pre', 'in-post', 'out-pre', 'out-post'] as const;
  const flags = views.map(
    (view) =>
      encodeMessage({
        type: 'route-monitoring',
        peer: { ...v4, view },
        update: hex(endOfRibText),
      })[7],
  );
  assert.deepEqual(flags, [0x00, 0x40, 0x10, 0x50]);
});
