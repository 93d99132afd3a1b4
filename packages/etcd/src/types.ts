/**
 * The contract between Causeway and its shared store. Two implementations, `connectKv` and
 * `memoryEtcd`, pass one compliance suite; everything above uses only what stands here.
 */

import type { KvError } from './errors.ts';

/** A lease's number in decimal text: 64 bits do not fit a number. */
export type LeaseId = string;

/** One key as the store has it. Revisions are the store's; they are exact up to 2^53. */
export interface KvEntry {
  readonly key: string;
  readonly value: Uint8Array;
  /** `value` as UTF-8, decoded when asked for. */
  readonly text: string;
  readonly createRevision: number;
  readonly modRevision: number;
  /** Writes since creation, from 1. */
  readonly version: number;
  /** Undefined for a key without a lease. */
  readonly lease: LeaseId | undefined;
}

export interface CallOptions {
  readonly signal?: AbortSignal;
  /** Milliseconds for this call in place of the client's default. */
  readonly deadline?: number;
}

export interface ListOptions extends CallOptions {
  /** Entries per page, 256 to 1000; the default is 500. */
  readonly pageSize?: number;
  readonly keysOnly?: boolean;
}

export interface PutOptions extends CallOptions {
  readonly lease?: LeaseId;
}

export interface KvPage {
  readonly entries: readonly KvEntry[];
  /** The store's revision at the first page: every page shows this one moment. */
  readonly revision: number;
}

export type CompareOperator = '=' | '!=' | '<' | '>';

/** A key that does not exist has create, mod and version 0. */
export type Compare =
  | {
      readonly type: 'create' | 'mod' | 'version';
      readonly key: string;
      readonly operator: CompareOperator;
      readonly revision: number;
    }
  | {
      readonly type: 'value';
      readonly key: string;
      readonly operator: CompareOperator;
      readonly value: string | Uint8Array;
    }
  | {
      readonly type: 'lease';
      readonly key: string;
      readonly operator: CompareOperator;
      /** Undefined compares with "no lease". */
      readonly lease: LeaseId | undefined;
    };

export type TxnOperation =
  | {
      readonly type: 'put';
      readonly key: string;
      readonly value: string | Uint8Array;
      readonly lease?: LeaseId;
    }
  | { readonly type: 'get'; readonly key: string }
  | { readonly type: 'list'; readonly prefix: string }
  | { readonly type: 'delete'; readonly key: string }
  | { readonly type: 'delete-prefix'; readonly prefix: string };

export interface Txn {
  /** All must hold; an empty list always holds. */
  readonly compare: readonly Compare[];
  readonly success: readonly TxnOperation[];
  readonly failure?: readonly TxnOperation[];
}

/** One result per operation of the branch that ran, in its order. */
export type TxnOperationResult =
  | { readonly type: 'put' }
  | { readonly type: 'get'; readonly entry: KvEntry | undefined }
  | { readonly type: 'list'; readonly entries: readonly KvEntry[] }
  | { readonly type: 'delete'; readonly deleted: number };

export interface TxnResult {
  readonly succeeded: boolean;
  readonly revision: number;
  readonly results: readonly TxnOperationResult[];
}

/**
 * A lease that is kept alive until it is revoked, disposed of or lost. Lost is lost: the keys are
 * gone, and the holder takes a new lease and writes them again (SharedStore does).
 */
export interface Lease extends AsyncDisposable {
  readonly id: LeaseId;
  /** Seconds, as the store granted them. */
  readonly ttl: number;
  /** Aborted when the lease is lost (reason: a KvError `lease-not-found`) or given back. */
  readonly ended: AbortSignal;
  /** Stops renewing: the keys stay until the lease's time runs out. */
  abandon(): void;
  /** Resolves when the store no longer knows the lease; its keys vanish with it. */
  revoke(options?: CallOptions): Promise<void>;
}

/** Why a snapshot begins. Everything but `first` is a repetition and ends with synthetic deletes. */
export type SnapshotReason =
  | 'first'
  | 'reconnected'
  | 'compacted'
  | 'cluster-changed'
  | 'revision-went-back';

/**
 * What a watch tells. From `snapshot-start` to `synced` the puts are the list; a key that an
 * earlier round told and this list lacks is deleted just before `synced`, marked synthetic; for a
 * store that was replaced, after `replacedGrace`.
 */
export type WatchEvent =
  | {
      readonly type: 'snapshot-start';
      readonly reason: SnapshotReason;
      readonly revision: number;
      /** The etcd cluster's own id, decimal. A new one means another store behind the same name. */
      readonly clusterId: string;
    }
  | { readonly type: 'put'; readonly entry: KvEntry }
  | {
      readonly type: 'delete';
      readonly key: string;
      readonly revision: number;
      readonly synthetic: boolean;
    }
  | { readonly type: 'synced'; readonly revision: number }
  /** The stream broke: what was told stays the best knowledge until the next `synced`. */
  | { readonly type: 'disconnected'; readonly error: KvError };

