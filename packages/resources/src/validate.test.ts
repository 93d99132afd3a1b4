import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { describeKind, jsonSchemaOf } from './describe.ts';
import { ResourceError } from './errors.ts';
import { findKind, KIND_NAMES, KINDS } from './kinds.ts';
import { parseManifests } from './manifest.ts';
import { validateAll, validateObject } from './validate.ts';
import { warningsOf } from './warnings.ts';

/** `type path` of everything that is wrong with one object. */
function issues(value: Record<string, unknown>): string[] {
  const result = validateObject({ where: 'here', value });
  return result.type === 'valid'
    ? []
    : result.error.issues.map(({ type, path }) => `${type} ${path}`).sort();
}

const service = (spec: object, name = 'till') => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name },
  spec,
});
const cnp = (spec: object) => ({
  apiVersion: 'cilium.io/v2',
  kind: 'CiliumNetworkPolicy',
  metadata: { name: 'p' },
  spec,
});

test('the examples are taken as they are', () => {
  const root = new URL('../../../examples/', import.meta.url);
  const files = readdirSync(root, { recursive: true })
    .map(String)
    .filter((f) => f.endsWith('.yaml'));
  assert.ok(files.length > 3);
  for (const file of files) {
    const objects = validateAll(parseManifests(readFileSync(new URL(file, root), 'utf8')));
    assert.ok(objects.length > 0, file);
    assert.deepEqual(objects.flatMap(warningsOf), [], file);
  }
});

test('unknown fields of Kubernetes are kept; defaults are filled in', () => {
  const result = validateObject({
    where: 'here',
    value: {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'a', ownerReferences: [{ kind: 'X' }] },
      spec: {
        tolerations: [1],
        containers: [{ name: 'c', env: [], ports: [{ containerPort: 80 }] }],
      },
    },
  });
  assert.equal(result.type, 'valid');
  assert.deepEqual(result.type === 'valid' && result.object, {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'a', namespace: 'default', ownerReferences: [{ kind: 'X' }] },
    spec: {
      tolerations: [1],
      containers: [{ name: 'c', env: [], ports: [{ containerPort: 80, protocol: 'TCP' }] }],
    },
  });
});

test('what policies cannot enforce is refused by its path', () => {
  const endpointSelector = {};
  const cases: [object, string[]][] = [
    [
      { ingress: [{ toPorts: [{ rules: { http: [{}] } }] }] },
      ['unsupported spec.ingress[0].toPorts[0].rules'],
    ],
    [{ egress: [{ toFQDNs: [{ matchName: 'a.b' }] }] }, ['unsupported spec.egress[0].toFQDNs']],
    [{ egress: [{ toServices: [{}] }] }, ['unsupported spec.egress[0].toServices']],
    [{ ingress: [{ fromRequires: [{}] }] }, ['unsupported spec.ingress[0].fromRequires']],
    [
      { ingress: [{ fromEntities: ['all'], authentication: { mode: 'required' } }] },
      ['unsupported spec.ingress[0].authentication'],
    ],
    [{ ingress: [{ fromEndpoint: [{}] }] }, ['invalid spec.ingress[0].fromEndpoint']],
    [{ ingress: [{ fromEntities: ['everyone'] }] }, ['invalid spec.ingress[0].fromEntities[0]']],
    [
      { ingress: [{ toPorts: [{ ports: [{ port: '70000' }] }] }] },
      ['invalid spec.ingress[0].toPorts[0].ports[0].port'],
    ],
    [{ ingress: [{ fromEntities: ['all'], icmps: [{ fields: [{ type: 'EchoRequest' }] }] }] }, []],
    [{ ingress: [{}] }, []],
  ];
  for (const [spec, expected] of cases) {
    assert.deepEqual(issues(cnp({ endpointSelector, ...spec })), expected, JSON.stringify(spec));
  }
  assert.deepEqual(issues(cnp({ ingress: [{}] })), ['invalid spec.endpointSelector']);
});

test('a policy that is only unsupported has that code', () => {
  const result = validateObject({
    where: 'here',
    value: cnp({ endpointSelector: {}, egress: [{ toFQDNs: [{ matchName: 'a.b' }] }] }),
  });
  assert.ok(result.type === 'refused' && result.error.code === 'unsupported');
  assert.match(result.error.message, /CiliumNetworkPolicy p: spec\.egress\[0\]\.toFQDNs /);
});

test('NetworkPolicy shapes', () => {
  const policy = (spec: object) =>
    issues({
      apiVersion: 'networking.k8s.io/v1',
      kind: 'NetworkPolicy',
      metadata: { name: 'p' },
      spec,
    });
  assert.deepEqual(policy({ podSelector: {} }), []);
  assert.deepEqual(policy({ ingress: [{ ports: [{ port: 80, endPort: 70 }] }] }), [
    'invalid spec.ingress[0].ports[0].endPort',
  ]);
  assert.deepEqual(policy({ podSelectors: {} }), ['invalid spec.podSelectors']);
  assert.deepEqual(policy({ ingress: [{ from: [{ ipBlock: { cidr: '10.0.0.0/33' } }] }] }), [
    'invalid spec.ingress[0].from[0].ipBlock.cidr',
  ]);
  assert.deepEqual(policy({ podSelector: { matchExpressions: [{ key: 'a', operator: 'In' }] } }), [
    'invalid spec.podSelector.matchExpressions[0].values',
  ]);
});

