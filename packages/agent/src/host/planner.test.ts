import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Address, Prefix } from '@causeway/ip';
import { checkAgentConfig } from '../config/load.ts';
import type { ConfigInput } from '../config/schema.ts';
import type { DeviceView } from './devices.ts';
import { planHost } from './planner.ts';
import type { MovedAddress } from './routes.ts';
import { mergePorts } from './sysctls.ts';

const device = (
  name: string,
  index: number,
  addresses: readonly string[],
  more: Partial<DeviceView> = {},
): DeviceView => ({
  name,
  index,
  mac: Uint8Array.of(2, 0, 0, 0, 0, index),
  mtu: 1500,
  up: true,
  loopback: false,
  hasDefaultRoute: false,
  addresses: addresses.map((text) => ({
    address: Address.parse(text.slice(0, text.indexOf('/'))),
    prefixLength: Number(text.slice(text.indexOf('/') + 1)),
  })),
  ...more,
});

const own = {
  name: 'a',
  addresses: [{ type: 'InternalIP', address: Address.parse('192.0.2.1') }],
  podCIDRs: [Prefix.parse('10.1.1.0/24'), Prefix.parse('fd00:1:1::/64')],
  pools: [],
  labels: {},
};

const node = (
  name: string,
  addresses: readonly string[],
  podCIDRs: readonly string[],
  way?: 'direct' | 'tunnel',
) => ({
  cluster: 'default',
  name,
  way,
  addresses: addresses.map(Address.parse),
  podCIDRs: podCIDRs.map((cidr) => Prefix.parse(cidr)),
});

function plan(
  config: ConfigInput,
  observed: readonly DeviceView[],
  remote: ReturnType<typeof node>[] = [],
  who: typeof own | undefined = own,
  attracted: readonly string[] = [],
) {
  const made = planHost({
    config: checkAgentConfig({ node: { name: 'a' }, ...config }),
    own: who,
    observed,
    remote: remote.map((each) => ({
      ...each,
      way: each.way ?? (config.routingMode === 'native' ? 'direct' : 'tunnel'),
    })),
    attracted: attracted.map((text) => Prefix.parse(text)),
  });
  return { ...made, routes: made.routes.toSorted((a, b) => Prefix.compare(a.prefix, b.prefix)) };
}

const eth0 = device('eth0', 2, ['192.0.2.1/24', 'fe80::1/64'], { hasDefaultRoute: true });

test("devices are those named, or those with the node's address or a default route; never ours", () => {
  const all = [
    device('lo', 1, ['127.0.0.1/8'], { loopback: true }),
    eth0,
    device('eth1', 3, ['198.51.100.1/24']),
    device('down0', 4, ['192.0.2.1/24'], { up: false }),
    device('cw0123456789', 9, []),
  ];
  const names = (config: ConfigInput) => plan(config, all).devices.map(({ name }) => name);
  assert.deepEqual(names({}), ['eth0']);
  assert.deepEqual(names({ devices: ['eth*'] }), ['eth0', 'eth1']);
  assert.deepEqual(names({ node: { name: 'a', addresses: ['198.51.100.1'] } }), ['eth0', 'eth1']);
  assert.match(plan({ devices: ['bond0'] }, all).problems.join(), /no device matches bond0/);
});

test('native: neighbours get a route, others a reason, overlaps nothing', () => {
  const { routes, routeProblems } = plan(
    { routingMode: 'native' },
    [eth0],
    [
      node('b', ['192.0.2.2'], ['10.1.2.0/24', 'fd00:1:2::/64']),
      node('far', ['203.0.113.9'], ['10.1.3.0/24']),
      node('thief', ['192.0.2.3'], ['10.1.1.128/25', '10.1.0.0/16']),
    ],
  );
  assert.deepEqual(
    routes.map(({ prefix, device: at, via }) => [prefix, at, via]),
    [
      ['10.1.1.0/24', 'cw_host', undefined],
      ['10.1.2.0/24', 2, '192.0.2.2'],
      ['fd00:1:1::/64', 'cw_host', undefined],
    ],
  );
  const reasons = routeProblems.map(({ node: of, prefix, reason }) => `${of} ${prefix} ${reason}`);
  assert.match(reasons[0]!, /^b fd00:1:2::\/64 no ipv6 address/);
  assert.match(reasons[1]!, /^far 10\.1\.3\.0\/24 no ipv4 address .*tunnel/);
  assert.match(reasons[2]!, /^thief 10\.1\.1\.128\/25 overlaps 10\.1\.1\.0\/24/);
  assert.match(reasons[3]!, /^thief 10\.1\.0\.0\/16 overlaps/);
});

