import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  cidrLabels,
  LabelSet,
  label,
  NumericIdentity,
  podLabels,
  reservedLabels,
} from '@causeway/identity';
import fc from 'fast-check';
import {
  type Direction,
  lookupVerdict,
  type NamedPort,
  type NodeView,
  nodeIdentityLabels,
  type PolicyDiff,
  PolicyEngine,
  type PolicyEntry,
  packL4,
} from '../index.ts';

/*
 * A second evaluator, written from the documents rather than from the compiler: it walks the
 * manifests for every question and knows nothing of identities' numbers, entries or port prefixes.
 */

interface NaivePod {
  readonly labels: LabelSet;
  readonly ports: readonly NamedPort[];
  /** For outside identities. */
  readonly cidr?: string;
}

interface Packet {
  readonly protocol: number;
  readonly port: number;
}

// biome-ignore lint/suspicious/noExplicitAny: manifests are JSON
type Manifest = any;

const NUMBER: Record<string, number> = { TCP: 6, UDP: 17, SCTP: 132 };

function naiveSelects(
  selector: Manifest,
  labels: LabelSet,
  defaultSource: string,
  prefix = '',
): boolean {
  const find = (key: string): string | undefined => {
    const [source, name] = key.includes(':') ? key.split(':') : [defaultSource, key];
    const found = labels.get(prefix + name);
    return found && (source === 'any' || source === found.source) ? found.value : undefined;
  };
  for (const [key, value] of Object.entries(selector.matchLabels ?? {})) {
    if (find(key) !== value) return false;
  }
  for (const { key, operator, values } of selector.matchExpressions ?? []) {
    const value = find(key);
    if (operator === 'In' && (value === undefined || !values.includes(value))) return false;
    if (operator === 'NotIn' && value !== undefined && values.includes(value)) return false;
    if (operator === 'Exists' && value === undefined) return false;
    if (operator === 'DoesNotExist' && value !== undefined) return false;
  }
  return true;
}

const keysOf = (selector: Manifest): string[] => [
  ...Object.keys(selector.matchLabels ?? {}),
  ...(selector.matchExpressions ?? []).map((each: Manifest) => each.key),
];
const NS = 'io.kubernetes.pod.namespace';
const NSL = 'io.cilium.k8s.namespace.labels.';
const CLUSTER = 'io.cilium.k8s.policy.cluster';
const plain = (key: string) => key.replace(/^[a-z0-9]+:/, '');
const nsOf = (pod: NaivePod) => pod.labels.get(NS)?.value;
const clusterOk = (pod: NaivePod, named: boolean) =>
  named || pod.labels.get(CLUSTER)?.value === 'c1';
const has = (pod: NaivePod, name: string) => pod.labels.get(name)?.source === 'reserved';

function inCidr(cidr: string, pod: NaivePod): boolean {
  if (pod.cidr === undefined) return false;
  const bits = (text: string): [string, number] => {
    const [address = '', length = ''] = text.split('/');
    if (!address.includes(':')) {
      const digits = address.split('.').map((each) => Number(each).toString(2).padStart(8, '0'));
      return [`4${digits.join('')}`, Number(length) + 1];
    }
    const [head = '', tail = ''] = address.split('::');
    const a = head ? head.split(':') : [];
    const b = tail ? tail.split(':') : [];
    const full = [...a, ...Array(8 - a.length - b.length).fill('0'), ...b];
    const digits = full.map((each) => Number.parseInt(each, 16).toString(2).padStart(16, '0'));
    return [`6${digits.join('')}`, Number(length) + 1];
  };
  const [outer, length] = bits(cidr);
  const [inner, innerLength] = bits(pod.cidr);
  return innerLength >= length && inner.startsWith(outer.slice(0, length));
}

function naiveEntity(name: string, pod: NaivePod): boolean {
  if (name === 'all') return true;
  if (name === 'world')
    return has(pod, 'world') || has(pod, 'world-ipv4') || has(pod, 'world-ipv6');
  if (name === 'cluster') {
    const inside = [
      'host',
      'remote-node',
      'init',
      'ingress',
      'health',
      'unmanaged',
      'kube-apiserver',
    ];
    return pod.labels.get(CLUSTER)?.value === 'c1' || inside.some((each) => has(pod, each));
  }
  return has(pod, name);
}

