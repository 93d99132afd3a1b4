import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { IdentityError } from './errors.ts';
import { LabelSet, parseLabel } from './labels.ts';
import { compileSelector, intersectSelectors, selectorNamesKey } from './selector.ts';

const labels = LabelSet.of(
  ['k8s:app=web', 'k8s:tier=front', 'reserved:host'].map((text) => parseLabel(text)),
);

test('every operator, with and without source', () => {
  const cases: [Parameters<typeof compileSelector>[0], boolean][] = [
    [{}, true],
    [{ matchLabels: { app: 'web' } }, true],
    [{ matchLabels: { 'any:app': 'web' } }, true],
    [{ matchLabels: { 'k8s:app': 'web' } }, true],
    [{ matchLabels: { 'container:app': 'web' } }, false],
    [{ matchLabels: { app: 'web', tier: 'back' } }, false],
    [{ matchLabels: { 'reserved:host': '' } }, true],
    [{ matchLabels: { 'reserved:all': '' } }, true],
    [{ matchExpressions: [{ key: 'app', operator: 'In', values: ['a', 'web'] }] }, true],
    [{ matchExpressions: [{ key: 'app', operator: 'NotIn', values: ['web'] }] }, false],
    [{ matchExpressions: [{ key: 'none', operator: 'NotIn', values: ['web'] }] }, true],
    [{ matchExpressions: [{ key: 'tier', operator: 'Exists' }] }, true],
    [{ matchExpressions: [{ key: 'tier', operator: 'DoesNotExist', values: [] }] }, false],
    [{ matchExpressions: [{ key: 'cidr:tier', operator: 'DoesNotExist' }] }, true],
  ];
  for (const [selector, expected] of cases) {
    assert.equal(compileSelector(selector).matches(labels), expected, JSON.stringify(selector));
  }
  assert.equal(compileSelector({ matchLabels: { host: '' } }, 'k8s').matches(labels), false);
});

test('bad selectors name the field', () => {
  for (const [expression, field] of [
    [{ key: 'a', operator: 'In', values: [] }, 's.matchExpressions[0].values'],
    [{ key: 'a', operator: 'Exists', values: ['b'] }, 's.matchExpressions[0].values'],
    [{ key: 'a', operator: 'Near' }, 's.matchExpressions[0].operator'],
    [{ key: 'a=b', operator: 'Exists' }, 's.matchExpressions[0].key'],
  ] as const) {
    assert.throws(
      () => compileSelector({ matchExpressions: [expression] }, 'any', 's'),
      (e) => e instanceof IdentityError && e.code === 'bad-selector' && e.field === field,
    );
  }
});

test('canonical keys', () => {
  const key = (selector: Parameters<typeof compileSelector>[0]) => compileSelector(selector).key;
  assert.equal(key({ matchLabels: { b: '1', a: '2' } }), key({ matchLabels: { a: '2', b: '1' } }));
  assert.equal(
    key({ matchLabels: { a: '1' } }),
    key({ matchExpressions: [{ key: 'a', operator: 'In', values: ['1'] }] }),
  );
  assert.notEqual(key({ matchLabels: { a: '1' } }), key({ matchLabels: { 'k8s:a': '1' } }));
  assert.equal(key({}), '');
  const both = intersectSelectors(
    compileSelector({ matchLabels: { app: 'web' } }),
    compileSelector({ matchLabels: { tier: 'front' } }),
  );
  assert.equal(both.key, key({ matchLabels: { app: 'web', tier: 'front' } }));
  assert.equal(both.matches(labels), true);
  assert.equal(selectorNamesKey(both, 'tier'), true);
});

test('property: equal keys mean equal answers, hostile texts included', () => {
  const text = fc.string({
    minLength: 1,
    maxLength: 3,
    unit: fc.constantFrom('a', ',', '(', ')', '|', '"', ' ', '!'),
  });
  const selector = fc.record({
    matchExpressions: fc.array(
      fc.oneof(
        fc.record({
          key: text,
          operator: fc.constantFrom('In', 'NotIn'),
          values: fc.array(text, { minLength: 1, maxLength: 2 }),
        }),
        fc.record({ key: text, operator: fc.constantFrom('Exists', 'DoesNotExist') }),
      ),
      { maxLength: 2 },
    ),
  });
  const sets = fc
    .array(fc.tuple(text, text), { maxLength: 3 })
    .map((pairs) => LabelSet.of(pairs.map(([key, value]) => ({ source: 'k8s', key, value }))));
  fc.assert(
    fc.property(selector, selector, sets, (a, b, set) => {
      const [one, two] = [compileSelector(a), compileSelector(b)];
      if (one.key === two.key) assert.equal(one.matches(set), two.matches(set));
    }),
    { numRuns: 2000 },
  );
});