test('hybrid: nodes of the own zone directly, others by the tunnel and its MTU', () => {
  const { routes, mtu, links, directCIDRs } = plan(
    { routingMode: 'hybrid', nativeRoutingCIDRs: ['10.1.0.0/16'] },
    [eth0],
    [
      node('b', ['192.0.2.2'], ['10.1.2.0/24', '10.7.0.0/24'], 'direct'),
      node('c', ['192.0.2.3'], ['10.1.3.0/24'], 'tunnel'),
    ],
  );
  assert.deepEqual(
    routes
      .filter(({ prefix }) => !prefix.includes(':'))
      .map(({ prefix, device: at, via, mtu: size }) => [prefix, at, via, size]),
    [
      ['10.1.1.0/24', 'cw_host', undefined, undefined],
      ['10.1.2.0/24', 2, '192.0.2.2', undefined],
      ['10.1.3.0/24', 'cw_host', undefined, 1450],
      ['10.7.0.0/24', 2, '192.0.2.2', undefined],
    ],
  );
  assert.deepEqual(mtu, { device: 1500, pod: 1500, tunnel: 1450 });
  assert.deepEqual(
    links.map(({ name }) => name),
    ['cw_host', 'cw_vxlan'],
  );
  assert.deepEqual(directCIDRs, ['10.7.0.0/24'], 'what the configuration does not name already');
});

test('routed by the network: the node has the routes of its own CIDRs, however large the cluster', () => {
  const cluster = (size: number) =>
    Array.from({ length: size }, (_, i) =>
      node(`n${i}`, [`192.0.2.${2 + (i % 200)}`], [`10.${2 + (i >> 8)}.${i & 255}.0/24`]),
    );
  const of = (size: number) =>
    plan({ routingMode: 'native', nativeRouting: { mode: 'bgp' } }, [eth0], cluster(size));
  assert.deepEqual(
    of(1).routes.map(({ prefix }) => prefix),
    ['10.1.1.0/24', 'fd00:1:1::/64'],
  );
  assert.deepEqual(of(2000).routes, of(1).routes);
  assert.deepEqual(of(2000).routeProblems, [], 'nobody needs to share a network with anybody');
  assert.equal(plan({ routingMode: 'native' }, [eth0], cluster(200)).routes.length, 202);
});

test('announced service addresses lead nowhere, unless they are somebody else of the node', () => {
  const routes = (config: ConfigInput) =>
    plan(config, [eth0], [], own, [
      '10.96.0.7/32',
      'fd00:96::/112',
      '192.0.2.1/32', // the node's own
      '192.0.0.0/16', // takes in the node's network
      '192.0.2.77/32', // on it
      '10.1.1.9/32', // a pod's
    ])
      .routes.filter(({ device }) => device === 'unreachable')
      .map(({ prefix }) => prefix);
  assert.deepEqual(routes({}), ['10.96.0.7/32', 'fd00:96::/112']);
  assert.deepEqual(routes({ families: ['ipv6'] }), ['fd00:96::/112']);
  assert.deepEqual(routes({ socketLB: { enabled: false } }), []);
});

test('the MTU follows mode, underlay, the least device and the configuration', () => {
  const jumbo = device('eth1', 3, ['192.0.2.1/24'], { mtu: 9000 });
  const mtu = (config: ConfigInput, devices = [eth0]) => plan(config, devices).mtu;
  assert.deepEqual(mtu({ routingMode: 'native' }), {
    device: 1500,
    pod: 1500,
    tunnel: 1450,
  });
  assert.deepEqual(mtu({ routingMode: 'tunnel' }), {
    device: 1500,
    pod: 1450,
    tunnel: 1450,
  });
  assert.deepEqual(mtu({ tunnel: { underlayFamily: 'ipv6' } }), {
    device: 1500,
    pod: 1430,
    tunnel: 1430,
  });
  assert.deepEqual(mtu({ devices: ['eth*'] }, [jumbo, eth0]), {
    device: 1500,
    pod: 1450,
    tunnel: 1450,
  });
  assert.deepEqual(mtu({ mtu: 1400 }), {
    device: 1400,
    pod: 1350,
    tunnel: 1350,
  });
});