const portsMatch = (
  port: Manifest,
  packet: Packet,
  named: readonly NamedPort[],
  ports0: boolean,
): boolean => {
  const protocol = port.protocol ?? (ports0 ? 'ANY' : 'TCP');
  const numbers = protocol === 'ANY' ? [6, 17, 132] : [NUMBER[protocol]];
  if (!numbers.includes(packet.protocol)) return false;
  if (port.port === undefined || (ports0 && port.port === '0')) return true;
  if (/^[0-9]+$/.test(String(port.port))) {
    const first = Number(port.port);
    return packet.port >= first && packet.port <= (port.endPort ?? first);
  }
  return named.some(
    (each) =>
      each.name === port.port && each.port === packet.port && each.protocol === packet.protocol,
  );
};

interface Said {
  isolates: boolean;
  allows: boolean;
  denies: boolean;
}

function naivePolicy(
  m: Manifest,
  direction: Direction,
  subject: NaivePod,
  peer: NaivePod,
  packet: Packet,
): Said {
  const said: Said = { isolates: false, allows: false, denies: false };
  const ns = m.metadata.namespace;
  const named = direction === 'ingress' ? subject.ports : peer.ports;
  const side = direction === 'ingress' ? 'from' : 'to';
  if (m.kind === 'NetworkPolicy') {
    const { spec } = m;
    if (nsOf(subject) !== ns || !naiveSelects(spec.podSelector, subject.labels, 'k8s')) return said;
    const types: string[] =
      spec.policyTypes ?? (spec.egress?.length ? ['Ingress', 'Egress'] : ['Ingress']);
    if (!types.some((each) => each.toLowerCase() === direction)) return said;
    said.isolates = true;
    for (const rule of spec[direction] ?? []) {
      const peerOk =
        !rule[side]?.length ||
        rule[side].some((each: Manifest) => {
          if (each.ipBlock) {
            return (
              inCidr(each.ipBlock.cidr, peer) &&
              !(each.ipBlock.except ?? []).some((x: string) => inCidr(x, peer))
            );
          }
          if (nsOf(peer) === undefined) return false;
          const nsOk = each.namespaceSelector
            ? naiveSelects(each.namespaceSelector, peer.labels, 'k8s', NSL)
            : nsOf(peer) === ns;
          const podOk = !each.podSelector || naiveSelects(each.podSelector, peer.labels, 'k8s');
          return nsOk && podOk && clusterOk(peer, keysOf(each.podSelector ?? {}).includes(CLUSTER));
        });
      const portOk =
        !rule.ports?.length ||
        rule.ports.some((each: Manifest) => portsMatch(each, packet, named, false));
      if (peerOk && portOk) said.allows = true;
    }
    return said;
  }
  for (const spec of m.specs ?? [m.spec]) {
    if (ns !== undefined && nsOf(subject) !== ns) continue;
    if (!naiveSelects(spec.endpointSelector, subject.labels, 'any')) continue;
    const lists = [
      [direction, false],
      [`${direction}Deny`, true],
    ] as const;
    const rulesThere = lists.some(([list]) => spec[list]?.length > 0);
    if (spec.enableDefaultDeny?.[direction] ?? rulesThere) said.isolates = true;
    for (const [list, deny] of lists) {
      for (const rule of spec[list] ?? []) {
        const l3 = ['Endpoints', 'Entities', 'Nodes', 'CIDR', 'CIDRSet'].filter(
          (each) => rule[side + each] !== undefined,
        );
        const l4 = [...(rule.toPorts ?? []), ...(rule.icmps ?? [])];
        let peerOk = l3.length === 0 && l4.length > 0;
        for (const selector of rule[`${side}Endpoints`] ?? []) {
          const keys = keysOf(selector);
          const scoped = keys.some((each) => each.startsWith('reserved:'));
          const nsOk =
            scoped ||
            keys.some((each) => plain(each) === NS) ||
            (ns === undefined
              ? nsOf(peer) !== undefined
              : keys.some((each) => plain(each).startsWith(NSL)) || nsOf(peer) === ns);
          const ok =
            scoped ||
            clusterOk(
              peer,
              keys.some((each) => plain(each) === CLUSTER),
            );
          if (nsOk && ok && naiveSelects(selector, peer.labels, 'any')) peerOk = true;
        }
        for (const entity of rule[`${side}Entities`] ?? [])
          if (naiveEntity(entity, peer)) peerOk = true;
        for (const selector of rule[`${side}Nodes`] ?? []) {
          const named = keysOf(selector).some((each) => plain(each) === CLUSTER);
          if (has(peer, 'remote-node') && clusterOk(peer, named))
            if (naiveSelects(selector, peer.labels, 'any')) peerOk = true;
        }
        for (const cidr of rule[`${side}CIDR`] ?? []) if (inCidr(cidr, peer)) peerOk = true;
        for (const set of rule[`${side}CIDRSet`] ?? []) {
          if (
            inCidr(set.cidr, peer) &&
            !(set.except ?? []).some((each: string) => inCidr(each, peer))
          )
            peerOk = true;
        }
        const portOk =
          l4.length === 0 ||
          (rule.toPorts ?? []).some((each: Manifest) =>
            (each.ports ?? []).some((port: Manifest) => portsMatch(port, packet, named, true)),
          ) ||
          (rule.icmps ?? []).some((each: Manifest) =>
            each.fields.some(
              (field: Manifest) =>
                (field.family === 'IPv6' ? 58 : 1) === packet.protocol &&
                field.type === packet.port,
            ),
          );
        if (peerOk && portOk) said[deny ? 'denies' : 'allows'] = true;
      }
    }
  }
  return said;
}

