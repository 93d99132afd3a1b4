import type { Fence, Kv, TxnOperation } from '@causeway/etcd';
import type { Write } from '../core/publication.ts';

/** etcd's `--max-txn-ops` is 128 by default and counts compares too. */
const MAX_OPERATIONS = 120;
/** Below etcd's 1.5 MiB for a request. */
const MAX_BYTES = 1_000_000;

/** Another leads: what this one still wanted to write is no longer its to write. */
export class FenceLost extends Error {
  override readonly name = 'FenceLost';
}

/** Writes only while the fence stands. Throws FenceLost, and KvError when the store cannot be asked. */
export class FencedWriter {
  readonly #kv: Kv;
  readonly #fence: Fence;
  readonly #signal: AbortSignal;
  /** Keys written or deleted since the lead began. */
  writes = 0;

  constructor(kv: Kv, fence: Fence, signal: AbortSignal) {
    this.#kv = kv;
    this.#fence = fence;
    this.#signal = signal;
  }

  /** All of them, in their order, in as few transactions as the store takes. */
  async write(writes: readonly Write[]): Promise<void> {
    for (const part of parts(writes)) {
      const success: TxnOperation[] = part.map((each) =>
        each.type === 'put'
          ? { type: 'put', key: each.key, value: each.value }
          : { type: 'delete', key: each.key },
      );
      const { succeeded } = await this.#kv.txn(
        { compare: [this.#fence.compare], success },
        { signal: this.#signal },
      );
      if (!succeeded) throw new FenceLost(`the lead of revision ${this.#fence.revision} is over`);
      this.writes += part.length;
    }
  }
}

/** Of several writes of one key in a part only the last counts: a transaction may name a key once. */
function* parts(writes: readonly Write[]): Generator<Write[]> {
  let part = new Map<string, Write>();
  let bytes = 0;
  for (const write of writes) {
    const size =
      write.key.length + (write.type === 'put' ? Buffer.byteLength(write.value) : 0) + 32;
    if (part.size >= MAX_OPERATIONS || bytes + size > MAX_BYTES) {
      yield [...part.values()];
      part = new Map();
      bytes = 0;
    }
    part.delete(write.key);
    part.set(write.key, write);
    bytes += size;
  }
  if (part.size > 0) yield [...part.values()];
}
