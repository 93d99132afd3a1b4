import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import type { Resource } from './kinds.ts';
import { OWN_KEYS, strangeKeys } from './own-keys.ts';
import { validateAll } from './validate.ts';
import { warningsOf } from './warnings.ts';

const warnings = (kind: string, metadata: object): string[] =>
  strangeKeys({ kind, metadata: { name: 'a', ...metadata } } as never);
const annotated = (kind: string, ...keys: string[]) =>
  warnings(kind, { annotations: Object.fromEntries(keys.map((key) => [key, 'true'])) });

test('a misspelt annotation is taken with a warning that names the one that was meant', () => {
  const value = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'a', annotations: { 'causeway.io/wieght': '50', 'example.com/wieght': '1' } },
  };
  const [pod] = validateAll([{ where: 'document 1', value }]);
  assert.deepEqual(warningsOf(pod as Resource), [
    'metadata.annotations[causeway.io/wieght] is not known here; did you mean causeway.io/weight?',
  ]);
  assert.match(
    annotated('Service', 'causeway.io/healthcheck')[0]!,
    /mean causeway\.io\/health-check\?/,
  );
  assert.match(annotated('Pod', 'causway.io/addresses')[0]!, /mean causeway\.io\/addresses\?/);
  assert.match(annotated('NetworkPolicy', 'policy.causeway.io/audti')[0]!, /causeway\.io\/audit\?/);
  assert.match(
    warnings('CiliumNode', { labels: { 'causeway.io/egde': '' } })[0]!,
    /labels\[.*\/edge\?/,
  );
  assert.match(annotated('Namespace', 'causeway.io/something-else')[0]!, /is not known here$/);
});

test('one of ours where nobody reads it says so', () => {
  assert.deepEqual(annotated('Service', 'causeway.io/weight'), [
    'metadata.annotations[causeway.io/weight] has no effect on Service: it is read on Pod, EndpointSlice',
  ]);
  assert.deepEqual(annotated('CiliumNode', 'causeway.io/edge'), [
    'metadata.annotations[causeway.io/edge] has no effect as an annotation: it is a label',
  ]);
});

test('all that is known passes where it is read, as do others’ keys', () => {
  for (const { key, as, kinds } of OWN_KEYS) {
    for (const kind of kinds) {
      assert.deepEqual(warnings(kind, { [`${as}s`]: { [key]: '' } }), [], `${key} on ${kind}`);
    }
  }
  const others = ['weight', 'example.com/weight', 'service.cilium.io/global', 'a/b/c', '/', ''];
  assert.deepEqual(annotated('Service', ...others, 'openstack.causeway.io/project'), []);
  const many = Array.from({ length: 50 }, (_, index) => `causeway.io/x${index}`);
  assert.equal(annotated('Pod', ...many).length, 5);
});

test('the README has them all, and nothing else', () => {
  const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8');
  const rows = readme.split('\n').filter((line) => /^\| `([a-z]+\.)?causeway\.io\//.test(line));
  assert.deepEqual(
    rows,
    OWN_KEYS.map(
      ({ key, as, kinds, effect }) => `| \`${key}\` | ${as} | ${kinds.join(', ')} | ${effect} |`,
    ),
  );
});
