import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { after, before, test } from 'node:test';
import { Address } from '@causeway/ip';
import { openDescriptors } from '../../test/descriptors.ts';
import { NetlinkBatchError, NetlinkError } from '../errors.ts';
import { Netns } from '../netns.ts';
import { readSysctl, writeSysctl } from '../sysctl.ts';
import { type RtEvent, RtMonitor } from './monitor.ts';
import { request } from './requests.ts';
import { causewayProtocol, speakerProtocol } from './route-requests.ts';
import { RtSocket } from './rt-socket.ts';

const names = [`cwrta${process.pid}`, `cwrtb${process.pid}`] as const;
const ip = (text: string) => Address.toBytes(Address.parse(text));
const text = (bytes: Uint8Array | undefined) => bytes && Address.fromBytes(bytes);
const mac = (last: number) => Uint8Array.of(2, 0, 0, 0, 0, last);

/** What iproute2 says, as a second opinion. */
const ipJson = (ns: string, ...args: string[]) =>
  JSON.parse(execFileSync('ip', ['-n', ns, '-j', '-d', ...args], { encoding: 'utf8' }));

let descriptors: number;
let host: Netns;
let pod: Netns;
let rt: RtSocket;

before(() => {
  descriptors = openDescriptors();
  host = Netns.create(names[0]);
  pod = Netns.create(names[1]);
  rt = RtSocket.open(host);
});
after(() => {
  rt.close();
  host.close();
  pod.close();
  for (const name of names) Netns.remove(name);
  assert.equal(openDescriptors(), descriptors, 'descriptors left open');
});

test('a veth pair is made across namespaces with all its settings', () => {
  rt.apply(
    request.createVeth({
      name: 'cw0123456789',
      mac: mac(1),
      mtu: 1400,
      up: true,
      alias: 'default/web',
      addressGeneration: 'none',
      gsoMaxSize: 60_000,
      peer: {
        name: 'eth0',
        mac: mac(2),
        mtu: 1400,
        up: true,
        addressGeneration: 'none',
        namespace: pod,
      },
    }),
  );
  const [own] = ipJson(names[0], 'link', 'show', 'dev', 'cw0123456789');
  assert.equal(own.address, '02:00:00:00:00:01');
  assert.equal(own.ifalias, 'default/web');
  assert.equal(own.mtu, 1400);
  assert.equal(own.inet6_addr_gen_mode, 'none');
  assert.equal(own.gso_max_size, 60_000);
  assert.ok(own.flags.includes('UP'));
  const [peer] = ipJson(names[1], 'link', 'show', 'dev', 'eth0');
  assert.equal(peer.address, '02:00:00:00:00:02');
  assert.equal(peer.inet6_addr_gen_mode, 'none');
  assert.equal(peer.operstate, 'UP');
  const link = rt.link({ name: 'cw0123456789' });
  assert.equal(link?.kind, 'veth');
  assert.equal(link?.peerIndex, peer.ifindex);
  assert.deepEqual(rt.link({ index: own.ifindex })?.mac, mac(1));
  assert.ok(rt.links().some(({ name }) => name === 'cw0123456789'));
});

test('a pair half made because of its peer is taken back', () => {
  const twice = request.createVeth({
    name: 'half',
    peer: { name: 'eth0', up: true, namespace: pod },
  });
  assert.throws(() => rt.apply(twice), { code: 'exists' });
  assert.equal(rt.link({ name: 'half' }), undefined);
});

