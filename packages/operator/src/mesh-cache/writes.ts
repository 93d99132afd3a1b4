import { type Fence, type Kv, KvError, type TxnOperation } from '@causeway/etcd';
import { type Clock, exponentialBackoff } from '@causeway/tables';
import { FENCED_OPS, fencedTxn } from '../fenced.ts';

/** etcd refuses requests over 1.5 MiB. */
const MAX_BYTES = 1_000_000;

export interface CacheWriter {
  /** The own cluster's store. */
  readonly kv: Kv;
  readonly fence: Fence;
  readonly onFenceLost: () => void;
  readonly clock: Clock;
  readonly random: () => number;
}

/** Writes as the leader until it is done or the signal aborts: a store of our own that is away is waited for. */
export async function writeAll(
  { kv, fence, onFenceLost, clock, random }: CacheWriter,
  operations: readonly TxnOperation[],
  signal: AbortSignal,
): Promise<void> {
  const backoff = exponentialBackoff(random, { min: 50, max: 5000 });
  for (const part of parts(operations)) {
    for (let failures = 1; ; failures++) {
      signal.throwIfAborted();
      try {
        await fencedTxn(kv, fence, [], part, signal);
        break;
      } catch (error) {
        if (!(error instanceof KvError)) onFenceLost();
        if (!(error instanceof KvError) || !error.retryable) throw error;
        await clock.sleep(backoff(failures), signal);
      }
    }
  }
}

/** As etcd takes them: so many operations and so many bytes at a time. */
function* parts(operations: readonly TxnOperation[]): Generator<readonly TxnOperation[]> {
  let part: TxnOperation[] = [];
  let bytes = 0;
  for (const operation of operations) {
    const size = operation.type === 'put' ? operation.key.length + operation.value.length : 200;
    if (part.length > 0 && (part.length >= FENCED_OPS || bytes + size > MAX_BYTES)) {
      yield part;
      [part, bytes] = [[], 0];
    }
    part.push(operation);
    bytes += size;
  }
  if (part.length > 0) yield part;
}
