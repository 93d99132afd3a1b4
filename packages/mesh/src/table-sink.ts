import { Address } from '@causeway/ip';
import type { InitialSource, TableKey } from '@causeway/tables';
import { MeshError } from './errors.ts';
import type { StateKind } from './keys.ts';
import type { Room } from './room.ts';
import type { NodeRow, ServiceRow, ServiceShardRow } from './rows.ts';
import type { Guard, Sink, StoredValue } from './sinks.ts';
import type { Source } from './sources.ts';

/** Rows of one cluster in a table that all clusters share. */
export class TableSink implements Sink {
  readonly kind: StateKind;
  readonly knowsKeys = false;
  readonly #source: Source;
  readonly #cluster: string;
  readonly #guard: Guard | undefined;
  readonly #most: { readonly rows: number; readonly bytes: number } | undefined;
  readonly #room: Room | undefined;
  /** Bytes in the store of each row that was put, where they are limited. */
  readonly #sizes = new Map<TableKey, number>();
  #bytes = 0;
  /** During a list: the rows that it holds valid values for. */
  #listed: Set<TableKey> | undefined;

  constructor(
    source: Source,
    cluster: string,
    guard: Guard | undefined,
    most?: { readonly rows: number; readonly bytes: number },
    room?: Room,
  ) {
    this.kind = source.kind;
    this.#source = source;
    this.#cluster = cluster;
    this.#guard = guard;
    this.#most = most;
    this.#room = room;
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
    // Of what stands from before, the list tells again what stays.
    this.#sizes.clear();
    this.#bytes = 0;
    this.#room?.set(this.#cluster, this.kind, 0);
  }

  put(rest: string, entry: StoredValue): boolean {
    const { table, key, row } = this.#source;
    const made = row(rest, entry);
    if (made === undefined) {
      const at = key(rest);
      return at !== undefined && this.#take(at);
    }
    this.#yieldTo(made);
    const at = table.keyOf(made);
    const size = entry.key.length + entry.value.length;
    this.#requireRoom(at, size);
    const reason = this.#doubt(made);
    if (reason !== undefined) throw new MeshError('overlap', reason, made);
    const changed = table.put(made);
    this.#size(at, size);
    this.#listed?.add(at);
    return changed;
  }

  #requireRoom(at: TableKey, size: number): void {
    const { table } = this.#source;
    const most = this.#most;
    if (most === undefined) return;
    if (!table.has(at) && table.count('cluster', this.#cluster) >= most.rows) {
      const message = `cluster ${this.#cluster} has ${most.rows} ${this.kind} already, and no more are taken`;
      throw new MeshError('too-many', message, most.rows);
    }
    const more = size - (this.#sizes.get(at) ?? 0);
    this.#room?.require(this.kind, table.has(at) ? 0 : table.size, more);
    if (this.#bytes + more > most.bytes) {
      const message = `cluster ${this.#cluster} would have more than ${most.bytes} bytes of ${this.kind}, and no more are taken`;
      throw new MeshError('too-many', message, most.bytes);
    }
  }

  /** @param size 0 for a row that is gone. */
  #size(at: TableKey, size: number): void {
    if (this.#most === undefined) return;
    this.#bytes += size - (this.#sizes.get(at) ?? 0);
    if (size === 0) this.#sizes.delete(at);
    else this.#sizes.set(at, size);
    this.#room?.set(this.#cluster, this.kind, this.#bytes);
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
    for (const address of backendsOf(this.kind, row)) {
      const reason = guard.backend(address);
      if (reason !== undefined) return `backend ${reason}`;
    }
    return undefined;
  }

  delete(rest: string): boolean {
    const key = this.#source.key(rest);
    return key !== undefined && this.#take(key);
  }

  #take(key: TableKey): boolean {
    const { table } = this.#source;
    if (table.get(key)?.cluster !== this.#cluster) return false;
    table.delete(key);
    this.#size(key, 0);
    return true;
  }

  end(): boolean {
    const listed = this.#listed;
    this.#listed = undefined;
    if (listed === undefined) return false;
    const { table } = this.#source;
    const gone: TableKey[] = [];
    for (const row of table.by('cluster', this.#cluster)) {
      const key = table.keyOf(row);
      if (!listed.has(key)) gone.push(key);
    }
    for (const key of gone) table.delete(key);
    return gone.length > 0;
  }

  drain(): void {
    const { table } = this.#source;
    table.database.write(() => {
      for (const row of table.by('cluster', this.#cluster)) table.delete(table.keyOf(row));
    });
  }
}

function* backendsOf(kind: StateKind, row: object): Generator<Address> {
  if (kind === 'service-backends') {
    for (const { address } of (row as ServiceShardRow).backends) yield address;
  } else if (kind === 'services') {
    for (const text of Object.keys((row as ServiceRow).backends)) {
      const address = Address.tryParse(text);
      if (address !== undefined) yield address;
    }
  }
}
