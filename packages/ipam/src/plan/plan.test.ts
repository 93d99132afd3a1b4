import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prefix } from '@causeway/ip';
import fc from 'fast-check';
import { findOverlaps } from './overlap.ts';
import { planText, planTree } from './tree.ts';
import type { PlanRange, PlanScope, PlanUse } from './types.ts';

const entry = (cidr: string, use: PlanUse, scope: PlanScope): PlanRange => ({
  cidr: Prefix.parse(cidr),
  use,
  scope,
  owner: 'AddressPlan/company',
  level: 'plan',
});
const object = (cidr: string, use: PlanUse, owner: string, cluster?: string): PlanRange => ({
  cidr: Prefix.parse(cidr),
  use,
  scope: cluster === undefined ? {} : { cluster },
  owner,
  level: 'object',
});
const north = { region: 'eu', vpc: 'north' };
const west = { ...north, cluster: 'west' };
const east = { ...north, cluster: 'east' };
const plan = [
  entry('10.0.0.0/12', 'vpc', north),
  entry('10.1.0.0/16', 'pods', west),
  entry('10.2.0.0/16', 'pods', east),
  entry('10.3.0.0/20', 'services', west),
  entry('fd00:1::/48', 'pods', west),
];

test('objects take parts of what the plan gives their cluster for that use, and nothing else', () => {
  const pools = [
    object('10.1.0.0/17', 'pods', 'CiliumPodIPPool/default', 'west'),
    object('10.1.128.0/18', 'pods', 'CiliumPodIPPool/rack1', 'west'),
    object('10.3.0.0/24', 'services', 'ServiceCIDR/kubernetes', 'west'),
    object('fd00:1::/56', 'pods', 'CiliumPodIPPool/default', 'west'),
    object('192.168.0.0/24', 'nodes', 'Node/n1', 'west'),
  ];
  assert.deepEqual(findOverlaps([...plan, ...pools]), []);
  for (const [bad, message] of [
    [
      object('10.2.4.0/24', 'pods', 'CiliumPodIPPool/x', 'west'),
      '10.2.4.0/24 (pods of cluster west in CiliumPodIPPool/x) overlaps 10.2.0.0/16 (pods of cluster east in AddressPlan/company)',
    ],
    [
      object('10.1.200.0/24', 'services', 'ServiceCIDR/x', 'west'),
      '10.1.200.0/24 (services of cluster west in ServiceCIDR/x) overlaps 10.1.0.0/16 (pods of cluster west in AddressPlan/company)',
    ],
    [
      object('192.168.0.7/32', 'vips', 'CiliumLoadBalancerIPPool/x', 'west'),
      '192.168.0.7/32 (vips of cluster west in CiliumLoadBalancerIPPool/x) overlaps 192.168.0.0/24 (nodes of cluster west in Node/n1)',
    ],
    [
      object('10.1.0.0/17', 'pods', 'CiliumPodIPPool/y', 'west'),
      '10.1.0.0/17 (pods of cluster west in CiliumPodIPPool/y) is also 10.1.0.0/17 (pods of cluster west in CiliumPodIPPool/default)',
    ],
    [
      object('10.0.0.0/11', 'pods', 'mesh cluster far', 'far'),
      '10.0.0.0/11 (pods of cluster far in mesh cluster far) overlaps 10.0.0.0/12 (VPC north in AddressPlan/company)',
    ],
    [
      entry('10.8.0.0/16', 'vpc', { region: 'us', vpc: 'south' }),
      '10.8.0.0/16 (VPC south in AddressPlan/company) overlaps 10.0.0.0/12 (VPC north in AddressPlan/company)',
    ],
  ] as const) {
    const messages = findOverlaps([...plan, ...pools, bad]).map((one) => one.message);
    assert.ok(messages.includes(message), messages.join('\n'));
  }
});

test('the plan is drawn as a tree with use, what is outside of it too', () => {
  const tree = planTree(
    [
      ...plan,
      object('10.1.0.0/17', 'pods', 'CiliumPodIPPool/default', 'west'),
      object('192.168.0.0/24', 'nodes', 'Node/n1', 'west'),
      object('172.16.0.0/24', 'pods', 'mesh cluster far', 'far'),
    ],
    ({ cidr }) => (cidr === '10.1.0.0/17' ? 300n : undefined),
  );
  assert.deepEqual(planText(tree), [
    'cluster far',
    '└─ 172.16.0.0/24  pods  mesh cluster far',
    'region eu  300 of 1048576 used',
    '└─ vpc north  10.0.0.0/12  300 of 1048576 used',
    '   ├─ cluster east',
    '   │  └─ 10.2.0.0/16  pods  AddressPlan/company',
    '   └─ cluster west  300 of about 2^80 used',
    '      ├─ 192.168.0.0/24  nodes  Node/n1',
    '      ├─ 10.1.0.0/16  pods  AddressPlan/company  300 of 65536 used',
    '      │  └─ 10.1.0.0/17  pods  CiliumPodIPPool/default  300 of 32768 used',
    '      ├─ fd00:1::/48  pods  AddressPlan/company',
    '      └─ 10.3.0.0/20  services  AddressPlan/company',
  ]);
});

test('overlaps are those that comparing every pair finds', () => {
  const cidr = fc
    .tuple(fc.nat(15), fc.integer({ min: 28, max: 32 }))
    .map(([at, length]) => Prefix.parse(`10.0.0.${at}/${length}`, { hostBits: 'clear' }));
  const range = fc.record({ cidr, owner: fc.constantFrom('a', 'b') });
  fc.assert(
    fc.property(fc.array(range, { maxLength: 12 }), (given) => {
      const ranges = given.map((one) => object(one.cidr, 'pods', one.owner, 'west'));
      const pairs = ranges.flatMap((a, i) =>
        ranges
          .slice(0, i)
          .filter((b) => Prefix.overlaps(a.cidr, b.cidr))
          .filter((b) => a.cidr !== b.cidr || a.owner !== b.owner),
      );
      assert.equal(findOverlaps(ranges).length, pairs.length);
    }),
  );
});