function naiveVerdict(
  manifests: readonly Manifest[],
  direction: Direction,
  subject: NaivePod,
  peer: NaivePod,
  packet: Packet,
) {
  const judge = (audited: boolean) => {
    const all = manifests
      .filter((m) => audited || m.metadata.annotations?.['policy.causeway.io/audit'] !== 'true')
      .map((m) => naivePolicy(m, direction, subject, peer, packet));
    if (all.some((each) => each.denies)) return 'deny';
    if (direction === 'ingress' && has(peer, 'host')) return 'allow';
    if (all.some((each) => each.allows)) return 'allow';
    return all.some((each) => each.isolates) ? 'deny' : 'allow';
  };
  const real = judge(false);
  return real === 'allow' && judge(true) === 'deny' ? 'audit' : real;
}

// Random worlds

const value = fc.constantFrom('a', 'b', 'c');
const namespace = fc.constantFrom('n1', 'n2');
const podLabel = fc.record({ app: value, role: value }, { requiredKeys: [] });
const pod = fc
  .record({ ns: namespace, labels: podLabel, cluster: fc.constantFrom('c1', 'c1', 'c2') })
  .map(({ ns, labels, cluster }) =>
    podLabels({
      cluster,
      namespace: ns,
      labels,
      namespaceLabels: { team: ns === 'n1' ? 'red' : 'blue' },
    }),
  );
const namedPorts = fc.constantFrom<readonly NamedPort[]>(
  [],
  [{ name: 'web', port: 80, protocol: 6 }],
  [
    { name: 'web', port: 8080, protocol: 6 },
    { name: 'dns', port: 53, protocol: 17 },
  ],
);
const cidr = fc.constantFrom(
  '10.0.0.0/8',
  '10.1.0.0/16',
  '10.1.2.0/24',
  '192.0.2.0/24',
  'fd00::/16',
  'fd00:1::/32',
);
const key = fc.constantFrom('app', 'role', 'k8s:app', 'any:role');
const expression = (keys: fc.Arbitrary<string>) =>
  fc.oneof(
    fc.record({
      key: keys,
      operator: fc.constantFrom('In', 'NotIn'),
      values: fc.array(value, { minLength: 1, maxLength: 2 }),
    }),
    fc.record({ key: keys, operator: fc.constantFrom('Exists', 'DoesNotExist') }),
  );
