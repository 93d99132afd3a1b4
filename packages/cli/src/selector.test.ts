import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CliError } from './errors.ts';
import { parseSelector } from './selector.ts';

const labels = { app: 'web', tier: 'front', 'k8s.io/name': 'x' };

test('every form of a selector means what it means in Kubernetes', () => {
  const cases: [text: string, matches: boolean][] = [
    ['', true],
    ['app=web', true],
    ['app==web', true],
    ['app=db', false],
    ['app!=db', true],
    ['app!=web', false],
    ['absent!=web', true],
    ['absent=', false],
    ['app', true],
    ['!app', false],
    ['!absent', true],
    ['app in (db, web)', true],
    ['app in (db)', false],
    ['app notin (db,cache)', true],
    ['absent notin (db)', true],
    ['absent in (db)', false],
    ['app=web,tier=front', true],
    ['app=web,tier=back', false],
    ['app in (web,db),tier!=back', true],
    ['k8s.io/name=x', true],
  ];
  for (const [text, matches] of cases) assert.equal(parseSelector(text)(labels), matches, text);
});

test('what is no selector is named', () => {
  for (const text of ['app=web db', '=x', 'app in web', 'app in (web', 'a b'])
    assert.throws(
      () => parseSelector(text),
      (error: unknown) =>
        error instanceof CliError && error.code === 'bad-input' && error.field === '--selector',
      text,
    );
});
