import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseCidrGroup, parsePolicy, type RefusalCode } from '../../index.ts';

const settings = { cluster: 'c1', defaultCluster: 'local' } as const;
type Json = Record<string, unknown>;

const cnp = (spec: unknown, metadata: Json = {}) => ({
  apiVersion: 'cilium.io/v2',
  kind: 'CiliumNetworkPolicy',
  metadata: { name: 'p', namespace: 'shop', ...metadata },
  spec,
});
const knp = (spec: unknown) => ({
  apiVersion: 'networking.k8s.io/v1',
  kind: 'NetworkPolicy',
  metadata: { name: 'p', namespace: 'shop' },
  spec,
});
const ingress = (...rules: unknown[]) => cnp({ endpointSelector: {}, ingress: rules });
const egress = (...rules: unknown[]) => cnp({ endpointSelector: {}, egress: rules });
const ports = (...list: unknown[]) => ingress({ toPorts: [{ ports: list }] });

const refused: readonly [what: string, object: unknown, code: RefusalCode, path: string][] = [
  ['nothing', undefined, 'invalid', 'object'],
  ['a list', [], 'invalid', 'object'],
  ['another kind', { ...knp({}), kind: 'Pod' }, 'invalid', 'kind'],
  ['another version', { ...knp({}), apiVersion: 'v1' }, 'invalid', 'apiVersion'],
  ['no name', { ...knp({}), metadata: {} }, 'invalid', 'metadata.name'],
  [
    'an unsure audit',
    cnp(
      { endpointSelector: {}, ingress: [{}] },
      { annotations: { 'policy.causeway.io/audit': 'yes' } },
    ),
    'invalid',
    'metadata.annotations[policy.causeway.io/audit]',
  ],
  ['no spec', cnp(undefined), 'invalid', 'spec'],
  ['no selector', cnp({ ingress: [{}] }), 'invalid', 'spec.endpointSelector'],
  ['no rules', cnp({ endpointSelector: {} }), 'no-rules', 'spec'],
  [
    'only empty lists',
    cnp({ endpointSelector: {}, ingress: [], egressDeny: [] }),
    'no-rules',
    'spec',
  ],
  [
    'nodes in a namespace',
    cnp({ nodeSelector: {}, ingress: [{}] }),
    'invalid',
    'spec.nodeSelector',
  ],
  [
    'nodes beside endpoints',
    {
      ...cnp({ nodeSelector: {}, endpointSelector: {}, ingress: [{}] }),
      kind: 'CiliumClusterwideNetworkPolicy',
      metadata: { name: 'p' },
    },
    'conflict',
    'spec.nodeSelector',
  ],
  [
    'an unknown field',
    cnp({ endpointSelector: {}, ingress: [{}], tier: 1 }),
    'unknown-field',
    'spec.tier',
  ],
  ['an unknown peer', ingress({ fromMoon: [] }), 'unknown-field', 'spec.ingress[0].fromMoon'],
  ['to in ingress', ingress({ toEndpoints: [{}] }), 'unknown-field', 'spec.ingress[0].toEndpoints'],
  [
    'another namespace',
    cnp({
      endpointSelector: { matchLabels: { 'k8s:io.kubernetes.pod.namespace': 'x' } },
      ingress: [{}],
    }),
    'conflict',
    'spec.endpointSelector',
  ],
  [
    'a CIDR label',
    ingress({ fromEndpoints: [{ matchLabels: { 'cidr:10.0.0.0/8': '' } }] }),
    'unsupported',
    'spec.ingress[0].fromEndpoints[0]',
  ],
  [
    'a bad operator',
    ingress({
      fromEndpoints: [{ matchExpressions: [{ key: 'a', operator: 'Like', values: ['b'] }] }],
    }),
    'invalid',
    'spec.ingress[0].fromEndpoints[0]',
  ],
  [
    'In without values',
    ingress({ fromEndpoints: [{ matchExpressions: [{ key: 'a', operator: 'In' }] }] }),
    'invalid',
    'spec.ingress[0].fromEndpoints[0]',
  ],
  [
    'a number as label',
    ingress({ fromEndpoints: [{ matchLabels: { a: 1 } }] }),
    'invalid',
    'spec.ingress[0].fromEndpoints[0].matchLabels[a]',
  ],
  ['no selector of nodes', ingress({ fromNodes: [3] }), 'invalid', 'spec.ingress[0].fromNodes[0]'],
  [
    'nodes beside endpoints',
    ingress({ fromNodes: [{}], fromEndpoints: [{}] }),
    'conflict',
    'spec.ingress[0]',
  ],
  [
    'services',
    egress({ toServices: [{ k8sService: {} }] }),
    'unsupported',
    'spec.egress[0].toServices',
  ],
  ['DNS names', egress({ toFQDNs: [{ matchName: 'x' }] }), 'unsupported', 'spec.egress[0].toFQDNs'],
  ['cloud groups', egress({ toGroups: [{ aws: {} }] }), 'unsupported', 'spec.egress[0].toGroups'],
  ['requires', ingress({ fromRequires: [{}] }), 'unsupported', 'spec.ingress[0].fromRequires'],
  [
    'authentication',
    ingress({ fromEndpoints: [{}], authentication: { mode: 'required' } }),
    'unsupported',
    'spec.ingress[0].authentication',
  ],
  [
    'HTTP',
    ingress({ toPorts: [{ ports: [{ port: '80' }], rules: { http: [{ path: '/' }] } }] }),
    'unsupported',
    'spec.ingress[0].toPorts[0].rules',
  ],
  [
    'an empty HTTP list',
    ingress({ toPorts: [{ ports: [{ port: '80' }], rules: { http: [] } }] }),
    'unsupported',
    'spec.ingress[0].toPorts[0].rules',
  ],
  [
    'server names',
    egress({ toPorts: [{ ports: [{ port: '443' }], serverNames: ['x'] }] }),
    'unsupported',
    'spec.egress[0].toPorts[0].serverNames',
  ],
  [
    'two kinds of peers',
    ingress({ fromCIDR: ['10.0.0.0/8'], fromEntities: ['world'] }),
    'conflict',
    'spec.ingress[0]',
  ],
  [
    'an unknown entity',
    ingress({ fromEntities: ['moon'] }),
    'invalid',
    'spec.ingress[0].fromEntities[0]',
  ],
  ['a bad CIDR', ingress({ fromCIDR: ['10.0.0.0/33'] }), 'invalid', 'spec.ingress[0].fromCIDR[0]'],
  [
    'an address in a set',
    ingress({ fromCIDRSet: [{ cidr: '10.0.0.1' }] }),
    'invalid',
    'spec.ingress[0].fromCIDRSet[0].cidr',
  ],
  [
    'except outside',
    ingress({ fromCIDRSet: [{ cidr: '10.0.0.0/8', except: ['11.0.0.0/16'] }] }),
    'invalid',
    'spec.ingress[0].fromCIDRSet[0].except[0]',
  ],
  [
    'except of the other family',
    ingress({ fromCIDRSet: [{ cidr: '0.0.0.0/0', except: ['fd00::/8'] }] }),
    'invalid',
    'spec.ingress[0].fromCIDRSet[0].except[0]',
  ],
  [
    'cidr and group',
    ingress({ fromCIDRSet: [{ cidr: '10.0.0.0/8', cidrGroupRef: 'g' }] }),
    'conflict',
    'spec.ingress[0].fromCIDRSet[0]',
  ],
  ['no way in a set', ingress({ fromCIDRSet: [{}] }), 'invalid', 'spec.ingress[0].fromCIDRSet[0]'],
  [
    'port and ICMP',
    ingress({ toPorts: [{ ports: [{ port: '1' }] }], icmps: [{ fields: [{ type: 8 }] }] }),
    'conflict',
    'spec.ingress[0].icmps',
  ],
  ['port 65536', ports({ port: '65536' }), 'invalid', 'spec.ingress[0].toPorts[0].ports[0].port'],
  ['a numeric port', ports({ port: 80 }), 'invalid', 'spec.ingress[0].toPorts[0].ports[0].port'],
  ['no port', ports({ protocol: 'TCP' }), 'invalid', 'spec.ingress[0].toPorts[0].ports[0].port'],
  [
    'a range downwards',
    ports({ port: '80', endPort: 79 }),
    'invalid',
    'spec.ingress[0].toPorts[0].ports[0].endPort',
  ],
  [
    'a range of names',
    ports({ port: 'web', endPort: 90 }),
    'conflict',
    'spec.ingress[0].toPorts[0].ports[0].endPort',
  ],
  [
    'a range from 0',
    ports({ port: '0', endPort: 90 }),
    'conflict',
    'spec.ingress[0].toPorts[0].ports[0].endPort',
  ],
  [
    'ICMP as protocol',
    ports({ port: '8', protocol: 'ICMP' }),
    'invalid',
    'spec.ingress[0].toPorts[0].ports[0].protocol',
  ],
  [
    'VRRP',
    ports({ port: '0', protocol: 'VRRP' }),
    'unsupported',
    'spec.ingress[0].toPorts[0].ports[0].protocol',
  ],
  [
    '41 ports',
    ports(...Array.from({ length: 41 }, (_, i) => ({ port: String(i + 1) }))),
    'too-large',
    'spec.ingress[0].toPorts[0].ports',
  ],
  [
    'an ICMPv6 name for IPv4',
    ingress({ icmps: [{ fields: [{ type: 'PacketTooBig' }] }] }),
    'invalid',
    'spec.ingress[0].icmps[0].fields[0].type',
  ],
  [
    'ICMP type 256',
    ingress({ icmps: [{ fields: [{ type: 256 }] }] }),
    'invalid',
    'spec.ingress[0].icmps[0].fields[0].type',
  ],
  [
    'a default deny of words',
    cnp({ endpointSelector: {}, ingress: [{}], enableDefaultDeny: { ingress: 'no' } }),
    'invalid',
    'spec.enableDefaultDeny.ingress',
  ],
  [
    'an empty Kubernetes peer',
    knp({ podSelector: {}, ingress: [{ from: [{}] }] }),
    'invalid',
    'spec.ingress[0].from[0]',
  ],
  [
    'a block beside a selector',
    knp({
      podSelector: {},
      ingress: [{ from: [{ ipBlock: { cidr: '10.0.0.0/8' }, podSelector: {} }] }],
    }),
    'conflict',
    'spec.ingress[0].from[0].ipBlock',
  ],
  [
    'a colon in a Kubernetes key',
    knp({ podSelector: { matchLabels: { 'reserved:host': '' } } }),
    'invalid',
    'spec.podSelector',
  ],
  [
    'endPort alone',
    knp({ podSelector: {}, ingress: [{ ports: [{ endPort: 90 }] }] }),
    'invalid',
    'spec.ingress[0].ports[0].endPort',
  ],
  [
    'Kubernetes port 0',
    knp({ podSelector: {}, ingress: [{ ports: [{ port: 0 }] }] }),
    'invalid',
    'spec.ingress[0].ports[0].port',
  ],
  [
    'a string of digits',
    knp({ podSelector: {}, ingress: [{ ports: [{ port: '80' }] }] }),
    'invalid',
    'spec.ingress[0].ports[0].port',
  ],
  [
    'another policy type',
    knp({ podSelector: {}, policyTypes: ['Sideways'] }),
    'invalid',
    'spec.policyTypes[0]',
  ],
];

