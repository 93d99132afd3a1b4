import type { Clock, Table, TableKey } from '@causeway/tables';
import type { KindName, ResourceKinds } from '../kinds.ts';
import type { ResourceStore } from '../store.ts';
import { EmptyStoreGuard } from './empty-store.ts';
import { type FollowLog, KindFollower, type KindSource, type SourceStatus } from './follower.ts';

/** `namespace/name`, or the name alone for what belongs to the whole cluster. */
export const objectKey = (namespace: string | undefined, name: string): string =>
  namespace === undefined ? name : `${namespace}/${name}`;

/** Every kind that one program reads of a store, each into its table. */
export class Followers implements AsyncDisposable {
  /** Shared by all who follow this store: it is not empty once any of them has seen an object. */
  readonly guard: EmptyStoreGuard;
  readonly #store: ResourceStore;
  readonly #log: FollowLog;
  readonly #stop = new AbortController();
  readonly #all: (AsyncDisposable & { status(): SourceStatus })[] = [];

  constructor(store: ResourceStore, clock: Clock, log: FollowLog) {
    this.#store = store;
    this.#log = log;
    this.guard = new EmptyStoreGuard(clock, this.#stop.signal);
  }

  follow<K extends KindName, Row, Key extends TableKey>(source: KindSource<K, Row, Key>): void {
    this.#all.push(new KindFollower(this.#store, source, this.guard, this.#log));
  }

  /** The objects are the rows, and the table's key is theirs. */
  followWhole<K extends KindName>(kind: K, table: Table<ResourceKinds[K]>): void {
    this.follow({ kind, table, row: (object) => object, key: objectKey });
  }

  /** Every kind has been listed once. */
  get synced(): boolean {
    return this.#all.every((each) => each.status().synced);
  }

  status(): SourceStatus[] {
    return this.#all.map((each) => each.status());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await Promise.all(this.#all.map((each) => each[Symbol.asyncDispose]()));
  }
}
