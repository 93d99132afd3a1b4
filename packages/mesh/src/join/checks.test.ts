import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Address, Prefix } from '@causeway/ip';
import {
  ACCEPTABLE,
  type CheckInput,
  type CheckName,
  checkJoin,
  type PeerView,
  passes,
} from './checks.ts';
import type { ClusterFacts, RangeFact } from './facts.ts';

const object = (cidr: string, use: RangeFact['use'], owner: string): RangeFact => ({
  cidr,
  use,
  owner,
  level: 'object',
});

const facts = (name: string, id: number, more: Partial<ClusterFacts> = {}): ClusterFacts => ({
  name,
  id,
  maxConnectedClusters: 255,
  version: '1.4.0',
  tunnelPorts: [8472],
  routingModes: ['tunnel'],
  mtus: [1500],
  ranges: [
    object(`10.${id}.0.0/16`, 'pods', 'CiliumPodIPPool/default'),
    object(`fd00:${id}::/48`, 'pods', 'CiliumPodIPPool/default'),
    object('10.96.0.0/16', 'services', 'ServiceCIDR/kubernetes'),
    object(`192.0.2.${id * 16}/28`, 'vips', 'CiliumLoadBalancerIPPool/edge'),
  ],
  ...more,
});

const view = (id: number, more: Partial<PeerView> = {}): PeerView => ({
  endpoints: [{ url: 'https://198.51.100.1:2379' }],
  unreadable: [],
  open: [],
  config: {
    id,
    maxConnectedClusters: 255,
    cached: false,
    syncedCanaries: true,
    serviceExportsEnabled: undefined,
  },
  nodes: [
    {
      name: 'a',
      addresses: [Address.parse(`198.51.100.${id}`)],
      podCIDRs: [Prefix.parse(`10.${id}.1.0/24`)],
    },
  ],
  tunnelPorts: [8472],
  routingModes: ['tunnel'],
  mtus: [1500],
  ...more,
});

const good: CheckInput = {
  mine: facts('west', 2),
  myNodes: [{ name: 'w', addresses: [Address.parse('198.51.100.2')], podCIDRs: [] }],
  theirs: facts('east', 1),
  view: view(1),
  known: [{ name: 'north', id: 3, facts: facts('north', 3) }],
  accept: new Set(),
};

test('two clusters that fit pass every check, and services may have the same addresses', () => {
  const rows = checkJoin(good);
  assert.deepEqual(
    rows.map(({ check, state, reason }) => [check, state, reason]),
    rows.map(({ check }) => [check, 'ok', '']),
  );
  assert.equal(rows.length, 12);
  assert.ok(passes(rows));
});

