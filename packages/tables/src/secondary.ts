import type { Entry } from './list.ts';

export type TableKey = string | number;

export interface IndexSpec<Row> {
  /** The keys under which the row is found: one, several, or none. */
  readonly keys: (row: Row) => TableKey | readonly TableKey[] | undefined;
  /** At most one row per key; a second one throws `unique-violation` and changes nothing. */
  readonly unique?: boolean;
}

const none: readonly TableKey[] = [];

/** One secondary index: key to entries. A key with one row holds the entry itself, to stay small. */
export class SecondaryIndex<Row, K> {
  readonly unique: boolean;
  readonly #keys: IndexSpec<Row>['keys'];
  readonly #rows = new Map<TableKey, Entry<Row, K> | Set<Entry<Row, K>>>();

  constructor(spec: IndexSpec<Row>) {
    this.#keys = spec.keys;
    this.unique = spec.unique ?? false;
  }

  keysOf(row: Row): readonly TableKey[] {
    const keys = this.#keys(row);
    if (keys === undefined) return none;
    return typeof keys === 'object' ? keys : [keys];
  }

  /** The entry that already holds one of the row's keys, if it is not `self`. */
  conflict(row: Row, self: Entry<Row, K> | undefined): [TableKey, Entry<Row, K>] | undefined {
    for (const key of this.keysOf(row)) {
      const held = this.#rows.get(key);
      if (held && !(held instanceof Set) && held !== self) return [key, held];
    }
    return undefined;
  }

  add(row: Row, entry: Entry<Row, K>): void {
    for (const key of this.keysOf(row)) {
      const held = this.#rows.get(key);
      if (held === undefined) this.#rows.set(key, entry);
      else if (held instanceof Set) held.add(entry);
      else if (held !== entry) this.#rows.set(key, new Set([held, entry]));
    }
  }

  remove(row: Row, entry: Entry<Row, K>): void {
    for (const key of this.keysOf(row)) {
      const held = this.#rows.get(key);
      if (held === entry) this.#rows.delete(key);
      else if (held instanceof Set) {
        held.delete(entry);
        const [last] = held;
        if (held.size === 1 && last) this.#rows.set(key, last);
      }
    }
  }

  *get(key: TableKey): Generator<Row, void, undefined> {
    const held = this.#rows.get(key);
    if (held instanceof Set) for (const entry of [...held]) yield entry.row;
    else if (held) yield held.row;
  }

  first(key: TableKey): Row | undefined {
    const held = this.#rows.get(key);
    if (!(held instanceof Set)) return held?.row;
    const [entry] = held;
    return entry?.row;
  }

  count(key: TableKey): number {
    const held = this.#rows.get(key);
    return held instanceof Set ? held.size : held ? 1 : 0;
  }

  keys(): IterableIterator<TableKey> {
    return this.#rows.keys();
  }
}