for (const [what, object, code, path] of refused) {
  test(`refused with code and path: ${what}`, () => {
    const parsed = parsePolicy(object, settings);
    assert.ok(!parsed.ok);
    const found = parsed.refusals.find((each) => each.code === code && each.path === path);
    assert.ok(found, JSON.stringify(parsed.refusals));
    assert.match(found.message, /\w+ .+/);
  });
}

test('a key __proto__ is a condition like any other, never a lost one', () => {
  const object = JSON.parse(
    '{"apiVersion":"cilium.io/v2","kind":"CiliumNetworkPolicy","metadata":{"name":"p","namespace":"shop"},"spec":{"endpointSelector":{"matchLabels":{"__proto__":"x"}},"ingress":[{}]}}',
  );
  const parsed = parsePolicy(object, settings);
  assert.ok(parsed.ok);
  assert.equal(parsed.value.sections[0]?.subject.selector.requirements.length, 2);
});

test('every refusal of a manifest is named at once', () => {
  const parsed = parsePolicy(
    egress({ toFQDNs: [{}], toPorts: [{ ports: [{ port: '-1' }], rules: { dns: [{}] } }] }),
    settings,
  );
  assert.ok(!parsed.ok);
  assert.equal(parsed.refusals.length, 3);
});

test('harmless extras are taken: descriptions, logging, status, unset fields', () => {
  const parsed = parsePolicy(
    {
      ...cnp({
        endpointSelector: { matchLabels: null },
        description: 'x',
        labels: [],
        log: { value: 'x' },
        ingress: [
          {
            fromEndpoints: [{}],
            toRequires: null,
            fromRequires: [],
            authentication: { mode: 'disabled' },
            toPorts: [{ ports: [{ port: '80', endPort: 0 }], rules: {} }],
          },
        ],
      }),
      status: {},
    },
    settings,
  );
  assert.ok(parsed.ok, JSON.stringify(parsed));
});

