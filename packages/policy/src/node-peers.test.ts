/* Nodes as peers: fromNodes and toNodes. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LabelSet, label, podLabels, RESERVED } from '@causeway/identity';
import { type NodeView, nodeIdentityLabels, PolicyEngine } from '../index.ts';

const CONTROL = 'node-role.kubernetes.io/control-plane';
const PROD = podLabels({ cluster: 'c1', namespace: 'shop', labels: { env: 'prod' } });
const FIRST = 0x0200_0000;

/** The example of Cilium's documentation. */
const FROM_CONTROL_PLANE = {
  apiVersion: 'cilium.io/v2',
  kind: 'CiliumNetworkPolicy',
  metadata: { name: 'to-prod-from-control-plane-nodes', namespace: 'shop' },
  spec: {
    endpointSelector: { matchLabels: { env: 'prod' } },
    ingress: [{ fromNodes: [{ matchLabels: { [CONTROL]: '' } }] }],
  },
};

const node = (labels: Record<string, string>, cluster = 'c1'): NodeView => ({ cluster, labels });
const NODES: Record<string, NodeView> = {
  control: node({ [CONTROL]: '', 'kubernetes.io/hostname': 'a' }),
  worker: node({ 'kubernetes.io/hostname': 'b' }),
  other: node({ 'kubernetes.io/hostname': 'c' }),
  strange: node({ [CONTROL]: '' }, 'c2'),
};

function world(settings: Partial<ConstructorParameters<typeof PolicyEngine>[0]> = {}) {
  const engine = new PolicyEngine({ cluster: 'c1', families: ['ipv4', 'ipv6'], ...settings });
  engine.setIdentity(70_000, PROD);
  engine.setEndpoint({ id: 1, identity: 70_000, labels: PROD, namedPorts: [], audit: false });
  const ids = new Map<string, number>();
  /** What an agent does: gives every node the identity of its labels. */
  const number = (): Record<string, number> =>
    Object.fromEntries(
      Object.entries(NODES).map(([name, view]) => {
        if (engine.nodeKeys === undefined) return [name, RESERVED['remote-node']];
        const base = engine.identities.get(RESERVED['remote-node'])!.labels;
        const labels = nodeIdentityLabels(view, base, engine.nodeKeys);
        const id = ids.get(labels.text) ?? FIRST + ids.size + 1;
        ids.set(labels.text, id);
        engine.setIdentity(id, labels);
        return [name, id];
      }),
    );
  const verdict = (identity: number) =>
    engine.trace({ from: { identity }, to: { endpoint: 1 }, protocol: 'TCP', port: 80 }).verdict;
  return { engine, number, verdict };
}

test('only those whose Node has the label, and no more identities than kinds', () => {
  const { engine, number, verdict } = world();
  assert.equal(engine.nodeKeys, undefined);
  assert.equal(number().control, RESERVED['remote-node']);
  const parsed = engine.apply(FROM_CONTROL_PLANE);
  assert.ok(parsed.ok, JSON.stringify(parsed));
  const ids = number();
  assert.equal(verdict(ids.control!), 'allow');
  assert.equal(verdict(ids.worker!), 'deny');
  assert.equal(verdict(ids.strange!), 'deny', 'a node of another cluster that nobody named');
  assert.equal(verdict(RESERVED.host), 'allow', 'the node reaches its own pods');
  assert.equal(ids.worker, ids.other, 'no rule asks for host names');
  assert.equal(new Set(Object.values(ids)).size, 3);
  const answer = engine.trace({
    from: { identity: ids.worker! },
    to: { endpoint: 1 },
    protocol: 'TCP',
    port: 80,
  });
  assert.match(answer.ingress.text, new RegExp(`${CONTROL} must be .*, is not there`));
  engine.deletePolicy({
    kind: 'CiliumNetworkPolicy',
    namespace: 'shop',
    name: FROM_CONTROL_PLANE.metadata.name,
  });
  assert.equal(engine.nodeKeys, undefined);
});

test('entities mean them as before, and a pod is no node whatever its labels', () => {
  const { engine, number, verdict } = world();
  const byHost = { fromNodes: [{ matchLabels: { 'node:kubernetes.io/hostname': 'b' } }] };
  engine.apply({ ...FROM_CONTROL_PLANE, spec: { ...FROM_CONTROL_PLANE.spec, ingress: [byHost] } });
  assert.equal(new Set(Object.values(number())).size, 4);
  assert.equal(verdict(number().worker!), 'allow');
  const pod = podLabels({
    cluster: 'c1',
    namespace: 'shop',
    labels: { 'kubernetes.io/hostname': 'b' },
  });
  engine.setIdentity(70_001, pod);
  assert.equal(verdict(70_001), 'deny');
  const entity = { ...FROM_CONTROL_PLANE.spec, ingress: [{ fromEntities: ['remote-node'] }] };
  engine.apply({ ...FROM_CONTROL_PLANE, metadata: { name: 'e', namespace: 'shop' }, spec: entity });
  for (const id of Object.values(number())) assert.equal(verdict(id), 'allow');
});

test('other clusters by name, all of them where settings say so, and nobody takes on a label of the base', () => {
  const west = { fromNodes: [{ matchLabels: { 'io.cilium.k8s.policy.cluster': 'c2' } }] };
  const { engine, number, verdict } = world();
  engine.apply({ ...FROM_CONTROL_PLANE, spec: { ...FROM_CONTROL_PLANE.spec, ingress: [west] } });
  assert.equal(verdict(number().strange!), 'allow');
  assert.equal(verdict(number().control!), 'deny');
  const any = world({ defaultCluster: 'any' });
  any.engine.apply(FROM_CONTROL_PLANE);
  assert.equal(any.verdict(any.number().strange!), 'allow');
  const liar = node({ 'io.cilium.k8s.policy.cluster': 'c1', 'remote-node': 'x', a: 'x;y' }, 'c2');
  const keys = new Set(['io.cilium.k8s.policy.cluster', 'remote-node', 'a']);
  const base = LabelSet.of([label('reserved', 'remote-node')]);
  assert.equal(
    nodeIdentityLabels(liar, base, keys).text,
    'k8s:io.cilium.k8s.policy.cluster=c2;reserved:remote-node=;',
  );
});

test('what-if tells apart nodes that no rule in force does', () => {
  const { engine } = world({
    nodes: () => Object.values(NODES).map((each) => ({ node: each, base: 6 })),
  });
  const { pairs } = engine.whatIf({ manifests: [FROM_CONTROL_PLANE] });
  const closed = pairs.map(({ from }) => from.text);
  const ours = (text: string) => text.includes('remote-node') && text.includes('cluster=c1');
  assert.ok(
    closed.some((text) => ours(text) && !text.includes(CONTROL)),
    closed.join(' | '),
  );
  assert.ok(!closed.some((text) => ours(text) && text.includes(CONTROL)), closed.join(' | '));
});
