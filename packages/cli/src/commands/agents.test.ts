import assert from 'node:assert/strict';
import { test } from 'node:test';
import { foldRows, mergeRows } from './agents.ts';

test('rows carry the node that was asked, and keep a node of their own', () => {
  assert.deepEqual(
    mergeRows([
      { node: 'a', body: [{ x: 1 }, 'text', { node: 'own', x: 2 }] },
      { node: 'b', body: { x: 3 } },
    ]),
    [
      { node: 'a', x: 1 },
      { node: 'a', value: 'text' },
      { asked: 'a', node: 'own', x: 2 },
      { node: 'b', x: 3 },
    ],
  );
});

test('what all say alike is shown once, what differs keeps its nodes', () => {
  const rows = [
    { node: 'a', x: 1 },
    { node: 'a', x: 2 },
    { node: 'b', x: 1 },
    { node: 'b', x: 3 },
    { node: 'c', x: 1 },
    { node: 'c', x: 3 },
  ];
  assert.deepEqual(foldRows(rows, 3), [
    { node: 'all', x: 1 },
    { node: 'a', x: 2 },
    { node: 'b,c', x: 3 },
  ]);
  assert.deepEqual(foldRows([{ node: 'a', x: 1 }], 1), [{ node: 'a', x: 1 }]);
});
