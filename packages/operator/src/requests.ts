import type { Kv } from '@causeway/etcd';
import { unchanged } from '@causeway/etcd';
import type { Lead } from './lead.ts';

/**
 * What a person asks of the leader, wherever it runs: a key that the leader deletes when it is done. Its value is
 * not read.
 */
export const RELEASE_REQUESTS = 'causeway/requests/release/';

export const releaseRequestKey = (node: string): string => RELEASE_REQUESTS + node;

/** Does what is asked, until the signal aborts. */
export async function serveRequests(
  kv: Kv,
  lead: Pick<Lead, 'whenAllocating'>,
  signal: AbortSignal,
  good: () => void,
): Promise<void> {
  await using watch = kv.watch(RELEASE_REQUESTS, { signal });
  for await (const event of watch) {
    if (event.type === 'synced') good();
    if (event.type !== 'put') continue;
    const { entry } = event;
    const node = entry.key.slice(RELEASE_REQUESTS.length);
    const allocator = await lead.whenAllocating(signal);
    if (allocator === undefined) return;
    if (!(await allocator.forceRelease(node)))
      throw new Error(`the release of ${node} was cut off`);
    await kv.txn(
      { compare: [unchanged(entry)], success: [{ type: 'delete', key: entry.key }] },
      { signal },
    );
  }
}

/** Seconds that a request outlives the one who asks: a command that died is not carried out hours later. */
const REQUEST_TTL = 15;

/**
 * Asks the leader for it and waits until it is done. Undefined when the signal aborts first: the request is taken back
 * then, and nothing happens any more. Throws KvError.
 */
export async function requestRelease(
  kv: Kv,
  node: string,
  signal: AbortSignal,
): Promise<'done' | undefined> {
  const key = releaseRequestKey(node);
  await using lease = await kv.lease(REQUEST_TTL, { signal });
  await kv.put(key, '{}', { lease: lease.id, signal });
  await using watch = kv.watch(key, { signal, known: [key] });
  for await (const event of watch) {
    // With the lease the request went undone.
    if (event.type === 'delete' && event.key === key)
      return lease.ended.aborted ? undefined : 'done';
  }
  return undefined;
}
