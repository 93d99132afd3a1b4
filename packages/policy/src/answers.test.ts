import assert from 'node:assert/strict';
import { test } from 'node:test';
import { podLabels } from '@causeway/identity';
import { PolicyEngine, PolicyError } from '../index.ts';

const pod = (labels: Record<string, string>, namespace = 'shop') =>
  podLabels({ cluster: 'c1', namespace, labels });

const DB_POLICY = {
  apiVersion: 'cilium.io/v2',
  kind: 'CiliumNetworkPolicy',
  metadata: { name: 'db', namespace: 'shop' },
  spec: {
    endpointSelector: { matchLabels: { app: 'db' } },
    ingress: [
      {
        fromEndpoints: [{ matchLabels: { role: 'employee' } }],
        toPorts: [{ ports: [{ port: '6379', protocol: 'TCP' }] }],
      },
    ],
    ingressDeny: [{ fromEntities: ['world'] }],
  },
};

/** db and a guest are here, an employee runs elsewhere. */
function shop(...manifests: unknown[]) {
  const engine = new PolicyEngine({ cluster: 'c1', families: ['ipv4', 'ipv6'] });
  const cast = {
    1000: pod({ app: 'db' }),
    1001: pod({ role: 'employee' }),
    1002: pod({ role: 'guest' }),
  };
  for (const [id, labels] of Object.entries(cast)) engine.setIdentity(Number(id), labels);
  engine.setEndpoint({ id: 1, identity: 1000, labels: cast[1000], namedPorts: [], audit: false });
  engine.setEndpoint({ id: 2, identity: 1002, labels: cast[1002], namedPorts: [], audit: false });
  for (const manifest of manifests) assert.ok(engine.apply(manifest).ok);
  return engine;
}

const redis = { protocol: 'TCP', port: 6379 } as const;

test('trace names the rule that allows', () => {
  const found = shop(DB_POLICY).trace({ from: { identity: 1001 }, to: { endpoint: 1 }, ...redis });
  assert.equal(found.verdict, 'allow');
  assert.equal(found.ingress.rules[0]?.name, 'CiliumNetworkPolicy shop/db ingress[0].toPorts[0]');
  assert.equal(found.egress.by, 'open');
});

test('trace names the rule that denies', () => {
  const found = shop(DB_POLICY).trace({
    from: { cidr: '192.0.2.1' },
    to: { endpoint: 1 },
    ...redis,
  });
  assert.deepEqual(
    [found.verdict, found.ingress.by, found.egress.by],
    ['deny', 'rule', 'not-ours'],
  );
  assert.equal(found.ingress.rules[0]?.name, 'CiliumNetworkPolicy shop/db ingressDeny[0]');
});

test('trace says which label is missing for the right port, and which port for the right peer', () => {
  const engine = shop(DB_POLICY);
  const guest = engine.trace({ from: { endpoint: 2 }, to: { endpoint: 1 }, ...redis });
  assert.equal(guest.ingress.by, 'default-deny');
  assert.deepEqual(guest.ingress.nearMisses[0]?.unmet, [
    { key: 'role', wanted: 'employee', has: 'guest' },
  ]);
  assert.equal(guest.ingress.nearMisses[0]?.allows, undefined);
  const port = engine.trace({
    from: { identity: 1001 },
    to: { endpoint: 1 },
    protocol: 'TCP',
    port: 80,
  });
  assert.deepEqual(
    [port.ingress.nearMisses[0]?.unmet, port.ingress.nearMisses[0]?.allows],
    [[], 'TCP 6379'],
  );
  assert.match(port.text, /it is for TCP 6379, not TCP 80/);
});

test('trace answers for labels that nobody has yet', () => {
  const engine = shop(DB_POLICY);
  const found = engine.trace({
    from: { labels: pod({ role: 'employee', new: 'yes' }) },
    to: { endpoint: 1 },
    ...redis,
  });
  assert.equal(found.verdict, 'allow');
  const none = engine.trace({
    from: { labels: pod({ new: 'yes' }) },
    to: { labels: pod({ app: 'db', v: '2' }) },
    ...redis,
  });
  assert.equal(none.verdict, 'deny');
  assert.deepEqual(none.ingress.nearMisses[0]?.unmet, [{ key: 'role', wanted: 'employee' }]);
});

test('trace of a pod elsewhere uses the policy that binds it there', () => {
  const closed = {
    ...DB_POLICY,
    metadata: { name: 'employee', namespace: 'shop' },
    spec: { endpointSelector: { matchLabels: { role: 'employee' } }, egress: [{}] },
  };
  const found = shop(DB_POLICY, closed).trace({
    from: { identity: 1001 },
    to: { endpoint: 1 },
    ...redis,
  });
  assert.deepEqual(
    [found.verdict, found.egress.verdict, found.ingress.verdict],
    ['deny', 'deny', 'allow'],
  );
});

test('trace shows an audited policy on both ends', () => {
  const audited = {
    ...DB_POLICY,
    metadata: { ...DB_POLICY.metadata, annotations: { 'policy.causeway.io/audit': 'true' } },
  };
  const engine = shop(audited);
  const byDefault = engine.trace({ from: { endpoint: 2 }, to: { endpoint: 1 }, ...redis });
  assert.deepEqual([byDefault.verdict, byDefault.ingress.by], ['audit', 'default-deny']);
  const byRule = engine.trace({ from: { cidr: '2001:db8::1' }, to: { endpoint: 1 }, ...redis });
  assert.deepEqual([byRule.verdict, byRule.ingress.rules[0]?.audit], ['audit', true]);
});