test('addresses, routes and neighbours of a pod go in one batch', () => {
  using inside = RtSocket.open(pod);
  const { index: ifindex } = inside.link({ name: 'eth0' })!;
  inside.apply([
    request.setLink({ name: 'lo' }, { up: true }),
    request.addAddress({ ifindex, address: ip('10.0.0.2'), prefixLength: 32 }),
    request.addAddress({ ifindex, address: ip('fd00::2'), prefixLength: 128, noDad: true }),
    request.addRoute({ family: 4, destination: ip('10.0.0.1'), ifindex }),
    request.addRoute({
      family: 4,
      via: ip('10.0.0.1'),
      ifindex,
      source: ip('10.0.0.2'),
      mtu: 1300,
    }),
    request.addRoute({ family: 6, destination: ip('fd00::1'), ifindex }),
    request.addRoute({ family: 6, via: ip('fd00::1'), ifindex }),
    request.setNeighbour({ ifindex, address: ip('10.0.0.1'), mac: mac(1) }),
    request.setNeighbour({ ifindex, address: ip('fd00::1'), mac: mac(1) }),
  ]);
  const addresses = inside.addresses({ ifindex });
  assert.deepEqual(addresses.map((a) => `${text(a.address)}/${a.prefixLength}`).sort(), [
    '10.0.0.2/32',
    'fd00::2/128',
  ]);
  assert.deepEqual(inside.addresses({ family: 4, ifindex }).length, 1);
  const [, viaGateway] = ipJson(names[1], '-4', 'route', 'show').sort(
    (a: { dst: string }, b: { dst: string }) => a.dst.localeCompare(b.dst),
  );
  assert.equal(viaGateway.gateway, '10.0.0.1');
  assert.equal(viaGateway.prefsrc, '10.0.0.2');
  assert.equal(viaGateway.metrics[0].mtu, 1300);
  assert.equal(text(inside.lookupRoute(ip('8.8.8.8'))?.via), '10.0.0.1');
  assert.equal(text(inside.lookupRoute(ip('2001:db8::1'))?.via), 'fd00::1');
  const permanent = inside.neighbours({ ifindex }).filter((n) => n.state === 0x80);
  assert.deepEqual(
    permanent.map((n) => [text(n.address), n.mac]),
    [
      ['10.0.0.1', mac(1)],
      ['fd00::1', mac(1)],
    ],
  );
  const ours = inside.routes({ protocol: causewayProtocol });
  assert.equal(ours.length, 4);
  const digest = () => inside.routeDigest({ protocol: causewayProtocol });
  const before = digest();
  assert.match(before, /^4:/);
  assert.equal(inside.lookupRoute(ip('2001:db8::1')) !== undefined && digest(), before, 'used');
  inside.apply(
    ours
      .filter((r) => r.destination === undefined)
      .map((r) => request.deleteRoute({ family: r.family, ...(r.metric && { metric: r.metric }) })),
  );
  assert.equal(inside.routes({ protocol: causewayProtocol }).length, 2);
  assert.match(digest(), /^2:/);
  assert.equal(inside.routeDigest({ table: 4711 }), '0:0', 'a table that is not there');
  inside.apply(request.deleteAddress({ ifindex, address: ip('fd00::2'), prefixLength: 128 }));
  inside.apply(request.deleteNeighbour({ ifindex, address: ip('fd00::1') }));
  assert.equal(inside.lookupRoute(ip('8.8.8.8')), undefined);
});

test('routes: multipath, tables, replacement, blackholes, an IPv6 gateway for IPv4', () => {
  using inside = RtSocket.open(pod);
  const { index: ifindex } = inside.link({ name: 'eth0' })!;
  const base = { family: 4, destination: ip('10.9.0.0'), prefixLength: 16, table: 2004 } as const;
  const nextHops = [
    { via: ip('10.0.0.1'), ifindex, weight: 3, onlink: true },
    { via: ip('10.0.0.7'), ifindex, weight: 1, onlink: true },
  ];
  inside.apply(request.addRoute({ ...base, nextHops }));
  assert.throws(() => inside.apply(request.addRoute({ ...base, nextHops })), { code: 'exists' });
  assert.deepEqual(inside.routes({ table: 2004 })[0]?.nextHops, nextHops);
  inside.apply(request.replaceRoute({ ...base, type: 'blackhole' }));
  const replaced = inside.routes({ table: 2004 });
  assert.deepEqual(
    replaced.map((r) => [r.type, r.nextHops.length]),
    [['blackhole', 0]],
  );
  assert.deepEqual(inside.routes({ table: 7777 }), []);
  inside.apply(
    request.addRoute({
      family: 4,
      destination: ip('10.8.0.0'),
      prefixLength: 16,
      via: ip('fe80::1'),
      ifindex,
      onlink: true,
    }),
  );
  const cross = inside
    .routes({ family: 4, ifindex })
    .find((r) => text(r.destination) === '10.8.0.0');
  assert.equal(text(cross?.via), 'fe80::1');
  assert.equal(cross?.onlink, true);
  const mixed = [
    { via: ip('fe80::2'), ifindex, weight: 1, onlink: true },
    { via: ip('10.0.0.1'), ifindex, weight: 1, onlink: true },
  ];
  inside.apply(
    request.addRoute({
      family: 4,
      destination: ip('10.7.0.0'),
      prefixLength: 16,
      nextHops: mixed,
      protocol: speakerProtocol,
    }),
  );
  assert.deepEqual(inside.routes({ protocol: speakerProtocol })[0]?.nextHops, mixed);
  inside.apply(
    request.addRoute({
      family: 6,
      destination: ip('fd09::'),
      prefixLength: 16,
      type: 'unreachable',
    }),
  );
  assert.ok(inside.routes({ family: 6 }).some((r) => r.type === 'unreachable'));
});

