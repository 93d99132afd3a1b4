import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Address } from '@causeway/ip';
import { type CiliumEgressGatewayPolicy, parseManifests, validateAll } from '@causeway/resources';
import fc from 'fast-check';
import { type EgressInputs, type EgressPlan, planEgress } from './plan.ts';

const policies = (manifest: string): CiliumEgressGatewayPolicy[] =>
  validateAll(parseManifests(manifest)) as CiliumEgressGatewayPolicy[];

const policy = (name: string, spec: string): string => `
---
apiVersion: cilium.io/v2
kind: CiliumEgressGatewayPolicy
metadata: {name: ${name}, labels: {team: shop}}
spec:
  ${spec.trim()}
`;

const WEB = `
  selectors: [{podSelector: {matchLabels: {app: web}}}]
  destinationCIDRs: [0.0.0.0/0, "::/0"]
  excludedCIDRs: [10.0.0.0/8]
  egressGateways:
  - {nodeSelector: {matchLabels: {role: gw}}, egressIP: 192.0.2.100}
  - {nodeSelector: {matchLabels: {role: gw}}, egressIP: 192.0.2.100}
`;

const parse = (text: string) => Address.parse(text);

const NODES = ['a', 'g1', 'g2', 'w'].map((name, i) => ({
  name,
  labels: name.startsWith('g') ? { role: 'gw' } : {},
  addresses: [parse(`10.9.0.${i + 1}`), parse(`fd00:9::${i + 1}`)],
}));

const pod = (name: string, node: string, labels: Record<string, string>, ...ips: string[]) => ({
  namespace: 'shop',
  name,
  node,
  labels,
  addresses: ips.map(parse),
});

const PODS = [
  pod('web-1', 'a', { app: 'web' }, '10.1.0.1', 'fd00:1::1'),
  pod('web-2', 'w', { app: 'web' }, '10.2.0.1'),
  pod('db-1', 'a', { app: 'db' }, '10.1.0.2'),
];

const inputs = (node: string, more: Partial<EgressInputs> = {}): EgressInputs => ({
  node,
  policies: policies(policy('web', WEB)),
  pods: PODS,
  namespaces: new Map([['shop', { team: 'shop' }]]),
  nodes: NODES,
  living: new Set(['g1', 'g2']),
  draining: new Set(),
  interfaces: [{ name: 'eth1', addresses: ['fe80::1', '192.0.2.7', '2001:db8::7'].map(parse) }],
  nodeAddresses: ['10.9.0.2', 'fd00:9::2'].map(parse),
  underlay: 'ipv4',
  limit: 1_000,
  ...more,
});

const text = ({ routes }: EgressPlan) =>
  routes.map(({ source, destination, gateway, egressAddress, excluded }) =>
    excluded
      ? `${source} ${destination} as ever`
      : `${source} ${destination} ${gateway === undefined ? 'dropped' : `by ${gateway} as ${egressAddress}`}`,
  );

test('pods go by the first gateway that lives; the gateway knows all pods', () => {
  assert.deepEqual(text(planEgress(inputs('a'))), [
    '10.1.0.1 10.0.0.0/8 as ever',
    '10.1.0.1 0.0.0.0/0 by 10.9.0.2 as 192.0.2.100',
    // There is no IPv6 address to leave with, and the node's own would not be what was asked for.
    'fd00:1::1 ::/0 dropped',
  ]);
  const gateway = planEgress(inputs('g1'));
  assert.deepEqual(
    gateway.routes.map(({ source }) => source),
    ['10.1.0.1', '10.1.0.1', 'fd00:1::1', '10.2.0.1', '10.2.0.1'],
  );
  assert.deepEqual(gateway.held, [
    { policy: 'web', labels: { team: 'shop' }, address: '192.0.2.100' },
  ]);
  const standby = planEgress(inputs('g2'));
  assert.deepEqual([standby.candidate, standby.held, standby.routes], [true, [], []]);
  assert.equal(planEgress(inputs('a')).candidate, false);
});

test('the standby takes over, a draining gateway is relieved, and without any the traffic is dropped', () => {
  const by = (living: string[], draining: string[] = []) => {
    const plan = planEgress(inputs('a', { living: new Set(living), draining: new Set(draining) }));
    return [plan.rows[0]?.gateway, text(plan)[1]];
  };
  assert.deepEqual(by(['g2']), ['g2', '10.1.0.1 0.0.0.0/0 by 10.9.0.3 as 192.0.2.100']);
  assert.deepEqual(by(['g1', 'g2'], ['g1'])[0], 'g2');
  assert.deepEqual(by(['g1'], ['g1'])[0], 'g1', 'it is the last');
  // A node that is alive but not selected is no gateway.
  assert.deepEqual(by(['w']), [undefined, '10.1.0.1 0.0.0.0/0 dropped']);
  const none = planEgress(inputs('a', { living: new Set() }));
  assert.deepEqual(none.rows[0]?.problems, ['none of its gateways lives']);
});

