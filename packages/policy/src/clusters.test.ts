/* Policies over clusters: `io.cilium.k8s.policy.cluster` wherever a selector may stand, under both defaults. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { podLabels } from '@causeway/identity';
import { parse } from 'yaml';
import { PolicyEngine, type PolicySettings } from '../index.ts';

const CLUSTER = 'io.cilium.k8s.policy.cluster';

const pod = (cluster: string, name: string, namespace = 'default') =>
  podLabels({ cluster, namespace, labels: { name }, namespaceLabels: { team: 'red' } });

/** Numbers as the clusters give them: each from its own range. */
const CAST = {
  wingHere: { id: 0x1_0001, labels: pod('c1', 'x-wing') },
  wingThere: { id: 0x2_0001, labels: pod('c2', 'x-wing') },
  wingFar: { id: 0x3_0001, labels: pod('c3', 'x-wing') },
  tieThere: { id: 0x2_0002, labels: pod('c2', 'tie-fighter') },
  baseHere: { id: 0x1_0002, labels: pod('c1', 'rebel-base') },
  baseThere: { id: 0x2_0003, labels: pod('c2', 'rebel-base') },
} as const;
type Name = keyof typeof CAST;
const NAMES = Object.keys(CAST) as Name[];

type DefaultCluster = PolicySettings['defaultCluster'];
/** The endpoint of a cluster that the policies are enforced on. */
const ENDPOINT = 1;

function engineOf(
  cluster: string,
  endpoint: Name,
  manifests: readonly unknown[],
  setting: DefaultCluster,
) {
  const engine = new PolicyEngine({ cluster, families: ['ipv4', 'ipv6'], defaultCluster: setting });
  for (const { id, labels } of Object.values(CAST)) engine.setIdentity(id, labels);
  const { id, labels } = CAST[endpoint];
  engine.setEndpoint({ id: ENDPOINT, identity: id, labels, namedPorts: [], audit: false });
  for (const manifest of manifests) {
    const parsed = engine.apply(manifest);
    assert.ok(parsed.ok, JSON.stringify(parsed));
  }
  engine.flush();
  return engine;
}

function passing(
  direction: 'ingress' | 'egress',
  manifests: readonly unknown[],
  setting: DefaultCluster,
): Name[] {
  const engine = engineOf('c1', 'baseHere', manifests, setting);
  return NAMES.filter((name) => {
    if (name === 'baseHere') return false;
    const peer = { identity: CAST[name].id };
    const own = { endpoint: ENDPOINT };
    const answer = engine.trace({
      from: direction === 'ingress' ? peer : own,
      to: direction === 'ingress' ? own : peer,
      protocol: 'TCP',
      port: 80,
    });
    return answer[direction]?.verdict === 'allow';
  });
}

const base = { matchLabels: { name: 'rebel-base' } };
const cilium = (kind: string, spec: object) => ({
  apiVersion: 'cilium.io/v2',
  kind,
  metadata: kind === 'CiliumNetworkPolicy' ? { name: 'p', namespace: 'default' } : { name: 'p' },
  spec: { endpointSelector: base, ...spec },
});
const kubernetes = (spec: object) => ({
  apiVersion: 'networking.k8s.io/v1',
  kind: 'NetworkPolicy',
  metadata: { name: 'p', namespace: 'default' },
  spec: { podSelector: base, ...spec },
});

type Selector = { readonly matchLabels?: object; readonly matchExpressions?: readonly object[] };
interface Place {
  readonly what: string;
  readonly direction: 'ingress' | 'egress';
  /** Denies instead: everybody else passes. */
  readonly denies?: boolean;
  readonly policies: (peer: Selector) => readonly unknown[];
}

const allowAll = { fromEndpoints: [{ matchExpressions: [{ key: CLUSTER, operator: 'Exists' }] }] };
const PLACES: readonly Place[] = [
  ...['CiliumNetworkPolicy', 'CiliumClusterwideNetworkPolicy'].flatMap((kind): Place[] => [
    {
      what: `${kind} fromEndpoints`,
      direction: 'ingress',
      policies: (peer) => [cilium(kind, { ingress: [{ fromEndpoints: [peer] }] })],
    },
    {
      what: `${kind} toEndpoints`,
      direction: 'egress',
      policies: (peer) => [cilium(kind, { egress: [{ toEndpoints: [peer] }] })],
    },
    {
      what: `${kind} ingressDeny`,
      direction: 'ingress',
      denies: true,
      policies: (peer) => [
        cilium(kind, { ingress: [allowAll], ingressDeny: [{ fromEndpoints: [peer] }] }),
      ],
    },
    {
      what: `${kind} egressDeny`,
      direction: 'egress',
      denies: true,
      policies: (peer) => [
        cilium(kind, {
          egress: [{ toEndpoints: allowAll.fromEndpoints }],
          egressDeny: [{ toEndpoints: [peer] }],
        }),
      ],
    },
  ]),
  {
    what: 'NetworkPolicy ingress podSelector',
    direction: 'ingress',
    policies: (peer) => [kubernetes({ ingress: [{ from: [{ podSelector: peer }] }] })],
  },
  {
    what: 'NetworkPolicy egress podSelector beside a namespaceSelector',
    direction: 'egress',
    policies: (peer) => [
      kubernetes({
        policyTypes: ['Egress'],
        egress: [
          { to: [{ podSelector: peer, namespaceSelector: { matchLabels: { team: 'red' } } }] },
        ],
      }),
    ],
  },
];

