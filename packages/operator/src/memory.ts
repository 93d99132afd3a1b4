import type { RecordKind, RecordStore } from '@causeway/daemon';
import { z } from 'zod';

const schema = z.strictObject({
  clusterId: z.string(),
  revision: z.number(),
  /** Pod CIDRs that were given. */
  records: z.number(),
});

/** What an operator remembers of its store, to know it from another behind the same name. */
export type StoreMemory = z.infer<typeof schema>;

export const storeMemoryRecord: RecordKind<StoreMemory> = {
  format: 'causeway-operator-store',
  version: 1,
  parse: (payload) => schema.parse(payload),
};

const NAME = 'store';

/**
 * Whether the store is the one that was known, and not one that was emptied or put back to an older state: its
 * nodes have then yet to say what they hold. Remembered over restarts.
 */
export class KnownStore {
  readonly #records: RecordStore<StoreMemory>;
  #last: StoreMemory | undefined;

  constructor(records: RecordStore<StoreMemory>) {
    this.#records = records;
    this.#last = records.load().records.get(NAME);
  }

  /** What the store is by the leader's own writes. */
  async note(now: StoreMemory): Promise<void> {
    this.#last = now;
    await this.#records.write(NAME, now);
  }

  /** @returns true if what stands there now is not a continuation of what was known. */
  async see(now: StoreMemory): Promise<boolean> {
    const before = this.#last;
    await this.note(now);
    if (before === undefined) return false;
    // An etcd that was set up anew can have its old id, and by now a higher revision.
    const emptied = before.records > 0 && now.records === 0;
    return emptied || before.clusterId !== now.clusterId || now.revision < before.revision;
  }
}