test('CIDR groups: addresses become host prefixes, repeated ones count once', () => {
  const group = {
    apiVersion: 'cilium.io/v2',
    kind: 'CiliumCIDRGroup',
    metadata: { name: 'g', labels: { team: 'x' } },
  };
  const parsed = parseCidrGroup({
    ...group,
    spec: { externalCIDRs: ['10.0.0.1', '10.0.0.1/32', 'fd00::/8'] },
  });
  assert.deepEqual(parsed, {
    ok: true,
    value: { name: 'g', labels: { team: 'x' }, prefixes: ['10.0.0.1/32', 'fd00::/8'] },
  });
  for (const spec of [undefined, {}, { externalCIDRs: 'x' }, { externalCIDRs: ['x'] }]) {
    assert.equal(parseCidrGroup({ ...group, spec }).ok, false);
  }
  assert.equal(parseCidrGroup(null).ok, false);
});

test('any JSON gives a policy or refusals, never an exception', () => {
  const inner = fc.letrec((tie) => ({
    any: fc.oneof(
      { depthSize: 'small' },
      fc.constantFrom(null, '', '80', 'a', 0, -1, 1.5, true),
      fc.array(tie('any'), { maxLength: 3 }),
      tie('object'),
    ),
    object: fc.dictionary(
      fc.constantFrom(
        'endpointSelector',
        'matchLabels',
        'matchExpressions',
        'ingress',
        'egress',
        'ingressDeny',
        'fromEndpoints',
        'fromCIDRSet',
        'toPorts',
        'ports',
        'port',
        'endPort',
        'protocol',
        'rules',
        'icmps',
        'fields',
        'type',
        'podSelector',
        'from',
        'ipBlock',
        'cidr',
        'except',
        'key',
        'operator',
        'values',
        '__proto__',
      ),
      tie('any'),
      { maxKeys: 4 },
    ),
  })).object;
  fc.assert(
    fc.property(fc.constantFrom(cnp, knp), inner, fc.anything(), (wrap, spec, anything) => {
      for (const object of [wrap(spec), anything, { ...wrap(spec), metadata: anything }]) {
        const parsed = parsePolicy(object, settings);
        if (!parsed.ok) assert.ok(parsed.refusals.length > 0);
      }
    }),
    { numRuns: 500 },
  );
});
