import type { KvEntry } from '@causeway/etcd';
import { type IdentityLayout, isReserved, NumericIdentity, RESERVED } from '@causeway/identity';
import type { Address, Prefix } from '@causeway/ip';
import type { InitialSource } from '@causeway/tables';
import { EntryDecoder } from './entries/decode.ts';
import type { IpEntries, MostEntries } from './entries/ip-entries.ts';
import { MeshError } from './errors.ts';
import type { StateKind } from './keys.ts';
import type { Room } from './room.ts';
import type { MeshTables, NodeRow } from './rows.ts';
import { type ClusterRef, requireRange, sourcesOf } from './sources.ts';
import { TableSink } from './table-sink.ts';

/** Why a value may not be believed of another cluster; undefined if it may. Asked of valid values only. */
export interface Guard {
  /** What is believed of a range, and of some identities, hangs on the cluster's nodes. */
  entry(at: Address | Prefix, identity: number): string | undefined;
  node(row: NodeRow): string | undefined;
  backend(address: Address): string | undefined;
  /** Called after each change of the cluster's nodes. Returns its undoing. */
  onNodes(listener: () => void): () => void;
}

/** A key and its value, wherever they stood. */
export type StoredValue = Pick<KvEntry, 'key' | 'value' | 'text'>;

/** Where what one cluster says of one kind goes, key by key. */
export interface Sink {
  readonly kind: StateKind;
  /** The sink knows its keys and misses what a list lacks: nobody has to remember them for it. */
  readonly knowsKeys: boolean;
  /** Names a source whose first list must be in before anything is pruned. */
  source(name: string): InitialSource;
  /** Resolves when a list may begin, with what to call at its end. */
  turn(signal: AbortSignal): Promise<() => void>;
  /** Runs one batch. */
  write(work: () => void): void;
  /** A list begins. */
  begin(): void;
  /**
   * @param rest what stands behind the prefix. Returns whether something has changed; throws MeshError, and then
   * nothing has.
   */
  put(rest: string, entry: StoredValue): boolean;
  /** Returns whether there was something. */
  delete(rest: string): boolean;
  /** A list is complete: what it lacked, or held no valid value for, goes. Returns whether something did. */
  end(): boolean;
  /** Judges again what hangs on the cluster's nodes, and tells of each key whether it is refused now, and has changed. */
  recheck?(tell: (key: string, refused: string | undefined, changed: boolean) => void): void;
  /** Takes away everything that the cluster said. */
  drain(): void;
}

export interface SinkOptions {
  readonly tables: MeshTables;
  readonly cluster: ClusterRef;
  readonly layout: IdentityLayout;
  readonly guard?: Guard;
  readonly limits?: {
    readonly rows: Readonly<Record<StateKind, number>>;
    readonly total: Readonly<Record<StateKind, number>>;
  };
  /** What all clusters share. */
  readonly room?: Room;
}

export function sinkOf(kind: StateKind, options: SinkOptions): Sink {
  if (kind === 'ip') return new EntrySink(options);
  const { tables, cluster, layout, guard, limits, room } = options;
  const source = sourcesOf(tables, cluster, layout)[kind];
  const most = limits && { rows: limits.rows[kind], bytes: limits.total[kind] };
  return new TableSink(source, cluster.name, guard, most, room);
}

/** Pods of one workload share a set: a cluster has hundreds of them. */
const MOST_PORT_BYTES = 64 * 1024 * 1024;
/** Entries of one cluster that hang on its nodes: ranges, and its API server's. Whole clusters have a few. */
const MOST_HANGING = 1024;

/** IP entries: by far the most of what a cluster says, so they go from bytes to columns. */
class EntrySink implements Sink {
  readonly kind = 'ip';
  readonly knowsKeys = true;
  readonly #entries: IpEntries;
  readonly #cluster: ClusterRef;
  readonly #layout: IdentityLayout;
  readonly #guard: Guard | undefined;
  readonly #most: MostEntries | undefined;
  readonly #decoder: EntryDecoder;
  /** What is to be judged again when the cluster's nodes change, by the end of its key. */
  readonly #hanging = new Map<string, StoredValue>();

  constructor({ tables, cluster, layout, guard, limits, room }: SinkOptions) {
    this.#entries = tables.ipEntries;
    this.#cluster = cluster;
    this.#layout = layout;
    this.#guard = guard;
    this.#most = limits && {
      entries: limits.rows.ip,
      portBytes: MOST_PORT_BYTES,
      ...(room === undefined
        ? {}
        : { ofAll: { entries: room.limits.rows.ip, portBytes: room.limits.portBytes } }),
    };
    this.#decoder = new EntryDecoder(cluster.name === tables.ipEntries.own);
  }

  source(name: string): InitialSource {
    return this.#entries.source(name);
  }

  async turn(signal: AbortSignal): Promise<() => void> {
    const { turns, own } = this.#entries;
    return this.#cluster.name === own ? () => {} : turns.take(signal);
  }

  write(work: () => void): void {
    work();
  }

  begin(): void {
    this.#hanging.clear();
    this.#entries.beginList(this.#cluster.name);
  }

  put(rest: string, entry: StoredValue): boolean {
    const raw = this.#decoder.decode(rest, entry.value);
    const id = NumericIdentity(raw.identity);
    if (!isReserved(id)) requireRange(this.#layout, this.#cluster, id);
    // The host of another node is a remote node here.
    const seen = id === RESERVED.host ? RESERVED['remote-node'] : id;
    raw.identity = seen;
    // The value repeats its key, so the key is what it speaks of.
    const reason = this.#guard?.entry(rest as Address | Prefix, seen);
    if (this.#guard !== undefined) this.#hang(rest, id, entry);
    if (reason !== undefined) throw new MeshError('overlap', reason, rest);
    return this.#entries.put(this.#cluster.name, raw, this.#most) !== 'same';
  }

  #hang(rest: string, id: number, entry: StoredValue): void {
    if (!rest.includes('/') && id !== RESERVED['kube-apiserver']) {
      if (this.#hanging.size > 0) this.#hanging.delete(rest);
      return;
    }
    if (this.#hanging.size >= MOST_HANGING && !this.#hanging.has(rest)) {
      const message = `cluster ${this.#cluster.name} has ${MOST_HANGING} ranges already, and no more are taken`;
      throw new MeshError('too-many', message, MOST_HANGING);
    }
    // A value may be a piece of the page that it came in, of which a Buffer's own slice is another.
    this.#hanging.set(rest, { key: entry.key, value: new Uint8Array(entry.value), text: '' });
  }

  recheck(tell: (key: string, refused: string | undefined, changed: boolean) => void): void {
    for (const [rest, entry] of [...this.#hanging]) {
      try {
        const changed = this.put(rest, entry);
        tell(entry.key, undefined, changed);
      } catch (error) {
        const changed = this.#entries.delete(this.#cluster.name, rest);
        tell(entry.key, error instanceof Error ? error.message : String(error), changed);
      }
    }
  }

  delete(rest: string): boolean {
    this.#hanging.delete(rest);
    return this.#entries.delete(this.#cluster.name, rest);
  }

  end(): boolean {
    return this.#entries.endList(this.#cluster.name) > 0;
  }

  drain(): void {
    this.#entries.drain(this.#cluster.name);
  }
}
