import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { Address, Prefix } from '@causeway/ip';
import fc from 'fast-check';
import { bridge } from './bridge.ts';
import { advertisement, BASE, inputsOf, service } from './fixture.ts';
import type { BgpInputs } from './inputs.ts';
import { PlanMemo } from './memo.ts';
import { type BgpPlan, planBgp } from './plan.ts';
import type { SpeakerConfig } from './speaker-port.ts';

const PODS = advertisement('pods', '- {advertisementType: PodCIDR}');
const plan = (manifest: string, more: Partial<BgpInputs> = {}) => planBgp(inputsOf(manifest, more));
const configOf = (made: BgpPlan): SpeakerConfig => made.wanted!.config;
const prefixes = (made: BgpPlan) => made.wanted!.paths.map(({ prefix }) => prefix);
const neighbors = (made: BgpPlan) => configOf(made).neighbors;
const reason = (made: BgpPlan, source: RegExp) =>
  made.announcements.filter((row) => source.test(row.source)).map((row) => row.reason);
/** What is sent to a neighbour, as the speaker would find it: prefix → attributes. */
function sent(made: BgpPlan, neighbor: string): Record<string, unknown> {
  const config = configOf(made);
  const { families } = config.neighbors.find(({ name }) => name === neighbor)!;
  const out: Record<string, unknown> = {};
  for (const { prefix, tag } of made.wanted!.paths) {
    const key = prefix.includes(':') ? 'ipv6-unicast' : 'ipv4-unicast';
    const family = families.find((each) => each.family === key);
    if (family === undefined) continue;
    for (const { match, set, then: verdict } of config.policies[family.export]!.statements) {
      if (!match?.families?.includes(key) || !match.tags?.includes(tag!)) continue;
      assert.deepEqual(match.source, ['local'], 'only what is our own');
      assert.equal(verdict, 'accept');
      out[prefix] = set ?? {};
      break;
    }
  }
  return out;
}

test('pod CIDRs go to every peer that chooses the advertisement, as they come and go', () => {
  const made = plan(BASE + PODS);
  assert.deepEqual(made.problems, []);
  assert.deepEqual(prefixes(made), ['10.1.1.0/24', 'fd00:1:1::/64']);
  assert.deepEqual(Object.keys(sent(made, 'tor1')), ['10.1.1.0/24', 'fd00:1:1::/64']);
  assert.deepEqual(sent(made, 'tor2'), sent(made, 'tor1'));
  assert.deepEqual(reason(made, /pod CIDR/), ['pods selects it', 'pods selects it']);

  const grown = plan(BASE + PODS, {
    podCIDRs: ['10.1.1.0/24', '10.1.7.0/24'].map((text) => ({ prefix: Prefix.parse(text) })),
  });
  assert.deepEqual(prefixes(grown), ['10.1.1.0/24', '10.1.7.0/24']);
  assert.deepEqual(configOf(grown), configOf(made), 'a new CIDR is a path, not a configuration');
  assert.deepEqual(prefixes(plan(BASE + PODS, { families: ['ipv6'] })), ['fd00:1:1::/64']);
});

test('pod CIDRs of a pool, and addresses that have moved: all by PodCIDR, some by their pool', () => {
  const pool = (name: string, labels: Record<string, string> = {}) => ({ name, labels });
  const podCIDRs = [
    { prefix: Prefix.parse('10.1.1.0/24'), pool: pool('red', { team: 'a' }) },
    { prefix: Prefix.parse('10.2.1.0/24'), pool: pool('blue') },
    { prefix: Prefix.parse('10.3.1.0/24') },
    { prefix: Prefix.parse('10.9.0.7/32') },
  ];
  const all = plan(BASE + PODS, { podCIDRs });
  assert.deepEqual(
    prefixes(all),
    podCIDRs.map(({ prefix }) => prefix),
  );
  const select = (selector: string) =>
    plan(
      BASE + advertisement('pods', `- {advertisementType: CiliumPodIPPool, selector: ${selector}}`),
      { podCIDRs },
    );
  const byLabel = select('{matchLabels: {team: a}}');
  assert.deepEqual(prefixes(byLabel), ['10.1.1.0/24']);
  assert.match(reason(byLabel, /pod CIDR/)[1]!, /one that selects the pool blue/);
  assert.deepEqual(prefixes(select('{matchLabels: {io.cilium.podippool.name: blue}}')), [
    '10.2.1.0/24',
  ]);
});