test('rules of both families', () => {
  const spec = { priority: 1000, table: 2004, mark: 0x200, markMask: 0xf00 } as const;
  rt.apply([
    request.addRule({ ...spec, family: 4, source: ip('10.0.0.0'), sourceLength: 8 }),
    request.addRule({ ...spec, family: 6, inputInterface: 'lo' }),
    request.addRule({ family: 6, priority: 1001, action: 'unreachable', mark: 7 }),
  ]);
  const ours = rt.rules().filter((rule) => rule.protocol === causewayProtocol);
  assert.deepEqual(
    ours.map((rule) => [rule.family, rule.priority, rule.action]),
    [
      [4, 1000, 'lookup'],
      [6, 1000, 'lookup'],
      [6, 1001, 'unreachable'],
    ],
  );
  assert.equal(ipJson(names[0], '-4', 'rule', 'show', 'priority', '1000')[0].fwmask, '0xf00');
  rt.apply(ours.map((rule) => request.deleteRule(rule)));
  assert.equal(rt.rules().filter((rule) => rule.protocol === causewayProtocol).length, 0);
});

test('VXLAN in collect-metadata mode and a bridge with a port', () => {
  rt.apply([
    request.createVxlan({
      name: 'vx',
      port: 8472,
      udp6ZeroChecksum: true,
      addressGeneration: 'none',
      up: true,
    }),
    request.createBridge({ name: 'br0', stp: false, multicastSnooping: false, up: true }),
  ]);
  const [vxlan] = ipJson(names[0], 'link', 'show', 'dev', 'vx');
  assert.equal(vxlan.linkinfo.info_data.external, true);
  assert.equal(vxlan.linkinfo.info_data.port, 8472);
  const bridge = rt.link({ name: 'br0' })!;
  rt.apply(request.setLink({ name: 'cw0123456789' }, { master: bridge.index }));
  assert.equal(rt.link({ name: 'cw0123456789' })?.master, bridge.index);
  rt.apply(request.setLink({ name: 'cw0123456789' }, { master: 0 }));
  assert.equal(rt.link({ name: 'cw0123456789' })?.master, undefined);
  assert.deepEqual(bridge.data, {
    type: 'bridge',
    bridge: { stp: 0, vlanFiltering: false, multicastSnooping: false },
  });
});

test('links are renamed, moved and deleted', () => {
  rt.apply(request.createVeth({ name: 'm0', index: 700, peer: { name: 'm1', index: 701 } }));
  rt.apply(request.setLink({ index: 701 }, { name: 'renamed', noArp: true, mtu: 1280 }));
  assert.equal(rt.link({ index: 701 })?.name, 'renamed');
  assert.equal(rt.link({ index: 701 })?.noArp, true);
  rt.apply(request.setLink({ index: 701 }, { namespace: pod, name: 'moved' }));
  using inside = RtSocket.open(pod);
  assert.equal(inside.link({ name: 'moved' })?.mtu, 1280);
  rt.apply(request.deleteLink({ name: 'm0' }));
  assert.equal(inside.link({ name: 'moved' }), undefined);
});

