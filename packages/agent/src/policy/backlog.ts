import type { EndpointPolicy, PolicyEntryKey, PolicySetChange } from '@causeway/policy';

/** One write to the kernel; the order of the queue is the order of the writes. */
export type PolicyOp =
  | { readonly type: 'set'; readonly change: PolicySetChange }
  | { readonly type: 'rows'; readonly policy: EndpointPolicy };

/**
 * Shortens writes that wait for room to their net effect, in an order in which what frees room is
 * never behind what needs it: a full map must let go of its own accord once a policy shrinks.
 * `inUse` tells whether the kernel's row of some endpoint still names a set.
 */
export function compactPolicyOps(
  queue: readonly PolicyOp[],
  inUse: (policyId: number) => boolean,
): PolicyOp[] {
  const sets = new Map<number, PolicySetChange>();
  const rows = new Map<number, EndpointPolicy>();
  for (const op of queue) {
    if (op.type === 'rows') rows.set(op.policy.endpointId, op.policy);
    else {
      const { policyId } = op.change;
      const before = sets.get(policyId);
      sets.set(policyId, before === undefined ? op.change : mergeChanges(before, op.change));
    }
  }
  const rowsOf = (policyId: number) =>
    [...rows.values()]
      .filter((policy) => policy.policyId === policyId)
      .map((policy): PolicyOp => ({ type: 'rows', policy }));
  const setOp = (change: PolicySetChange): PolicyOp => ({ type: 'set', change });
  const removed = [...sets.values()].filter(({ type }) => type === 'removed');
  const growth = ({ upserts, deletes }: PolicySetChange) => upserts.length - deletes.length;
  const kept = [...sets.values()]
    .filter(({ type }) => type !== 'removed')
    .sort((a, b) => growth(a) - growth(b));
  return [
    ...removed.filter(({ policyId }) => !inUse(policyId)).map(setOp),
    ...[...rows.values()]
      .filter(({ policyId }) => !sets.has(policyId))
      .map((policy): PolicyOp => ({ type: 'rows', policy })),
    ...kept.flatMap((change) => [setOp(change), ...rowsOf(change.policyId)]),
    ...removed.filter(({ policyId }) => inUse(policyId)).map(setOp),
  ];
}

/** The one change that does what both do, one after the other. */
function mergeChanges(before: PolicySetChange, after: PolicySetChange): PolicySetChange {
  const upserts = new Map(before.upserts.map((entry) => [keyText(entry), entry]));
  const deletes = new Map(before.deletes.map((key) => [keyText(key), key]));
  for (const key of after.deletes) {
    upserts.delete(keyText(key));
    deletes.set(keyText(key), key);
  }
  for (const entry of after.upserts) {
    deletes.delete(keyText(entry));
    upserts.set(keyText(entry), entry);
  }
  const { policyId } = after;
  if (after.type === 'removed') {
    for (const [text, entry] of upserts) deletes.set(text, entry);
    return { policyId, type: 'removed', upserts: [], deletes: [...deletes.values()] };
  }
  const info = after.info ?? before.info;
  return {
    policyId,
    type: before.type === 'changed' ? after.type : 'created',
    ...(info === undefined ? {} : { info }),
    upserts: [...upserts.values()],
    deletes: [...deletes.values()],
  };
}

export const keyText = (key: PolicyEntryKey): string =>
  `${key.direction} ${key.identity} ${key.protocol} ${key.prefixLength} ${key.port}`;
