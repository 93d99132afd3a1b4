import { setTimeout as sleep } from 'node:timers/promises';
import { absent, type Kv } from '@causeway/etcd';
import { AT_WORK } from '@causeway/mesh';
import { OperatorError } from '../errors.ts';

/** Seconds for which what is a program's that died is nobody else's. */
const SECONDS = 15;
/** Others hold it for moments, but for joins, which take the other side's answers. */
const PATIENCE_MS = 5000;
const LOOK_MS = 100;

/** While it is held nobody else changes what this cluster has of a peer: users, certificates, a join. Throws `join-busy`. */
export async function atWork(kv: Kv, peer: string): Promise<AsyncDisposable> {
  const key = AT_WORK + peer;
  const lease = await kv.lease(SECONDS);
  try {
    for (let waited = 0; waited < PATIENCE_MS; waited += LOOK_MS) {
      const { succeeded } = await kv.txn({
        compare: [absent(key)],
        success: [{ type: 'put', key, value: '', lease: lease.id }],
      });
      if (succeeded) return lease;
      await sleep(LOOK_MS);
    }
    throw busy(peer);
  } catch (error) {
    // The key may stand although no answer came, and would for as long as this program keeps the lease alive.
    await lease[Symbol.asyncDispose]();
    throw error;
  }
}

export const busy = (peer: string): OperatorError =>
  new OperatorError('join-busy', `another join with ${peer} is under way, or was interrupted`, {
    value: peer,
    hint: 'wait half a minute and try again; what was interrupted is then undone or finished first',
  });
