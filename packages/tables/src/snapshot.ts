import { TablesError } from './errors.ts';
import type { Entry } from './list.ts';

/** What the live table keeps for a snapshot: the rows that have changed since, as they were. */
export class SnapshotStore<Row, K> {
  readonly old = new Map<K, Row | undefined>();

  keep(key: K, row: Row | undefined): void {
    if (!this.old.has(key)) this.old.set(key, row);
  }
}

interface Live<Row, K> {
  readonly get: (key: K) => Row | undefined;
  readonly rows: () => Iterable<[K, Entry<Row, K>]>;
  readonly size: number;
  readonly revision: number;
  readonly close: (store: SnapshotStore<Row, K>) => void;
}

/** A table as it stood at one moment. Dispose of it, or each later change keeps paying for it. */
export class Snapshot<Row, K> implements Disposable {
  readonly size: number;
  readonly revision: number;
  /** For the table. */
  readonly store = new SnapshotStore<Row, K>();
  readonly #live: Live<Row, K>;
  #open = true;

  constructor(live: Live<Row, K>) {
    this.#live = live;
    this.size = live.size;
    this.revision = live.revision;
  }

  #assertOpen(): void {
    if (!this.#open) throw new TablesError('closed', this.revision, 'the snapshot is closed');
  }

  get(key: K): Row | undefined {
    this.#assertOpen();
    return this.store.old.has(key) ? this.store.old.get(key) : this.#live.get(key);
  }

  *rows(): Generator<Row, void, undefined> {
    this.#assertOpen();
    const told = new Set<K>();
    for (const [key, entry] of this.#live.rows()) {
      if (this.store.old.has(key)) continue;
      told.add(key);
      yield entry.row;
    }
    // A row changed while we walked may have been told already, as it was.
    for (const [key, row] of this.store.old) if (row !== undefined && !told.has(key)) yield row;
  }

  [Symbol.iterator](): Generator<Row, void, undefined> {
    return this.rows();
  }

  [Symbol.dispose](): void {
    if (!this.#open) return;
    this.#open = false;
    this.#live.close(this.store);
    this.store.old.clear();
  }
}