test('Service rules', () => {
  const port = { port: 80 };
  const cases: [object, string[]][] = [
    [{ ports: [port] }, []],
    [{}, ['invalid spec.ports']],
    [{ clusterIP: 'None' }, []],
    [{ type: 'ExternalName', externalName: 'a.b' }, []],
    [{ type: 'ExternalName' }, ['invalid spec.externalName']],
    [{ ports: [port, { port: 81 }] }, ['invalid spec.ports[0].name', 'invalid spec.ports[1].name']],
    [
      {
        ports: [
          { name: 'a', port: 1 },
          { name: 'a', port: 2 },
        ],
      },
      ['invalid spec.ports[1].name'],
    ],
    [
      {
        ports: [
          { name: 'a', port: 1 },
          { name: 'b', port: 1 },
        ],
      },
      ['invalid spec.ports[1].port'],
    ],
    [
      {
        ports: [
          { name: 'a', port: 1 },
          { name: 'b', port: 1, protocol: 'UDP' },
        ],
      },
      [],
    ],
    [{ ports: [port], clusterIPs: ['10.0.0.1', '10.0.0.2'] }, ['invalid spec.clusterIPs[1]']],
    [
      { ports: [port], clusterIP: '10.0.0.1', ipFamilies: ['IPv6'] },
      ['invalid spec.ipFamilies[0]'],
    ],
    [{ ports: [port], clusterIP: 'nope' }, ['invalid spec.clusterIP']],
    [{ ports: [{ port: 80, targetPort: 'UPPER' }] }, ['invalid spec.ports[0].targetPort']],
    [{ ports: [port], selector: { 'a b': 'c' } }, ['invalid spec.selector["a b"]']],
    [
      { ports: [port], sessionAffinityConfig: { clientIP: {} } },
      ['invalid spec.sessionAffinityConfig'],
    ],
  ];
  for (const [spec, expected] of cases) {
    assert.deepEqual(issues(service(spec)), expected, JSON.stringify(spec));
  }
  assert.deepEqual(issues(service({ ports: [port] }, '1till')), ['invalid metadata.name']);
  assert.deepEqual(issues(service({ ports: [port] }, 'a'.repeat(64))), ['invalid metadata.name']);
});

test('kinds, versions and namespaces', () => {
  const value = { apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: 'a' } };
  const unknown = validateObject({ where: 'document 7', value });
  assert.ok(unknown.type === 'refused' && unknown.error.code === 'unknown-kind');
  assert.match(unknown.error.message, /document 7: "apps\/v1" "Deployment"/);
  assert.equal(
    validateObject({ where: 'h', value: { ...value, kind: 'constructor' } }).type,
    'refused',
  );
  const node = { apiVersion: 'v1', kind: 'Node', metadata: { name: 'n', namespace: 'x' } };
  assert.deepEqual(issues(node), ['invalid metadata.namespace']);
  const group = {
    apiVersion: 'cilium.io/v2alpha1',
    kind: 'CiliumCIDRGroup',
    metadata: { name: 'g' },
    spec: { externalCIDRs: ['10.0.0.0/8', 'fd00::/8'] },
  };
  const result = validateObject({ where: 'h', value: group });
  assert.equal(result.type === 'valid' && result.object.apiVersion, 'cilium.io/v2');
  for (const name of ['svc', 'Services', 'service', 'services.core']) {
    assert.equal(findKind(name)?.kind, 'Service', name);
  }
  assert.equal(findKind('nope'), undefined);
});

test('several refusals come together and nothing is half taken', () => {
  const text =
    'kind: X\n---\napiVersion: v1\nkind: Node\nmetadata: {name: "A"}\n---\napiVersion: v1\nkind: Node\nmetadata: {name: ok}\n';
  assert.throws(
    () => validateAll(parseManifests(text)),
    (e) =>
      e instanceof ResourceError && e.message.split('\n').length === 2 && e.issues.length === 2,
  );
});

test('every kind documents itself', () => {
  for (const kind of KIND_NAMES) {
    const doc = describeKind(kind);
    assert.ok(doc.description.length > 10, kind);
    assert.ok(doc.fields.some(({ path }) => path === 'metadata.name'));
    assert.equal((jsonSchemaOf(kind) as { type: string }).type, 'object');
  }
  const fields = describeKind('CiliumNetworkPolicy').fields;
  assert.match(
    fields.find(({ path }) => path === 'spec.egress[].toFQDNs')?.description ?? '',
    /not enforced/,
  );
});

test('property: no value crashes a kind, and what is taken is taken again unchanged', () => {
  const kinds = fc.constantFrom(...KIND_NAMES);
  fc.assert(
    fc.property(
      kinds,
      fc.jsonValue(),
      fc.jsonValue(),
      fc.jsonValue(),
      (name, metadata, spec, more) => {
        const { group, versions } = KINDS[name];
        const apiVersion = group === 'core' ? versions[0] : `${group}/${versions[0]}`;
        const value = { apiVersion, kind: name, metadata, spec, more };
        const once = validateObject({ where: 'h', value });
        if (once.type === 'refused') return;
        const again = validateObject({
          where: 'h',
          value: JSON.parse(JSON.stringify(once.object)),
        });
        assert.deepEqual(again.type === 'valid' && again.object, once.object);
      },
    ),
    { numRuns: 300 },
  );
});