const selector = (keys: fc.Arbitrary<string>) =>
  fc.oneof(
    fc.constant({}),
    fc.record({ matchLabels: fc.dictionary(keys, value, { maxKeys: 2 }) }),
    fc.record({ matchExpressions: fc.array(expression(keys), { maxLength: 2 }) }),
  );
const k8sKey = fc.constantFrom('app', 'role');
const peerSelector = fc.oneof(
  { weight: 4, arbitrary: selector(key) },
  { weight: 1, arbitrary: namespace.map((ns) => ({ matchLabels: { [`k8s:${NS}`]: ns } })) },
  {
    weight: 1,
    arbitrary: fc
      .constantFrom('red', 'blue')
      .map((team) => ({ matchLabels: { [`${NSL}team`]: team } })),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom<Manifest>(
      { matchLabels: { 'reserved:host': '' } },
      { matchLabels: { [CLUSTER]: 'c2' } },
      { matchExpressions: [{ key: CLUSTER, operator: 'Exists' }] },
    ),
  },
);
const port = fc.oneof(
  fc.record({ port: fc.constantFrom('0', '80', '53', 'web', 'dns') }),
  fc.record({
    port: fc.constantFrom('80', '53', 'web', '0'),
    protocol: fc.constantFrom('TCP', 'UDP', 'ANY'),
  }),
  fc
    .tuple(fc.integer({ min: 1, max: 120 }), fc.integer({ min: 0, max: 9000 }))
    .map(([first, more]) => ({ port: String(first), endPort: first + more, protocol: 'TCP' })),
);
const l4 = fc.oneof(
  { weight: 2, arbitrary: fc.constant({}) },
  {
    weight: 4,
    arbitrary: fc.record({
      toPorts: fc.array(fc.record({ ports: fc.array(port, { maxLength: 2 }) }), {
        minLength: 1,
        maxLength: 2,
      }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      icmps: fc.array(
        fc.record({
          fields: fc.array(
            fc.record({
              family: fc.constantFrom('IPv4', 'IPv6'),
              type: fc.constantFrom(0, 8, 128),
            }),
            { minLength: 1, maxLength: 2 },
          ),
        }),
        { minLength: 1, maxLength: 1 },
      ),
    }),
  },
);
const exceptOf = (outer: string) =>
  ['10.1.0.0/16', '10.1.2.0/24', 'fd00:1::/32'].filter((each) =>
    inCidr(outer, { cidr: each } as NaivePod),
  );
const cidrSet = cidr.chain((outer) =>
  fc.subarray(exceptOf(outer)).map((except) => ({ cidr: outer, except })),
);
const nodeSelector = fc.oneof(
  { weight: 3, arbitrary: selector(fc.constantFrom('app', 'role', 'node:app', 'k8s:role')) },
  { weight: 1, arbitrary: fc.constant({ matchLabels: { [CLUSTER]: 'c2' } }) },
);
const l3 = (side: string) =>
  fc.oneof(
    { weight: 1, arbitrary: fc.constant({}) },
    {
      weight: 4,
      arbitrary: fc
        .array(peerSelector, { maxLength: 2 })
        .map((list) => ({ [`${side}Endpoints`]: list })),
    },
    {
      weight: 2,
      arbitrary: fc
        .array(
          fc.constantFrom(
            'all',
            'world',
            'world-ipv4',
            'cluster',
            'host',
            'remote-node',
            'kube-apiserver',
            'none',
            'health',
          ),
          { minLength: 1, maxLength: 2 },
        )
        .map((list) => ({ [`${side}Entities`]: list })),
    },
    {
      weight: 2,
      arbitrary: fc
        .array(nodeSelector, { maxLength: 2 })
        .map((list) => ({ [`${side}Nodes`]: list })),
    },
    {
      weight: 2,
      arbitrary: fc
        .array(fc.oneof(cidr, fc.constantFrom('0.0.0.0/0', '::/0')), { minLength: 1, maxLength: 2 })
        .map((list) => ({ [`${side}CIDR`]: list })),
    },
    {
      weight: 2,
      arbitrary: fc
        .array(cidrSet, { minLength: 1, maxLength: 2 })
        .map((list) => ({ [`${side}CIDRSet`]: list })),
    },
  );
const rule = (side: string) => fc.tuple(l3(side), l4).map(([a, b]) => ({ ...a, ...b }));
const rules = (side: string) => fc.array(rule(side), { minLength: 1, maxLength: 2 });
const spec = fc
  .tuple(
    selector(key),
    fc.record(
      {
        ingress: rules('from'),
        egress: rules('to'),
        ingressDeny: rules('from'),
        egressDeny: rules('to'),
      },
      { requiredKeys: [] },
    ),
    fc.option(fc.record({ ingress: fc.boolean(), egress: fc.boolean() }, { requiredKeys: [] }), {
      nil: undefined,
    }),
  )
  .map(([endpointSelector, lists, enableDefaultDeny]) => ({
    endpointSelector,
    ...(Object.keys(lists).length > 0 ? lists : { ingress: [{}] }),
    ...(enableDefaultDeny ? { enableDefaultDeny } : {}),
  }));
const k8sPeer = fc.oneof(
  fc.record({ podSelector: selector(k8sKey) }),
  fc.record({
    namespaceSelector: fc.constantFrom(
      {},
      { matchLabels: { team: 'red' } },
      { matchExpressions: [{ key: 'team', operator: 'NotIn', values: ['red'] }] },
    ),
  }),
  fc.record({
    podSelector: selector(k8sKey),
    namespaceSelector: fc.constantFrom({}, { matchLabels: { team: 'blue' } }),
  }),
  cidrSet.map((ipBlock) => ({ ipBlock })),
);
const k8sPort = fc.oneof(
  fc.constantFrom<Manifest>(
    {},
    { protocol: 'UDP' },
    { port: 80 },
    { port: 'web' },
    { port: 53, protocol: 'UDP' },
    { port: 1000, endPort: 8888 },
  ),
);
const k8sRules = (side: string) =>
  fc.array(
    fc.record(
      { [side]: fc.array(k8sPeer, { maxLength: 2 }), ports: fc.array(k8sPort, { maxLength: 2 }) },
      { requiredKeys: [] },
    ),
    { maxLength: 2 },
  );
const networkPolicy = fc
  .record(
    {
      podSelector: selector(k8sKey),
      policyTypes: fc.subarray(['Ingress', 'Egress'], { minLength: 1 }),
      ingress: k8sRules('from'),
      egress: k8sRules('to'),
    },
    { requiredKeys: ['podSelector'] },
  )
  .map((spec) => ({ apiVersion: 'networking.k8s.io/v1', kind: 'NetworkPolicy', spec }));
const ciliumPolicy = fc
  .tuple(
    fc.constantFrom('CiliumNetworkPolicy', 'CiliumClusterwideNetworkPolicy'),
    fc.array(spec, { minLength: 1, maxLength: 2 }),
  )
  .map(([kind, specs]) => ({
    apiVersion: 'cilium.io/v2',
    kind,
    ...(specs.length === 1 ? { spec: specs[0] } : { specs }),
  }));
const policy = fc
  .tuple(
    fc.oneof(networkPolicy, ciliumPolicy),
    namespace,
    fc.constantFrom('p1', 'p2', 'p3', 'p4'),
    fc.constantFrom(false, false, true),
  )
  .map(([m, ns, name, audit]) => ({
    ...m,
    metadata: {
      name,
      ...(m.kind === 'CiliumClusterwideNetworkPolicy' ? {} : { namespace: ns }),
      ...(audit ? { annotations: { 'policy.causeway.io/audit': 'true' } } : {}),
    },
  }));

const outsideWorld = [
  ...[1, 3, 4, 6, 7, 9, 10].map((id) => ({ id, labels: reservedLabels(NumericIdentity(id))! })),
  ...['10.0.0.0/8', '10.1.0.0/16', '10.1.2.0/24', '192.0.2.0/24', 'fd00::/16', 'fd00:1::/32'].map(
    (text, i) => ({ id: (1 << 24) + i, labels: cidrLabels(text, true), cidr: text }),
  ),
];
const naiveCidr = (id: number, text?: string) =>
  text ?? (id === 9 ? '0.0.0.0/0' : id === 10 ? '::/0' : undefined);
const packet = fc.oneof(
  fc.record({
    protocol: fc.constantFrom(6, 17, 132),
    port: fc.constantFrom(0, 1, 53, 79, 80, 81, 1000, 8080, 8888, 8889, 65535),
  }),
  fc.record({ protocol: fc.constantFrom(1, 58), port: fc.constantFrom(0, 8, 128) }),
  fc.constant({ protocol: 47, port: 0 }),
);
const people = fc.array(fc.record({ labels: pod, ports: namedPorts }), {
  minLength: 1,
  maxLength: 4,
});

const nodes = fc.array(
  fc.record({ cluster: fc.constantFrom('c1', 'c1', 'c2'), labels: podLabel }),
  { maxLength: 3 },
);
const REMOTE_NODE = reservedLabels(NumericIdentity(6))!;

/** As the documents have it: with every label of its Node. */
const wholeNode = ({ cluster, labels }: NodeView) =>
  LabelSet.of([
    ...Object.entries(labels).map(([key, value]) => label('node', key, value)),
    label('k8s', CLUSTER, cluster),
    ...REMOTE_NODE,
  ]);

const newEngine = () => new PolicyEngine({ cluster: 'c1', families: ['ipv4', 'ipv6'] });
const refOf = (m: Manifest) => ({
  kind: m.kind,
  namespace: m.metadata.namespace,
  name: m.metadata.name,
});

interface World {
  readonly manifests: readonly Manifest[];
  readonly people: readonly { readonly labels: LabelSet; readonly ports: readonly NamedPort[] }[];
}

/** Identities by labels, endpoints by position, as an agent would have them. */
function fill(engine: PolicyEngine, world: World): void {
  for (const { id, labels } of outsideWorld) engine.setIdentity(id, labels);
  world.people.forEach(({ labels, ports }, i) => {
    engine.setIdentity(idOf(world, i), labels);
    engine.setEndpoint({
      id: i + 1,
      identity: idOf(world, i),
      labels,
      namedPorts: ports,
      audit: false,
    });
  });
  for (const m of world.manifests) {
    const parsed = engine.apply(m);
    assert.ok(parsed.ok, JSON.stringify(!parsed.ok && parsed.refusals));
  }
}

const idOf = (world: World, i: number) =>
  1000 + world.people.findIndex((each) => each.labels.equals(world.people[i]!.labels));
const lastOfEach = (manifests: readonly Manifest[]) => [
  ...new Map(manifests.map((m) => [JSON.stringify(refOf(m)), m])).values(),
];

test('compiled entries agree with an evaluator that walks the manifests', () => {
  const seen = new Set<string>();
  fc.assert(
    fc.property(
      fc.array(policy, { maxLength: 5 }),
      people,
      nodes,
      fc.array(packet, { minLength: 4, maxLength: 8 }),
      (given, people, nodes, packets) => {
        const world = { manifests: lastOfEach(given), people };
        const engine = newEngine();
        fill(engine, world);
        const peers = [
          ...people.map(({ labels }, i) => ({
            id: idOf(world, i),
            labels,
            ports: people
              .filter((each) => each.labels.equals(labels))
              .flatMap((each) => each.ports),
          })),
          ...outsideWorld.map((each) => ({ ...each, ports: [] })),
          // By what rules ask for, where the other evaluator sees all that the Node says.
          ...nodes.map((node) => {
            const { nodeKeys } = engine;
            const labels = nodeKeys && nodeIdentityLabels(node, REMOTE_NODE, nodeKeys);
            const id = labels === undefined ? 6 : (2 << 24) + nodes.indexOf(node);
            if (labels !== undefined) engine.setIdentity(id, labels);
            return { id, labels: wholeNode(node), ports: [] };
          }),
        ];
        people.forEach((subject, i) => {
          const { set } = engine.endpoints.get(i + 1)!;
          for (const peer of peers) {
            const naivePeer: NaivePod = { labels: peer.labels, ports: peer.ports };
            const cidrText = naiveCidr(peer.id, 'cidr' in peer ? (peer.cidr as string) : undefined);
            const other = cidrText === undefined ? naivePeer : { ...naivePeer, cidr: cidrText };
            for (const each of packets) {
              for (const direction of ['ingress', 'egress'] as const) {
                const found = lookupVerdict(set, direction, peer.id, each.protocol, each.port);
                const expected = naiveVerdict(world.manifests, direction, subject, other, each);
                assert.equal(
                  found.type,
                  expected,
                  `${direction} of ${subject.labels.text} with ${peer.labels.text} ${JSON.stringify(each)}`,
                );
                seen.add(`${found.type} by ${found.ruleId === undefined ? 'default' : 'rule'}`);
                // What is named as the reason must exist and be of the right kind.
                if (found.ruleId !== undefined) {
                  const row = engine.rule(found.ruleId)!;
                  assert.equal(row.deny, found.type !== 'allow');
                  assert.equal(row.audit, found.type === 'audit');
                }
              }
            }
          }
        });
      },
    ),
    { numRuns: 150 },
  );
  assert.equal(
    seen.size,
    6,
    `every kind of verdict occurs, of which only ${[...seen].join(', ')} did`,
  );
});

/** A kernel that does what diffs say. */
class Maps {
  readonly entries = new Map<string, string>();
  readonly infos = new Map<number, string>();
  readonly endpoints = new Map<number, string>();
  writes = 0;

  apply(diff: PolicyDiff): void {
    for (const { policyId, upserts, deletes, info, type } of [...diff.sets, ...diff.removedSets]) {
      for (const entry of upserts) {
        const text = `${entry.flags}`;
        assert.notEqual(
          this.entries.get(keyText(policyId, entry)),
          `${text} ${entry.ruleId}`,
          'a write that changes nothing',
        );
        this.entries.set(keyText(policyId, entry), `${text} ${entry.ruleId}`);
      }
      for (const entry of deletes) {
        assert.ok(this.entries.delete(keyText(policyId, entry)), 'deletes only what is there');
      }
      this.writes += upserts.length + deletes.length;
      if (type === 'removed') this.infos.delete(policyId);
      else this.infos.set(policyId, JSON.stringify({ ...info, revision: 0 }));
    }
    for (const { endpointId, policyId, ingress, egress } of diff.endpoints) {
      this.endpoints.set(endpointId, `${policyId} ${ingress} ${egress}`);
    }
  }
}

const keyText = (
  policyId: number,
  { identity, direction, protocol, prefixLength, port }: Omit<PolicyEntry, 'flags' | 'ruleId'>,
) => `${policyId} ${identity} ${direction} ${protocol} ${prefixLength} ${port}`;

const operation = fc.oneof(
  { weight: 4, arbitrary: policy.map((m) => ({ type: 'apply' as const, m })) },
  { weight: 2, arbitrary: policy.map((m) => ({ type: 'delete' as const, m })) },
  {
    weight: 3,
    arbitrary: fc.record({
      type: fc.constant('identity' as const),
      id: fc.integer({ min: 2000, max: 2004 }),
      labels: pod,
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      type: fc.constant('forget' as const),
      id: fc.integer({ min: 2000, max: 2004 }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      type: fc.constant('endpoint' as const),
      id: fc.integer({ min: 1, max: 3 }),
      identity: fc.integer({ min: 2000, max: 2004 }),
      labels: pod,
      ports: namedPorts,
      audit: fc.boolean(),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      type: fc.constant('leave' as const),
      id: fc.integer({ min: 1, max: 3 }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      type: fc.constant('ports' as const),
      id: fc.integer({ min: 2000, max: 2004 }),
      ports: namedPorts,
    }),
  },
  { weight: 2, arbitrary: fc.constant({ type: 'flush' as const }) },
);

test('after any operations the maps are those of an engine that started with the result', () => {
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 40 }), (operations) => {
      const engine = newEngine();
      const maps = new Maps();
      const policies = new Map<string, Manifest>();
      const identities = new Map<number, LabelSet>();
      const endpoints = new Map<number, Parameters<PolicyEngine['setEndpoint']>[0]>();
      const ports = new Map<number, readonly NamedPort[]>();
      for (const op of operations) {
        switch (op.type) {
          case 'apply':
            policies.set(JSON.stringify(refOf(op.m)), op.m);
            engine.apply(op.m);
            break;
          case 'delete':
            policies.delete(JSON.stringify(refOf(op.m)));
            engine.deletePolicy(refOf(op.m));
            break;
          case 'identity':
            identities.set(op.id, op.labels);
            engine.setIdentity(op.id, op.labels);
            break;
          case 'forget':
            identities.delete(op.id);
            engine.deleteIdentity(op.id);
            break;
          case 'endpoint': {
            const endpoint = {
              id: op.id,
              identity: op.identity,
              labels: op.labels,
              namedPorts: op.ports,
              audit: op.audit,
            };
            endpoints.set(op.id, endpoint);
            engine.setEndpoint(endpoint);
            break;
          }
          case 'leave':
            endpoints.delete(op.id);
            engine.deleteEndpoint(op.id);
            maps.endpoints.delete(op.id);
            break;
          case 'ports':
            ports.set(op.id, op.ports);
            engine.setPeerPorts(`remote ${op.id}`, op.id, op.ports);
            break;
          case 'flush':
            maps.apply(engine.flush());
            break;
          default:
            op satisfies never;
        }
      }
      maps.apply(engine.flush());
      const quiet = engine.flush();
      assert.deepEqual(
        [quiet.sets, quiet.endpoints, quiet.removedSets, quiet.rules.added, quiet.rules.removed],
        [[], [], [], [], []],
      );

      const fresh = new PolicyEngine({
        cluster: 'c1',
        families: ['ipv4', 'ipv6'],
        policyIds: engine.policyIds(),
      });
      const expected = new Maps();
      for (const [id, given] of ports) fresh.setPeerPorts(`remote ${id}`, id, given);
      for (const endpoint of endpoints.values()) fresh.setEndpoint(endpoint);
      for (const m of policies.values()) fresh.apply(m);
      for (const [id, labels] of identities) fresh.setIdentity(id, labels);
      expected.apply(fresh.flush());
      assert.deepEqual(sorted(maps.entries), sorted(expected.entries));
      assert.deepEqual(sorted(maps.infos), sorted(expected.infos));
      assert.deepEqual(sorted(maps.endpoints), sorted(expected.endpoints));
      assert.deepEqual(sorted(engine.prefixes), sorted(fresh.prefixes));
      assert.deepEqual(engine.nodeKeys, fresh.nodeKeys);
    }),
    { numRuns: 200 },
  );
});