test('without a choice nothing is said, and each thing says why', () => {
  const unchosen = plan(BASE + advertisement('pods', '- {advertisementType: PodCIDR}', 'other'));
  assert.deepEqual(prefixes(unchosen), []);
  assert.match(reason(unchosen, /pod/)[0]!, /no peer's CiliumBGPPeerConfig chooses pods for ipv4/);
  const bare = plan(BASE);
  assert.match(reason(bare, /pod/)[0]!, /no CiliumBGPAdvertisement has an entry of type PodCIDR/);
  assert.deepEqual(configOf(bare).policies['export:tor:ipv4-unicast'], {
    statements: [],
    otherwise: 'reject',
  });
  const elsewhere = plan(BASE.replace('rack: r1}', 'rack: r2}') + PODS);
  assert.equal(elsewhere.wanted, undefined);
  assert.match(reason(elsewhere, /pod/)[0]!, /no CiliumBGPClusterConfig selects this node/);
});

test('nothing is taken from a peer unless told, and nothing learned is passed on', () => {
  const made = plan(BASE + PODS);
  for (const neighbor of neighbors(made)) {
    for (const family of neighbor.families) {
      assert.deepEqual(configOf(made).policies[family.import], {
        statements: [],
        otherwise: 'reject',
      });
      for (const { match } of configOf(made).policies[family.export]!.statements)
        assert.deepEqual(match?.source, ['local']);
    }
  }
  const taking = configOf(
    plan(`${BASE}
---
apiVersion: causeway.io/v1
kind: BGPPeerOptions
metadata: {name: tor}
spec:
  routeReflectorClient: true
  families:
  - {afi: ipv4, safi: unicast, import: [{prefix: 10.0.0.0/8, maxLength: 26}, {prefix: 0.0.0.0/0}]}
  - {afi: ipv6, safi: unicast, transit: false}
`),
  );
  assert.deepEqual(taking.policies['import:tor:ipv4-unicast']!.statements[0]!.match, {
    prefixes: [{ prefix: '10.0.0.0/8', le: 26 }, '0.0.0.0/0'],
  });
  const transit = (key: string) => taking.policies[`export:tor:${key}`]!.statements.length;
  assert.deepEqual([transit('ipv4-unicast'), transit('ipv6-unicast')], [1, 0]);
  assert.equal(taking.neighbors[0]!.families[1]!.import, 'nothing');
});

const SERVICES = advertisement(
  'vips',
  `- advertisementType: Service
    service: {addresses: [ClusterIP, ExternalIP, LoadBalancerIP]}
    selector: {matchExpressions: [{key: bgp, operator: In, values: [blue]}]}`,
);
const blue = { labels: { bgp: 'blue' } };

test('service addresses: types, traffic policies, readiness, classes and deletion', () => {
  const made = plan(BASE + SERVICES, {
    services: [
      service(
        'all',
        [
          ['ClusterIP', '10.96.0.1'],
          ['ExternalIP', '198.51.100.1'],
          ['LoadBalancerIP', '198.51.100.2'],
          ['ClusterIP', 'fd00:96::1'],
        ],
        blue,
      ),
      service(
        'near',
        [
          ['ClusterIP', '10.96.0.2', 'Local', 'ready'],
          ['LoadBalancerIP', '198.51.100.3', 'Local', 'ready'],
        ],
        blue,
      ),
      service(
        'far',
        [
          ['ClusterIP', '10.96.0.3', 'Local'],
          ['LoadBalancerIP', '198.51.100.4', 'Local'],
          ['ExternalIP', '198.51.100.5'],
        ],
        blue,
      ),
      service('going', [['ClusterIP', '10.96.0.4']], { ...blue, terminating: true }),
      service(
        'class',
        [
          ['ClusterIP', '10.96.0.5'],
          ['LoadBalancerIP', '198.51.100.6'],
        ],
        { ...blue, loadBalancerClass: 'example.com/other' },
      ),
      service('ours', [['LoadBalancerIP', '198.51.100.7']], {
        ...blue,
        loadBalancerClass: 'io.cilium/bgp-control-plane',
      }),
      service('red', [
        ['ClusterIP', '10.96.0.6'],
        ['LoadBalancerIP', '198.51.100.8'],
      ]),
    ],
  });
  assert.deepEqual(prefixes(made), [
    '10.96.0.1/32',
    '10.96.0.2/32',
    '10.96.0.5/32',
    '198.51.100.1/32',
    '198.51.100.2/32',
    '198.51.100.3/32',
    '198.51.100.5/32',
    '198.51.100.7/32',
    'fd00:96::1/128',
  ]);
  assert.deepEqual(reason(made, /far ClusterIP/), [
    'internalTrafficPolicy is Local and this node has no ready backend',
  ]);
  assert.deepEqual(reason(made, /far LoadBalancerIP/), [
    'externalTrafficPolicy is Local and this node has no ready backend',
  ]);
  assert.deepEqual(reason(made, /going/), ['the Service is being deleted']);
  assert.match(reason(made, /class LoadBalancer/)[0]!, /example\.com\/other is another's/);
  assert.deepEqual(
    reason(made, /red/),
    ['no CiliumBGPAdvertisement selects the Service'],
    'its ClusterIP is not worth a line',
  );
});

test('service selectors: labels, name and namespace, none, all', () => {
  const names = (selector: string) => {
    const made = plan(
      BASE +
        advertisement(
          'vips',
          `- advertisementType: Service
    service: {addresses: [ClusterIP]}
    ${selector}`,
        ),
      {
        services: [
          service('a', [['ClusterIP', '10.96.0.1']], blue),
          service('b', [['ClusterIP', '10.96.0.2']], { namespace: 'bank' }),
        ],
      },
    );
    return prefixes(made)
      .map((prefix) => prefix.slice(8, 9))
      .join('');
  };
  const none = `pass: {}`;
  assert.equal(names('selector: {}'), '12');
  assert.equal(
    names('selector: {matchExpressions: [{key: x, operator: NotIn, values: [never]}]}'),
    '12',
  );
  assert.equal(names('selector: {matchLabels: {io.kubernetes.service.namespace: bank}}'), '2');
  assert.equal(names('selector: {matchLabels: {io.kubernetes.service.name: a}}'), '1');
  assert.equal(names('selector: {matchExpressions: [{key: bgp, operator: Exists}]}'), '1');
  assert.equal(names('selector: {matchExpressions: [{key: bgp, operator: DoesNotExist}]}'), '2');
  assert.equal(names(''), '', `without a selector none is meant (${none})`);
});

test('several advertisements for one address: communities together, the greatest preference', () => {
  const rule = (selector: string, attributes: string) => `- advertisementType: Service
    service: {addresses: [LoadBalancerIP]}
    selector: {matchLabels: {${selector}}}
    attributes: ${attributes}`;
  const manifest =
    BASE +
    advertisement(
      'vpcs',
      `${rule('vpc1: "true"', '{communities: {standard: ["65000:1", "4259840002"], large: ["1111:1111:1111"]}, localPreference: 50}')}
  ${rule('vpc2: "true"', '{communities: {wellKnown: [no-export], standard: ["65000:1"], large: ["2222:2222:2222"]}, localPreference: 200}')}`,
    ) +
    advertisement(
      'third',
      rule('vpc1: "true"', '{communities: {standard: ["65000:3"]}}'),
      'internal',
    );
  const of = (labels: Record<string, string>) =>
    sent(
      plan(manifest, {
        services: [service('hello', [['LoadBalancerIP', '198.51.100.1']], { labels })],
      }),
      'tor1',
    );
  assert.deepEqual(
    of({ vpc1: 'true', vpc2: 'true' }),
    {
      '198.51.100.1/32': {
        communities: { add: ['65000:1', '65000:2', '65535:65281'] },
        largeCommunities: { add: ['1111:1111:1111', '2222:2222:2222'] },
        localPreference: 200,
      },
    },
    'what the peer does not choose (third) adds nothing',
  );
  assert.deepEqual(of({ vpc1: 'true' }), {
    '198.51.100.1/32': {
      communities: { add: ['65000:1', '65000:2'] },
      largeCommunities: { add: ['1111:1111:1111'] },
      localPreference: 50,
    },
  });
  assert.deepEqual(of({}), {});
});

test('each peer is given what it chose, with the attributes of what it chose', () => {
  const manifest =
    BASE.replace('peerConfigRef: {name: tor}}\n---', 'peerConfigRef: {name: quiet}}\n---') +
    `
---
apiVersion: cilium.io/v2
kind: CiliumBGPPeerConfig
metadata: {name: quiet}
spec:
  families:
  - {afi: ipv4, safi: unicast, advertisements: {matchLabels: {advertise: vips}}}
` +
    advertisement('pods', '- {advertisementType: PodCIDR, attributes: {localPreference: 7}}') +
    advertisement(
      'vips',
      '- {advertisementType: Service, service: {addresses: [ClusterIP]}, selector: {}, attributes: {communities: {standard: ["1:1"]}}}',
      'vips',
    ) +
    advertisement(
      'both',
      '- {advertisementType: Service, service: {addresses: [ClusterIP]}, selector: {}, attributes: {communities: {standard: ["2:2"]}}}',
    );
  const made = plan(manifest, { services: [service('s', [['ClusterIP', '10.96.0.1']])] });
  assert.deepEqual(sent(made, 'tor1'), {
    '10.1.1.0/24': { localPreference: 7 },
    '10.96.0.1/32': { communities: { add: ['2:2'] } },
    'fd00:1:1::/64': { localPreference: 7 },
  });
  assert.deepEqual(sent(made, 'tor2'), { '10.96.0.1/32': { communities: { add: ['1:1'] } } });
  const [row] = made.announcements.filter(({ prefix }) => prefix === '10.96.0.1/32');
  assert.deepEqual(row?.advertisements.toSorted(), ['both', 'vips']);
  assert.deepEqual(
    row?.to.map(({ neighbor, communities }) => [neighbor, communities]),
    [
      ['tor1', ['2:2']],
      ['tor2', ['1:1']],
    ],
  );
});

test('more rules for one prefix than a tag has room for', () => {
  const entries = Array.from(
    { length: 100 },
    (_, i) =>
      `- {advertisementType: Service, service: {addresses: [ClusterIP]}, selector: {matchExpressions: [{key: k${i}, operator: DoesNotExist}]}, attributes: {localPreference: ${i}}}`,
  );
  const made = plan(BASE + advertisement('many', entries.join('\n  ')), {
    services: [service('s', [['ClusterIP', '10.96.0.1']])],
  });
  assert.ok(made.wanted!.paths[0]!.tag!.length < 1024);
  assert.deepEqual(sent(made, 'tor1'), { '10.96.0.1/32': { localPreference: 99 } });
});

test('aggregation: one prefix for many, with the attributes of all; not with policy Local', () => {
  const manifest =
    BASE +
    advertisement(
      'agg',
      `- advertisementType: Service
    service: {addresses: [LoadBalancerIP], aggregationLengthIPv4: 24, aggregationLengthIPv6: 112}
    selector: {matchLabels: {group: "0"}}
    attributes: {communities: {standard: ["65000:111"]}}
  - advertisementType: Service
    service: {addresses: [LoadBalancerIP], aggregationLengthIPv4: 24}
    selector: {matchLabels: {group: "1"}}
    attributes: {communities: {standard: ["65000:222"]}}`,
    );
  const made = plan(manifest, {
    services: [
      service(
        'x',
        [
          ['LoadBalancerIP', '20.0.20.1'],
          ['LoadBalancerIP', 'fd00:20::1'],
        ],
        { labels: { group: '0' } },
      ),
      service('y', [['LoadBalancerIP', '20.0.20.2']], { labels: { group: '1' } }),
      service('z', [['LoadBalancerIP', '20.0.20.3', 'Local', 'ready']], { labels: { group: '1' } }),
    ],
  });
  assert.deepEqual(sent(made, 'tor1'), {
    '20.0.20.0/24': { communities: { add: ['65000:111', '65000:222'] } },
    '20.0.20.3/32': { communities: { add: ['65000:222'] } },
    'fd00:20::/112': { communities: { add: ['65000:111'] } },
  });
});

test('interface addresses, but not those that mean nothing elsewhere', () => {
  const manifest =
    BASE + advertisement('lo', '- {advertisementType: Interface, interface: {name: lo}}');
  const lo = (up: boolean) => ({
    interfaces: [
      {
        name: 'lo',
        up,
        addresses: ['127.0.0.1', '::1', '203.0.113.7', '2001:db8:7::1', 'fe80::1', '224.0.0.9'].map(
          Address.parse,
        ),
      },
      { name: 'eth0', up: true, addresses: [Address.parse('192.0.2.1')] },
    ],
  });
  assert.deepEqual(prefixes(plan(manifest, lo(true))), ['2001:db8:7::1/128', '203.0.113.7/32']);
  assert.deepEqual(prefixes(plan(manifest, lo(false))), []);
  assert.deepEqual(reason(plan(manifest, lo(false)), /203/), ['the interface lo is down']);
});

test('a change of attributes is a policy, a change of services a path', () => {
  const rule = (community: string) =>
    advertisement(
      'v',
      `- {advertisementType: Service, service: {addresses: [ClusterIP]}, selector: {}, attributes: {communities: {standard: ["${community}"]}}}`,
    );
  const one = [service('a', [['ClusterIP', '10.96.0.1']])];
  const before = plan(BASE + rule('1:1'), { services: one });
  const after = plan(BASE + rule('2:2'), { services: one });
  assert.deepEqual(before.wanted!.paths, after.wanted!.paths);
  assert.notDeepEqual(configOf(before), configOf(after));
  const more = plan(BASE + rule('1:1'), {
    services: [...one, service('b', [['ClusterIP', '10.96.0.2']])],
  });
  assert.deepEqual(configOf(before), configOf(more));
});

test('tags that the speaker still holds keep their way out until the paths have changed', () => {
  const before = plan(BASE + PODS);
  const other = advertisement(
    'other',
    '- {advertisementType: PodCIDR, attributes: {localPreference: 9}}',
  );
  const after = plan(BASE + other);
  const held = { policies: configOf(before).policies, paths: before.wanted!.paths };
  const between = bridge(configOf(after), after.wanted!.paths, held)!;
  const tags = (config: SpeakerConfig) =>
    config.policies['export:tor:ipv4-unicast']!.statements.map(({ match, set }) => [
      match!.tags,
      set,
    ]);
  const [old, next] = [before, after].map((each) => each.wanted!.paths[0]!.tag!);
  assert.deepEqual(tags(configOf(after)), [[[next], { localPreference: 9 }]]);
  assert.deepEqual(tags(between), [
    [[old], undefined],
    [[next], { localPreference: 9 }],
  ]);
  assert.equal(
    bridge(configOf(after), after.wanted!.paths, { policies: {}, paths: after.wanted!.paths }),
    undefined,
  );
  assert.deepEqual(
    bridge(configOf(after), after.wanted!.paths, { policies: {}, paths: held.paths }),
    configOf(after),
    'a speaker that lost its policies lets nothing out anyway',
  );
});

test('which configuration: labels, the oldest of several, an AS from the override', () => {
  const second = (created: string, selector = '') => `
---
apiVersion: cilium.io/v2
kind: CiliumBGPClusterConfig
metadata: {name: wide, creationTimestamp: "${created}"}
spec: {${selector} bgpInstances: [{name: w, localASN: 65009}]}
`;
  const asn = (manifest: string) => configOf(plan(manifest)).asn;
  assert.equal(asn(BASE + second('2026-06-01T00:00:00Z')), 65001);
  assert.equal(asn(BASE + second('2025-06-01T00:00:00Z')), 65009);
  assert.match(
    plan(BASE + second('2026-06-01T00:00:00Z')).problems[0]!,
    /wide selects this node as well; the older r1 counts/,
  );
  assert.deepEqual(
    plan(BASE + second('2025-06-01T00:00:00Z', 'nodeSelector: {matchLabels: {rack: r9}},'))
      .problems,
    [],
  );

  const override = (text: string) => `
---
apiVersion: cilium.io/v2
kind: CiliumBGPNodeConfigOverride
metadata: {name: a}
spec: {bgpInstances: [{name: main, ${text}}]}
`;
  assert.equal(asn(BASE + override('localASN: 65007')), 65007);
  const nameless = BASE.replace('    localASN: 65001\n', '');
  assert.equal(plan(nameless).wanted, undefined);
  assert.match(plan(nameless).problems[0]!, /the instance main has no localASN/);
  assert.equal(asn(nameless + override('localASN: 65007')), 65007);
  const full = configOf(
    plan(
      BASE +
        override(
          'routerID: 10.9.9.9, localPort: 1790, peers: [{name: tor1, localAddress: 192.0.2.77}]',
        ),
    ),
  );
  assert.equal(full.routerId, '10.9.9.9');
  assert.deepEqual(full.listen, [
    { address: '0.0.0.0', port: 1790 },
    { address: '::', port: 1790 },
  ]);
  assert.equal(full.neighbors[0]!.localAddress, '192.0.2.77');
  assert.equal(full.neighbors[1]!.localAddress, undefined);
  const wrong = plan(BASE + override('peers: [{name: tor9}]').replace('name: main', 'name: main'));
  assert.match(wrong.problems.join(), /names the peer tor9, which the instance main has not/);
});

test("the router id is the node's, also without IPv4, and listening is asked for", () => {
  const made = configOf(plan(BASE));
  assert.equal(made.routerId, '192.0.2.1');
  const six = (name: string) =>
    configOf(
      plan(BASE, {
        node: { name, labels: { rack: 'r1' }, addresses: [Address.parse('2001:db8::1')] },
      }),
    ).routerId;
  assert.match(six('a'), /^\d+\.\d+\.\d+\.\d+$/);
  assert.equal(six('a'), six('a'));
  assert.notEqual(six('a'), six('b'));
  assert.deepEqual(configOf(plan(BASE.replace('    localPort: 179\n', ''))).listen, []);
});

test('sessions: every setting arrives', () => {
  const manifest = `${BASE.replace(
    'spec:\n  families:',
    `spec:
  transport: {peerPort: 1790, sourceInterface: lo}
  timers: {connectRetryTimeSeconds: 100000, holdTimeSeconds: 9, keepAliveTimeSeconds: 9}
  authSecretRef: tor-password
  gracefulRestart: {enabled: true}
  ebgpMultihop: 4
  families:`,
  )}
---
apiVersion: causeway.io/v1
kind: BGPPeerOptions
metadata: {name: tor}
spec:
  description: rack switch
  passive: true
  bfd: {multiplier: 5, strict: true, auth: {type: MeticulousSHA1, keyID: 3, secretRef: bfd-key}}
  nextHop: Self
  extendedNextHop: true
  extendedMessages: false
  gracefulRestartHelper: false
  timers: {delayOpenSeconds: 2, idleHoldSeconds: 3}
  families:
  - afi: ipv4
    safi: unicast
    addPath: {receive: true, send: 4}
    maxPrefixes: {limit: 100, warnAtPercent: 70, action: Refuse, restartAfterSeconds: 30}
    longLivedStaleSeconds: 600
`;
  const made = plan(manifest, {
    passwords: new Map([
      ['tor-password', 's3cr3t'],
      ['bfd-key', 'k'],
    ]),
    interfaces: [
      {
        name: 'lo',
        up: true,
        addresses: ['127.0.0.1', '203.0.113.7', 'fd00::7'].map(Address.parse),
      },
    ],
  });
  assert.deepEqual(made.problems, []);
  const [first] = neighbors(made);
  assert.deepEqual(first, {
    name: 'tor1',
    peer: { address: '192.0.2.254' },
    asn: 65000,
    port: 1790,
    localAddress: '203.0.113.7',
    password: 's3cr3t',
    multihopTtl: 4,
    passive: true,
    description: 'rack switch',
    timers: { hold: 9, keepalive: 8, connectRetry: 65_535, delayOpen: 2, idleHold: 3 },
    gracefulRestart: { restartTime: 120, helper: false },
    extendedNextHop: true,
    extendedMessages: false,
    bfd: {
      intervalMs: 300,
      multiplier: 5,
      strict: true,
      auth: { type: 'meticulous-keyed-sha1', keyId: 3, key: 'k' },
    },
    families: [
      {
        family: 'ipv4-unicast',
        import: 'nothing',
        export: 'export:tor:ipv4-unicast',
        addPath: { receive: true, send: 4 },
        maxPrefixes: { limit: 100, warnAt: 70, action: 'refuse', restartAfter: 30 },
        nextHop: 'self',
        llgr: 600,
      },
      {
        family: 'ipv6-unicast',
        import: 'nothing',
        export: 'export:tor:ipv6-unicast',
        nextHop: 'self',
      },
    ],
  });
  assert.equal(neighbors(made)[1]!.localAddress, 'fd00::7');

  const locked = plan(manifest, {
    passwords: new Map([
      ['tor-password', undefined],
      ['bfd-key', 'k'.repeat(21)],
    ]),
  });
  assert.ok(
    neighbors(locked).every(({ adminDown, password }) => adminDown && password === undefined),
  );
  assert.match(
    locked.problems.join('\n'),
    /tor1: the Secret tor-password has no key "password"; the session stays down/,
  );
  assert.match(locked.problems.join('\n'), /bfd-key has 21 bytes, and at most 20/);
  assert.match(locked.problems.join('\n'), /sourceInterface lo has 0 usable ipv4 addresses/);
  assert.match(plan(manifest).problems.join('\n'), /there is no Secret tor-password/);
});

test('sessions: defaults, discovery, iBGP, any AS, what is missing', () => {
  const peersOf = (list: string, more = '') =>
    plan(`
apiVersion: cilium.io/v2
kind: CiliumBGPClusterConfig
metadata: {name: c}
spec: {bgpInstances: [{name: i, localASN: 65001, peers: [${list}]}]}
${more}`);
  const [bare] = neighbors(peersOf('{name: p, peerAddress: 192.0.2.9}'));
  assert.equal(bare!.asn, 'any');
  assert.equal(bare!.gracefulRestart, false);
  assert.deepEqual(
    bare!.families.map(({ family }) => family),
    ['ipv4-unicast', 'ipv6-unicast'],
  );
  const found = neighbors(
    peersOf(
      '{name: gw, autoDiscovery: {mode: DefaultGateway, defaultGateway: {addressFamily: ipv6}}}, {name: un, autoDiscovery: {mode: Unnumbered, unnumbered: {interface: eth0}}}',
    ),
  );
  assert.deepEqual(
    found.map(({ peer }) => peer),
    [{ defaultGateway: 'ipv6' }, { interface: 'eth0' }],
  );
  const missing = peersOf('{name: p, peerAddress: 192.0.2.9, peerConfigRef: {name: none}}');
  assert.deepEqual(neighbors(missing), []);
  assert.deepEqual(missing.problems, [
    'p: there is no CiliumBGPPeerConfig none; the session waits for it',
  ]);
  const multihop =
    '---\napiVersion: cilium.io/v2\nkind: CiliumBGPPeerConfig\nmetadata: {name: m}\nspec: {ebgpMultihop: 9}\n';
  const [inside, outside] = neighbors(
    peersOf(
      '{name: i, peerASN: 65001, peerAddress: 192.0.2.8, peerConfigRef: {name: m}}, {name: e, peerASN: 65002, peerAddress: 192.0.2.9, peerConfigRef: {name: m}}',
      multihop,
    ),
  );
  assert.deepEqual([inside!.multihopTtl, outside!.multihopTtl], [undefined, 9]);
  const both = peersOf(
    '{name: e, peerASN: 65002, peerAddress: 192.0.2.9, peerConfigRef: {name: m}}',
    `${multihop}---\napiVersion: causeway.io/v1\nkind: BGPPeerOptions\nmetadata: {name: m}\nspec: {ttlSecurity: {hops: 1}}\n`,
  );
  assert.deepEqual(
    [neighbors(both)[0]!.ttlSecurity, neighbors(both)[0]!.multihopTtl],
    [1, undefined],
  );
  assert.match(both.problems.join(), /do not go together/);
  const odd = neighbors(peersOf('{name: "peer 1/a", peerAddress: 192.0.2.9}'))[0]!.name;
  assert.match(odd, /^peer-1-a-[0-9a-f]{8}$/);
  const twice = peersOf('{name: x, peerAddress: 192.0.2.9}, {name: y, peerAddress: 192.0.2.9}');
  assert.deepEqual(
    neighbors(twice).map(({ name }) => name),
    ['x'],
  );
  assert.match(twice.problems.join(), /y is the same router as x/);
});

const OPTIONS = (text: string) => `
---
apiVersion: causeway.io/v1
kind: BGPClusterOptions
metadata: {name: r1}
spec: {bgpInstances: [{name: main, ${text}}]}
`;

test('what the cluster options add: reflectors, node peers, ranges, kernel, BMP', () => {
  const others = {
    nodes: [
      { name: 'a', labels: {}, addresses: [Address.parse('192.0.2.1')] },
      {
        name: 'b',
        labels: { role: 'reflector' },
        addresses: ['192.0.2.2', '2001:db8::2'].map(Address.parse),
      },
      { name: 'c', labels: {}, addresses: [Address.parse('192.0.2.3')] },
    ],
  };
  const names = (text: string) =>
    neighbors(plan(BASE + OPTIONS(`nodePeers: [{name: mesh, ${text}}]`), others))
      .map(({ name }) => name)
      .slice(2);
  assert.deepEqual(names('addressFamily: ipv4'), ['mesh:b', 'mesh:c'], 'everybody but itself');
  assert.deepEqual(names('addressFamily: ipv4, nodeSelector: {matchLabels: {role: reflector}}'), [
    'mesh:b',
  ]);
  const six = plan(BASE + OPTIONS('nodePeers: [{name: mesh, addressFamily: ipv6}]'), others);
  assert.deepEqual(
    neighbors(six)
      .slice(2)
      .map(({ peer, asn }) => [peer, asn]),
    [[{ address: '2001:db8::2' }, 65001]],
  );
  assert.match(six.problems.join(), /mesh:c: the node has no ipv6 address/);

  const made = configOf(
    plan(
      BASE +
        OPTIONS(
          `clusterID: 10.0.0.9, listenAddresses: [192.0.2.1], multipath: {ebgp: 4}, gracefulRestart: {deferralSeconds: 20},
           kernelRoutes: {mode: SameRack, metric: 99},
           dynamicPeers: [{name: clients, prefix: 192.0.2.0/24, peerASNs: Internal, limit: 2500, peerConfigRef: {name: tor}}],
           bmpStations: [{name: noc, address: 192.0.2.200, port: 11019, monitor: [PrePolicy, LocRIB]}]`,
        ),
    ),
  );
  assert.equal(made.clusterId, '10.0.0.9');
  assert.deepEqual(made.listen, [{ address: '192.0.2.1', port: 179 }]);
  assert.deepEqual(made.kernel, { mode: 'same-rack', metric: 99 });
  assert.deepEqual(made.gracefulRestart, { deferral: 20 });
  assert.deepEqual(made.bmp, [
    { name: 'noc', address: '192.0.2.200', port: 11019, views: ['in-pre', 'loc'] },
  ]);
  const [group] = made.dynamicNeighbors;
  assert.deepEqual(
    [group!.name, group!.prefix, group!.asns, group!.limit],
    ['clients', '192.0.2.0/24', 'internal', 2500],
  );
  assert.equal(group!.template.families[0]!.export, 'export:tor:ipv4-unicast');
  const deaf = plan(
    BASE.replace('    localPort: 179\n', '') +
      OPTIONS('dynamicPeers: [{name: d, prefix: 192.0.2.0/24, peerASNs: Any, limit: 1}]'),
  );
  assert.match(deaf.problems.join(), /nobody can connect, for the instance main has no localPort/);
});

test('a further instance speaks under its own AS, with names of its own', () => {
  const made = plan(
    BASE.replace(
      '---\napiVersion: cilium.io/v2\nkind: CiliumBGPPeerConfig',
      '  - {name: blue, localASN: 65100, peers: [{name: tor1, peerASN: 65200, peerAddress: 198.51.100.1, peerConfigRef: {name: tor}}]}\n---\napiVersion: cilium.io/v2\nkind: CiliumBGPPeerConfig',
    ),
  );
  assert.deepEqual(
    neighbors(made).map(({ name, localAsn }) => [name, localAsn]),
    [
      ['tor1', undefined],
      ['tor2', undefined],
      ['blue:tor1', 65100],
    ],
  );
});

test('a further instance has the router id that its override gives, and the first keeps its own', () => {
  const blue =
    '  - {name: blue, localASN: 65100, peers: [{name: tor1, peerASN: 65200, peerAddress: 198.51.100.1, peerConfigRef: {name: tor}}]}\n';
  const made = plan(
    `${BASE.replace(
      '---\napiVersion: cilium.io/v2\nkind: CiliumBGPPeerConfig',
      `${blue}---\napiVersion: cilium.io/v2\nkind: CiliumBGPPeerConfig`,
    )}
---
apiVersion: cilium.io/v2
kind: CiliumBGPNodeConfigOverride
metadata: {name: a}
spec:
  bgpInstances:
    - {name: main, routerID: 10.9.9.1}
    - {name: blue, routerID: 10.9.9.2}
`,
  );
  assert.deepEqual(made.problems, []);
  assert.equal(configOf(made).routerId, '10.9.9.1');
  assert.deepEqual(
    neighbors(made).map(({ name, localRouterId }) => [name, localRouterId]),
    [
      ['tor1', undefined],
      ['tor2', undefined],
      ['blue:tor1', '10.9.9.2'],
    ],
  );
});

test('the examples: every fabric, every role, without a problem', () => {
  const roles: [string, Record<string, string>, readonly string[]][] = [
    [
      'three-tier',
      { segment: 'aggregation-1' },
      ['core-1-ipv4', 'core-1-ipv6', 'core-2-ipv4', 'core-2-ipv6'],
    ],
    [
      'spine-leaf',
      { rack: 'rack-a' },
      ['leaf-a1-ipv4', 'leaf-a1-ipv6', 'leaf-a2-ipv4', 'leaf-a2-ipv6'],
    ],
    [
      'spine-leaf',
      { rack: 'rack-b' },
      ['leaf-b1-ipv4', 'leaf-b1-ipv6', 'leaf-b2-ipv4', 'leaf-b2-ipv6'],
    ],
    ['reflector', { rack: 'rack-a', reflector: 'yes' }, ['switch-a-ipv4', 'switch-a-ipv6']],
    ['reflector', { rack: 'rack-a' }, ['reflectors-ipv4:r', 'reflectors-ipv6:r']],
  ];
  for (const [name, labels, sessions] of roles) {
    const file = new URL(`../../../../examples/bgp/${name}.yaml`, import.meta.url);
    const made = plan(readFileSync(file, 'utf8'), {
      node: { name: 'a', labels, addresses: [Address.parse('192.0.2.1')] },
      nodes: [
        {
          name: 'r',
          labels: { rack: 'rack-a', reflector: 'yes' },
          addresses: ['192.0.2.2', '2001:db8::2'].map(Address.parse),
        },
      ],
    });
    assert.deepEqual(made.problems, [], name);
    assert.deepEqual(
      neighbors(made).map((each) => each.name),
      sessions,
    );
    for (const { prefix, to } of made.announcements) {
      const family = prefix.includes(':') ? 'ipv6' : 'ipv4';
      const expected = sessions.filter((each) => each.includes(family));
      assert.deepEqual(
        to.map(({ neighbor }) => neighbor).filter((each) => !each.endsWith('*')),
        expected,
      );
    }
  }
});

test('what is remembered from the last plan: a change shows, and the rest are the same objects', () => {
  const memo = new PlanMemo();
  const manifest = BASE + SERVICES;
  const near = (ready: boolean) =>
    service(
      'near',
      [['ClusterIP', '10.96.0.2', 'Local', ...(ready ? (['ready'] as const) : [])]],
      blue,
    );
  const other = service('other', [['ClusterIP', '10.96.0.1']], blue);
  const inputs = inputsOf(manifest, { services: [other, near(true)] });
  const first = planBgp(inputs, memo);
  const second = planBgp({ ...inputs, services: [other, near(false)] }, memo);
  assert.deepEqual(prefixes(first), ['10.96.0.1/32', '10.96.0.2/32']);
  assert.deepEqual(prefixes(second), ['10.96.0.1/32']);
  const row = (made: BgpPlan) => made.announcements.find(({ prefix }) => prefix === '10.96.0.1/32');
  assert.equal(row(first), row(second));
  assert.equal(first.wanted!.paths[0], second.wanted!.paths[0]);
  const changed = inputsOf(BASE + SERVICES.replace('blue', 'red'));
  const third = planBgp({ ...changed, services: [other] }, memo);
  assert.deepEqual(prefixes(third), [], 'other advertisements, other answers');
});

test('property: whatever is selected, a peer is sent nothing that no chosen rule selects', () => {
  const group = fc.constantFrom('x', 'y', 'z');
  const world = fc.record({
    rules: fc.array(
      fc.record({ label: group, group, preference: fc.nat(9), community: fc.nat(9) }),
      { maxLength: 6 },
    ),
    services: fc.array(
      fc.record({ groups: fc.uniqueArray(group), local: fc.boolean(), ready: fc.boolean() }),
      { maxLength: 6 },
    ),
    choice: group,
  });
  const memo = new PlanMemo();
  fc.assert(
    fc.property(world, ({ rules, services, choice }) => {
      const manifest =
        BASE.replaceAll('advertise: bgp', `advertise: ${choice}`) +
        rules
          .map(({ label, group: g, preference, community }, i) =>
            advertisement(
              `r${i}`,
              `- {advertisementType: Service, service: {addresses: [ClusterIP]}, selector: {matchExpressions: [{key: ${g}, operator: Exists}]}, attributes: {localPreference: ${preference}, communities: {standard: ["1:${community}"]}}}`,
              label,
            ),
          )
          .join('');
      const inputs = inputsOf(manifest, {
        podCIDRs: [],
        services: services.map(({ groups, local, ready }, i) =>
          service(
            `s${i}`,
            [
              [
                'ClusterIP',
                `10.96.0.${i + 1}`,
                ...(local ? ['Local' as const] : []),
                ...(ready ? ['ready' as const] : []),
              ],
            ],
            {
              labels: Object.fromEntries(groups.map((g) => [g, 'yes'])),
            },
          ),
        ),
      });
      const made = planBgp(inputs);
      assert.deepEqual(planBgp(inputs, memo), made, 'what is remembered changes nothing');
      const expected: Record<string, unknown> = {};
      services.forEach(({ groups, local, ready }, i) => {
        const matching = rules.filter(
          (rule) => rule.label === choice && groups.includes(rule.group),
        );
        if (matching.length === 0 || (local && !ready)) return;
        expected[`10.96.0.${i + 1}/32`] = {
          communities: {
            add: [...new Set(matching.map(({ community }) => `1:${community}`))].sort(),
          },
          localPreference: Math.max(...matching.map(({ preference }) => preference)),
        };
      });
      assert.deepEqual(sent(made, 'tor1'), expected);
    }),
    { numRuns: 150 },
  );
});
