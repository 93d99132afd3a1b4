import type { AnyTable } from './database.ts';
import type { InitialSource } from './initial.ts';
import type { TableKey } from './secondary.ts';
import type { Table } from './table.ts';
import type { Tracker } from './tracker.ts';

/** A table that a derivation reads, and the groups that a row of it belongs to. */
export interface GroupInput<Row, G extends TableKey> {
  readonly table: AnyTable;
  readonly groups: (row: Row) => G | readonly G[] | undefined;
}

/** Ties the row type of a table to its grouping function; `deriveGroups` takes a list of these. */
export function input<Row, K extends TableKey, G extends TableKey>(
  table: Table<Row, K>,
  groups: (row: Row) => G | readonly G[] | undefined,
): GroupInput<never, G> {
  return { table, groups: groups as (row: never) => G | readonly G[] | undefined };
}

export interface GroupDerivation<Out, G extends TableKey> {
  /** What the initial source on the output is called. */
  readonly name: string;
  readonly inputs: readonly GroupInput<never, G>[];
  readonly output: Table<Out, TableKey> | Table<Out, string> | Table<Out, number>;
  /**
   * The rows of one group, computed anew when any input row of the group came, changed or went. Reads
   * the inputs through their indexes, writes nothing. If it throws, the group's rows stay as they are.
   */
  readonly compute: (group: G) => Out | Iterable<Out> | undefined;
}

export interface RowDerivation<In, K extends TableKey, Out> {
  readonly name: string;
  readonly from: Table<In, K>;
  readonly to: Table<Out, TableKey> | Table<Out, string> | Table<Out, number>;
  readonly map: (row: In) => Out | readonly Out[] | undefined;
}

export interface DerivationStatus {
  readonly name: string;
  readonly groups: number;
  /** Groups whose rows could not be made or written, and rows that could not be grouped, with the error. */
  readonly errors: ReadonlyMap<TableKey, unknown>;
  /** Output keys that more than one group claims; the least group has it. */
  readonly conflicts: readonly TableKey[];
}

/**
 * Keeps `output` equal to the union of `compute(group)` over all groups, by recomputing only groups
 * that a change touches. The output is initialized when every input is and all of it was computed.
 */
export class Derivation<Out, G extends TableKey> implements Disposable {
  readonly name: string;
  readonly #spec: GroupDerivation<Out, G>;
  readonly #output: Table<Out, TableKey>;
  readonly #trackers: Tracker<unknown, TableKey>[];
  /** Per input: the groups that each row was in, so that a row that moves also leaves. */
  readonly #memberships: Map<TableKey, G | readonly G[]>[];
  readonly #members = new Map<G, number>();
  readonly #produced = new Map<G, readonly TableKey[]>();
  readonly #owner = new Map<TableKey, G>();
  readonly #contested = new Map<TableKey, Map<G, Out>>();
  readonly #errors = new Map<TableKey, unknown>();
  readonly #strays = new Map<TableKey, unknown>();
  readonly #initial: InitialSource;
  readonly #unfollow: () => void;

