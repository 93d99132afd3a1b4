import type { KvError } from '@causeway/etcd';
import type { KindName, Resource, ResourceKinds } from './kinds.ts';

/** Names one object of a kind; `namespace` only for namespaced kinds. */
export interface ObjectRef {
  readonly namespace?: string;
  readonly name: string;
}

export interface ReadOptions {
  readonly signal?: AbortSignal;
}

export interface ListOptions extends ReadOptions {
  readonly namespace?: string;
  /** Kubernetes' selector text is parsed by the CLI; the store takes equalities only. */
  readonly labels?: Readonly<Record<string, string>>;
}

/** A value in the store that is not a valid object of its kind: reported, skipped, never used. */
export interface RejectedObject {
  readonly key: string;
  readonly namespace: string | undefined;
  readonly name: string;
  readonly reason: string;
}

export interface ResourceList<T> {
  readonly items: readonly T[];
  readonly rejected: readonly RejectedObject[];
  /** The store's revision that the list shows. */
  readonly resourceVersion: string;
}

/**
 * What a watch tells. From `snapshot` to `synced` the puts are the list; what an earlier round told
 * and this one lacks is deleted just before `synced`. A rejected value leaves the last good object
 * in force until it is replaced or deleted.
 */
export type ResourceEvent<T> =
  | { readonly type: 'snapshot'; readonly reason: string }
  | { readonly type: 'put'; readonly object: T }
  | { readonly type: 'delete'; readonly namespace: string | undefined; readonly name: string }
  | { readonly type: 'rejected'; readonly rejected: RejectedObject }
  | { readonly type: 'synced'; readonly resourceVersion: string }
  | { readonly type: 'disconnected'; readonly error: KvError };

/** For ever, until closed: it lists again after every loss. One consumer. */
export interface ResourceWatch<T> extends AsyncIterable<ResourceEvent<T>>, AsyncDisposable {
  /** Whatever waits, at most `most` at a time. Use this or the iteration, not both. */
  batches(most?: number): AsyncIterable<readonly ResourceEvent<T>[]>;
}

export interface WatchOptions extends ReadOptions {
  readonly namespace?: string;
}

export interface WriteOptions extends ReadOptions {
  /** Validates, allocates and compares, and writes nothing. */
  readonly dryRun?: boolean;
}

export interface DeleteOptions extends WriteOptions {
  /** Only if the object still has this version. */
  readonly resourceVersion?: string;
}

export interface ApplyOptions extends WriteOptions {
  /** For namespaced objects without one; `default` if absent. */
  readonly namespace?: string;
  /** Where each of the objects was read, such as `shop.yaml, document 2`: for errors about what has no name. */
  readonly where?: readonly string[];
}

export interface ApplyResult {
  readonly action: 'created' | 'configured' | 'unchanged';
  readonly kind: KindName;
  readonly namespace: string | undefined;
  readonly name: string;
  /** As stored; with dryRun as it would be. */
  readonly object: Resource;
  /** What is taken but not all of it served yet. */
  readonly warnings: readonly string[];
}

export interface ApplyReport {
  readonly results: readonly ApplyResult[];
  /** False when there were too many objects for one transaction. */
  readonly atomic: boolean;
}

/**
 * Typed objects with optimistic writes. All calls throw ResourceError for what the caller did and
 * KvError for what the store did.
 */
export interface ResourceStore {
  /** Throws `not-found`. */
  get<K extends KindName>(
    kind: K,
    ref: ObjectRef,
    options?: ReadOptions,
  ): Promise<ResourceKinds[K]>;
  list<K extends KindName>(kind: K, options?: ListOptions): Promise<ResourceList<ResourceKinds[K]>>;
  watch<K extends KindName>(kind: K, options?: WatchOptions): ResourceWatch<ResourceKinds[K]>;
  /** Throws `already-exists`. A status in the object is kept. */
  create<T extends Resource>(object: T, options?: WriteOptions): Promise<T>;
  /** Replaces all but the status. Throws `conflict` unless `metadata.resourceVersion` is current. */
  update<T extends Resource>(object: T, options?: WriteOptions): Promise<T>;
  /** Merges fields into the status (RFC 7386: null removes), whatever else changed meanwhile. */
  patchStatus<K extends KindName>(
    kind: K,
    ref: ObjectRef,
    status: Readonly<Record<string, unknown>>,
    options?: ReadOptions,
  ): Promise<ResourceKinds[K]>;
  /** The deleted object; undefined if what stood there could not be read. Throws `not-found`. */
  delete<K extends KindName>(
    kind: K,
    ref: ObjectRef,
    options?: DeleteOptions,
  ): Promise<ResourceKinds[K] | undefined>;
  /**
   * Creates what is not there and replaces what is, keeping status, uid and allocated addresses.
   * Takes a manifest's text, or objects. Everything is validated before anything is written; up to 128 keys are written in one
   * transaction.
   */
  apply(manifest: string | readonly unknown[], options?: ApplyOptions): Promise<ApplyReport>;
}
