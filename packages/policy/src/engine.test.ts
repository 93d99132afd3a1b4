import assert from 'node:assert/strict';
import { test } from 'node:test';
import { podLabels } from '@causeway/identity';
import {
  type EndpointPolicy,
  lookupVerdict,
  type NamedPort,
  PolicyEngine,
  type PolicySettings,
} from '../index.ts';

const pod = (labels: Record<string, string>, namespace = 'shop') =>
  podLabels({ cluster: 'c1', namespace, labels });
const DB = pod({ app: 'db' });
const policy = (name: string, spec: Record<string, unknown>, annotations = {}) => ({
  apiVersion: 'cilium.io/v2',
  kind: 'CiliumNetworkPolicy',
  metadata: { name, namespace: 'shop', annotations },
  spec: { endpointSelector: { matchLabels: { app: 'db' } }, ...spec },
});
const allow = (role: string, port = '80') => ({
  fromEndpoints: [{ matchLabels: { role } }],
  toPorts: [{ ports: [{ port, protocol: 'TCP' }] }],
});

function engineWith(manifests: readonly unknown[], settings: Partial<PolicySettings> = {}) {
  const engine = new PolicyEngine({ cluster: 'c1', families: ['ipv4', 'ipv6'], ...settings });
  engine.setIdentity(1000, DB);
  engine.setIdentity(1001, pod({ role: 'employee' }));
  engine.setIdentity(1002, pod({ role: 'guest' }));
  engine.setEndpoint(endpoint(1));
  for (const manifest of manifests) assert.ok(engine.apply(manifest).ok);
  return engine;
}

const endpoint = (id: number, namedPorts: readonly NamedPort[] = []) => ({
  id,
  identity: 1000,
  labels: DB,
  namedPorts,
  audit: false,
});

test('one identity is one write; the revision stays, since nothing that passed is closed', () => {
  const engine = engineWith([policy('p', { ingress: [allow('employee')] })]);
  const before = engine.flush().endpoints[0] as EndpointPolicy;
  engine.setIdentity(1003, pod({ role: 'employee', app: 'new' }));
  const diff = engine.flush();
  assert.equal(diff.sets.length, 1);
  assert.deepEqual(
    diff.sets[0]?.upserts.map((each) => each.identity),
    [1003],
  );
  assert.deepEqual(diff.sets[0]?.info?.revision, before.revision);
  assert.deepEqual([diff.endpoints, diff.sets[0]?.deletes], [[], []]);
});

test('what closes anything moves the revision: a deny, a lost allow, default deny', () => {
  const engine = engineWith([policy('p', { ingress: [allow('employee')] })]);
  let revision = engine.flush().endpoints[0]!.revision;
  const moved = () => {
    const row = engine.flush().endpoints[0];
    const result = row !== undefined && row.revision > revision;
    revision = row?.revision ?? revision;
    return result;
  };
  engine.apply(
    policy('q', { enableDefaultDeny: { ingress: false }, ingressDeny: [allow('guest')] }),
  );
  assert.equal(moved(), true, 'a deny');
  engine.deletePolicy({ kind: 'CiliumNetworkPolicy', namespace: 'shop', name: 'q' });
  assert.equal(moved(), false, 'a deny goes');
  engine.apply(policy('r', { ingress: [allow('guest')] }));
  assert.equal(moved(), false, 'another allow');
  engine.deletePolicy({ kind: 'CiliumNetworkPolicy', namespace: 'shop', name: 'r' });
  assert.equal(moved(), true, 'an allow goes');
  engine.apply(policy('s', { egress: [{}] }));
  assert.equal(moved(), true, 'default deny of the other direction');
});