const wrong: [string, CheckName, Partial<CheckInput>, RegExp][] = [
  [
    'an endpoint that nobody answers at',
    'reachable',
    { view: view(1, { endpoints: [{ url: 'https://a:1', unreachable: 'timed out' }] }) },
    /https:\/\/a:1: timed out/,
  ],
  [
    'a server of another authority',
    'tls',
    { view: view(1, { endpoints: [{ url: 'https://a:1', refused: 'self signed' }] }) },
    /self signed/,
  ],
  [
    'too few rights',
    'rights',
    { view: view(1, { unreadable: ['cilium/state/*'] }) },
    /cannot read/,
  ],
  ['too many rights', 'rights', { view: view(1, { open: ['causeway/*'] }) }, /no peer may/],
  ['another config', 'config', { view: view(9) }, /store says id 9, its token 1/],
  ['no config', 'config', { view: view(1, { config: { error: 'no key' } }) }, /no key/],
  ['one name for both', 'name', { theirs: facts('west', 1), view: undefined }, /both clusters/],
  [
    'a peer twice',
    'name',
    { known: [{ name: 'east', id: undefined, facts: undefined }] },
    /already/,
  ],
  [
    'our own id',
    'id',
    { theirs: facts('east', 2, { ranges: [] }), view: undefined },
    /west's, and east has it too/,
  ],
  [
    "another peer's id",
    'id',
    { theirs: facts('east', 3, { ranges: [] }), view: undefined },
    /north's/,
  ],
  [
    'an id beyond ours',
    'id',
    { theirs: facts('east', 300, { ranges: [] }), view: undefined },
    /beyond west's most/,
  ],
  [
    'identities cut otherwise',
    'clusters',
    { theirs: facts('east', 1, { maxConnectedClusters: 511 }), view: undefined },
    /one maxConnectedClusters/,
  ],
  [
    'pods in our pods',
    'addresses',
    {
      theirs: facts('east', 1, { ranges: [object('10.2.128.0/17', 'pods', 'CiliumPodIPPool/x')] }),
    },
    /10\.2\.128\.0\/17 .*of east.*overlaps 10\.2\.0\.0\/16 .*of west/,
  ],
  [
    'a node with our address',
    'addresses',
    {
      view: view(1, {
        nodes: [{ name: 'a', addresses: [Address.parse('198.51.100.2')], podCIDRs: [] }],
      }),
    },
    /node a of east.*node w of west/,
  ],
  [
    'pods in our services',
    'addresses',
    { theirs: facts('east', 1, { ranges: [object('10.96.7.0/24', 'pods', 'CiliumPodIPPool/x')] }) },
    /10\.96\.7\.0\/24/,
  ],
  [
    "a third cluster's pods",
    'addresses',
    { theirs: facts('east', 1, { ranges: [object('10.3.0.0/24', 'pods', 'CiliumPodIPPool/x')] }) },
    /of north/,
  ],
  [
    'everything',
    'addresses',
    { theirs: facts('east', 1, { ranges: [object('::/0', 'pods', 'CiliumPodIPPool/x')] }) },
    /::\/0 .*everybody's/,
  ],
  [
    'our plan gives the range to another',
    'addresses',
    {
      mine: facts('west', 2, {
        ranges: [
          {
            cidr: '10.1.0.0/16',
            use: 'pods',
            cluster: 'south',
            owner: 'AddressPlan/c',
            level: 'plan',
          },
        ],
      }),
    },
    /of cluster south in AddressPlan\/c of west/,
  ],
  ['another tunnel port', 'tunnel', { view: view(1, { tunnelPorts: [4789] }) }, /one tunnel port/],
  [
    'tunnel to native',
    'routing',
    { view: view(1, { routingModes: ['native'] }) },
    /one side tunnels/,
  ],
  ['another MTU', 'mtu', { view: view(1, { mtus: [9000] }) }, /path MTU/],
  [
    'an old version',
    'version',
    { theirs: facts('east', 1, { version: '1.2.9' }) },
    /one minor apart/,
  ],
];

for (const [title, check, change, reason] of wrong) {
  test(`${title}: ${check} fails, and nothing else`, () => {
    const rows = checkJoin({ ...good, ...change });
    assert.deepEqual(
      rows.filter(({ state }) => state === 'failed').map((row) => row.check),
      [check],
    );
    assert.match(rows.find((row) => row.check === check)?.reason ?? '', reason);
    assert.ok(!passes(rows));
  });
}

test('only what does no harm can be accepted as it is', () => {
  const bad = { ...good, view: view(1, { mtus: [9000], tunnelPorts: [4789] }) };
  const rows = checkJoin({ ...bad, accept: new Set<CheckName>(['mtu', 'tunnel']) });
  assert.equal(rows.find(({ check }) => check === 'mtu')?.state, 'accepted');
  assert.equal(rows.find(({ check }) => check === 'tunnel')?.state, 'failed');
  assert.deepEqual([...ACCEPTABLE].sort(), ['mtu', 'version']);
});

test('clusters without nodes join: what nobody says is unknown', () => {
  const nothing = { tunnelPorts: [], routingModes: [], mtus: [] };
  const rows = checkJoin({
    ...good,
    theirs: facts('east', 1, nothing),
    view: view(1, { ...nothing, nodes: [] }),
  });
  assert.deepEqual(
    rows.filter(({ state }) => state === 'unknown').map(({ check }) => check),
    ['tunnel', 'routing', 'mtu'],
  );
  assert.ok(passes(rows));
});

test('a plan that both have, and that gives each its own, is no overlap', () => {
  const plan = (['east', 'west'] as const).flatMap((cluster, index): RangeFact[] => [
    {
      cidr: `10.${index + 1}.0.0/16`,
      use: 'pods',
      cluster,
      region: 'eu',
      vpc: 'v',
      owner: 'AddressPlan/c',
      level: 'plan',
    },
    {
      cidr: '10.0.0.0/8',
      use: 'vpc',
      region: 'eu',
      vpc: 'v',
      owner: 'AddressPlan/c',
      level: 'plan',
    },
  ]);
  const withPlan = (of: ClusterFacts) => ({ ...of, ranges: [...of.ranges.slice(0, 2), ...plan] });
  const rows = checkJoin({
    ...good,
    known: [],
    mine: withPlan(good.mine),
    theirs: withPlan(good.theirs),
  });
  assert.equal(rows.find(({ check }) => check === 'addresses')?.reason, '');
});
