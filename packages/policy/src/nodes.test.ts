/* Policies for nodes (Cilium's host firewall): who is bound by them, and what they say. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { LABEL_SOURCES, LabelSet, label, podLabels, RESERVED } from '@causeway/identity';
import { PolicyEngine } from '../index.ts';

const NODE = 65_536;
const POD = 1;
const LEDGER = 70_001;
const CLI = 70_002;
const OTHER_NODE = 70_003;

const nodeLabels = (labels: Record<string, string>) =>
  LabelSet.of([
    label(LABEL_SOURCES.reserved, 'host'),
    ...Object.entries(labels).map(([key, value]) => label(LABEL_SOURCES.k8s, key, value)),
  ]);
const shop = (app: string, ...more: string[]) =>
  LabelSet.of([
    ...podLabels({ cluster: 'c1', namespace: 'shop', labels: { app } }),
    ...more.map((key) => label(LABEL_SOURCES.reserved, key)),
  ]);

const WORKER = nodeLabels({ 'node-role.kubernetes.io/worker': '', type: 'ingress-worker' });

const forNodes = (spec: object, name = 'host-fw', annotations = {}) => ({
  apiVersion: 'cilium.io/v2',
  kind: 'CiliumClusterwideNetworkPolicy',
  metadata: { name, annotations },
  spec,
});

/** What a host firewall is mostly made of. */
const FIREWALL = forNodes({
  description: 'workers: ssh and the kubelet from the cluster, health of nodes, pings',
  nodeSelector: { matchLabels: { type: 'ingress-worker' } },
  ingress: [
    { fromEntities: ['remote-node', 'health'] },
    { fromEntities: ['cluster'], toPorts: [{ ports: [{ port: '22', protocol: 'TCP' }] }] },
    { fromCIDRSet: [{ cidr: '203.0.113.0/24' }], toPorts: [{ ports: [{ port: '443' }] }] },
    { icmps: [{ fields: [{ type: 'EchoRequest', family: 'IPv4' }] }] },
  ],
  ingressDeny: [{ fromEntities: ['all'], toPorts: [{ ports: [{ port: '10255' }] }] }],
  egressDeny: [
    { toEndpoints: [{ matchLabels: { app: 'cli' } }], toPorts: [{ ports: [{ port: '25' }] }] },
  ],
  enableDefaultDeny: { egress: false },
});

function world({ audit = false, labels = WORKER }: { audit?: boolean; labels?: LabelSet } = {}) {
  const engine = new PolicyEngine({ cluster: 'c1', families: ['ipv4', 'ipv6'] });
  engine.setIdentity(LEDGER, shop('ledger', 'remote-node'));
  engine.setIdentity(CLI, shop('cli'));
  engine.setIdentity(OTHER_NODE, shop('mail', 'remote-node'));
  const set = (nodeLabels: LabelSet) =>
    engine.setEndpoint({
      id: NODE,
      identity: LEDGER,
      labels: shop('ledger', 'remote-node'),
      nodeLabels,
      namedPorts: [],
      audit,
    });
  set(labels);
  engine.setEndpoint({
    id: POD,
    identity: LEDGER,
    labels: shop('ledger', 'remote-node'),
    namedPorts: [],
    audit: false,
  });
  const apply = (manifest: unknown) => {
    const parsed = engine.apply(manifest);
    assert.ok(parsed.ok, JSON.stringify(parsed));
    engine.flush();
  };
  const ask = (from: object, to: object, port: number, protocol = 'TCP') =>
    engine.trace({ from, to, port, protocol } as never);
  const into = (identity: number, port: number, protocol?: string) =>
    ask({ identity }, { endpoint: NODE }, port, protocol).verdict;
  return { engine, set, apply, ask, into };
}

