import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { SourceItem } from '../source.ts';
import { checkItem } from './item.ts';
import { Mapping, type MappingOptions } from './rules.ts';
import { condition, filterConfig, type LabelRule, labelRule } from './rules-config.ts';

const mappingOf = (more: Partial<MappingOptions>) =>
  new Mapping({
    cluster: 'outside',
    source: 'nova',
    filter: { include: [], exclude: [] },
    rules: [],
    namespace: 'default',
    site: undefined,
    identityLabels: [],
    ...more,
  });

const vm = (more: Partial<SourceItem> = {}) =>
  checkItem({
    id: '1',
    name: 'web-7',
    addresses: ['10.0.0.1'],
    platform: 'vm',
    labels: { app: 'web', tier: 'front' },
    attributes: { project: 'p-42', 'metadata/role': 'edge', 'metadata/os': 'debian' },
    ...more,
  });

const rules = (...given: unknown[]): LabelRule[] => given.map((each) => labelRule.parse(each));
const own = /^(causeway\.io|io\.)/;
const labels = (mapping: Mapping, item = vm()) =>
  Object.fromEntries(
    [...mapping.labelsOf(item).labels]
      .filter(({ key }) => !own.test(key))
      .map(({ key, value }) => [key, value]),
  );

test('rules go in their order, each over what the ones before it left', () => {
  for (const [given, expected] of [
    [rules({ set: { env: 'lab' } }), { app: 'web', tier: 'front', env: 'lab' }],
    [
      rules({ from: 'attribute.project', to: 'project' }),
      { app: 'web', tier: 'front', project: 'p-42' },
    ],
    [rules({ from: 'attribute.nothing', to: 'x' }), { app: 'web', tier: 'front' }],
    [
      rules({ from: 'label.app', to: 'app.kubernetes.io/name', move: true }),
      { tier: 'front', 'app.kubernetes.io/name': 'web' },
    ],
    [
      rules({ from: 'label.tier', to: 'tier', values: { front: 'edge' } }),
      { app: 'web', tier: 'edge' },
    ],
    [
      rules({ each: 'attribute.metadata/', to: 'nova.' }),
      { app: 'web', tier: 'front', 'nova.role': 'edge', 'nova.os': 'debian' },
    ],
    [rules({ drop: '*' }, { set: { only: 'this' } }), { only: 'this' }],
    [rules({ drop: 't?er' }), { app: 'web' }],
    [
      rules({
        set: { edge: 'yes' },
        when: { 'attribute.metadata/role': 'e*', platform: ['vm', 'pod'] },
      }),
      { app: 'web', tier: 'front', edge: 'yes' },
    ],
    [rules({ set: { edge: 'yes' }, when: { site: '*' } }), { app: 'web', tier: 'front' }],
    [
      rules({ set: { n: '1' } }, { drop: 'n', when: { 'label.n': '1' } }),
      { app: 'web', tier: 'front' },
    ],
  ] as const) {
    assert.deepEqual(labels(mappingOf({ rules: given })), expected);
  }
});

test('filters include and exclude by facts', () => {
  const out = (filter: object, item = vm()) =>
    mappingOf({ filter: filterConfig.parse(filter) }).leavesOut(item);
  assert.equal(out({}), undefined);
  assert.equal(out({ include: [{ name: 'web-*' }] }), undefined);
  assert.match(
    out({ include: [{ name: 'db-*' }, { source: 'neutron' }] }) ?? '',
    /no filter.include/,
  );
  assert.match(out({ exclude: [{ name: 'db-*' }, { address: '10.0.*' }] }) ?? '', /exclude\[1\]/);
  assert.equal(out({ exclude: [{ 'attribute.project': 'p-42', platform: 'pod' }] }), undefined);
});

test('what cannot stand in a label is left out and said; nobody can give itself another cluster or namespace', () => {
  const mapped = mappingOf({ site: 'hall 3' }).labelsOf(
    vm({
      labels: {
        'a b': 'x',
        note: 'two words',
        'semi;colon': 'x',
        'io.cilium.k8s.policy.cluster': 'prod',
        'io.kubernetes.pod.namespace': 'kube-system',
        'causeway.io/platform': 'bare-metal',
        'pod-template-hash': 'abc',
      },
    }),
  );
  const values = Object.fromEntries([...mapped.labels].map(({ key, value }) => [key, value]));
  assert.deepEqual(values, {
    'causeway.io/platform': 'vm',
    'io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name': 'default',
    'io.cilium.k8s.policy.cluster': 'outside',
    'io.kubernetes.pod.namespace': 'default',
  });
  const text = mapped.warnings.join('\n');
  for (const part of [
    '"a b"',
    '"two words"',
    'semi;colon',
    'policy.cluster is reserved',
    '"hall 3"',
    'pod-template-hash makes no identity',
  ]) {
    assert.ok(text.includes(part), `${part} in ${text}`);
  }
});

test('rules and filters that mean nothing are refused', () => {
  for (const bad of [{ drop: 1 }, { from: 'labels.x', to: 'y' }, { set: {}, frm: 'x' }, {}]) {
    assert.equal(labelRule.safeParse(bad).success, false, JSON.stringify(bad));
  }
  assert.equal(condition.safeParse({ colour: 'red' }).success, false);
  const greedy = { include: [{ name: '*a*b*c*d*e*f*g*h*i*' }], exclude: [] };
  assert.throws(() => mappingOf({ filter: greedy }), { code: 'bad-rule' });
});
