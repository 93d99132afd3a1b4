import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { IdentityError } from './errors.ts';
import { compareBytes, formatLabel, LabelSet, label, parseLabel } from './labels.ts';

const sampleText =
  'k8s:app=cli;k8s:io.cilium.k8s.policy.cluster=cla;k8s:io.kubernetes.pod.namespace=default;';

test('the store form of a label set is that of the sample', () => {
  const set = LabelSet.of([
    label('k8s', 'io.kubernetes.pod.namespace', 'default'),
    label('k8s', 'app', 'cli'),
    label('k8s', 'io.cilium.k8s.policy.cluster', 'cla'),
  ]);
  assert.equal(set.text, sampleText);
  assert.equal(LabelSet.parse(sampleText).text, sampleText);
});

test('keys sort by bytes, not by locale and not by source', () => {
  const set = LabelSet.of(['z:B=1', 'a:a=2', 'a:B-c=3', 'k:_=4'].map((text) => parseLabel(text)));
  assert.equal(set.text, 'z:B=1;a:B-c=3;k:_=4;a:a=2;');
});

test('labels as people write them', () => {
  for (const [text, source, key, value] of [
    ['k8s:app=web', 'k8s', 'app', 'web'],
    ['app=web', 'unspec', 'app', 'web'],
    ['app=a:b=c', 'unspec', 'app', 'a:b=c'],
    ['reserved:host', 'reserved', 'host', ''],
    ['host', 'unspec', 'host', ''],
  ] as const) {
    assert.deepEqual(parseLabel(text), { source, key, value });
  }
  assert.equal(formatLabel(label('reserved', 'host')), 'reserved:host');
});

test('what cannot be read back is refused', () => {
  for (const bad of ['', ':a=b', 'k8s:=x', 'k8s:a=b;c']) {
    assert.throws(
      () => parseLabel(bad),
      (e) => e instanceof IdentityError && e.code === 'bad-label',
    );
  }
  for (const bad of ['', ';;', 'app=web;', 'a=b:c;', `k8s:a=${'x'.repeat(70_000)};`]) {
    assert.throws(() => LabelSet.parse(bad), IdentityError, bad.slice(0, 20));
  }
});

const arbitraryLabel = fc
  .record({
    source: fc.stringMatching(/^[a-z]{1,6}$/),
    key: fc.string({ minLength: 1, maxLength: 8, unit: 'grapheme' }).filter((k) => !/[;=]/.test(k)),
    value: fc.string({ maxLength: 8 }).filter((v) => !v.includes(';')),
  })
  .map(({ source, key, value }) => label(source, key, value));

test('property: parse(text) gives the set back, whatever order it was built in', () => {
  fc.assert(
    fc.property(fc.array(arbitraryLabel, { minLength: 1, maxLength: 8 }), (labels) => {
      const set = LabelSet.of(labels);
      assert.equal(LabelSet.parse(set.text).text, set.text);
      assert.equal(LabelSet.of([...set].reverse()).text, set.text);
      assert.ok(LabelSet.parse(set.text).equals(set));
    }),
  );
});

test('property: any text parses or is refused with our error', () => {
  fc.assert(
    fc.property(fc.string(), (text) => {
      try {
        LabelSet.parse(text);
      } catch (error) {
        assert.ok(error instanceof IdentityError);
      }
    }),
  );
});

test('property: compareBytes is the order of UTF-8', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), fc.string({ unit: 'binary' }), (a, b) => {
      const expected = Buffer.compare(Buffer.from(a), Buffer.from(b));
      assert.equal(Math.sign(compareBytes(a, b)), expected);
    }),
  );
  assert.ok(compareBytes('\u{10000}', '\uffff') > 0);
});
