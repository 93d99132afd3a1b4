import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import type { KindName } from './kinds.ts';
import { parseManifests } from './manifest.ts';
import { redacted, secretValue } from './schema/secret.ts';
import { validateAll, validateObject } from './validate.ts';

const object = (kind: string, spec: unknown, apiVersion = 'cilium.io/v2') => ({
  apiVersion,
  kind,
  metadata: { name: 'x' },
  spec,
});

/** `type path (value)` of everything that is wrong. */
function issues(kind: KindName, spec: unknown): string[] {
  const own = kind.startsWith('BGP') ? 'causeway.io/v1' : 'cilium.io/v2';
  const result = validateObject({ where: 'here', value: object(kind, spec, own) });
  if (result.type === 'valid') return [];
  for (const { message } of result.error.issues) assert.ok(message.length > 5);
  return result.error.issues.map(({ type, path }) => `${type} ${path}`).sort();
}

const peers = (...list: object[]) => ({
  bgpInstances: [{ name: 'a', localASN: 65000, peers: list }],
});
const at = 'spec.bgpInstances[0]';

const tables: readonly (readonly [KindName, unknown, readonly string[]])[] = [
  [
    'CiliumBGPClusterConfig',
    peers({ name: 'p', peerAddress: 'fd00:10:0:0::1', peerASN: 65000 }),
    [],
  ],
  ['CiliumBGPClusterConfig', peers({ name: 'p', peerAddress: '10.0.0.1' }), []],
  ['CiliumBGPClusterConfig', { bgpInstances: [{ name: 'a' }] }, []],
  ['CiliumBGPClusterConfig', {}, ['invalid spec.bgpInstances']],
  ['CiliumBGPClusterConfig', { bgpInstances: [] }, ['invalid spec.bgpInstances']],
  [
    'CiliumBGPClusterConfig',
    { bgpInstances: [{ name: 'a' }, { name: 'a' }] },
    ['invalid spec.bgpInstances[1].name'],
  ],
  [
    'CiliumBGPClusterConfig',
    { bgpInstances: Array.from({ length: 17 }, (_, i) => ({ name: `i${i}` })) },
    ['invalid spec.bgpInstances'],
  ],
  [
    'CiliumBGPClusterConfig',
    { bgpInstances: [{ name: 'a', localASN: 0 }] },
    [`invalid ${at}.localASN`],
  ],
  [
    'CiliumBGPClusterConfig',
    { bgpInstances: [{ name: 'a', localASN: 23456 }] },
    [`invalid ${at}.localASN`],
  ],
  [
    'CiliumBGPClusterConfig',
    { bgpInstances: [{ name: 'a', localASN: 4294967296 }] },
    [`invalid ${at}.localASN`],
  ],
  [
    'CiliumBGPClusterConfig',
    { bgpInstances: [{ name: 'a', localAsn: 65000 }] },
    [`invalid ${at}.localAsn`],
  ],
  [
    'CiliumBGPClusterConfig',
    { bgpInstances: [{ name: 'a', localPort: 65536 }] },
    [`invalid ${at}.localPort`],
  ],
  ['CiliumBGPClusterConfig', peers({ name: 'p' }), [`invalid ${at}.peers[0].peerAddress`]],
  [
    'CiliumBGPClusterConfig',
    peers({ name: 'p', peerAddress: '10.0.0.1/32' }),
    [`invalid ${at}.peers[0].peerAddress`],
  ],
  [
    'CiliumBGPClusterConfig',
    peers({ name: 'p', peerAddress: '224.0.0.1' }),
    [`invalid ${at}.peers[0].peerAddress`],
  ],
  [
    'CiliumBGPClusterConfig',
    peers({ name: 'p', peerAddress: '10.0.0.1' }, { name: 'p', peerAddress: '10.0.0.2' }),
    [`invalid ${at}.peers[1].name`],
  ],
  [
    'CiliumBGPClusterConfig',
    peers({
      name: 'p',
      autoDiscovery: { mode: 'DefaultGateway', defaultGateway: { addressFamily: 'ipv6' } },
    }),
    [],
  ],
  [
    'CiliumBGPClusterConfig',
    peers({ name: 'p', autoDiscovery: { mode: 'Unnumbered', unnumbered: { interface: 'eth0' } } }),
    [],
  ],
  [
    'CiliumBGPClusterConfig',
    peers({ name: 'p', autoDiscovery: { mode: 'DefaultGateway' } }),
    [`invalid ${at}.peers[0].autoDiscovery.defaultGateway`],
  ],
  [
    'CiliumBGPClusterConfig',
    peers({ name: 'p', autoDiscovery: { mode: 'default-gateway' } }),
    [`invalid ${at}.peers[0].autoDiscovery.mode`],
  ],
  [
    'CiliumBGPClusterConfig',
    peers({
      name: 'p',
      peerAddress: '10.0.0.1',
      peerConfigRef: { group: 'cilium.io', kind: 'CiliumBGPPeerConfig', name: 'c' },
    }),
    [],
  ],
  [
    'CiliumBGPClusterConfig',
    peers({ name: 'p', peerAddress: '10.0.0.1', peerConfigRef: { kind: 'Other', name: 'c' } }),
    [`invalid ${at}.peers[0].peerConfigRef.kind`],
  ],

  ['CiliumBGPPeerConfig', {}, []],
  [
    'CiliumBGPPeerConfig',
    {
      transport: { peerPort: 1790, localPort: 1791, sourceInterface: 'lo' },
      timers: { connectRetryTimeSeconds: 5, holdTimeSeconds: 9, keepAliveTimeSeconds: 3 },
      authSecretRef: 'bgp-auth-secret',
      ebgpMultihop: 4,
      gracefulRestart: { enabled: true, restartTimeSeconds: 15 },
      families: [{ afi: 'ipv4', safi: 'unicast', advertisements: { matchLabels: { a: 'b' } } }],
    },
    [],
  ],
  [
    'CiliumBGPPeerConfig',
    { timers: { holdTimeSeconds: 2 } },
    ['invalid spec.timers.holdTimeSeconds'],
  ],
  [
    'CiliumBGPPeerConfig',
    { timers: { holdTimeSeconds: 9, keepAliveTimeSeconds: 10 } },
    ['invalid spec.timers.keepAliveTimeSeconds'],
  ],
  ['CiliumBGPPeerConfig', { ebgpMultihop: 256 }, ['invalid spec.ebgpMultihop']],
  [
    'CiliumBGPPeerConfig',
    { gracefulRestart: { restartTimeSeconds: 15 } },
    ['invalid spec.gracefulRestart.enabled'],
  ],
  [
    'CiliumBGPPeerConfig',
    { gracefulRestart: { enabled: true, restartTimeSeconds: 4096 } },
    ['invalid spec.gracefulRestart.restartTimeSeconds'],
  ],
  ['CiliumBGPPeerConfig', { families: [{ afi: 'ipv4' }] }, ['invalid spec.families[0].safi']],
  [
    'CiliumBGPPeerConfig',
    { families: [{ afi: 'l2vpn', safi: 'evpn' }] },
    ['unsupported spec.families[0]'],
  ],
  [
    'CiliumBGPPeerConfig',
    {
      families: [
        { afi: 'ipv4', safi: 'unicast' },
        { afi: 'ipv4', safi: 'unicast' },
      ],
    },
    ['invalid spec.families[1]'],
  ],

  ['CiliumBGPAdvertisement', { advertisements: [{ advertisementType: 'PodCIDR' }] }, []],
  [
    'CiliumBGPAdvertisement',
    { advertisements: [{ advertisementType: 'PodCIDR', selector: {} }] },
    ['invalid spec.advertisements[0].selector'],
  ],
  [
    'CiliumBGPAdvertisement',
    { advertisements: [{ advertisementType: 'CiliumPodIPPool', selector: {} }] },
    [],
  ],
  [
    'CiliumBGPAdvertisement',
    { advertisements: [{ advertisementType: 'Service' }] },
    ['invalid spec.advertisements[0].service'],
  ],
  [
    'CiliumBGPAdvertisement',
    { advertisements: [{ advertisementType: 'Service', service: { addresses: [] } }] },
    ['invalid spec.advertisements[0].service.addresses'],
  ],
  [
    'CiliumBGPAdvertisement',
    {
      advertisements: [
        {
          advertisementType: 'Service',
          service: { addresses: ['ClusterIP'], aggregationLengthIPv4: 32 },
        },
      ],
    },
    ['invalid spec.advertisements[0].service.aggregationLengthIPv4'],
  ],
  [
    'CiliumBGPAdvertisement',
    { advertisements: [{ advertisementType: 'Interface', interface: { name: 'lo' } }] },
    [],
  ],
  [
    'CiliumBGPAdvertisement',
    { advertisements: [{ advertisementType: 'Interface' }] },
    ['invalid spec.advertisements[0].interface'],
  ],
  [
    'CiliumBGPAdvertisement',
    {
      advertisements: [
        {
          advertisementType: 'PodCIDR',
          attributes: {
            communities: {
              standard: ['65000:99', '4294967295', '0:0'],
              wellKnown: ['no-export'],
              large: ['4294967295:0:50'],
            },
            localPreference: 4294967295,
          },
        },
      ],
    },
    [],
  ],
  ...(
    [
      [{ communities: { standard: ['65536:1'] } }, 'communities.standard[0]'],
      [{ communities: { standard: ['1:2:3'] } }, 'communities.standard[0]'],
      [{ communities: { standard: ['065:1'] } }, 'communities.standard[0]'],
      [{ communities: { standard: [100] } }, 'communities.standard[0]'],
      [{ communities: { wellKnown: ['no-exprot'] } }, 'communities.wellKnown[0]'],
      [{ communities: { large: ['1:2'] } }, 'communities.large[0]'],
      [{ communities: { large: ['4294967296:0:0'] } }, 'communities.large[0]'],
      [{ communities: { extended: [] } }, 'communities.extended'],
      [{ localPreference: -1 }, 'localPreference'],
      [{ localPreference: 1.5 }, 'localPreference'],
    ] as const
  ).map(
    ([attributes, path]) =>
      [
        'CiliumBGPAdvertisement',
        { advertisements: [{ advertisementType: 'PodCIDR', attributes }] },
        [`invalid spec.advertisements[0].attributes.${path}`],
      ] as const,
  ),

  [
    'CiliumBGPNodeConfigOverride',
    {
      bgpInstances: [
        {
          name: 'a',
          routerID: '192.168.10.1',
          localPort: 1790,
          localASN: 65010,
          peers: [{ name: 'p', localAddress: 'fd00:10:0:2::2', localPort: 3 }],
        },
      ],
    },
    [],
  ],
  [
    'CiliumBGPNodeConfigOverride',
    { bgpInstances: [{ name: 'a', routerID: '0.0.0.0' }] },
    [`invalid ${at}.routerID`],
  ],
  [
    'CiliumBGPNodeConfigOverride',
    { bgpInstances: [{ name: 'a', routerID: 'fd00::1' }] },
    [`invalid ${at}.routerID`],
  ],
  [
    'CiliumBGPNodeConfigOverride',
    { bgpInstances: [{ name: 'a', peers: [{ name: 'p', localAddress: 'eth0' }] }] },
    [`invalid ${at}.peers[0].localAddress`],
  ],

  ['BGPPeerOptions', {}, []],
  [
    'BGPPeerOptions',
    {
      passive: true,
      bfd: { intervalMilliseconds: 300, multiplier: 3, strict: true },
      ttlSecurity: { hops: 1 },
      families: [
        {
          afi: 'ipv4',
          safi: 'unicast',
          addPath: { receive: true, send: 4 },
          maxPrefixes: { limit: 1000, warnAtPercent: 80, action: 'Reset', restartAfterSeconds: 60 },
          import: [{ prefix: '10.0.0.0/8', minLength: 24, maxLength: 26 }],
        },
      ],
    },
    [],
  ],
  [
    'BGPPeerOptions',
    { bfd: { intervalMilliseconds: 5 } },
    ['invalid spec.bfd.intervalMilliseconds'],
  ],
  ['BGPPeerOptions', { bfd: { multiplier: 0 } }, ['invalid spec.bfd.multiplier']],
  [
    'BGPPeerOptions',
    { bfd: { auth: { type: 'MD5', keyID: 1, secretRef: 's' } } },
    ['invalid spec.bfd.auth.type'],
  ],
  ['BGPPeerOptions', { ttlSecurity: { hops: 255 } }, ['invalid spec.ttlSecurity.hops']],
  [
    'BGPPeerOptions',
    { families: [{ afi: 'ipv4', safi: 'unicast', import: [{ prefix: 'fd00::/8' }] }] },
    ['invalid spec.families[0].import[0].prefix'],
  ],
  [
    'BGPPeerOptions',
    { families: [{ afi: 'ipv4', safi: 'unicast', import: [{ prefix: '10.0.0.1/8' }] }] },
    ['invalid spec.families[0].import[0].prefix'],
  ],
  [
    'BGPPeerOptions',
    {
      families: [
        { afi: 'ipv4', safi: 'unicast', import: [{ prefix: '10.0.0.0/8', maxLength: 7 }] },
      ],
    },
    ['invalid spec.families[0].import[0].maxLength'],
  ],
  [
    'BGPPeerOptions',
    { families: [{ afi: 'ipv4', safi: 'mpls_vpn' }] },
    ['unsupported spec.families[0]'],
  ],

  [
    'BGPClusterOptions',
    {
      bgpInstances: [
        {
          name: 'a',
          clusterID: '10.0.0.1',
          multipath: { ebgp: 4, ibgp: 4 },
          kernelRoutes: { mode: 'Prefixes', prefixes: ['10.0.0.0/8'], table: 100, metric: 20 },
          dynamicPeers: [{ name: 'd', prefix: '10.0.0.0/24', peerASNs: [65001], limit: 10 }],
          nodePeers: [{ name: 'n', addressFamily: 'ipv4' }],
          bmpStations: [{ name: 'b', address: '10.0.0.9', port: 11019 }],
        },
      ],
    },
    [],
  ],
  [
    'BGPClusterOptions',
    { bgpInstances: [{ name: 'a', kernelRoutes: { mode: 'Prefixes' } }] },
    [`invalid ${at}.kernelRoutes.prefixes`],
  ],
  [
    'BGPClusterOptions',
    { bgpInstances: [{ name: 'a', kernelRoutes: { mode: 'Everything' } }] },
    [`invalid ${at}.kernelRoutes.mode`],
  ],
  [
    'BGPClusterOptions',
    {
      bgpInstances: [
        { name: 'a', dynamicPeers: [{ name: 'd', prefix: '10.0.0.0/24', peerASNs: 'Any' }] },
      ],
    },
    [`invalid ${at}.dynamicPeers[0].limit`],
  ],
  [
    'BGPClusterOptions',
    {
      bgpInstances: [
        {
          name: 'a',
          dynamicPeers: [{ name: 'd', prefix: '10.0.0.0/24', peerASNs: 'All', limit: 1 }],
        },
      ],
    },
    [`invalid ${at}.dynamicPeers[0].peerASNs`],
  ],
  [
    'BGPClusterOptions',
    { bgpInstances: [{ name: 'a', bmpStations: [{ name: 'b', address: 'host', port: 0 }] }] },
    [`invalid ${at}.bmpStations[0].address`, `invalid ${at}.bmpStations[0].port`],
  ],
];

