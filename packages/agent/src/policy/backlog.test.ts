import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PolicyEntry, PolicySetChange } from '@causeway/policy';
import { compactPolicyOps, keyText, type PolicyOp } from './backlog.ts';

const entry = (port: number): PolicyEntry => ({
  direction: 'ingress',
  identity: 300,
  protocol: 6,
  prefixLength: 16,
  port,
  flags: 0,
  ruleId: 1,
});
const set = (
  policyId: number,
  type: PolicySetChange['type'],
  upserts: readonly number[],
  deletes: readonly number[] = [],
): PolicyOp => ({
  type: 'set',
  change: { policyId, type, upserts: upserts.map(entry), deletes: deletes.map(entry) },
});
const row = (endpointId: number, policyId: number): PolicyOp => ({
  type: 'rows',
  policy: { endpointId, policyId, revision: 1, ingress: 'enforced', egress: 'off' },
});
const nobody = () => false;

/** What maps hold after all operations: entries of sets, and the set of each endpoint. */
function outcome(queue: readonly PolicyOp[]): unknown {
  const entries = new Set<string>();
  const rows = new Map<number, number>();
  for (const op of queue) {
    if (op.type === 'rows') rows.set(op.policy.endpointId, op.policy.policyId);
    else {
      const { policyId, upserts, deletes } = op.change;
      for (const each of upserts) entries.add(`${policyId} ${keyText(each)}`);
      for (const each of deletes) entries.delete(`${policyId} ${keyText(each)}`);
    }
  }
  return { entries: [...entries].sort(), rows: [...rows].sort() };
}

test('a policy that grew and shrank again while it waited needs no room', () => {
  const grown = [set(1, 'changed', [1, 2, 3]), row(7, 1)];
  const shrunk = [...grown, set(1, 'changed', [], [1, 2, 3]), row(7, 1)];
  const [first, ...rest] = compactPolicyOps(shrunk, nobody);
  assert.ok(first?.type === 'set');
  assert.deepEqual(first.change.upserts, []);
  // A first try may have written some of them.
  assert.deepEqual(
    first.change.deletes.map(({ port }) => port),
    [1, 2, 3],
  );
  assert.deepEqual(rest, [row(7, 1)]);
});

test('what frees room comes before what needs it, and rows after their sets', () => {
  const queue = [
    set(1, 'changed', [1, 2, 3]),
    row(7, 1),
    set(2, 'created', [4]),
    row(8, 2),
    set(3, 'changed', [], [5]),
    row(9, 3),
    row(10, 4),
    set(5, 'removed', [], [6]),
  ];
  const kinds = compactPolicyOps(queue, nobody).map((op) =>
    op.type === 'set' ? `set ${op.change.policyId}` : `row ${op.policy.endpointId}`,
  );
  assert.deepEqual(kinds, [
    'set 5',
    'row 10',
    'set 3',
    'row 9',
    'set 2',
    'row 8',
    'set 1',
    'row 7',
  ]);
});

test('a set outlives the last row that names it', () => {
  const queue = [set(1, 'created', [1, 2]), row(7, 1), set(2, 'removed', [], [3])];
  const last = compactPolicyOps(queue, (policyId) => policyId === 2).at(-1);
  assert.ok(last?.type === 'set' && last.change.policyId === 2);
});

test('any history comes to the same in fewer writes', () => {
  let state = 3;
  const random = (below: number) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return (state >>> 8) % below;
  };
  for (let run = 0; run < 300; run++) {
    const queue: PolicyOp[] = [];
    for (let i = 0; i < 2 + random(12); i++) {
      const id = 1 + random(3);
      const ports = () => Array.from({ length: random(4) }, () => 10 + random(5));
      const upserts = [...new Set(ports())];
      const deletes = ports().filter((port) => !upserts.includes(port));
      if (random(3) > 0) queue.push(set(id, 'changed', upserts, deletes));
      queue.push(row(random(3), id));
    }
    const compact = compactPolicyOps(queue, nobody);
    assert.ok(compact.length <= queue.length);
    assert.deepEqual(outcome(compact), outcome(queue), JSON.stringify(queue));
  }
});
