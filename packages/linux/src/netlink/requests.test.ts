import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Address } from '@causeway/ip';
import fc from 'fast-check';
import { LinuxError } from '../errors.ts';
import { decodeAddress } from './address.ts';
import { decodeLink } from './link.ts';
import { decodeNeighbour } from './neighbour.ts';
import { request } from './requests.ts';
import { decodeRoute } from './route.ts';
import { causewayProtocol } from './route-requests.ts';
import { decodeRule } from './rule.ts';

const ip = (text: string) => Address.toBytes(Address.parse(text));
const mac = Uint8Array.of(2, 0, 0, 0, 0, 1);

test('a veth pair with its peer in the same namespace, byte by byte', () => {
  const { type, flags, body } = request.createVeth({
    name: 'a',
    mtu: 1400,
    up: true,
    peer: { name: 'b', mac },
  });
  assert.equal(type, 16);
  assert.equal(flags, 0x600); // create, exclusive
  assert.deepEqual(
    [...body],
    [
      ...[0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0], // ifinfomsg: flags up, change up
      ...[6, 0, 3, 0, 0x61, 0, 0, 0], // IFLA_IFNAME "a"
      ...[8, 0, 4, 0, 0x78, 5, 0, 0], // IFLA_MTU 1400
      ...[60, 0, 18, 0x80], // IFLA_LINKINFO
      ...[9, 0, 1, 0, 0x76, 0x65, 0x74, 0x68, 0, 0, 0, 0], // kind "veth"
      ...[44, 0, 2, 0], // IFLA_INFO_DATA
      ...[40, 0, 1, 0], // VETH_INFO_PEER
      ...[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], // its ifinfomsg
      ...[10, 0, 1, 0, 2, 0, 0, 0, 0, 1, 0, 0], // IFLA_ADDRESS
      ...[6, 0, 3, 0, 0x62, 0, 0, 0], // IFLA_IFNAME "b"
    ],
  );
});

test('what RTM_NEWLINK ignores follows by itself, and can be taken back', () => {
  const made = request.createVeth({
    name: 'a',
    up: true,
    alias: 'pod',
    addressGeneration: 'none',
    peer: { name: 'b', up: true },
  });
  const first = decodeLink(made.body);
  assert.equal(first.up, false);
  const [own, peer] = made.followUps ?? [];
  assert.equal(decodeLink(own!.request.body).alias, 'pod');
  // The kernel takes flags first: set up together, the link would have its address already.
  assert.equal(decodeLink(own!.request.body).up, false);
  assert.equal(decodeLink(own!.request.followUps![0]!.request.body).up, true);
  assert.equal(decodeLink(peer!.request.body).name, 'b');
  assert.equal(made.undo?.name, 'delete-link a');
  assert.equal(
    request.createVeth({ name: 'a', up: true, peer: { name: 'b' } }).followUps,
    undefined,
  );
});

test('a collect-metadata VXLAN device has no VNI', () => {
  const { body } = request.createVxlan({ name: 'cw_vxlan', port: 8472 });
  assert.deepEqual(decodeLink(body).data, {
    type: 'vxlan',
    vxlan: { learning: false, port: 8472, collectMetadata: true },
  });
  const tunnel = request.createVxlan({ name: 'x', port: 4789, vni: 7, local: ip('fd00::1') });
  assert.deepEqual(decodeLink(tunnel.body).data, {
    type: 'vxlan',
    vxlan: { id: 7, learning: false, port: 4789, local6: ip('fd00::1') },
  });
});

test('a default route through a gateway, byte by byte', () => {
  const { body } = request.addRoute({ family: 4, via: ip('10.0.0.1'), ifindex: 2, metric: 5 });
  assert.deepEqual(
    [...body],
    [
      ...[2, 0, 0, 0, 254, 0xcb, 0, 1, 0, 0, 0, 0], // rtmsg: main, causeway, universe, unicast
      ...[8, 0, 4, 0, 2, 0, 0, 0], // RTA_OIF
      ...[8, 0, 5, 0, 10, 0, 0, 1], // RTA_GATEWAY
      ...[8, 0, 6, 0, 5, 0, 0, 0], // RTA_PRIORITY
      ...[8, 0, 15, 0, 254, 0, 0, 0], // RTA_TABLE
    ],
  );
});

test('routes decode to what was asked', () => {
  const direct = decodeRoute(
    request.replaceRoute({
      family: 6,
      destination: ip('fd00:1::'),
      prefixLength: 64,
      ifindex: 3,
      source: ip('fd00::9'),
      mtu: 1400,
      table: 2004,
      type: 'unicast',
    }).body,
  );
  assert.equal(direct?.table, 2004);
  assert.equal(direct?.mtu, 1400);
  assert.equal(direct?.protocol, causewayProtocol);
  assert.deepEqual(direct?.source, ip('fd00::9'));
  const cross = decodeRoute(
    request.addRoute({
      family: 4,
      destination: ip('10.1.0.0'),
      prefixLength: 16,
      via: ip('fe80::1'),
      ifindex: 3,
    }).body,
  );
  assert.deepEqual(cross?.via, ip('fe80::1'));
  const hops = [
    { via: ip('10.0.0.1'), ifindex: 2, weight: 3, onlink: true },
    { ifindex: 4, weight: 256, onlink: false },
  ];
  const multipath = decodeRoute(request.addRoute({ family: 4, nextHops: hops }).body);
  assert.deepEqual(multipath?.nextHops, hops);
});