const sorted = <K, V>(map: ReadonlyMap<K, V>) =>
  [...map].sort(([a], [b]) => (String(a) < String(b) ? -1 : 1));

test('what nothing selects costs no write, wherever it comes and goes', () => {
  fc.assert(
    fc.property(fc.array(policy, { maxLength: 5 }), people, (given, people) => {
      const engine = newEngine();
      fill(engine, { manifests: lastOfEach(given), people });
      engine.flush();
      const before = [...engine.sets()].map((set) => set.size);
      // Another source and key than any selector of the generator names; negative ones need a namespace.
      engine.setIdentity(9999, LabelSet.of([label('container', 'unrelated', 'x')]));
      const writes = engine.flush().sets;
      const touched = writes.flatMap((each) => each.upserts);
      // Only rules of purely negative conditions, without namespace or cluster, may select it.
      for (const entry of touched) assert.equal(entry.identity, 9999);
      engine.deleteIdentity(9999);
      engine.flush();
      assert.deepEqual(
        [...engine.sets()].map((set) => set.size),
        before,
      );
      engine.setIdentity(9998, reservedLabels(NumericIdentity(5))!);
      engine.deleteIdentity(9998);
      assert.deepEqual(engine.flush().sets, []);
    }),
    { numRuns: 100 },
  );
});

test('the packed key holds each part', () => {
  assert.equal(
    new Set([
      packL4(0, 6, 16, 80),
      packL4(1, 6, 16, 80),
      packL4(0, 17, 16, 80),
      packL4(0, 6, 15, 80),
      packL4(0, 6, 16, 81),
    ]).size,
    5,
  );
});