test('questions about nobody and about no traffic are refused', () => {
  const engine = shop();
  const code = (query: Parameters<PolicyEngine['trace']>[0]) => {
    try {
      engine.trace(query);
    } catch (error) {
      return (error as PolicyError).code;
    }
    return 'answered';
  };
  const to = { endpoint: 1 };
  assert.equal(code({ from: { endpoint: 9 }, to, ...redis }), 'unknown-party');
  assert.equal(code({ from: { identity: 9999 }, to, ...redis }), 'unknown-party');
  assert.equal(code({ from: { cidr: 'x' }, to, ...redis }), 'invalid-query');
  for (const traffic of [
    { protocol: 'ANY', port: 1 },
    { protocol: 'IPX', port: 1 },
    { protocol: 'TCP', port: 65536 },
    { protocol: 'ICMP', port: 256 },
    { protocol: 0, port: 1 },
  ]) {
    assert.equal(code({ from: to, to, ...traffic }), 'invalid-query');
  }
});

const names = (engine: PolicyEngine, change: Parameters<PolicyEngine['whatIf']>[0]) =>
  engine
    .whatIf(change)
    .pairs.map(
      ({ from, to, traffic }) =>
        `${from.text} → ${to.text}: ${traffic.map((each) => each.text).join(' | ')}`,
    );

test('what-if lists the pairs that change and leaves no trace of the question', () => {
  const engine = shop();
  engine.flush();
  const rows = names(engine, { manifests: [DB_POLICY] });
  const denied = 'default deny of ingress';
  assert.ok(
    rows.includes(`role=guest in shop → app=db in shop: all traffic: allow → deny (${denied})`),
  );
  assert.ok(
    rows.includes(
      `role=employee in shop → app=db in shop: TCP 0-6378: allow → deny (${denied}) | TCP 6380-65535: allow → deny (${denied}) | UDP: allow → deny (${denied}) | SCTP: allow → deny (${denied}) | ICMP type 0-255: allow → deny (${denied}) | ICMPv6 type 0-255: allow → deny (${denied})`,
    ),
  );
  assert.ok(
    rows.includes(
      'world-ipv4 → app=db in shop: all traffic: allow → deny (CiliumNetworkPolicy shop/db ingressDeny[0])',
    ),
  );
  assert.ok(rows.every((each) => !each.startsWith('host →') && each.includes('→ app=db')));
  const after = engine.flush();
  assert.deepEqual(
    [after.sets, after.rules.added, after.prefixes.added, engine.selectorCount],
    [[], [], [], 0],
  );
});

test('what-if of a deletion and of an update looks at both states', () => {
  const engine = shop(DB_POLICY);
  const ref = { kind: 'CiliumNetworkPolicy', namespace: 'shop', name: 'db' } as const;
  assert.ok(
    names(engine, { remove: [ref] }).includes(
      'role=guest in shop → app=db in shop: all traffic: deny → allow (nothing closes it)',
    ),
  );
  const wider = structuredClone(DB_POLICY);
  wider.spec.ingress[0]!.fromEndpoints[0]!.matchLabels.role = 'guest';
  assert.deepEqual(names(engine, { manifests: [wider] }), [
    'role=guest in shop → app=db in shop: TCP 6379: deny → allow (CiliumNetworkPolicy shop/db ingress[0].toPorts[0])',
    'role=employee in shop → app=db in shop: TCP 6379: allow → deny (default deny of ingress)',
  ]);
  assert.deepEqual(names(engine, { manifests: [DB_POLICY] }), []);
});

test('what-if counts the other side in: what it denies anyway does not change', () => {
  const closed = {
    ...DB_POLICY,
    metadata: { name: 'guest', namespace: 'shop' },
    spec: { endpointSelector: { matchLabels: { role: 'guest' } }, egress: [{}] },
  };
  assert.ok(
    names(shop(closed), { manifests: [DB_POLICY] }).every((each) => !each.startsWith('role=guest')),
  );
});

test('what-if knows prefixes that have no identity yet', () => {
  const outgoing = {
    ...DB_POLICY,
    metadata: { name: 'out', namespace: 'shop' },
    spec: {
      endpointSelector: { matchLabels: { app: 'db' } },
      egress: [{ toCIDRSet: [{ cidr: '10.0.0.0/8', except: ['10.1.0.0/16'] }] }],
    },
  };
  const rows = names(shop(), { manifests: [outgoing] });
  assert.ok(
    rows.includes(
      'app=db in shop → 10.1.0.0/16: all traffic: allow → deny (default deny of egress)',
    ),
  );
  assert.ok(!rows.some((each) => each.includes('→ 10.0.0.0/8')));
});

test('what-if refuses with every reason, and says when it stops early', () => {
  const bad = { ...DB_POLICY, spec: { ingress: [{ fromGroups: [{}] }] } };
  assert.throws(
    () => shop().whatIf({ manifests: [bad] }),
    (error) =>
      error instanceof PolicyError &&
      error.code === 'policy-refused' &&
      error.refusals.length === 2,
  );
  const short = shop().whatIf({ manifests: [DB_POLICY] }, { maxPairs: 2 });
  assert.deepEqual([short.looked, short.truncated], [2, true]);
});
