/**
 * The seam below the client: etcd's own calls, as few as we need. The gRPC transport and the memory
 * server both stand here, so leases, watches and health are the same code over either.
 */

import type { KvError } from './errors.ts';
import type { Compare, KvEntry, LeaseId, TxnOperation, TxnOperationResult } from './types.ts';

/** In place of a cluster's id: etcd's grpc-proxy answers so to who joins a watch that it has already. */
const UNKNOWN_CLUSTER = '0';

export interface Header {
  readonly clusterId: string;
  readonly memberId: string;
  readonly revision: number;
  /** Who answered. */
  readonly endpoint: string;
}

/** Whether a header says which cluster answers. */
export const namesCluster = ({ clusterId }: Header): boolean => clusterId !== UNKNOWN_CLUSTER;

/** The id that a header tells, or the one known before it where it tells none. */
export function clusterIdOf<T extends string | undefined>(header: Header, known: T): string | T {
  return namesCluster(header) ? header.clusterId : known;
}

export interface Call {
  readonly signal: AbortSignal;
  /** Milliseconds from now. */
  readonly deadline: number;
}

export interface RangeRequest {
  readonly prefix: string;
  /** Only keys behind this one: the last key of the page before. */
  readonly after?: string;
  readonly limit: number;
  /** 0 for the newest. */
  readonly revision: number;
  readonly keysOnly: boolean;
}

export interface RangeResponse {
  readonly header: Header;
  readonly entries: readonly KvEntry[];
  readonly more: boolean;
}

export interface TxnRequest {
  readonly compare: readonly Compare[];
  readonly success: readonly TxnOperation[];
  readonly failure: readonly TxnOperation[];
}

export interface TxnResponse {
  readonly header: Header;
  readonly succeeded: boolean;
  readonly results: readonly TxnOperationResult[];
}

export type StreamEvent =
  | { readonly type: 'put'; readonly entry: KvEntry }
  | { readonly type: 'delete'; readonly key: string; readonly revision: number };

export interface StreamHandlers {
  /** The watch exists on the server. */
  created(header: Header): void;
  /** Events of whole revisions in order; none for a progress report. */
  events(header: Header, events: readonly StreamEvent[]): void;
  /** The stream is over; called once, and nothing after it. `compacted` if its start is gone. */
  ended(error: KvError): void;
}

export interface Stream {
  /** Stops reading; what the server sends meanwhile waits there. */
  pause(): void;
  resume(): void;
  /** Ends it without a call of `ended`. */
  close(): void;
}

export interface Transport extends AsyncDisposable {
  get(key: string, call: Call): Promise<{ header: Header; entry: KvEntry | undefined }>;
  range(request: RangeRequest, call: Call): Promise<RangeResponse>;
  txn(request: TxnRequest, call: Call): Promise<TxnResponse>;
  leaseGrant(ttl: number, call: Call): Promise<{ header: Header; id: LeaseId; ttl: number }>;
  /** The time left after renewal in seconds; 0 if the store does not know the lease. */
  leaseKeepAlive(id: LeaseId, call: Call): Promise<{ header: Header; ttl: number }>;
  leaseRevoke(id: LeaseId, call: Call): Promise<{ header: Header }>;
  watch(request: { prefix: string; startRevision: number }, handlers: StreamHandlers): Stream;
  /** Any cheap call that shows that the store answers. */
  probe(call: Call): Promise<{ header: Header }>;
}