describe('policies for nodes', () => {
  test('a host firewall: entities, CIDRs, ICMP, deny and directions that stay open', () => {
    const { apply, into, ask } = world();
    apply(FIREWALL);
    assert.equal(into(RESERVED['remote-node'], 4240), 'allow');
    assert.equal(into(OTHER_NODE, 4240), 'allow', 'a node that is an endpoint is a remote node');
    assert.equal(into(RESERVED['kube-apiserver'], 4240), 'allow');
    assert.equal(into(CLI, 4240), 'deny');
    assert.equal(into(CLI, 22), 'allow');
    assert.equal(into(RESERVED['world-ipv4'], 22), 'deny');
    assert.equal(into(RESERVED['world-ipv4'], 8, 'ICMP'), 'allow');
    assert.equal(into(OTHER_NODE, 10_255), 'deny');
    assert.equal(ask({ cidr: '203.0.113.7' }, { endpoint: NODE }, 443).verdict, 'deny');
    assert.equal(ask({ endpoint: NODE }, { identity: CLI }, 25).egress.verdict, 'deny');
    assert.equal(ask({ endpoint: NODE }, { identity: CLI }, 26).egress.verdict, 'allow');
  });

  test('they bind nodes by the labels of their Node, and no pod, whatever its labels', () => {
    const { engine, apply, ask, set, into } = world();
    apply(FIREWALL);
    assert.equal(ask({ identity: CLI }, { endpoint: POD }, 4240).verdict, 'allow');
    assert.deepEqual([...engine.nodePolicies({ labels: shop('x'), nodeLabels: WORKER })].length, 1);
    set(nodeLabels({ type: 'other' }));
    engine.flush();
    assert.equal(into(CLI, 4240), 'allow', 'its Node is labelled otherwise now');
    assert.deepEqual([...engine.nodePolicies()], ['CiliumClusterwideNetworkPolicy host-fw']);
    assert.deepEqual([...engine.nodePolicies({ labels: shop('x') })], []);
    apply(forNodes({ nodeSelector: {}, ingress: [{ fromEntities: ['none'] }] }, 'all-nodes'));
    assert.equal(into(CLI, 4240), 'deny', 'an empty selector is for every node');
    assert.equal(ask({ identity: CLI }, { endpoint: POD }, 4240).verdict, 'allow');
    engine.deletePolicy({ kind: 'CiliumClusterwideNetworkPolicy', name: 'all-nodes' });
    engine.flush();
    assert.equal(into(CLI, 4240), 'allow');
  });

  test('an endpointSelector is for the node by its own labels, and both kinds hold together', () => {
    const { apply, into } = world();
    const rule = { toPorts: [{ ports: [{ port: '80' }] }] };
    apply({
      apiVersion: 'cilium.io/v2',
      kind: 'CiliumClusterwideNetworkPolicy',
      metadata: { name: 'both' },
      specs: [
        { endpointSelector: { matchLabels: { app: 'ledger' } }, ingress: [rule] },
        { nodeSelector: { matchLabels: { 'reserved:host': '' } }, ingressDeny: [{ ...rule }] },
      ],
    });
    assert.equal(into(CLI, 80), 'deny');
    assert.equal(into(CLI, 81), 'deny');
  });

  test('on trial, by the node or by the policy: told, and nothing dropped', () => {
    const onNode = world({ audit: true });
    onNode.apply(FIREWALL);
    assert.equal(onNode.into(CLI, 4240), 'audit');
    const onPolicy = world();
    onPolicy.apply({
      ...FIREWALL,
      metadata: { name: 'host-fw', annotations: { 'policy.causeway.io/audit': 'true' } },
    });
    assert.equal(onPolicy.into(CLI, 4240), 'audit');
  });

  test('what-if: the node is touched, its twin by identity is not; the policy is named as one for nodes', () => {
    const { engine } = world();
    const { pairs, forNodes: named } = engine.whatIf({ manifests: [FIREWALL] });
    assert.deepEqual(named, ['CiliumClusterwideNetworkPolicy host-fw']);
    const touched = new Set(pairs.flatMap(({ from, to }) => [...from.endpoints, ...to.endpoints]));
    assert.ok(pairs.length > 0 && touched.has(NODE));
    for (const { to, from } of pairs.filter(({ to }) => to.endpoints.includes(POD)))
      assert.deepEqual(
        from.endpoints,
        [NODE],
        `only what the node sends it changes, to ${to.text}`,
      );
  });

  test('another node, by the labels of its Node', () => {
    const { engine, apply } = world();
    apply(FIREWALL);
    const to = { identity: OTHER_NODE, nodeLabels: WORKER };
    const query = { protocol: 'TCP', port: 4240 } as const;
    assert.equal(engine.trace({ from: { identity: CLI }, to, ...query }).verdict, 'deny');
    const plain = { identity: OTHER_NODE };
    assert.equal(engine.trace({ from: { identity: CLI }, to: plain, ...query }).verdict, 'allow');
  });
});
