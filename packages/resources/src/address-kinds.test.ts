import assert from 'node:assert/strict';
import { test } from 'node:test';
import { blocksOf } from './schema/load-balancer-pool.ts';
import { countOrdinals, hasOrdinal, parseOrdinals } from './schema/ordinals.ts';
import { validateObject } from './validate.ts';

const check = (kind: string, spec: unknown, apiVersion = 'causeway.io/v1', more: object = {}) =>
  validateObject({
    where: 'document 1',
    value: { apiVersion, kind, metadata: { name: 'a' }, spec, ...more },
  });

const CILIUM = 'cilium.io/v2alpha1';
const V2 = 'cilium.io/v2';
const clusters = (...names: string[]) => ({
  regions: [{ name: 'eu', vpcs: [{ name: 'core', clusters: names.map((name) => ({ name })) }] }],
});

test('manifests as Cilium and Kubernetes have them are taken', () => {
  const good: [string, unknown, string][] = [
    [
      'CiliumPodIPPool',
      {
        ipv4: { cidrs: ['10.10.0.0/16', '10.20.0.0/16'], maskSize: 27 },
        ipv6: { cidrs: ['fd00:100::/80'], maskSize: 112 },
        podSelector: { matchLabels: { 'io.kubernetes.pod.namespace': 'shop' } },
        namespaceSelector: { matchExpressions: [{ key: 'team', operator: 'Exists' }] },
      },
      CILIUM,
    ],
    [
      'CiliumLoadBalancerIPPool',
      {
        blocks: [
          { cidr: '10.0.10.0/24' },
          { start: '20.0.20.100', stop: '20.0.20.200' },
          { start: '1.2.3.4' },
        ],
      },
      V2,
    ],
    ['CiliumLoadBalancerIPPool', { cidrs: [{ cidr: '10.0.10.0/24' }], disabled: true }, CILIUM],
    [
      'CiliumEgressGatewayPolicy',
      {
        selectors: [{ podSelector: { matchLabels: { org: 'empire' } } }],
        destinationCIDRs: ['0.0.0.0/0', '::/0'],
        excludedCIDRs: ['10.0.0.0/8'],
        egressGateway: {
          nodeSelector: { matchLabels: { 'node.kubernetes.io/name': 'a' } },
          egressIP: '10.1.2.3',
        },
      },
      V2,
    ],
    [
      'CiliumNode',
      {
        ipam: {
          pools: {
            requested: [{ pool: 'default', needed: { 'ipv4-addrs': 16, 'ipv6-addrs': 16 } }],
            allocated: [{ pool: 'default', cidrs: ['10.10.0.0/27', 'fd00:100::/112'] }],
          },
        },
      },
      V2,
    ],
    ['StatefulSet', { replicas: 3, serviceName: 'db', ordinals: { start: 2 } }, 'apps/v1'],
    ['StatefulSet', { replicas: 3, reserveOrdinals: [1] }, 'apps.kruise.io/v1beta1'],
    ['AddressPlan', clusters('a', 'b'), 'causeway.io/v1'],
    [
      'AddressReservation',
      { workload: { kind: 'StatefulSet', name: 'db', ordinals: '0-2,7' } },
      'causeway.io/v1',
    ],
    [
      'AddressReservation',
      {
        workload: { kind: 'StatefulSet', name: 'db', ordinals: '0-1' },
        addresses: [{ ipv4: '10.0.0.1', ordinal: 1 }, { ipv4: '10.0.0.2' }],
      },
      'causeway.io/v1',
    ],
    [
      'PodIPPoolOptions',
      { marks: { high: 0.9 }, blockSizes: [{ minPods: 200, ipv4MaskSize: 24 }] },
      'causeway.io/v1',
    ],
  ];
  for (const [kind, spec, apiVersion] of good) {
    const result = check(kind, spec, apiVersion);
    assert.equal(result.type, 'valid', result.type === 'refused' ? result.error.message : '');
  }
});

