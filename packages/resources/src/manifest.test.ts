import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { ResourceError, type ResourceErrorCode } from './errors.ts';
import { parseManifests } from './manifest.ts';
import { validateAll } from './validate.ts';

const refuses = (text: string, code: ResourceErrorCode, part = '') =>
  assert.throws(
    () => parseManifests(text),
    (e) => e instanceof ResourceError && e.code === code && e.message.includes(part),
    `${code} for ${text.slice(0, 40)}`,
  );

test('documents, Lists and JSON', () => {
  const yaml = parseManifests(
    '---\nkind: A\n---\n# nothing\n---\nkind: PodList\nitems: [{kind: B}, {kind: C}]\n',
  );
  assert.deepEqual(
    yaml.map(({ where, value }) => [where, value.kind]),
    [
      ['document 1', 'A'],
      ['document 3, items[0]', 'B'],
      ['document 3, items[1]', 'C'],
    ],
  );
  assert.equal(parseManifests('{"kind":"List","items":[{"kind":"X"}]}')[0]?.value.kind, 'X');
  assert.equal(parseManifests('{kind: X}')[0]?.value.kind, 'X');
  assert.deepEqual(parseManifests(''), []);
});

test('null is absent, anchors are copied, merge keys merge', () => {
  const [object] = parseManifests(
    'kind: A\nspec:\na: &a {x: 1, y: null}\nb: {<<: *a, z: 2}\nc: *a\n',
  );
  assert.deepEqual(object?.value, { kind: 'A', a: { x: 1 }, b: { x: 1, z: 2 }, c: { x: 1 } });
  assert.notEqual(object?.value.a, object?.value.c);
});

test('an alias bomb, a cycle, depth, size and count are bounded', () => {
  const bomb = ['a: &a [x,x,x,x,x,x,x,x,x,x]'];
  for (const [from, to] of ['ab', 'bc', 'cd', 'de', 'ef', 'fg', 'gh', 'hi']) {
    bomb.push(`${to}: &${to} [${Array(10).fill(`*${from}`)}]`);
  }
  refuses(bomb.join('\n'), 'too-large', 'too many values');
  refuses('a: &a [*a]', 'too-large', 'deeper');
  refuses(`${'a: {'.repeat(100)}${'}'.repeat(100)}`, 'too-large', 'deeper');
  refuses(`a: ${'['.repeat(200_000)}`, 'bad-yaml');
  refuses(`a: ${'x'.repeat(9 * 1024 * 1024)}`, 'too-large', 'bytes');
  refuses('--- {}\n'.repeat(10_001), 'too-large', 'documents');
  refuses(JSON.stringify({ kind: 'List', items: Array(10_001).fill({}) }), 'too-large', 'objects');
});

test('what is no object is named', () => {
  refuses('- 1', 'invalid', 'document 1');
  refuses('kind: A\n---\nhello', 'invalid', 'document 2');
  refuses('kind: List\nitems: [1]', 'invalid', 'items[0]');
  refuses('a: 1\na: 2', 'bad-yaml', 'unique');
  refuses('a: *nope', 'bad-yaml', 'nope');
  refuses('__proto__: {polluted: 1}', 'bad-yaml', '__proto__');
  refuses('{"kind":"A","__proto__":{"x":1}}', 'bad-yaml', '__proto__');
});

test('property: any text gives objects or our error', () => {
  const yamlish = fc.string({
    unit: fc.constantFrom(
      'a',
      ':',
      ' ',
      '\n',
      '-',
      '[',
      ']',
      '{',
      '}',
      '&',
      '*',
      '!',
      '"',
      '|',
      '\t',
      '#',
      '?',
    ),
    maxLength: 60,
  });
  fc.assert(
    fc.property(fc.oneof(fc.string(), yamlish, fc.json()), (text) => {
      try {
        parseManifests(text);
      } catch (error) {
        assert.ok(error instanceof ResourceError, String(error));
      }
    }),
    { numRuns: 500 },
  );
});

test('objects as a kube-apiserver 1.20.2 answers them are manifests: what is that server’s own is left out', () => {
  const url = new URL('../testdata/kube-apiserver-1.20.json', import.meta.url);
  const objects = parseManifests(readFileSync(url, 'utf8'));
  const kinds = validateAll(objects).map(({ kind, metadata }) => {
    assert.equal(metadata.resourceVersion, undefined);
    assert.equal(metadata.uid, undefined);
    assert.ok(!('managedFields' in metadata));
    assert.match(metadata.creationTimestamp ?? '', /^2026-/);
    return kind;
  });
  assert.equal(kinds.join(), 'Namespace,Node,Pod,Service,Service,Service,NetworkPolicy');
  // One that was read from this store keeps its revision, which is a condition of the write.
  const [own] = parseManifests('{kind: X, metadata: {name: a, resourceVersion: "7", uid: u}}');
  assert.deepEqual(own?.value.metadata, { name: 'a', resourceVersion: '7', uid: 'u' });
});