test("refusals keep the kernel's own words", () => {
  const { index: ifindex } = rt.link({ name: 'cw0123456789' })!;
  const failing = (run: () => void): NetlinkError => {
    try {
      run();
    } catch (error) {
      assert.ok(error instanceof NetlinkError, String(error));
      return error;
    }
    throw new assert.AssertionError({ message: 'expected a refusal' });
  };
  const unreachable = failing(() =>
    rt.apply(request.addRoute({ family: 4, via: ip('192.0.2.1'), ifindex })),
  );
  assert.equal(unreachable.kernelText, 'Nexthop has invalid gateway');
  assert.equal(unreachable.errnoName, 'ENETUNREACH');
  assert.match(unreachable.message, /new-route default \(IPv4\): Nexthop has invalid gateway/);
  const tooLong = failing(() => rt.apply(request.setLink({ index: ifindex }, { mtu: 10 })));
  assert.match(tooLong.kernelText ?? '', /mtu/);
  const master = failing(() => rt.apply(request.setLink({ index: ifindex }, { master: 99_999 })));
  assert.ok(master.errno);
  const tooSmall = failing(() => rt.apply(request.setLink({ index: ifindex }, { gsoMaxSize: 1 })));
  assert.equal(tooSmall.attribute, 'gsoMaxSize');
  assert.match(tooSmall.message, /\(attribute gsoMaxSize\): ERANGE/);
});

test('of a batch the good ones take effect and the bad ones are listed', () => {
  const { index: ifindex } = rt.link({ name: 'cw0123456789' })!;
  const requests = [
    request.addAddress({ ifindex, address: ip('10.1.0.1'), prefixLength: 32 }),
    request.setLink({ name: 'nothing' }, { up: true }),
    request.addAddress({ ifindex, address: ip('10.1.0.2'), prefixLength: 32 }),
    request.addAddress({ ifindex, address: ip('10.1.0.1'), prefixLength: 32 }),
  ];
  assert.throws(
    () => rt.apply(requests),
    (error) => {
      assert.ok(error instanceof NetlinkBatchError);
      assert.deepEqual(
        error.failures.map((f) => [f.index, f.error.code]),
        [
          [1, 'not-found'],
          [3, 'exists'],
        ],
      );
      return true;
    },
  );
  assert.equal(rt.addresses({ family: 4, ifindex }).length, 2);
  assert.deepEqual(
    rt.tryApply(requests).map((error) => error?.code),
    ['exists', 'not-found', 'exists', 'exists'],
  );
});

test('thousands of requests in one call, and dumps of many datagrams', () => {
  const { index: ifindex } = rt.link({ name: 'cw0123456789' })!;
  const count = 3000;
  const route = (i: number) => ({
    family: 4 as const,
    destination: Uint8Array.of(10, 100, i >> 8, i & 255),
    ifindex,
    table: 3000,
  });
  rt.apply(Array.from({ length: count }, (_, i) => request.addRoute(route(i))));
  assert.equal(rt.routes({ table: 3000 }).length, count);
  rt.apply(Array.from({ length: count }, (_, i) => request.deleteRoute(route(i))));
  assert.equal(rt.routes({ table: 3000 }).length, 0);
});

test('sysctls are those of the namespace', () => {
  writeSysctl('net/ipv4/ip_forward', 1, pod);
  writeSysctl('net/ipv6/conf/eth0/disable_ipv6', 1, pod);
  assert.equal(readSysctl('net/ipv4/ip_forward', pod), '1');
  assert.equal(readSysctl('net/ipv4/ip_forward', host), '0');
  assert.throws(() => writeSysctl('net/ipv4/nothing', 1, pod), { code: 'not-found' });
  assert.throws(() => writeSysctl('net/ipv4/ip_forward', 'x', pod), { code: 'invalid-argument' });
  for (const name of ['../../etc/passwd', 'net/../../x', '/net/ipv4', 'net', '']) {
    assert.throws(() => readSysctl(name), { code: 'invalid-argument' }, name);
  }
});

