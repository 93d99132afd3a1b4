import type { Database, Journal } from './database.ts';
import { TablesError } from './errors.ts';
import { type InitialSource, InitialSources } from './initial.ts';
import { Entry, Link } from './list.ts';
import { type Column, type PrintedTable, printTable } from './print.ts';
import { type IndexSpec, SecondaryIndex, type TableKey } from './secondary.ts';
import { Snapshot, type SnapshotStore } from './snapshot.ts';
import { type Feed, Tracker } from './tracker.ts';
import { deepEqual, deepFreeze, type Json } from './values.ts';

export interface TableSpec<Row, K extends TableKey = string, I extends string = string> {
  /** Unique in its database, kebab-case; what the API and the CLI call it. */
  readonly name: string;
  readonly key: (row: Row) => K;
  readonly indexes?: { readonly [Name in I]: IndexSpec<Row> };
  /** What an operator sees, in this order. Without it: the fields of the rows. */
  readonly columns?: readonly Column<Row>[];
  /** Writing an equal row is no change. Default: `deepEqual`. */
  readonly equals?: (a: Row, b: Row) => boolean;
}

/** A row with the revision of its last change. */
export interface Versioned<Row> {
  readonly row: Row;
  readonly revision: number;
}

/**
 * Immutable rows by primary key. Each change gets the table's next revision; reads cost O(1), a
 * change O(1) per index. Rows are replaced, never changed in place. Made by `Database.table`.
 */
export class Table<Row, K extends TableKey = string, I extends string = string> {
  readonly name: string;
  readonly keyOf: (row: Row) => K;
  readonly #spec: TableSpec<Row, K, I>;
  readonly #database: Database;
  readonly #journal: Journal;
  readonly #freeze: boolean;
  readonly #rows = new Map<K, Entry<Row, K>>();
  /** Deleted entries that some tracker has yet to see, oldest first. */
  readonly #graves = new Map<K, Entry<Row, K>>();
  readonly #ring = new Link();
  readonly #indexes: ReadonlyMap<string, SecondaryIndex<Row, K>>;
  readonly #trackers = new Set<Tracker<Row, K>>();
  readonly #snapshots = new Set<SnapshotStore<Row, K>>();
  readonly #sources = new InitialSources();
  readonly #listeners = new Set<() => void>();
  readonly #statuses = new Map<string, (key: K) => Json>();
  #revision = 0;

  /** For Database only. */
  constructor(
    spec: TableSpec<Row, K, I>,
    context: { database: Database; journal: Journal; freeze: boolean },
  ) {
    this.name = spec.name;
    this.keyOf = spec.key;
    this.#spec = spec;
    this.#database = context.database;
    this.#journal = context.journal;
    this.#freeze = context.freeze;
    const indexes = Object.entries<IndexSpec<Row>>(spec.indexes ?? {});
    this.#indexes = new Map(indexes.map(([name, index]) => [name, new SecondaryIndex(index)]));
  }

  get database(): Database {
    return this.#database;
  }

  get size(): number {
    return this.#rows.size;
  }

  /** The revision of the last change; 0 before the first. */
  get revision(): number {
    return this.#revision;
  }

  get(key: K): Row | undefined {
    return this.#rows.get(key)?.row;
  }

  /** The row and its revision, for `putIfUnchanged`. */
  entry(key: K): Versioned<Row> | undefined {
    const entry = this.#rows.get(key);
    return entry && { row: entry.row, revision: entry.revision };
  }

  has(key: K): boolean {
    return this.#rows.has(key);
  }

  keys(): IterableIterator<K> {
    return this.#rows.keys();
  }

  /** All rows, in no order to rely on. A row written during the iteration may or may not show; see `snapshot`. */
  *rows(): Generator<Row, void, undefined> {
    for (const entry of this.#rows.values()) yield entry.row;
  }

  [Symbol.iterator](): Generator<Row, void, undefined> {
    return this.rows();
  }

  #index(name: I): SecondaryIndex<Row, K> {
    const index = this.#indexes.get(name);
    if (!index) {
      throw new TablesError('invalid-option', name, `table ${this.name} has no index ${name}`);
    }
    return index;
  }

