import type { KvEntry } from '@causeway/etcd';
import type { InitialSource, TableKey } from '@causeway/tables';
import { MeshError } from './errors.ts';
import type { StateKind } from './keys.ts';
import type { NodeRow, ServiceRow, ServiceShardRow } from './rows.ts';
import type { Guard, Sink } from './sinks.ts';
import type { Source } from './sources.ts';

/** Rows of one cluster in a table that all clusters share. */
export class TableSink implements Sink {
  readonly kind: StateKind;
  readonly knowsKeys = false;
  readonly #source: Source;
  readonly #cluster: string;
  readonly #guard: Guard | undefined;
  readonly #most: number;
  /** During a list: the rows that it holds valid values for. */
  #listed: Set<TableKey> | undefined;

  constructor(
    source: Source,
    cluster: string,
    guard: Guard | undefined,
    most = Number.POSITIVE_INFINITY,
  ) {
    this.kind = source.kind;
    this.#source = source;
    this.#cluster = cluster;
    this.#guard = guard;
    this.#most = most;
  }

  source(name: string): InitialSource {
    return this.#source.table.source(name);
  }

  async turn(): Promise<() => void> {
    return () => {};
  }

  write(work: () => void): void {
    this.#source.table.database.write(work);
  }

  begin(): void {
    this.#listed = new Set();
  }

  put(rest: string, entry: KvEntry): void {
    const { table, key, row } = this.#source;
    const made = row(rest, entry);
    if (made === undefined) {
      const at = key(rest);
      if (at !== undefined) this.#take(at);
      return;
    }
    this.#yieldTo(made);
    const isNew = !table.has(table.keyOf(made));
    if (isNew && table.count('cluster', this.#cluster) >= this.#most) {
      const message = `cluster ${this.#cluster} has ${this.#most} ${this.kind} already, and no more are taken`;
      throw new MeshError('too-many', message, this.#most);
    }
    const reason = this.#doubt(made);
    if (reason !== undefined) throw new MeshError('overlap', reason, made);
    table.put(made);
    this.#listed?.add(table.keyOf(made));
  }

  /** A number belongs to one cluster only; ranges keep them apart unless two clusters share an id. */
  #yieldTo(row: { readonly cluster: string }): void {
    const { table } = this.#source;
    const held = table.get(table.keyOf(row));
    if (held === undefined || held.cluster === row.cluster) return;
    throw new MeshError(
      'mismatch',
      `${String(table.keyOf(row))} is already held by cluster ${held.cluster}`,
      held.cluster,
    );
  }

  /** What is ours, or nobody's, is not another cluster's to tell of. */
  #doubt(row: object): string | undefined {
    const guard = this.#guard;
    if (guard === undefined) return undefined;
    if (this.kind === 'nodes') return guard.node(row as NodeRow);
    if (this.kind === 'services') return guard.service(row as ServiceRow);
    if (this.kind !== 'service-backends') return undefined;
    for (const { address } of (row as ServiceShardRow).backends) {
      const reason = guard.entry(address);
      if (reason !== undefined) return reason;
    }
    return undefined;
  }

  delete(rest: string): void {
    const key = this.#source.key(rest);
    if (key !== undefined) this.#take(key);
  }

  #take(key: TableKey): void {
    const { table } = this.#source;
    if (table.get(key)?.cluster !== this.#cluster) return;
    table.delete(key);
  }

  end(): void {
    const listed = this.#listed;
    this.#listed = undefined;
    if (listed === undefined) return;
    const { table } = this.#source;
    const gone: TableKey[] = [];
    for (const row of table.by('cluster', this.#cluster)) {
      const key = table.keyOf(row);
      if (!listed.has(key)) gone.push(key);
    }
    for (const key of gone) table.delete(key);
  }

  drain(): void {
    const { table } = this.#source;
    table.database.write(() => {
      for (const row of table.by('cluster', this.#cluster)) table.delete(table.keyOf(row));
    });
  }
}