test('what cannot be meant is refused, with the field and what is allowed', () => {
  const bad: [string, unknown, string, RegExp][] = [
    ['CiliumPodIPPool', {}, CILIUM, /spec\.ipv4 must be set unless ipv6 is/],
    [
      'CiliumPodIPPool',
      { ipv4: { cidrs: ['fd00::/64'], maskSize: 24 } },
      CILIUM,
      /spec\.ipv4\.cidrs\[0\] must be an IPv4 CIDR/,
    ],
    [
      'CiliumPodIPPool',
      { ipv4: { cidrs: ['10.0.0.0/24'], maskSize: 32 } },
      CILIUM,
      /maskSize .*a gateway and a pod/,
    ],
    [
      'CiliumPodIPPool',
      { ipv4: { cidrs: ['10.0.0.0/28'], maskSize: 24 } },
      CILIUM,
      /must not be longer than maskSize 24/,
    ],
    [
      'CiliumPodIPPool',
      { ipv4: { cidrs: ['10.0.0.0/16', '10.0.1.0/24'], maskSize: 25 } },
      CILIUM,
      /must not overlap 10\.0\.0\.0\/16/,
    ],
    [
      'PodIPPoolOptions',
      { marks: { high: 0.3, low: 0.5 } },
      'causeway.io/v1',
      /spec\.marks\.low must be less than high, 0\.3/,
    ],
    [
      'PodIPPoolOptions',
      { blockSizes: [{ ipv4MaskSize: 24 }] },
      'causeway.io/v1',
      /nodeSelector must be set unless minPods is/,
    ],
    ['PodIPPoolOptions', { preallocate: 3 }, 'causeway.io/v1', /spec\.preallocate is not a field/],
    [
      'AddressReservation',
      {},
      'causeway.io/v1',
      /spec\.workload must be set unless podName or addresses are/,
    ],
    [
      'AddressReservation',
      { podName: 'a', addresses: [{ ipv4: '10.0.0.1' }, { ipv4: '10.0.0.1' }] },
      'causeway.io/v1',
      /must not stand twice/,
    ],
    [
      'AddressReservation',
      { podName: 'a', addresses: [{ ipv4: '10.0.0.1', ordinal: 1 }] },
      'causeway.io/v1',
      /ordinal must be absent without workload/,
    ],
    [
      'AddressReservation',
      { workload: { kind: 'StatefulSet', name: 'db', ordinals: '0-999999' } },
      'causeway.io/v1',
      /ordinals such as "0-3,7"/,
    ],
    [
      'AddressReservation',
      {
        workload: { kind: 'StatefulSet', name: 'db', ordinals: '0-1' },
        addresses: [{ ipv4: '10.0.0.1', ordinal: 1 }, { ipv4: '10.0.0.2' }, { ipv4: '10.0.0.3' }],
      },
      'causeway.io/v1',
      /spec\.addresses\[2\] must be left out: the ordinals 0-1 have one each/,
    ],
    [
      'AddressReservation',
      {
        workload: { kind: 'StatefulSet', name: 'db', ordinals: '0-1' },
        addresses: [{ ipv4: '10.0.0.1', ordinal: 2 }],
      },
      'causeway.io/v1',
      /spec\.addresses\[0\]\.ordinal must be among workload\.ordinals, 0-1/,
    ],
    [
      'AddressReservation',
      { podName: 'a', addresses: [{ ipv4: '224.0.0.1' }] },
      'causeway.io/v1',
      /must be a unicast address/,
    ],
    ['AddressPlan', clusters('a', 'a'), 'causeway.io/v1', /clusters\[1\]\.name must be unique/],
    [
      'AddressPlan',
      { regions: [{ name: 'eu', vpcs: [{ name: 'c', cidrs: ['10.0.0.1/8'] }] }] },
      'causeway.io/v1',
      /without bits beyond its length/,
    ],
    ['CiliumLoadBalancerIPPool', {}, V2, /spec\.blocks must hold at least one block/],
    [
      'CiliumLoadBalancerIPPool',
      { blocks: [{ start: '10.0.0.9', stop: '10.0.0.1' }] },
      V2,
      /stop must not be before start/,
    ],
    [
      'CiliumLoadBalancerIPPool',
      { blocks: [{ start: '10.0.0.9', stop: 'fd00::1' }] },
      V2,
      /must be of the family of start/,
    ],
    [
      'CiliumLoadBalancerIPPool',
      { blocks: [{ cidr: '10.0.0.0/24', start: '10.0.0.1' }] },
      V2,
      /start must be absent with cidr/,
    ],
    [
      'CiliumEgressGatewayPolicy',
      { selectors: [{}], destinationCIDRs: ['0.0.0.0/0'] },
      V2,
      /egressGateway must be set unless egressGateways is/,
    ],
    [
      'CiliumNode',
      { ipam: { pools: { requested: [{ pool: 'a', needed: { 'ipv4-addrs': -1 } }] } } },
      V2,
      /ipv4-addrs/,
    ],
    ['StatefulSet', {}, 'apps.example/v1', /is not a kind that Causeway knows/],
  ];
  for (const [kind, spec, apiVersion, expected] of bad) {
    const result = check(kind, spec, apiVersion);
    assert.ok(result.type === 'refused', `${kind} ${JSON.stringify(spec)} was taken`);
    assert.match(result.error.message, expected);
  }
});

test('an object of another group’s version is stored as the kind’s own', () => {
  const result = check('StatefulSet', { replicas: 1 }, 'apps.kruise.io/v1beta1');
  assert.ok(result.type === 'valid');
  assert.equal(result.object.apiVersion, 'apps/v1');
});

test('blocks of either spelling are stretches of addresses', () => {
  const result = check(
    'CiliumLoadBalancerIPPool',
    { blocks: [{ start: '10.0.0.7' }], cidrs: [{ cidr: '10.1.0.9/24' }] },
    V2,
  );
  assert.ok(result.type === 'valid' && result.object.kind === 'CiliumLoadBalancerIPPool');
  assert.deepEqual(blocksOf(result.object), [
    { first: '10.0.0.7', last: '10.0.0.7' },
    { first: '10.1.0.0', last: '10.1.0.255', prefix: '10.1.0.0/24' },
  ]);
});

test('ordinals: ranges and single ones, in any order; nothing else', () => {
  const ranges = parseOrdinals('7, 0-3')!;
  assert.equal(countOrdinals(ranges), 5);
  assert.deepEqual(
    [0, 3, 4, 7, 8].map((each) => hasOrdinal(ranges, each)),
    [true, true, false, true, false],
  );
  for (const wrong of ['', '3-1', 'a', '1-', '0,,1', '99999999', `${'1,'.repeat(5000)}1`]) {
    assert.equal(parseOrdinals(wrong), undefined, wrong);
  }
});
