import assert from 'node:assert/strict';
import { test } from 'node:test';
import { podLabels } from '@causeway/identity';
import { PolicyEngine } from '@causeway/policy';
import { Database } from '@causeway/tables';
import type { DatapathEvent } from '../datapath/ports.ts';
import { endpointTable } from '../endpoints/table.ts';
import { Explainer } from './drops.ts';

const labels = (app: string) => podLabels({ cluster: 'east', namespace: 'shop', labels: { app } });

const POLICY = {
  apiVersion: 'cilium.io/v2',
  kind: 'CiliumNetworkPolicy',
  metadata: { name: 'db', namespace: 'shop' },
  spec: {
    endpointSelector: { matchLabels: { app: 'db' } },
    ingress: [{ fromEndpoints: [{ matchLabels: { app: 'web' } }] }],
  },
};

/** A packet of identity 70001 to endpoint 1 that its policy dropped. */
const DROP = {
  type: 'drop',
  reason: 'policy-denied',
  sentence: 'no policy allows it',
  hook: 'to_pod',
  direction: 'ingress',
  source: '10.0.0.2',
  destination: '10.0.0.1',
  sourcePort: 40_000,
  destinationPort: 5432,
  protocol: 6,
  icmpType: 0,
  sourceIdentity: 70_001,
  destinationIdentity: 70_000,
  endpoint: 1,
  rule: 0,
} as unknown as DatapathEvent;

test('what the agent did not know right after its start is explained once it does', () => {
  const engine = new PolicyEngine({ cluster: 'east', families: ['ipv4', 'ipv6'] });
  let complete = false;
  const explainer = new Explainer({
    engine,
    complete: () => complete,
    endpoints: endpointTable(new Database()),
    nameOf: () => undefined,
    now: () => 1_000,
  });
  assert.equal(explainer.explain(DROP).because, undefined);
  engine.setIdentity(70_000, labels('db'));
  engine.setEndpoint({
    id: 1,
    identity: 70_000,
    labels: labels('db'),
    namedPorts: [],
    audit: false,
  });
  assert.match(explainer.recent()[0]?.because ?? '', /no identity 70001 is known/);
  engine.setIdentity(70_001, labels('cli'));
  assert.equal(explainer.explain(DROP).because, undefined, 'no policy has been read');
  assert.ok(engine.apply(POLICY).ok);
  complete = true;
  for (const { because, text } of explainer.recent()) {
    assert.match(because ?? '', /app must be web, is cli/);
    assert.ok(text.endsWith(`(${because})`));
  }
  // It stays as it was told, whatever policies say later.
  engine.deletePolicy({ kind: 'CiliumNetworkPolicy', namespace: 'shop', name: 'db' });
  assert.match(explainer.recent()[0]?.because ?? '', /app must be web, is cli/);
});

test('a rule by its name, also when it is known only later', () => {
  const engine = new PolicyEngine({ cluster: 'east', families: ['ipv4', 'ipv6'] });
  engine.apply({ ...POLICY, spec: { ...POLICY.spec, ingressDeny: [{ fromEntities: ['all'] }] } });
  const [rule] = [...engine.rules()].filter(({ deny }) => deny);
  const later = new PolicyEngine({ cluster: 'east', families: ['ipv4', 'ipv6'] });
  const explainer = new Explainer({
    engine: later,
    complete: () => true,
    endpoints: endpointTable(new Database()),
    nameOf: () => undefined,
    now: () => 1_000,
  });
  explainer.explain({ ...DROP, rule: rule!.ruleId });
  assert.match(explainer.recent()[0]?.because ?? '', /gone by now/);
  later.apply({ ...POLICY, spec: { ...POLICY.spec, ingressDeny: [{ fromEntities: ['all'] }] } });
  assert.equal(explainer.recent()[0]?.because, rule!.name);
});