test('rules that share a key share an entry; it goes with the last of them', () => {
  const engine = engineWith([
    policy('a', { ingress: [allow('employee')] }),
    policy('b', { ingress: [allow('employee')] }),
  ]);
  const { sets, rules } = engine.flush();
  const entries = sets[0]!.upserts.filter((each) => each.identity === 1001);
  assert.equal(entries.length, 1);
  const { set } = engine.endpoints.get(1)!;
  const [ruleId] = rules.added.map((each) => each.ruleId).sort((a, b) => a - b);
  assert.equal(entries[0]!.ruleId, ruleId, 'the least number, whatever the order');
  const l4 = [...set.keys(1001)][0]!;
  assert.deepEqual(
    set.origins(1001, l4),
    rules.added.map((each) => each.ruleId).sort((a, b) => a - b),
  );
  const [first, second] = ['a', 'b'].map((name) => ({
    kind: 'CiliumNetworkPolicy' as const,
    namespace: 'shop',
    name,
  }));
  engine.deletePolicy(first!);
  assert.equal(engine.flush().sets[0]?.deletes.length ?? 0, 0);
  engine.deletePolicy(second!);
  assert.equal(engine.flush().sets[0]?.deletes.length, 2, "and the node's own");
});

test('an update of a policy touches what it changes and nothing else', () => {
  const engine = engineWith([policy('p', { ingress: [allow('employee'), allow('guest', '81')] })]);
  engine.flush();
  engine.apply(policy('p', { ingress: [allow('employee'), allow('guest', '82')] }));
  const [change] = engine.flush().sets;
  assert.deepEqual(
    change?.upserts.map((each) => each.port),
    [82],
  );
  assert.deepEqual(
    change?.deletes.map((each) => each.port),
    [81],
  );
  engine.apply(
    policy('p', { ingress: [allow('employee'), allow('guest', '82')], description: 'x' }),
  );
  assert.deepEqual(engine.flush().sets, []);
});

test('a refused update changes nothing', () => {
  const engine = engineWith([policy('p', { ingress: [allow('employee')] })]);
  engine.flush();
  assert.equal(engine.apply(policy('p', { ingress: [{ fromGroups: [{}] }] })).ok, false);
  const diff = engine.flush();
  assert.deepEqual([diff.sets, diff.rules], [[], { added: [], removed: [] }]);
});

test('endpoints of the same labels and ports share a set; a quick leave and return is free', () => {
  const engine = engineWith([policy('p', { ingress: [allow('employee')] })]);
  engine.setEndpoint(endpoint(2));
  engine.setEndpoint(endpoint(3, [{ name: 'web', port: 80, protocol: 6 }]));
  const { sets, endpoints } = engine.flush();
  assert.equal(sets.length, 2);
  assert.equal(endpoints[0]!.policyId, endpoints[1]!.policyId);
  assert.notEqual(endpoints[0]!.policyId, endpoints[2]!.policyId);
  engine.deleteEndpoint(3);
  engine.setEndpoint(endpoint(3, [{ name: 'web', port: 80, protocol: 6 }]));
  assert.deepEqual(engine.flush().removedSets, []);
  engine.deleteEndpoint(3);
  const { removedSets } = engine.flush();
  assert.deepEqual(
    removedSets.map((each) => [each.policyId, each.type]),
    [[endpoints[2]!.policyId, 'removed']],
  );
  assert.equal(removedSets[0]!.deletes.length, 2);
});

test('a pod that changes its labels comes to another set under a later revision', () => {
  const engine = engineWith([policy('p', { ingress: [allow('employee')] })]);
  const before = engine.flush().endpoints[0]!;
  engine.setEndpoint({ ...endpoint(1), labels: pod({ app: 'other' }) });
  const diff = engine.flush();
  assert.ok(diff.endpoints[0]!.revision > before.revision);
  assert.equal(diff.removedSets[0]?.policyId, before.policyId);
});

test('numbers are the same in another run, and those handed in are kept', () => {
  const manifests = [policy('p', { ingress: [allow('employee')] })];
  const one = engineWith(manifests);
  const two = engineWith(manifests);
  assert.deepEqual(one.flush(), two.flush());
  const [[key]] = [...one.policyIds()] as [[string, number]];
  const three = engineWith(manifests, { policyIds: new Map([[key, 77]]), firstRevision: 1000 });
  const row = three.flush().endpoints[0]!;
  assert.deepEqual([row.policyId, row.revision], [77, 1000]);
});

