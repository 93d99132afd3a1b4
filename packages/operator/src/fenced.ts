import type { Compare, Fence, Kv, TxnOperation } from '@causeway/etcd';
import { FenceLost } from './pod-cidrs/writer.ts';

/** Half of etcd's default `--max-txn-ops`, which counts compares and operations each. */
export const FENCED_OPS = 60;

/**
 * One write of the leader's beside the allocation of pod CIDRs. False when something that it compares has changed:
 * read again, decide again. Throws FenceLost, KvError.
 */
export async function fencedTxn(
  kv: Kv,
  fence: Fence,
  compare: readonly Compare[],
  success: readonly TxnOperation[],
  signal: AbortSignal,
): Promise<boolean> {
  const { succeeded, results } = await kv.txn(
    {
      compare: [fence.compare, ...compare],
      success,
      failure: [{ type: 'get', key: fence.key }],
    },
    { signal },
  );
  if (succeeded) return true;
  const [result] = results;
  const held = result?.type === 'get' ? result.entry?.createRevision : undefined;
  if (held !== fence.revision) throw new FenceLost('another operator leads');
  return false;
}