export interface WatchOptions {
  readonly signal?: AbortSignal;
  /**
   * Start behind this revision without a list, for a caller that has just listed. If the store
   * cannot serve it any more the watch lists as after any other loss.
   */
  readonly fromRevision?: number;
  /** Keys that the caller holds from before: a list that lacks them ends with their deletion. */
  readonly known?: Iterable<string>;
  /**
   * The watch ends with its first break (`disconnected` is its last event) instead of listing again,
   * for a caller that has to ask other things first.
   */
  readonly once?: boolean;
  /**
   * False: the watch remembers no keys, for a caller that has them anyway. It then tells no deletion of
   * what a new list lacks (the caller misses it at `synced`), counts no keys and knows no `maxKeys`.
   */
  readonly keepKeys?: boolean;
  /**
   * True: the caller writes keys of the prefix itself and is to hear of each one's deletion. Otherwise a key that came
   * and went while the caller was not reading is told to nobody, and who had written it would go on believing in it.
   */
  readonly ownWrites?: boolean;
  readonly pageSize?: number;
  /**
   * Milliseconds for which what a replaced store (another cluster id, revisions that went back) does
   * not show is kept: its writers need time to come back. Default 30,000; 0 deletes at once.
   */
  readonly replacedGrace?: number;
  /** Distinct keys that may wait for a slow consumer before reading pauses; default 16,384. */
  readonly maxPending?: number;
  /** Keys that are followed at most; default 1,000,000. What is beyond is counted and left out. */
  readonly maxKeys?: number;
}

export interface WatchStatus {
  readonly prefix: string;
  readonly state: 'connecting' | 'listing' | 'watching' | 'disconnected' | 'closed';
  /** Milliseconds since the epoch at which the state was entered. */
  readonly since: number;
  /** True once a list was delivered, and until the watch is closed. */
  readonly synced: boolean;
  /** The last revision that is known to be told completely. */
  readonly revision: number;
  readonly keys: number;
  readonly pending: number;
  readonly snapshots: number;
  /** Keys left out since the last list because there were more than `maxKeys`. */
  readonly refused: number;
  readonly lastError:
    | { readonly code: string; readonly message: string; readonly at: number }
    | undefined;
}

/**
 * List and watch in one, for ever: it lists again after a break, a compaction, another cluster id or a
 * revision that went back, and ends only when closed. One consumer; a slow one sees only the newest
 * state of a key. Iterate single events, or `batches()`; not both.
 */
export interface KvWatch extends AsyncIterable<WatchEvent>, AsyncDisposable {
  /** Whatever waits, at most `most` (default 1000) at a time; never empty. */
  batches(most?: number): AsyncIterable<readonly WatchEvent[]>;
  status(): WatchStatus;
}

export interface KvHealth {
  readonly connected: boolean;
  /** Milliseconds since the epoch at which `connected` took its value. */
  readonly since: number;
  readonly endpoint: string | undefined;
  /** From the last response's header, decimal. */
  readonly clusterId: string | undefined;
  readonly revision: number;
  readonly lastError:
    | { readonly code: string; readonly message: string; readonly at: number }
    | undefined;
  readonly leases: number;
  readonly watches: readonly WatchStatus[];
}

export interface Kv extends AsyncDisposable {
  /** All calls throw KvError and nothing else; a call aborted by its signal throws `closed`. */
  get(key: string, options?: CallOptions): Promise<KvEntry | undefined>;
  /** Every key that starts with the prefix, in ascending byte order, page by page at one revision. */
  pages(prefix: string, options?: ListOptions): AsyncIterable<KvPage>;
  /** `pages` in one piece. */
  list(prefix: string, options?: ListOptions): Promise<KvPage>;
  put(
    key: string,
    value: string | Uint8Array,
    options?: PutOptions,
  ): Promise<{ readonly revision: number }>;
  delete(
    key: string,
    options?: CallOptions,
  ): Promise<{ readonly revision: number; readonly deleted: number }>;
  deletePrefix(
    prefix: string,
    options?: CallOptions,
  ): Promise<{ readonly revision: number; readonly deleted: number }>;
  txn(txn: Txn, options?: CallOptions): Promise<TxnResult>;
  /** Takes a lease of `ttl` seconds and keeps it alive. */
  lease(ttl: number, options?: CallOptions): Promise<Lease>;
  /** Never throws for a store that is away: it connects when it can. */
  watch(prefix: string, options?: WatchOptions): KvWatch;
  health(): KvHealth;
  /** Called after each change of `connected` or of the cluster id. Returns its undoing. */
  onHealth(listener: (health: KvHealth) => void): () => void;
}

/** For a transaction that creates. */
export const absent = (key: string): Compare => ({
  type: 'create',
  key,
  operator: '=',
  revision: 0,
});
/** For a transaction that needs the key, whatever its value. */
export const present = (key: string): Compare => ({
  type: 'create',
  key,
  operator: '>',
  revision: 0,
});
/** For a transaction that replaces exactly what was read. */
export const unchanged = (entry: Pick<KvEntry, 'key' | 'modRevision'>): Compare => ({
  type: 'mod',
  key: entry.key,
  operator: '=',
  revision: entry.modRevision,
});