  constructor(spec: GroupDerivation<Out, G>) {
    this.name = spec.name;
    this.#spec = spec;
    this.#output = spec.output as Table<Out, TableKey>;
    this.#unfollow = this.#output.database.follow({
      name: spec.name,
      inputs: spec.inputs.map(({ table }) => table.name),
      output: this.#output.name,
      run: () => this.#run(),
    });
    this.#initial = this.#output.source(spec.name);
    this.#trackers = spec.inputs.map(({ table }) => table.changes(spec.name));
    this.#memberships = spec.inputs.map(() => new Map());
  }

  status(): DerivationStatus {
    return {
      name: this.name,
      groups: this.#members.size,
      errors: new Map([...this.#strays, ...this.#errors]),
      conflicts: [...this.#contested.keys()],
    };
  }

  #run(): boolean {
    const dirty = new Set<G>();
    this.#spec.inputs.forEach((input, i) => {
      const tracker = this.#trackers[i];
      const memberships = this.#memberships[i];
      if (!tracker || !memberships) return;
      while (tracker.pending) {
        for (const change of tracker.take()) {
          const before = memberships.get(change.key);
          for (const group of listOf(before)) {
            dirty.add(group);
            const left = (this.#members.get(group) ?? 1) - 1;
            if (left > 0) this.#members.set(group, left);
            else this.#members.delete(group);
          }
          const after = change.type === 'put' ? this.#groupsOf(input, change) : undefined;
          if (change.type === 'delete') this.#strays.delete(change.key);
          if (after === undefined) memberships.delete(change.key);
          else memberships.set(change.key, after);
          for (const group of listOf(after)) {
            dirty.add(group);
            this.#members.set(group, (this.#members.get(group) ?? 0) + 1);
          }
        }
      }
    });
    const worked = dirty.size > 0;
    if (worked) {
      // What failed may have failed for want of what has come now.
      for (const group of this.#errors.keys()) dirty.add(group as G);
      this.#output.database.write(() => {
        // Groups that are gone let go of their keys before others claim them.
        for (const group of dirty) if (!this.#members.has(group)) this.#recompute(group);
        for (const group of dirty) if (this.#members.has(group)) this.#recompute(group);
      });
    }
    if (this.#spec.inputs.every(({ table }) => table.initialized)) this.#initial.done();
    return worked;
  }

  /** A row that cannot be grouped belongs nowhere; the error stands under its key. */
  #groupsOf(
    input: GroupInput<never, G>,
    change: { key: TableKey; row: unknown },
  ): G | readonly G[] | undefined {
    try {
      this.#strays.delete(change.key);
      return input.groups(change.row as never);
    } catch (error) {
      this.#strays.set(change.key, error);
      return undefined;
    }
  }

  #recompute(group: G): void {
    let rows = new Map<TableKey, Out>();
    if (this.#members.has(group)) {
      try {
        rows = this.#keyed(this.#spec.compute(group));
      } catch (error) {
        this.#errors.set(group, error);
        return;
      }
    }
    this.#errors.delete(group);
    for (const key of this.#produced.get(group) ?? [])
      if (!rows.has(key)) this.#withdraw(group, key);
    for (const [key, row] of rows) this.#claim(group, key, row);
    if (rows.size === 0) this.#produced.delete(group);
    else this.#produced.set(group, [...rows.keys()]);
  }

  #keyed(result: Out | Iterable<Out> | undefined): Map<TableKey, Out> {
    const rows = new Map<TableKey, Out>();
    if (result === undefined) return rows;
    const iterable = typeof result === 'object' && result !== null && Symbol.iterator in result;
    const list = iterable ? (result as Iterable<Out>) : [result as Out];
    for (const row of list) rows.set(this.#output.keyOf(row), row);
    return rows;
  }

  #claim(group: G, key: TableKey, row: Out): void {
    const owner = this.#owner.get(key);
    if (owner === undefined || (owner === group && !this.#contested.has(key))) {
      this.#owner.set(key, group);
      this.#put(group, row);
      return;
    }
    let claims = this.#contested.get(key);
    if (!claims) {
      const held = this.#output.get(key);
      claims = new Map(held === undefined ? [] : [[owner, held]]);
      this.#contested.set(key, claims);
    }
    claims.set(group, row);
    this.#decide(key, claims);
  }

  #withdraw(group: G, key: TableKey): void {
    const claims = this.#contested.get(key);
    if (claims) {
      claims.delete(group);
      this.#decide(key, claims);
    } else if (this.#owner.get(key) === group) {
      this.#owner.delete(key);
      this.#output.delete(key);
    }
  }

  /** The least group wins, so that the outcome does not depend on the order in which things came. */
  #decide(key: TableKey, claims: Map<G, Out>): void {
    let winner: G | undefined;
    for (const group of claims.keys()) if (winner === undefined || group < winner) winner = group;
    if (claims.size < 2) this.#contested.delete(key);
    if (winner === undefined) return;
    this.#owner.set(key, winner);
    const row = claims.get(winner);
    if (row !== undefined) this.#put(winner, row);
  }

  /** A unique index of the output may refuse a row; the others go on, and this one is tried again. */
  #put(group: G, row: Out): void {
    try {
      this.#output.put(row);
    } catch (error) {
      this.#errors.set(group, error);
    }
  }

  [Symbol.dispose](): void {
    this.#unfollow();
    for (const tracker of this.#trackers) tracker[Symbol.dispose]();
    // The output stays uninitialized if it was: what stopped half-way must not lead to pruning.
  }
}

const empty: readonly never[] = [];

function listOf<G extends TableKey>(groups: G | readonly G[] | undefined): readonly G[] {
  if (groups === undefined) return empty;
  return typeof groups === 'object' ? groups : [groups];
}

/** Joins and aggregations: rows of several tables meet in groups, and each group gives rows. */
export function deriveGroups<Out, G extends TableKey = string>(
  spec: GroupDerivation<Out, G>,
): Derivation<Out, G> {
  return new Derivation(spec);
}

/** Row by row: each input row gives none, one or several output rows. */
export function deriveRows<In, K extends TableKey, Out>(
  spec: RowDerivation<In, K, Out>,
): Derivation<Out, K> {
  const { name, from, to, map } = spec;
  return new Derivation<Out, K>({
    name,
    inputs: [input(from, (row) => from.keyOf(row))],
    output: to,
    compute: (key) => {
      const row = from.get(key);
      return row === undefined ? undefined : map(row);
    },
  });
}
