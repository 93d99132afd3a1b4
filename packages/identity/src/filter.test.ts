import assert from 'node:assert/strict';
import { test } from 'node:test';
import { IdentityError } from './errors.ts';
import { labelFilter, labelFilterOf } from './filter.ts';
import { label } from './labels.ts';
import { podLabels } from './pod.ts';

test('default rules of 1.19', () => {
  const filter = labelFilter();
  const expected: Record<string, boolean> = {
    app: true,
    'app.kubernetes.io/name': true,
    'io.kubernetes.pod.namespace': true,
    'io.kubernetes.container.name': false,
    'io.cilium.k8s.namespace.labels.team': true,
    'io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name': true,
    'io.cilium.k8s.policy.cluster': true,
    'io.cilium.k8s.policy.serviceaccount': true,
    'kubernetes.io/hostname': false,
    'statefulset.kubernetes.io/pod-name': false,
    'apps.kubernetes.io/pod-index': false,
    'failure-domain.beta.kubernetes.io/zone': false,
    'k8s.io/x': false,
    'pod-template-hash': false,
    'controller-uid': false,
    'topology.kubernetes.io/zone': false,
    'batch.kubernetes.io/job-name': true,
    annotation: false,
    'annotation.io/x': false,
    'my-k8s.io': true,
    etcd_node: false,
  };
  for (const [key, kept] of Object.entries(expected)) {
    assert.equal(filter.keeps(label('k8s', key, 'x')), kept, key);
  }
  assert.equal(
    filter.keeps(label('reserved', 'kubernetes.io')),
    false,
    'equal stretch is not longer',
  );
  assert.equal(filter.keeps(label('reserved', 'host')), true);
});

test('an added include turns the list into "only these"', () => {
  const filter = labelFilter(['k8s:app']);
  assert.equal(filter.keeps(label('k8s', 'app', 'x')), true);
  assert.equal(filter.keeps(label('container', 'app', 'x')), false);
  assert.equal(filter.keeps(label('k8s', 'team', 'x')), false);
  assert.equal(filter.keeps(label('k8s', 'io.kubernetes.pod.namespace', 'x')), true);
});

test('an added ignore only ignores; a longer include wins over it', () => {
  assert.equal(labelFilter(['!team']).keeps(label('k8s', 'team', 'x')), false);
  assert.equal(labelFilter(['!team']).keeps(label('k8s', 'app', 'x')), true);
  const filter = labelFilterOf(['!foo', 'foo\\.bar']);
  assert.equal(filter.keeps(label('k8s', 'foo.bar')), true);
  assert.equal(filter.keeps(label('k8s', 'foo.baz')), false);
});

test('bad rules are named', () => {
  for (const rule of ['', '!', 'k8s:', '(', 'x'.repeat(600)]) {
    assert.throws(
      () => labelFilter([rule]),
      (e) => e instanceof IdentityError && e.code === 'bad-filter-rule',
      rule.slice(0, 10),
    );
  }
});

test('labels of a pod: what it claims cannot move it', () => {
  const labels = podLabels({
    cluster: 'cla',
    namespace: 'shop',
    serviceAccount: 'till',
    namespaceLabels: { team: 'retail' },
    labels: {
      app: 'till',
      'io.kubernetes.pod.namespace': 'bank',
      'io.cilium.k8s.policy.cluster': 'other',
      'pod-template-hash': '1',
    },
  });
  const { identity, information } = labelFilter().split(labels);
  assert.equal(
    identity.text,
    'k8s:app=till;' +
      'k8s:io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name=shop;' +
      'k8s:io.cilium.k8s.namespace.labels.team=retail;' +
      'k8s:io.cilium.k8s.policy.cluster=cla;' +
      'k8s:io.cilium.k8s.policy.serviceaccount=till;' +
      'k8s:io.kubernetes.pod.namespace=shop;',
  );
  assert.deepEqual(information.toStrings(), ['k8s:pod-template-hash=1']);
});