test('scopes are those that ip route takes', () => {
  const scope = (spec: Parameters<typeof request.addRoute>[0]) =>
    decodeRoute(request.addRoute(spec).body)?.scope;
  const destination = ip('10.0.0.1');
  assert.equal(scope({ family: 4, destination, ifindex: 2 }), 253);
  assert.equal(scope({ family: 4, destination, via: ip('10.0.0.2') }), 0);
  assert.equal(scope({ family: 4, destination, type: 'local', ifindex: 1 }), 254);
  assert.equal(scope({ family: 4, destination, type: 'blackhole' }), 0);
  assert.equal(scope({ family: 6, destination: ip('fd00::1'), ifindex: 2 }), 0);
  // A deletion without a scope matches any.
  assert.equal(decodeRoute(request.deleteRoute({ family: 4, destination }).body)?.scope, 255);
});

test('addresses, neighbours and rules decode to what was asked', () => {
  const address = decodeAddress(
    request.addAddress({
      ifindex: 2,
      address: ip('fd00::1'),
      prefixLength: 128,
      noDad: true,
      noPrefixRoute: true,
    }).body,
  );
  assert.equal(address.flags, 0x202);
  assert.deepEqual(address.address, ip('fd00::1'));
  const neighbour = decodeNeighbour(
    request.setNeighbour({ ifindex: 2, address: ip('10.0.0.1'), mac }).body,
  );
  assert.equal(neighbour?.state, 0x80);
  assert.deepEqual(neighbour?.mac, mac);
  const spec = {
    family: 4,
    priority: 99,
    table: 1000,
    mark: 0x200,
    markMask: 0xf00,
    source: ip('10.0.0.0'),
    sourceLength: 8,
    inputInterface: 'eth0',
  } as const;
  assert.deepEqual(decodeRule(request.addRule(spec).body), {
    ...spec,
    action: 'lookup',
    protocol: causewayProtocol,
  });
});

const refused: [string, () => unknown, RegExp][] = [
  ['long name', () => request.setLink({ name: 'sixteen-letters!' }, {}), /interface name/],
  ['slash in name', () => request.createBridge({ name: 'a/b' }), /interface name/],
  ['short mac', () => request.setLink({ index: 1 }, { mac: Uint8Array.of(1) }), /mac has 6 bytes/],
  ['index 0', () => request.deleteLink({ index: 0 }), /index is 0/],
  ['rename by name', () => request.setLink({ name: 'a' }, { name: 'b' }), /renamed by its index/],
  ['port 0', () => request.createVxlan({ name: 'v', port: 0 }), /port 0/],
  [
    'five byte address',
    () => request.addAddress({ ifindex: 1, address: new Uint8Array(5), prefixLength: 8 }),
    /address has 4 or 16 bytes, not 5/,
  ],
  [
    'prefix of 33',
    () => request.addAddress({ ifindex: 1, address: ip('10.0.0.1'), prefixLength: 33 }),
    /prefixLength is 33/,
  ],
  ['wrong family', () => request.addRoute({ family: 6, destination: ip('10.0.0.1') }), /IPv6/],
  ['v4 gateway of v6', () => request.addRoute({ family: 6, via: ip('10.0.0.1') }), /IPv4 gateway/],
  ['weight 0', () => request.addRoute({ family: 4, nextHops: [{ weight: 0 }] }), /weight is 0/],
  ['length alone', () => request.addRoute({ family: 4, prefixLength: 8 }), /has a destination/],
  ['rule without table', () => request.addRule({ family: 4, priority: 1 }), /names its table/],
];
for (const [name, build, message] of refused) {
  test(`refused before the kernel sees it: ${name}`, () => {
    assert.throws(build, (error) => {
      assert.ok(error instanceof LinuxError && error.code === 'invalid-argument', String(error));
      assert.match(error.message, message);
      return true;
    });
  });
}

test('every route survives encoding and decoding', () => {
  const address = (family: 4 | 6) =>
    fc
      .uint8Array({ minLength: family === 4 ? 4 : 16, maxLength: family === 4 ? 4 : 16 })
      .map((array) => Uint8Array.from(array));
  const spec = fc.constantFrom(4 as const, 6 as const).chain((family) =>
    fc.record({
      family: fc.constant(family),
      destination: address(family),
      prefixLength: fc.integer({ min: 1, max: family === 4 ? 32 : 128 }),
      via: address(family),
      ifindex: fc.integer({ min: 1, max: 1000 }),
      metric: fc.nat(0xffff_ffff),
      table: fc.integer({ min: 1, max: 0xffff_ffff }),
      protocol: fc.integer({ min: 1, max: 255 }),
      mtu: fc.integer({ min: 1280, max: 65535 }),
      onlink: fc.boolean(),
    }),
  );
  fc.assert(
    fc.property(spec, (route) => {
      const decoded = decodeRoute(request.addRoute(route).body);
      for (const [name, value] of Object.entries(route)) {
        assert.deepEqual(decoded?.[name as keyof typeof route], value, name);
      }
    }),
  );
});
