/** What etcd makes of a transaction before it runs: its comparisons, and what it refuses. */

import type { Entry } from './entry.ts';
import { bytesOf } from './entry.ts';
import { KvError } from './errors.ts';
import type { Compare, TxnOperation } from './types.ts';

/** etcd's own default limits. */
const maxOperations = 128;
const maxRequestBytes = 1.5 * 1024 * 1024;

/** Throws `too-large` or `invalid`, as etcd does before it looks at any key. */
export function checkTransaction(
  compare: readonly Compare[],
  success: readonly TxnOperation[],
  failure: readonly TxnOperation[],
): void {
  for (const { length } of [compare, success, failure]) {
    if (length <= maxOperations) continue;
    const message = `${length} operations in a transaction, at most ${maxOperations}`;
    throw new KvError('too-large', length, message);
  }
  checkRequest(success);
  checkRequest(failure);
}

function checkRequest(operations: readonly TxnOperation[]): void {
  const puts = new Set<string>();
  let size = 0;
  for (const operation of operations) {
    if (operation.type !== 'put') continue;
    size += operation.key.length + bytesOf(operation.value).length;
    if (puts.has(operation.key)) {
      throw new KvError(
        'invalid',
        operation.key,
        `key ${operation.key} is put twice in one transaction`,
      );
    }
    puts.add(operation.key);
  }
  for (const operation of operations) {
    const removed = (key: string) =>
      operation.type === 'delete'
        ? operation.key === key
        : operation.type === 'delete-prefix' && key.startsWith(operation.prefix);
    for (const key of puts) {
      if (removed(key)) {
        throw new KvError('invalid', key, `key ${key} is put and deleted in one transaction`);
      }
    }
  }
  if (size > maxRequestBytes) {
    throw new KvError('too-large', size, `a request of ${size} bytes, at most ${maxRequestBytes}`);
  }
}

export function holds(compare: Compare, entry: Entry | undefined): boolean {
  switch (compare.type) {
    case 'create':
      return ordered((entry?.createRevision ?? 0) - compare.revision, compare.operator);
    case 'mod':
      return ordered((entry?.modRevision ?? 0) - compare.revision, compare.operator);
    case 'version':
      return ordered((entry?.version ?? 0) - compare.revision, compare.operator);
    case 'lease': {
      const difference = BigInt(entry?.lease ?? 0) - BigInt(compare.lease ?? 0);
      return ordered(difference < 0n ? -1 : difference > 0n ? 1 : 0, compare.operator);
    }
    case 'value':
      // etcd: a key that is not there has no value to compare, so nothing holds, not even "!=".
      return (
        entry !== undefined &&
        ordered(Buffer.compare(entry.value, bytesOf(compare.value)), compare.operator)
      );
    default:
      return compare satisfies never;
  }
}

function ordered(difference: number, operator: Compare['operator']): boolean {
  switch (operator) {
    case '=':
      return difference === 0;
    case '!=':
      return difference !== 0;
    case '<':
      return difference < 0;
    case '>':
      return difference > 0;
    default:
      return operator satisfies never;
  }
}
