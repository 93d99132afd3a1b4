import type { Log } from '@causeway/daemon';
import { ResourceError, type ResourceStore } from '@causeway/resources';
import type { OperatorTables } from '../sources.ts';
import type { PodCidrAllocator } from './allocator.ts';
import { refusalsByNode } from './refusals.ts';

/** Statuses written in one round: a pool that is exhausted may concern every node. */
const MAX_WRITES = 200;

/**
 * Tells nodes in their CiliumNode's status why they are not given what they ask for (Cilium's field), and the log
 * when a pool runs out and when it has something again.
 */
export class PodCidrReports {
  readonly #store: ResourceStore;
  readonly #tables: OperatorTables;
  readonly #log: Log;
  /** What was written and has not come back by the watch. */
  readonly #told = new Map<string, string>();
  #exhausted = new Set<string>();

  constructor(store: ResourceStore, tables: OperatorTables, log: Log) {
    this.#store = store;
    this.#tables = tables;
    this.#log = log;
  }

  /** One look. Throws KvError. */
  async round(allocator: PodCidrAllocator, signal: AbortSignal): Promise<void> {
    const refusals = allocator.refusals();
    this.#tellPools(
      new Set(
        refusals.flatMap((each) =>
          each.type === 'exhausted' ? `${each.pool} ${each.family}` : [],
        ),
      ),
    );
    const wanted = refusalsByNode(refusals);
    let writes = 0;
    for (const { name, error } of this.#tables.nodes) {
      const text = wanted.get(name) ?? '';
      const told = this.#told.get(name);
      if (told === error) this.#told.delete(name);
      if ((told ?? error) === text) continue;
      if (++writes > MAX_WRITES) return;
      try {
        await this.#store.patchStatus(
          'CiliumNode',
          { name },
          { ipam: { 'operator-status': { error: text === '' ? null : text } } },
          { signal },
        );
        this.#told.set(name, text);
      } catch (cause) {
        // Gone, not valid, or contended: the next round looks again.
        if (!(cause instanceof ResourceError)) throw cause;
      }
    }
  }

  #tellPools(exhausted: Set<string>): void {
    for (const pool of exhausted) {
      if (!this.#exhausted.has(pool)) {
        this.#log.warn({ pool }, 'a pool has nothing left for nodes that ask; add a range to it');
      }
    }
    for (const pool of this.#exhausted) {
      if (!exhausted.has(pool)) this.#log.info({ pool }, 'a pool serves all who ask again');
    }
    this.#exhausted = exhausted;
  }
}