test('what keeps pods from being served is said with what to do', () => {
  assert.match(
    plan({}, [eth0], [], { ...own, podCIDRs: [] }).problems.join(),
    /no pod CIDR of ipv4 or ipv6 yet/,
  );
  assert.match(
    planHost({
      config: checkAgentConfig({ node: { name: 'a' } }),
      own: undefined,
      observed: [eth0],
      remote: [],
      attracted: [],
    }).problems.join(),
    /no CiliumNode named a is known.*; create it/,
  );
  assert.match(
    plan({ tunnel: { underlayFamily: 'ipv6' } }, [eth0]).problems.join(),
    /no ipv6 address for the tunnel/,
  );
  assert.deepEqual(plan({}, [eth0]).problems, []);
});

test('a range of ports is merged into the reserved ones, not over them', () => {
  assert.equal(mergePorts('', 49152, 65535), '49152-65535');
  assert.equal(mergePorts('8080,9148-9150', 49152, 65535), '8080,9148-9150,49152-65535');
  assert.equal(mergePorts('49000-50000,65535', 49152, 65535), '49000-65535');
  assert.equal(mergePorts('49152-65535', 49152, 65535), '49152-65535');
  assert.equal(mergePorts('49151', 49152, 49200), '49151-49200');
});

test('addresses that are elsewhere than their CIDR: a route of their own, where this node has to know', () => {
  const eth1 = device('eth0', 2, ['192.0.2.1/24'], {
    hasDefaultRoute: true,
    defaultGateways: [Address.parse('192.0.2.254')],
  });
  const near = node('b', ['192.0.2.2'], ['10.1.2.0/24']);
  const far = node('c', ['198.51.100.3'], ['10.1.3.0/24']);
  const moved: MovedAddress[] = [
    { address: Address.parse('10.1.3.9'), type: 'here' },
    { address: Address.parse('10.1.1.7'), type: 'forward', node: 'b', announced: false },
    { address: Address.parse('10.1.1.8'), type: 'forward', node: 'c', announced: true },
    { address: Address.parse('10.1.1.9'), type: 'forward', node: 'c', announced: false },
    { address: Address.parse('10.9.0.1'), type: 'there', node: 'b' },
  ];
  const routesOf = (config: ConfigInput) => {
    const made = planHost({
      config: checkAgentConfig({ node: { name: 'a' }, families: ['ipv4'], ...config }),
      own,
      observed: [eth1],
      remote: [near, far].map((each) => ({
        ...each,
        way: config.routingMode === 'native' ? ('direct' as const) : ('tunnel' as const),
      })),
      attracted: [],
      moved,
    });
    const hosts = made.routes
      .filter(({ prefix }) => Prefix.isHost(prefix))
      .map(
        ({ prefix, device: to, via }) => `${prefix} ${to}${via === undefined ? '' : ` via ${via}`}`,
      );
    return { hosts: hosts.sort(), problems: made.routeProblems.map(({ prefix }) => prefix) };
  };
  assert.deepEqual(routesOf({ routingMode: 'native' }), {
    hosts: ['10.1.1.7/32 2 via 192.0.2.2', '10.1.3.9/32 cw_host', '10.9.0.1/32 2 via 192.0.2.2'],
    // What is behind a router is the network's to route, as the CIDR of that node is.
    problems: ['10.1.3.0/24', '10.1.1.8/32', '10.1.1.9/32'],
  });
  assert.deepEqual(routesOf({ routingMode: 'native', nativeRouting: { mode: 'bgp' } }), {
    hosts: ['10.1.1.7/32 2 via 192.0.2.2', '10.1.1.8/32 2 via 192.0.2.254', '10.1.3.9/32 cw_host'],
    problems: ['10.1.1.9/32'],
  });
  assert.deepEqual(
    routesOf({ routingMode: 'tunnel' }).hosts,
    ['10.1.1.7', '10.1.1.8', '10.1.1.9', '10.1.3.9', '10.9.0.1'].map(
      (each) => `${each}/32 cw_host`,
    ),
  );
});