test('the address: of an interface, of the node, or as the policy says', () => {
  const gateway = (line: string) =>
    policies(
      policy(
        'p',
        `
  selectors: [{podSelector: {matchLabels: {app: web}}}]
  destinationCIDRs: [0.0.0.0/0, "::/0"]
  egressGateway: {nodeSelector: {matchLabels: {role: gw}}, ${line}}`,
      ),
    );
  const held = (line: string) =>
    planEgress(inputs('g1', { policies: gateway(line) })).held.map(({ address }) => address);
  assert.deepEqual(held('interface: eth1'), ['192.0.2.7', '2001:db8::7']);
  assert.deepEqual(held(''), ['10.9.0.2', 'fd00:9::2']);
  assert.deepEqual(held('egressIP: "2001:db8::9"'), ['2001:db8::9']);
  const missing = planEgress(inputs('g1', { policies: gateway('interface: eth9') }));
  assert.deepEqual(missing.rows[0]?.problems, [
    'this node is the gateway and has no interface eth9',
  ]);
  assert.ok(missing.routes.every((route) => route.gateway === undefined));
  // Elsewhere the address is not known, and need not be.
  const other = planEgress(inputs('a', { policies: gateway('interface: eth1') }));
  assert.deepEqual(other.rows[0]?.addresses, []);
  assert.ok(other.routes.every((route) => route.gateway === '10.9.0.2'));
});

test('two entries for one node give it an address of each family', () => {
  const both = policies(
    policy(
      'p',
      `
  selectors: [{podSelector: {matchLabels: {app: web}}}]
  destinationCIDRs: [198.51.100.0/24, "2001:db8::/32"]
  egressGateways:
  - {nodeSelector: {matchLabels: {role: gw}}, egressIP: 192.0.2.1}
  - {nodeSelector: {matchLabels: {role: gw}}, egressIP: "fd00:e::1"}`,
    ),
  );
  assert.deepEqual(text(planEgress(inputs('a', { policies: both }))), [
    '10.1.0.1 198.51.100.0/24 by 10.9.0.2 as 192.0.2.1',
    'fd00:1::1 2001:db8::/32 by 10.9.0.2 as fd00:e::1',
  ]);
});

test('selectors: all of an entry, any of the entries; of two policies the first by name', () => {
  const selected = (selectors: string) =>
    planEgress(
      inputs('g1', {
        policies: policies(
          policy(
            'p',
            `
  selectors: ${selectors}
  destinationCIDRs: [198.51.100.0/24]
  egressGateway: {nodeSelector: {matchLabels: {role: gw}}, egressIP: 192.0.2.1}`,
          ),
        ),
      }),
    ).routes.map(({ source }) => source);
  assert.deepEqual(selected('[{namespaceSelector: {matchLabels: {team: shop}}}]'), [
    '10.1.0.1',
    '10.2.0.1',
    '10.1.0.2',
  ]);
  assert.deepEqual(selected('[{namespaceSelector: {matchLabels: {team: x}}}]'), []);
  assert.deepEqual(
    selected('[{podSelector: {matchLabels: {io.kubernetes.pod.namespace: shop, app: db}}}]'),
    ['10.1.0.2'],
  );
  assert.deepEqual(
    selected(
      '[{podSelector: {matchLabels: {app: db}}}, {podSelector: {matchLabels: {app: web}}, nodeSelector: {matchLabels: {role: none}}}]',
    ),
    ['10.1.0.2'],
  );
  const two = planEgress(
    inputs('a', {
      policies: policies(
        policy('b', WEB) + policy('a', WEB.replaceAll('192.0.2.100', '192.0.2.200')),
      ),
    }),
  );
  assert.equal(text(two)[1], '10.1.0.1 0.0.0.0/0 by 10.9.0.2 as 192.0.2.200');
});

test('routes are bounded, and it is said', () => {
  const plan = planEgress(inputs('g1', { limit: 2 }));
  assert.equal(plan.routes.length, 2);
  assert.deepEqual(plan.rows[0]?.problems, ['3 routes of the policies find no room among 2']);
});

test('all nodes choose one gateway, whatever lives and drains', () => {
  const names = NODES.map(({ name }) => name);
  fc.assert(
    fc.property(
      fc.subarray(names),
      fc.subarray(names),
      fc.shuffledSubarray(NODES, { minLength: 4 }),
      (living, draining, nodes) => {
        const plans = names.map((node) =>
          planEgress(inputs(node, { living: new Set(living), draining: new Set(draining), nodes })),
        );
        const [gateway] = plans.map(({ rows }) => rows[0]?.gateway);
        assert.ok(plans.every(({ rows }) => rows[0]?.gateway === gateway));
        const holders = names.filter((_, i) => plans[i]!.held.length > 0);
        assert.deepEqual(holders, gateway === undefined ? [] : [gateway]);
        assert.ok(gateway === undefined || living.includes(gateway));
      },
    ),
  );
});