  /** The rows under a key of a secondary index. */
  by(index: I, key: TableKey): Generator<Row, void, undefined> {
    return this.#index(index).get(key);
  }

  /** Any one row under a key of a secondary index: the row, if the index is unique. */
  first(index: I, key: TableKey): Row | undefined {
    return this.#index(index).first(key);
  }

  count(index: I, key: TableKey): number {
    return this.#index(index).count(key);
  }

  /** The distinct keys of a secondary index. */
  indexKeys(index: I): IterableIterator<TableKey> {
    return this.#index(index).keys();
  }

  /** Inserts or replaces. False if an equal row is there already. Throws `unique-violation`. */
  put(row: Row): boolean {
    const key = this.#spec.key(row);
    const live = this.#rows.get(key);
    if (live && (this.#spec.equals ?? deepEqual)(live.row, row)) return false;
    for (const [name, index] of this.#indexes) {
      const conflict = index.unique ? index.conflict(row, live) : undefined;
      if (conflict) {
        throw new TablesError(
          'unique-violation',
          row,
          `table ${this.name}: row ${key} claims ${name} ${conflict[0]}, which row ${conflict[1].key} holds`,
        );
      }
    }
    this.#journal.within(() => this.#write(key, row, false));
    return true;
  }

  /** Replaces only if the row is still at this revision (0: does not exist). False if it has moved on. */
  putIfUnchanged(row: Row, revision: number): boolean {
    const entry = this.#rows.get(this.#spec.key(row));
    if ((entry?.revision ?? 0) !== revision) return false;
    this.put(row);
    return true;
  }

  /** Puts what `change` makes of the row; undefined deletes it. Returns the row that stands then. */
  update(key: K, change: (row: Row | undefined) => Row | undefined): Row | undefined {
    const row = change(this.get(key));
    if (row === undefined) this.delete(key);
    else this.put(row);
    return row;
  }

  /** The row that was deleted, if there was one. */
  delete(key: K): Row | undefined {
    const live = this.#rows.get(key);
    if (!live) return undefined;
    this.#journal.within(() => this.#write(key, live.row, true));
    return live.row;
  }

  /**
   * Makes these the only rows, or the only ones of those for which `within` holds: what a source does
   * with its full state. Returns the number of changes.
   */
  replace(rows: Iterable<Row>, within: (row: Row) => boolean = () => true): number {
    return this.#database.write(() => {
      const before = this.#revision;
      const kept = new Set<K>();
      const incoming = [...rows];
      for (const row of incoming) kept.add(this.#spec.key(row));
      // Deletions come first: a unique key may move from a row that goes to one that comes.
      for (const [key, entry] of this.#rows) {
        if (!kept.has(key) && within(entry.row)) this.delete(key);
      }
      for (const row of incoming) this.put(row);
      return this.#revision - before;
    });
  }

  /** One change, with its undoing in the journal. Checks are the caller's. */
  #write(key: K, row: Row, deleted: boolean): void {
    if (this.#freeze && !deleted) deepFreeze(row);
    const live = this.#rows.get(key);
    const entry = live ?? this.#graves.get(key) ?? new Entry<Row, K>(key, row, 0);
    const before = {
      row: entry.row,
      revision: entry.revision,
      deleted: entry.deleted,
      linked: entry.prev !== entry,
      after: entry.prev,
      tableRevision: this.#revision,
    };
    for (const snapshot of this.#snapshots) snapshot.keep(key, live?.row);
    if (live) for (const index of this.#indexes.values()) index.remove(live.row, entry);
    if (before.linked) entry.unlink();
    entry.row = row;
    entry.revision = ++this.#revision;
    entry.deleted = deleted;
    entry.insertAfter(this.#ring.prev);
    this.#place(entry);
    if (!deleted) for (const index of this.#indexes.values()) index.add(row, entry);

    this.#journal.record(this, () => {
      if (!deleted) for (const index of this.#indexes.values()) index.remove(row, entry);
      entry.unlink();
      entry.row = before.row;
      entry.revision = before.revision;
      entry.deleted = before.deleted;
      this.#revision = before.tableRevision;
      // Undone last to first, the ring around the entry is again what it was.
      if (before.linked) entry.insertAfter(before.after);
      if (before.linked) this.#place(entry);
      else this.#rows.delete(key);
      if (live) for (const index of this.#indexes.values()) index.add(before.row, entry);
    });
  }

  #place(entry: Entry<Row, K>): void {
    if (entry.deleted) {
      this.#rows.delete(entry.key);
      this.#graves.delete(entry.key);
      this.#graves.set(entry.key, entry);
    } else {
      this.#graves.delete(entry.key);
      this.#rows.set(entry.key, entry);
    }
  }

  /** For the journal: the transaction that touched this table is complete. */
  committed(): void {
    this.#bury();
    for (const tracker of this.#trackers) tracker.wake();
    let failure: unknown;
    for (const listener of [...this.#listeners]) {
      try {
        listener();
      } catch (error) {
        // The change stands and everybody else must hear of it first.
        failure ??= error;
      }
    }
    if (failure !== undefined) throw failure;
  }

  /** Lets go of deletions that every tracker has seen. */
  #bury(): void {
    if (this.#graves.size === 0) return;
    let seen = this.#revision;
    for (const tracker of this.#trackers) seen = Math.min(seen, tracker.seen);
    for (const [key, entry] of this.#graves) {
      if (entry.revision > seen) break;
      entry.unlink();
      this.#graves.delete(key);
    }
  }

  /** Deletions that wait for a tracker. */
  get graves(): number {
    return this.#graves.size;
  }

  /**
   * A reader of every change from now on, and first (unless `from` is `now`) of every row that stands.
   * Deletions wait for it: dispose of it when done. Throws `in-transaction`.
   */
  changes(name: string, from: 'start' | 'now' = 'start'): Tracker<Row, K> {
    const feed: Feed = {
      table: this.name,
      ring: this.#ring,
      revision: () => this.#revision,
      assertReadable: () => this.#journal.assertIdle(),
      passed: () => this.#bury(),
      closed: (unlink) => {
        this.#trackers.delete(tracker);
        // An undo may still need the place in the ring.
        this.#journal.whenIdle(() => {
          unlink();
          this.#bury();
        });
      },
    };
    this.#journal.assertIdle();
    const tracker: Tracker<Row, K> = new Tracker<Row, K>(name, feed, from);
    this.#trackers.add(tracker);
    return tracker;
  }

  trackers(): readonly { readonly name: string; readonly seen: number }[] {
    return [...this.#trackers].map(({ name, seen }) => ({ name, seen }));
  }

  /** This moment's rows, whatever is written later. Costs O(1), and O(1) per later change until disposed of. Throws `in-transaction`. */
  snapshot(): Snapshot<Row, K> {
    this.#journal.assertIdle();
    const rows = {
      get: (key: K) => this.get(key),
      rows: () => this.#rows.entries(),
      size: this.size,
      revision: this.#revision,
      close: (store: SnapshotStore<Row, K>) => this.#snapshots.delete(store),
    };
    const snapshot = new Snapshot<Row, K>(rows);
    this.#snapshots.add(snapshot.store);
    return snapshot;
  }

  /** Names a source whose first full state must be in before anything is pruned. Register before it starts. */
  source(name: string): InitialSource {
    return this.#sources.add(name, () => this.#journal.touch(this));
  }

  /** True if every registered source has delivered. */
  get initialized(): boolean {
    return this.#sources.initialized;
  }

  /** The sources that `initialized` waits for. */
  get pendingSources(): readonly string[] {
    return this.#sources.pending;
  }

  /** Resolves once `initialized`; rejects with the signal's reason. */
  whenInitialized(signal?: AbortSignal): Promise<void> {
    return this.#sources.whenInitialized(signal);
  }

  /** Called after each transaction that touched the table, and when it becomes initialized. Returns its undoing. */
  onCommit(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Shows a status beside each printed row; reconcilers register themselves. Returns its undoing. */
  showStatus(name: string, status: (key: K) => Json): () => void {
    this.#statuses.set(name, status);
    return () => this.#statuses.delete(name);
  }

  /** The rows as JSON-able objects and the columns for text. */
  print(limit = Number.POSITIVE_INFINITY): PrintedTable {
    return printTable(this, this.#spec.columns, this.#statuses, limit);
  }
}