test('the monitor tells of every kind of change', async () => {
  const seen = new Set<string>();
  const complete = Promise.withResolvers<void>();
  const wanted = ['link', 'address', 'route', 'neighbour', 'rule'].flatMap((type) => [
    `${type} new`,
    `${type} deleted`,
  ]);
  const missing = () => wanted.filter((name) => !seen.has(name));
  using monitor = new RtMonitor({
    ns: host,
    groups: ['link', 'address', 'route', 'neighbour', 'rule'],
    onEvent: (event: RtEvent) => {
      if (event.type === 'resync') return;
      seen.add(`${event.type} ${event.change}`);
      if (missing().length === 0) complete.resolve();
    },
    onError: complete.reject,
  });
  rt.apply(request.createVeth({ name: 'ev0', up: true, peer: { name: 'ev1' } }));
  const { index: ifindex } = rt.link({ name: 'ev0' })!;
  const rule = { family: 4, priority: 500, table: 9 } as const;
  rt.apply([
    request.setLink({ name: 'ev1' }, { up: true }),
    request.addAddress({ ifindex, address: ip('10.2.0.1'), prefixLength: 24 }),
    request.addRoute({
      family: 4,
      destination: ip('10.3.0.0'),
      prefixLength: 16,
      via: ip('10.2.0.9'),
    }),
    request.setNeighbour({ ifindex, address: ip('10.2.0.9'), mac: mac(9) }),
    request.addRule(rule),
    request.deleteRule(rule),
    request.deleteRoute({ family: 4, destination: ip('10.3.0.0'), prefixLength: 16 }),
    request.deleteNeighbour({ ifindex, address: ip('10.2.0.9') }),
    request.deleteAddress({ ifindex, address: ip('10.2.0.1'), prefixLength: 24 }),
    request.deleteLink({ index: ifindex }),
  ]);
  const late = setTimeout(() => complete.reject(new Error(`missing ${missing()}`)), 20_000);
  await complete.promise;
  clearTimeout(late);
  monitor.close();
});

test('new routes of a protocol are left out by the kernel; what others make and what goes is told', async () => {
  const { index: ifindex } = rt.link({ name: 'cw0123456789' })!;
  const spec = (third: number, protocol: number) =>
    ({
      family: 4,
      destination: ip(`10.6.${third}.0`),
      prefixLength: 24,
      ifindex,
      protocol,
    }) as const;
  const told: string[] = [];
  const complete = Promise.withResolvers<void>();
  using monitor = new RtMonitor({
    ns: host,
    groups: ['route'],
    ownRoutes: causewayProtocol,
    onEvent: (event) => {
      if (event.type !== 'route' || event.route.destination?.[1] !== 6) return;
      told.push(`${event.change} ${event.route.protocol} ${event.route.destination[2]}`);
      if (told.length === 3) complete.resolve();
    },
    onError: complete.reject,
  });
  const [ours, others] = [spec(1, causewayProtocol), spec(2, 4)];
  rt.apply([request.addRoute(ours), request.addRoute(others)]);
  assert.equal(rt.routes({ family: 4, ifindex, prefixLength: 24 }).length >= 2, true);
  assert.deepEqual(rt.routes({ family: 4, ifindex, prefixLength: 25 }), []);
  rt.apply([request.deleteRoute(ours), request.deleteRoute(others)]);
  const late = setTimeout(() => complete.reject(new Error(`told ${told}`)), 20_000);
  await complete.promise;
  clearTimeout(late);
  monitor.close();
  assert.deepEqual(told, ['new 4 2', `deleted ${causewayProtocol} 1`, 'deleted 4 2']);
});

test('events lost are told as resync', async () => {
  const resync = Promise.withResolvers<string>();
  using monitor = new RtMonitor({
    ns: host,
    groups: ['route'],
    receiveBuffer: 4096,
    onEvent: (event) => {
      if (event.type === 'resync') resync.resolve(event.reason);
    },
    onError: resync.reject,
  });
  const { index: ifindex } = rt.link({ name: 'cw0123456789' })!;
  const spec = { family: 4, destination: ip('10.4.0.0'), prefixLength: 16, ifindex } as const;
  for (let i = 0; i < 200; i++) rt.apply([request.addRoute(spec), request.deleteRoute(spec)]);
  assert.match(await resync.promise, /ENOBUFS/);
  monitor.close();
});
