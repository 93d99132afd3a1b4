import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { type Asn, encodeNotification, RouterId } from '@causeway/bgp';
import { makeTable } from '@causeway/bgp/testing';
import {
  sampleDown,
  sampleHeader,
  sampleInitiation,
  sampleNotification,
  samplePeer,
  sampleRoutes,
  sampleUp,
} from '../testing/index.ts';
import { locRibUp } from './peer-messages.ts';
import { decodeMessage, encodeMessage } from './wire/message.ts';
import type { PeerDownReason } from './wire/peer-down.ts';
import type { LocRibHeader } from './wire/peer-header.ts';

/** Wireshark's dissector as a second opinion on every message that we write. */

const [four, six] = [samplePeer(0), samplePeer(1)];
const locRib = {
  asn: 4_200_000_001 as Asn,
  bgpId: RouterId.parse('192.0.2.1'),
  families: ['ipv4-unicast', 'ipv6-unicast'] as const,
};
const locHeader: LocRibHeader = {
  type: 'loc-rib',
  view: 'loc',
  filtered: false,
  distinguisher: 0n,
  asn: locRib.asn,
  bgpId: locRib.bgpId,
  timestamp: 1_700_000_000_000_000,
};
const downs: readonly PeerDownReason[] = [
  { type: 'local-notification', notification: sampleNotification(4, 0) },
  { type: 'local-event', event: 10 },
  {
    type: 'remote-notification',
    notification: encodeNotification({ code: 6, subcode: 2, data: Uint8Array.of(2, 0x68, 0x69) }),
  },
  { type: 'remote-closed' },
  { type: 'deconfigured' },
];
const table = (family: 'ipv4' | 'ipv6') => [...makeTable({ family, routes: 30, seed: 5 })];

/** Wireshark 4.0 takes the TLVs at the end of a Peer Up for a third BGP message, so it does not get them. */
function withoutInformation(frame: Uint8Array): Uint8Array {
  const message = decodeMessage(frame);
  assert.ok(message.type === 'peer-up');
  return encodeMessage({ ...message, information: [] });
}

const frames: Uint8Array[] = [
  sampleInitiation('speaker'),
  withoutInformation(locRibUp(locRib, 1_700_000_000_000_000)),
  ...[four, six].flatMap((peer) => [
    sampleUp(peer, 1_700_000_000_000),
    ...(['in-pre', 'in-post', 'out-pre', 'out-post'] as const).flatMap((view) =>
      sampleRoutes(peer, view, table(peer.family)),
    ),
    encodeMessage({
      type: 'statistics',
      peer: sampleHeader(peer, 'in-pre'),
      statistics: [
        { type: 'counter', name: 'rejected-by-import-policy', value: 1 },
        { type: 'counter', name: 'duplicate-updates', value: 2 },
        { type: 'gauge', name: 'adj-rib-in-routes', value: 30n },
        { type: 'gauge', name: 'loc-rib-routes', value: 40n },
        { type: 'gauge', name: 'out-post-routes', value: 50n },
        { type: 'family', name: 'adj-rib-in-routes-of-family', afi: 1, safi: 1, value: 60n },
        { type: 'family', name: 'out-post-routes-of-family', afi: 2, safi: 1, value: 70n },
      ],
    }),
    ...downs.map((reason) => sampleDown(peer, reason)),
  ]),
  ...sampleRoutes(four, 'in-pre', table('ipv4')).map((frame) =>
    encodeMessage({ type: 'route-monitoring', peer: locHeader, update: frame.subarray(48) }),
  ),
  encodeMessage({
    type: 'route-mirroring',
    peer: sampleHeader(six, 'in-pre'),
    tlvs: [
      { type: 'information', code: 'errored-pdu' },
      { type: 'bgp-message', message: sampleRoutes(six, 'in-pre', table('ipv6'))[0]!.subarray(48) },
    ],
  }),
  encodeMessage({
    type: 'termination',
    reason: 'administratively-closed',
    information: [{ type: 'string', text: 'bye' }],
  }),
];

/** A capture file of raw IPv4 packets, one TCP segment for each frame. */
function capture(): Buffer {
  const head = Buffer.alloc(24);
  head.writeUInt32LE(0xa1b2c3d4, 0);
  head.writeUInt16LE(2, 4);
  head.writeUInt16LE(4, 6);
  head.writeUInt32LE(65_535, 16);
  head.writeUInt32LE(101, 20); // LINKTYPE_RAW
  const parts = [head];
  let sequence = 1;
  frames.forEach((frame, second) => {
    const packet = Buffer.alloc(40);
    packet[0] = 0x45;
    packet.writeUInt16BE(40 + frame.length, 2);
    packet.set([64, 6], 8);
    packet.set([192, 0, 2, 1, 192, 0, 2, 2], 12);
    packet.writeUInt16BE(40_000, 20);
    packet.writeUInt16BE(11_019, 22);
    packet.writeUInt32BE(sequence, 24);
    packet.set([0x50, 0x18, 0xff, 0xff], 32);
    sequence += frame.length;
    const record = Buffer.alloc(16);
    record.writeUInt32LE(second, 0);
    record.writeUInt32LE(packet.length + frame.length, 8);
    record.writeUInt32LE(packet.length + frame.length, 12);
    parts.push(record, packet, Buffer.from(frame));
  });
  return Buffer.concat(parts);
}

interface Layers {
  readonly _source: { readonly layers: Readonly<Record<string, unknown>> };
}

test('tshark reads every message as what it is, and finds nothing malformed', () => {
  const directory = mkdtempSync(join(tmpdir(), `cw-bmp-${process.pid}-`));
  try {
    const file = join(directory, 'frames.pcap');
    writeFileSync(file, capture());
    const argv = ['-r', file, '-d', 'tcp.port==11019,bmp', '-T', 'json', '--no-duplicate-keys'];
    const text = execFileSync('tshark', argv, {
      encoding: 'utf8',
      maxBuffer: 64 * 1024 * 1024,
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    const packets = JSON.parse(text) as Layers[];
    assert.equal(packets.length, frames.length);
    packets.forEach(({ _source: { layers } }, index) => {
      const frame = frames[index]!;
      const what = `frame ${index}, type ${frame[5]}`;
      const dissected = JSON.stringify(layers);
      assert.ok(!/malformed|_ws\.unknown/i.test(dissected), `${what}: ${dissected}`);
      const bmp = layers.bmp as Record<string, string>;
      assert.ok(bmp !== undefined, `${what} is taken for BMP`);
      assert.equal(Number(bmp['bmp.type']), frame[5], what);
      assert.equal(Number(bmp['bmp.length']), frame.length, what);
    });
    const all = JSON.stringify(packets);
    // What it makes of some fields: addresses, AS numbers, views, statistics, text.
    for (const wanted of [
      '"bmp.peer.ip.addr":"10.254.0.0"',
      '"bmp.peer.ipv6.addr":"2001:db8:ffff::1"',
      '"bmp.peer.asn":"4200000001"',
      '"bmp.peer.flags.adj_rib_out":"1"',
      '"bmp.peer.flags.post_policy":"1"',
      '"bmp.stats.data.routes_loc_rib":"40"',
    ]) {
      assert.ok(all.includes(wanted), wanted);
    }
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});
