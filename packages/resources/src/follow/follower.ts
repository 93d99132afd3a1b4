import type { Table, TableKey } from '@causeway/tables';
import type { KindName, ResourceKinds } from '../kinds.ts';
import type { ResourceEvent, ResourceStore, ResourceWatch } from '../store.ts';
import type { EmptyStoreGuard } from './empty-store.ts';

/** What a follower needs of a program's log. */
export interface FollowLog {
  debug(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}

/** How a kind's objects become a table's rows. */
export interface KindSource<K extends KindName, Row, Key extends TableKey> {
  readonly kind: K;
  /** Only objects of this namespace. */
  readonly namespace?: string;
  readonly table: Table<Row, Key>;
  /** Undefined for an object that this program has no use for. */
  readonly row: (object: ResourceKinds[K]) => Row | undefined;
  readonly key: (namespace: string | undefined, name: string) => Key;
}

export interface SourceStatus {
  readonly name: string;
  readonly synced: boolean;
  readonly connected: boolean;
  readonly rows: number;
  /** Rows that the store no longer holds since it was emptied, and that stay in force. */
  readonly held: number;
  /** Objects that the store holds and that are not valid, newest last. */
  readonly rejected: readonly string[];
  readonly lastError: string | undefined;
}

const MAX_REJECTED = 20;

/** Reasons for a list that mean another store than before behind the same name. */
const STRANGE: ReadonlySet<string> = new Set(['cluster-changed', 'revision-went-back']);

/**
 * Keeps a table equal to all objects of a kind. Lost contact changes no row: the last known state
 * stays until a new list says otherwise.
 */
export class KindFollower<K extends KindName, Row, Key extends TableKey>
  implements AsyncDisposable
{
  readonly #source: KindSource<K, Row, Key>;
  readonly #watch: ResourceWatch<ResourceKinds[K]>;
  readonly #log: FollowLog;
  readonly #running: Promise<void>;
  readonly #rejected = new Map<string, string>();
  readonly #guard: EmptyStoreGuard;
  readonly #initial;
  #listing: { readonly strange: boolean; puts: number } | undefined;
  /** Rows that an emptied store no longer holds, kept until it is filled again. */
  #held: Set<Key> | undefined;
  #told = false;
  #synced = false;
  #connected = false;
  #lastError: string | undefined;

  constructor(
    store: ResourceStore,
    source: KindSource<K, Row, Key>,
    guard: EmptyStoreGuard,
    log: FollowLog,
  ) {
    this.#source = source;
    this.#guard = guard;
    this.#log = log;
    this.#initial = source.table.source(source.kind);
    this.#watch = store.watch(
      source.kind,
      source.namespace === undefined ? {} : { namespace: source.namespace },
    );
    this.#running = this.#run();
  }

  status(): SourceStatus {
    return {
      name: this.#source.kind,
      synced: this.#synced,
      connected: this.#connected,
      rows: this.#source.table.size,
      held: this.#held?.size ?? 0,
      rejected: [...this.#rejected.values()],
      lastError: this.#lastError,
    };
  }

  async #run(): Promise<void> {
    const { kind, table } = this.#source;
    for await (const batch of this.#watch.batches()) {
      table.database.write(() => {
        for (const event of batch) this.#see(event);
      });
      this.#tellInitial();
    }
    this.#log.debug({ kind }, 'source closed');
  }

  #see(event: ResourceEvent<ResourceKinds[K]>): void {
    switch (event.type) {
      case 'snapshot':
        this.#connected = true;
        this.#listing = { strange: STRANGE.has(event.reason), puts: 0 };
        if (this.#listing.strange) this.#guard.reset();
        return;
      case 'put':
        this.#guard.seen();
        if (this.#listing !== undefined) this.#listing.puts++;
        this.#put(event.object);
        return;
      case 'delete': {
        const key = this.#source.key(event.namespace, event.name);
        this.#rejected.delete(`${event.namespace ?? ''}/${event.name}`);
        // The sweep after an emptied store's grace: what it takes is held.
        if (!this.#held?.has(key)) this.#source.table.delete(key);
        return;
      }
      case 'rejected':
        this.#guard.seen();
        this.#reject(event.rejected.namespace, event.rejected.name, event.rejected.reason);
        return;
      case 'synced':
        this.#endList();
        return;
      case 'disconnected':
        this.#connected = false;
        this.#lastError = event.error.message;
        return;
      default:
        event satisfies never;
    }
  }

  #put(object: ResourceKinds[K]): void {
    const { table, row, key } = this.#source;
    const { namespace, name } = object.metadata;
    this.#rejected.delete(`${namespace ?? ''}/${name}`);
    try {
      const made = row(object);
      if (made === undefined) {
        this.#held?.delete(key(namespace, name));
        table.delete(key(namespace, name));
        return;
      }
      this.#held?.delete(table.keyOf(made));
      table.put(made);
    } catch (error) {
      this.#reject(namespace, name, error instanceof Error ? error.message : String(error));
    }
  }

  #endList(): void {
    const listing = this.#listing;
    this.#listing = undefined;
    this.#synced = true;
    this.#connected = true;
    this.#lastError = undefined;
    const { kind, table } = this.#source;
    if (listing === undefined || !listing.strange || listing.puts > 0 || table.size === 0) return;
    this.#held = new Set(table.keys());
    this.#log.warn(
      { kind, held: table.size },
      'the store came back empty; what was known stays in force',
    );
    this.#guard.onRefilled(() => {
      const held = this.#held ?? new Set<Key>();
      this.#held = undefined;
      table.database.write(() => {
        for (const key of held) table.delete(key);
      });
    });
  }

  /** The first list of a store that holds nothing at all is not believed: nothing is pruned by it. */
  #tellInitial(): void {
    if (!this.#synced || this.#told) return;
    this.#told = true;
    if (this.#guard.hasObjects) this.#initial.done();
    else this.#guard.onFirst(() => this.#initial.done());
  }

  #reject(namespace: string | undefined, name: string, reason: string): void {
    const key = `${namespace ?? ''}/${name}`;
    this.#rejected.delete(key);
    this.#rejected.set(
      key,
      `${this.#source.kind} ${namespace === undefined ? '' : `${namespace}/`}${name}: ${reason}`,
    );
    if (this.#rejected.size > MAX_REJECTED) {
      for (const oldest of this.#rejected.keys()) {
        this.#rejected.delete(oldest);
        break;
      }
    }
    this.#log.warn(
      { kind: this.#source.kind, namespace, name, reason },
      'an object in the store is not valid and is passed over',
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#watch[Symbol.asyncDispose]();
    await this.#running;
  }
}
