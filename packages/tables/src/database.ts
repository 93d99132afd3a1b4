import { TablesError } from './errors.ts';
import type { TableKey } from './secondary.ts';
import { Table, type TableSpec } from './table.ts';

/** The part of a table that commits. */
interface Committable {
  readonly name: string;
  committed(): void;
}

/** Undo log of the transaction under way; every write of every table goes through it. */
export class Journal {
  readonly #undo: (() => void)[] = [];
  readonly #touched = new Set<Committable>();
  readonly #onCommit: () => void;
  readonly #afterwards: (() => void)[] = [];
  #depth = 0;

  constructor(onCommit: () => void) {
    this.#onCommit = onCommit;
  }

  /** Runs `body` in the transaction under way, or in one of its own; a throw undoes what `body` wrote. */
  within<T>(body: () => T): T {
    const start = this.#undo.length;
    this.#depth++;
    let result: T;
    try {
      result = body();
      if (result instanceof Promise) {
        throw new TablesError(
          'in-transaction',
          undefined,
          'a transaction is synchronous: its function returned a promise',
        );
      }
    } catch (error) {
      while (this.#undo.length > start) this.#undo.pop()?.();
      this.#leave();
      throw error;
    }
    this.#leave();
    return result;
  }

  #leave(): void {
    if (--this.#depth > 0) return;
    const changed = this.#undo.length > 0;
    this.#undo.length = 0;
    const touched = [...this.#touched];
    this.#touched.clear();
    for (const work of this.#afterwards.splice(0)) work();
    if (!changed) return;
    let failure: { readonly error: unknown } | undefined;
    for (const table of touched) {
      try {
        table.committed();
      } catch (error) {
        // The changes stand, so the readers of the other tables must hear of theirs first.
        failure ??= { error };
      }
    }
    this.#onCommit();
    if (failure !== undefined) throw failure.error;
  }

  /** Runs now, or when the transaction under way has ended. */
  whenIdle(work: () => void): void {
    if (this.#depth === 0) work();
    else this.#afterwards.push(work);
  }

  record(table: Committable, undo: () => void): void {
    this.#touched.add(table);
    this.#undo.push(undo);
  }

  /** Wakes a table's readers without a change of its rows. */
  touch(table: Committable): void {
    table.committed();
    this.#onCommit();
  }

  assertIdle(): void {
    if (this.#depth > 0) {
      throw new TablesError(
        'in-transaction',
        undefined,
        'changes are read between transactions, not inside one',
      );
    }
  }
}

/** Work that follows commits: a derivation. */
export interface Follower {
  readonly name: string;
  /** Tables that it reads and the one that it writes. */
  readonly inputs: readonly string[];
  readonly output: string;
  /** Does what is pending; true if there was anything. */
  run(): boolean;
}

export interface DatabaseOptions {
  /** Freeze every row that is written: for tests, where a changed row must fail loudly. */
  readonly freeze?: boolean;
}

// biome-ignore lint/suspicious/noExplicitAny: a database holds tables of any row
export type AnyTable = Table<any, any, any>;

/** Tables that change together. Derivations run when the current call stack ends, or at once by `settle`. */
export class Database {
  readonly #tables = new Map<string, AnyTable>();
  readonly #followers = new Set<Follower>();
  readonly #freeze: boolean;
  readonly #journal = new Journal(() => this.#schedule());
  #scheduled = false;
  #settling = false;

  constructor(options: DatabaseOptions = {}) {
    this.#freeze = options.freeze ?? false;
  }

  /** Throws `duplicate-table`. */
  table<Row, K extends TableKey = string, I extends string = string>(
    spec: TableSpec<Row, K, I>,
  ): Table<Row, K, I> {
    if (this.#tables.has(spec.name)) {
      throw new TablesError('duplicate-table', spec.name, `table ${spec.name} exists already`);
    }
    const table = new Table(spec, { database: this, journal: this.#journal, freeze: this.#freeze });
    this.#tables.set(spec.name, table);
    return table;
  }

  tables(): readonly AnyTable[] {
    return [...this.#tables.values()];
  }

  find(name: string): AnyTable | undefined {
    return this.#tables.get(name);
  }

  /**
   * One transaction over any of the tables: readers see all of it or, if `body` throws, none. It is
   * synchronous and sees its own writes; a nested one is undone alone if its error is caught.
   */
  write<T>(body: () => T): T {
    return this.#journal.within(body);
  }

  /** For derivations. Throws `cycle` if the output would feed its own input. */
  follow(follower: Follower): () => void {
    const reach = new Set<string>([follower.output]);
    for (let grown = true; grown; ) {
      grown = false;
      for (const other of this.#followers) {
        if (!reach.has(other.output) && other.inputs.some((name) => reach.has(name))) {
          reach.add(other.output);
          grown = true;
        }
      }
    }
    const looped = follower.inputs.find((name) => reach.has(name));
    if (looped !== undefined) {
      throw new TablesError(
        'cycle',
        follower.name,
        `${follower.name}: ${follower.output} already feeds ${looped}`,
      );
    }
    this.#followers.add(follower);
    this.#schedule();
    return () => this.#followers.delete(follower);
  }

  #schedule(): void {
    if (this.#scheduled || this.#settling || this.#followers.size === 0) return;
    this.#scheduled = true;
    queueMicrotask(() => {
      this.#scheduled = false;
      this.settle();
    });
  }

  /** Brings every derived table up to date now. */
  settle(): void {
    if (this.#settling) return;
    this.#journal.assertIdle();
    this.#settling = true;
    try {
      // There is no cycle, so this ends after at most as many rounds as the graph is deep.
      for (let worked = true; worked; ) {
        worked = false;
        for (const follower of this.#followers) worked = follower.run() || worked;
      }
    } finally {
      this.#settling = false;
    }
  }
}
