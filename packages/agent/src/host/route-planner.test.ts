import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Address, Prefix } from '@causeway/ip';
import fc from 'fast-check';
import { RoutePlanner } from './route-planner.ts';
import type { MovedAddress, RoutedNode, RouteInputs } from './routes.ts';

const prefixes = [
  ...['10.1.2.0/24', '10.1.3.0/24', '10.1.2.128/25', '10.1.0.0/16', '10.9.9.9/32'],
  ...['fd00:1:2::/64', 'fd00:1::/48', 'fd00:2::/64'],
].map((text) => Prefix.parse(text));

const node = fc.record({
  cluster: fc.constantFrom('own', 'other'),
  name: fc.constantFrom('b', 'c', 'd'),
  way: fc.constantFrom('direct' as const, 'tunnel' as const),
  addresses: fc.subarray(['192.0.2.2', '198.51.100.3'].map(Address.parse)),
  podCIDRs: fc.subarray(prefixes, { maxLength: 3 }),
});
const address = fc.constantFrom('10.9.9.9', '10.1.2.7', 'fd00:2::1').map(Address.parse);
const moved: fc.Arbitrary<MovedAddress> = fc.oneof(
  fc.record({ type: fc.constant('here' as const), address }),
  fc.record({
    type: fc.constant('forward' as const),
    address,
    node: fc.constantFrom('b', 'c'),
    announced: fc.boolean(),
  }),
  fc.record({ type: fc.constant('there' as const), address, node: fc.constantFrom('b', 'x') }),
);

/** What happens between two plans. */
const step = fc.oneof(
  { weight: 4, arbitrary: fc.record({ type: fc.constant('come' as const), node }) },
  fc.record({ type: fc.constant('go' as const), at: fc.nat(10) }),
  fc.record({ type: fc.constant('change' as const), at: fc.nat(10), node }),
  fc.record({ type: fc.constant('moved' as const), moved: fc.array(moved, { maxLength: 3 }) }),
  fc.record({ type: fc.constant('mtu' as const), mtu: fc.constantFrom(1500, 9000) }),
  fc.record({ type: fc.constant('attracted' as const), prefixes: fc.subarray(prefixes) }),
);

const device = {
  name: 'eth0',
  index: 2,
  mac: Uint8Array.of(2, 0, 0, 0, 0, 2),
  mtu: 1500,
  up: true,
  loopback: false,
  hasDefaultRoute: true,
  defaultGateways: [Address.parse('192.0.2.254')],
  addresses: [{ address: Address.parse('192.0.2.1'), prefixLength: 24 }],
};

test('a plan that goes on from an earlier one is the plan that is made of its inputs alone', () => {
  fc.assert(
    fc.property(
      fc.constantFrom('l2' as const, 'bgp' as const),
      fc.array(step, { maxLength: 30 }),
      (direct, steps) => {
        const planner = new RoutePlanner();
        let remote: RoutedNode[] = [];
        let inputs: RouteInputs = {
          cluster: 'own',
          direct,
          otherwise: 'tunnel',
          families: ['ipv4', 'ipv6'],
          local: [
            { prefix: Prefix.parse('10.1.1.0/24'), gateway: Address.parse('10.1.1.1') },
            { prefix: Prefix.parse('fd00:9::/64'), gateway: Address.parse('fd00:9::1') },
          ],
          remote,
          moved: [],
          attracted: [],
          devices: [device],
          mtu: { device: 1500, pod: 1500, tunnel: 1450 },
        };
        for (const each of steps) {
          if (each.type === 'come') remote = [...remote, each.node];
          else if (each.type === 'go') remote = remote.filter((_, at) => at !== each.at);
          else if (each.type === 'change') {
            remote = remote.map((old, at) => (at === each.at ? each.node : old));
          } else if (each.type === 'moved') inputs = { ...inputs, moved: each.moved };
          else if (each.type === 'attracted') inputs = { ...inputs, attracted: each.prefixes };
          else inputs = { ...inputs, mtu: { device: each.mtu, pod: 1500, tunnel: 1450 } };
          inputs = { ...inputs, remote };
          assert.deepEqual(planner.plan(inputs), new RoutePlanner().plan(inputs));
        }
      },
    ),
  );
});

test('what was planned of nodes that stand is not planned again', () => {
  const planner = new RoutePlanner();
  const nodes: RoutedNode[] = ['10.1.2.0/24', '10.1.3.0/24'].map((cidr) => ({
    cluster: 'own',
    name: cidr,
    way: 'tunnel',
    addresses: [],
    podCIDRs: [Prefix.parse(cidr)],
  }));
  const inputs: RouteInputs = {
    cluster: 'own',
    direct: 'l2',
    otherwise: 'tunnel',
    families: ['ipv4'],
    local: [],
    remote: nodes.slice(0, 1),
    moved: [],
    attracted: [],
    devices: [device],
    mtu: { device: 1500, pod: 1500, tunnel: 1450 },
  };
  const [first] = planner.plan(inputs).routes;
  const { routes } = planner.plan({ ...inputs, remote: nodes });
  assert.equal(routes.length, 2);
  assert.equal(routes[0], first);
});