test('prefixes are told before the entries that need them', () => {
  const engine = engineWith([policy('p', { egress: [{ toCIDR: ['192.0.2.0/24'] }] })]);
  assert.deepEqual(engine.takePrefixChange(), { added: ['192.0.2.0/24'], removed: [] });
  assert.deepEqual(engine.flush().prefixes, { added: [], removed: [] });
  engine.deletePolicy({ kind: 'CiliumNetworkPolicy', namespace: 'shop', name: 'p' });
  assert.deepEqual(engine.flush().prefixes, { added: [], removed: ['192.0.2.0/24'] });
});

test('nothing stays of what has gone', () => {
  const engine = engineWith([
    policy('p', { ingress: [allow('employee')], egress: [{ toCIDR: ['192.0.2.0/24'] }] }),
  ]);
  engine.flush();
  engine.deleteEndpoint(1);
  engine.deletePolicy({ kind: 'CiliumNetworkPolicy', namespace: 'shop', name: 'p' });
  for (const id of [1000, 1001, 1002]) engine.deleteIdentity(id);
  engine.flush();
  assert.deepEqual(
    [
      [...engine.rules()],
      [...engine.sets()],
      [...engine.prefixes],
      engine.policyIds().size,
      engine.selectorCount,
    ],
    [[], [], [], 0, 0],
  );
});

test('without room allows are left out, denies close the direction, and it all comes back', () => {
  const web = (i: number) => pod({ app: 'web', n: String(i) });
  const many = { fromEndpoints: [{ matchLabels: { app: 'web' } }] };
  const engine = engineWith([], { maxEntries: 12, maxEntriesPerSet: 10 });
  for (let i = 0; i < 20; i++) engine.setIdentity(2000 + i, web(i));
  engine.apply(policy('allow', { ingress: [many] }));
  const admitted = () => {
    const { set } = engine.endpoints.get(1)!;
    const all = Array.from({ length: 20 }, (_, i) =>
      lookupVerdict(set, 'ingress', 2000 + i, 6, 80),
    );
    return all.filter((each) => each.type === 'allow').length;
  };
  engine.flush();
  assert.equal(admitted(), 9, 'and the node itself');
  assert.equal([...engine.overflows()].length, 1);
  engine.apply(policy('deny', { ingressDeny: [allow('guest')] }));
  engine.flush();
  assert.equal(admitted(), 0);
  const { set } = engine.endpoints.get(1)!;
  const { ruleId } = lookupVerdict(set, 'ingress', 2000, 6, 80);
  assert.match(engine.rule(ruleId!)!.name, /more deny rules/);
  engine.deletePolicy({ kind: 'CiliumNetworkPolicy', namespace: 'shop', name: 'deny' });
  for (let i = 0; i < 12; i++) engine.deleteIdentity(2000 + i);
  engine.flush();
  assert.equal(admitted(), 8);
  assert.deepEqual([...engine.overflows()], []);
  engine.deleteEndpoint(1);
  engine.flush();
  engine.setEndpoint(endpoint(1));
  engine.flush();
  assert.equal(admitted(), 8, 'a set that goes gives its room back');
});

test('a manifest as large as the store takes neither hangs nor fills the node', () => {
  const engine = engineWith([], { maxEntries: 2000, maxEntriesPerSet: 1000 });
  for (let i = 0; i < 500; i++) engine.setIdentity(3000 + i, pod({ n: String(i) }));
  const toPorts = Array.from({ length: 3000 }, (_, i) => ({
    ports: [{ port: String(1 + i), endPort: 65_534 }],
  }));
  const begin = process.cpuUsage();
  engine.apply(
    policy('huge', {
      ingress: [{ fromEndpoints: [{}], toPorts }],
      ingressDeny: [{ fromEndpoints: [{}], toPorts }],
    }),
  );
  const { sets } = engine.flush();
  assert.ok(sets[0]!.upserts.length <= 1002, String(sets[0]!.upserts.length));
  assert.ok(process.cpuUsage(begin).user < 5_000_000, 'five seconds of the processor');
});
