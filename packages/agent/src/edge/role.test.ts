import assert from 'node:assert/strict';
import { test } from 'node:test';
import { edgeObstacle, edgeRole } from './role.ts';

const EDGE = 'causeway.io/edge';
const EXCLUDE = 'node.kubernetes.io/exclude-from-external-load-balancers';

test('roles by label', () => {
  assert.equal(edgeRole({}), 'none');
  for (const value of ['', 'true', 'rack-1']) assert.equal(edgeRole({ [EDGE]: value }), 'edge');
  assert.equal(edgeRole({ [EDGE]: 'false' }), 'none');
  assert.equal(edgeRole({ [EDGE]: 'draining' }), 'draining');
  assert.equal(edgeRole({ [EXCLUDE]: '' }), 'excluded');
  assert.equal(edgeRole({ [EDGE]: 'true', [EXCLUDE]: '' }), 'draining');
});

test('who announces: edge nodes if there are any, and the last of them also while it drains', () => {
  assert.equal(edgeObstacle({ role: 'none', others: [] }), undefined);
  assert.equal(edgeObstacle({ role: 'edge', others: ['b'] }), undefined);
  assert.equal(edgeObstacle({ role: 'draining', others: [] }), undefined);
  assert.equal(
    edgeObstacle({ role: 'draining', others: ['b'] }),
    'the node drains, and b announces it',
  );
  assert.equal(
    edgeObstacle({ role: 'none', others: ['b', 'c', 'd', 'e', 'f'] }),
    'edge nodes announce it (b, c, d and 2 more), and this is none',
  );
  assert.match(edgeObstacle({ role: 'excluded', others: [] })!, /exclude-from-external/);
});