const wings = (...expressions: object[]): Selector => ({
  matchLabels: { name: 'x-wing' },
  matchExpressions: expressions,
});

for (const { what, direction, denies = false, policies } of PLACES) {
  describe(what, () => {
    const selected = (peer: Selector, setting: DefaultCluster) => {
      const pass = passing(direction, policies(peer), setting);
      return denies ? NAMES.filter((each) => each !== 'baseHere' && !pass.includes(each)) : pass;
    };
    for (const setting of ['local', 'any'] as const) {
      test(`a cluster that is named is the one that is meant, with default ${setting}`, () => {
        const named = { matchLabels: { name: 'x-wing', [CLUSTER]: 'c2' } };
        assert.deepEqual(selected(named, setting), ['wingThere']);
        const others = { key: CLUSTER, operator: 'NotIn', values: ['c1'] };
        assert.deepEqual(selected(wings(others), setting), ['wingThere', 'wingFar']);
        const some = { key: CLUSTER, operator: 'In', values: ['c1', 'c3'] };
        assert.deepEqual(selected(wings(some), setting), ['wingHere', 'wingFar']);
        const any = { key: CLUSTER, operator: 'Exists' };
        assert.deepEqual(selected(wings(any), setting), ['wingHere', 'wingThere', 'wingFar']);
      });
    }
    test('one that is not named is the own cluster by default, and every cluster by the setting', () => {
      assert.deepEqual(selected(wings(), 'local'), ['wingHere']);
      assert.deepEqual(selected(wings(), 'any'), ['wingHere', 'wingThere', 'wingFar']);
    });
  });
}

test("a policy about another cluster's pods selects nobody here: policies are not copied", () => {
  const closed = cilium('CiliumNetworkPolicy', {
    endpointSelector: { matchLabels: { name: 'rebel-base', [CLUSTER]: 'c2' } },
    ingress: [{}],
  });
  assert.deepEqual(passing('ingress', [closed], 'local').length, NAMES.length - 1);
});

test('clusters come and go with their identities, and a number that is gone is nobody', () => {
  const policy = cilium('CiliumNetworkPolicy', {
    ingress: [{ fromEndpoints: [{ matchLabels: { name: 'x-wing', [CLUSTER]: 'c2' } }] }],
  });
  const engine = engineOf('c1', 'baseHere', [policy], 'local');
  const ask = () =>
    engine.trace({
      from: { identity: CAST.wingThere.id },
      to: { endpoint: ENDPOINT },
      protocol: 'TCP',
      port: 80,
    }).ingress?.verdict;
  assert.equal(ask(), 'allow');
  engine.deleteIdentity(CAST.wingThere.id);
  engine.flush();
  assert.throws(ask, { code: 'unknown-party' });
  engine.setIdentity(CAST.wingThere.id, CAST.wingThere.labels);
  engine.flush();
  assert.equal(ask(), 'allow');
});

describe('the example: x-wing of cluster1 and rebel-base of cluster2', () => {
  const example = (file: string): unknown =>
    parse(
      readFileSync(new URL(`../../../examples/rebel-base/${file}.yaml`, import.meta.url), 'utf8'),
    );
  const people = (cluster: string, name: string, id: number) => ({
    id,
    labels: podLabels({ cluster, namespace: 'default', labels: { name } }),
  });
  const wing1 = people('cluster1', 'x-wing', 0x1_0001);
  const base1 = people('cluster1', 'rebel-base', 0x1_0002);
  const wing2 = people('cluster2', 'x-wing', 0x2_0001);
  const base2 = people('cluster2', 'rebel-base', 0x2_0002);
  const everybody = [wing1, base1, wing2, base2];
  const world = (cluster: string, own: typeof wing1, file: string) => {
    const engine = new PolicyEngine({ cluster, families: ['ipv4', 'ipv6'] });
    for (const { id, labels } of everybody) engine.setIdentity(id, labels);
    engine.setEndpoint({
      id: ENDPOINT,
      identity: own.id,
      labels: own.labels,
      namedPorts: [],
      audit: false,
    });
    assert.ok(engine.apply(example(file)).ok);
    engine.flush();
    return engine;
  };
  const tcp = { protocol: 'TCP', port: 80 } as const;

  test('in cluster1 x-wing gets out to the rebel base of cluster2 and to nobody else', () => {
    const engine = world('cluster1', wing1, 'allow-cross-cluster');
    const to = ({ id }: typeof wing1) =>
      engine.trace({ from: { endpoint: ENDPOINT }, to: { identity: id }, ...tcp }).egress;
    assert.equal(to(base2)?.verdict, 'allow');
    for (const other of [base1, wing2]) assert.notEqual(to(other)?.verdict, 'allow');
    assert.match(to(base1)?.text ?? '', /policy\.cluster must be cluster2, is cluster1/);
  });

  test('in cluster2 x-wing of cluster1 gets in, and that of cluster2 does not', () => {
    const engine = world('cluster2', base2, 'only-x-wing');
    const from = ({ id }: typeof wing1) =>
      engine.trace({ from: { identity: id }, to: { endpoint: ENDPOINT }, ...tcp }).ingress;
    assert.equal(from(wing1)?.verdict, 'allow');
    for (const other of [wing2, base1]) assert.notEqual(from(other)?.verdict, 'allow');
    assert.match(from(wing2)?.text ?? '', /policy\.cluster must be cluster1, is cluster2/);
  });
});