test('the kinds about BGP take what is right and name what is wrong', () => {
  for (const [kind, spec, expected] of tables) {
    assert.deepEqual(issues(kind, spec), expected, `${kind} ${JSON.stringify(spec)}`);
  }
});

test('a refusal names the field and its value', () => {
  const result = validateObject({
    where: 'here',
    value: object('CiliumBGPClusterConfig', peers({ name: 'p', peerAddress: 'tor1' })),
  });
  assert.ok(result.type === 'refused');
  assert.match(
    result.error.message,
    /CiliumBGPClusterConfig x: spec\.bgpInstances\[0\]\.peers\[0\]\.peerAddress must be a unicast IP address .*\(it is "tor1"\)/,
  );
});

test('v2alpha1 is taken and stored as v2', () => {
  const result = validateObject({
    where: 'here',
    value: object('CiliumBGPPeerConfig', {}, 'cilium.io/v2alpha1'),
  });
  assert.equal(result.type === 'valid' && result.object.apiVersion, 'cilium.io/v2');
});

test('secrets: plain text is stored in base64; no value stands in a refusal or in what is printed', () => {
  const [made] = validateAll(
    parseManifests(
      'apiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: kube-system}\nstringData: {password: "s3cr3t"}\ndata: {other: "eA=="}\n',
    ),
  );
  assert.ok(made?.kind === 'Secret');
  assert.equal('stringData' in made, false);
  assert.equal(secretValue(made, 'password'), 's3cr3t');
  assert.equal(secretValue(made, 'other'), 'x');
  assert.equal(secretValue(made, 'none'), undefined);
  assert.deepEqual(redacted(made).data, {
    password: '6 bytes, not shown',
    other: '1 bytes, not shown',
  });
  for (const part of [{ data: { password: 's3cr3t!' } }, { stringData: { password: 84848484 } }]) {
    const result = validateObject({
      where: 'here',
      value: { apiVersion: 'v1', kind: 'Secret', metadata: { name: 's' }, ...part },
    });
    assert.ok(result.type === 'refused');
    assert.doesNotMatch(JSON.stringify([result.error.message, result.error]), /s3cr3t|84848484/);
    assert.match(result.error.message, /(data|stringData)\.password/);
  }
});

test('every manifest on the page about BGP is taken', () => {
  const page = readFileSync(new URL('../../../examples/bgp/README.md', import.meta.url), 'utf8');
  const blocks = [...page.matchAll(/^```yaml\n(.*?)^```$/gms)].map(([, text]) => text!);
  assert.equal(blocks.length, 2);
  for (const text of blocks) assert.equal(validateAll(parseManifests(text)).length, 1);
});
