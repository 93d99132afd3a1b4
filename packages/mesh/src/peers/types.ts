import type { TlsOptions } from '@causeway/etcd';
import type { Prefix } from '@causeway/ip';
import type { StateKind } from '../keys.ts';

/** How a peer cluster is reached, whoever said so. */
export interface PeerSpec {
  /** The peer cluster's name. */
  readonly name: string;
  /** Who said it: a file in Cilium's form, or a MeshPeer object. */
  readonly source: 'file' | 'object';
  /** `https://HOST:PORT` of its etcd or of the proxy before it. */
  readonly endpoints: readonly string[];
  readonly tls: TlsOptions | undefined;
  /** The cluster id that it must have, where that is known beforehand. */
  readonly id: number | undefined;
  /** What it may speak of at all; undefined: ranges of its nodes, and single addresses wherever they are. */
  readonly allowedCIDRs?: readonly Prefix[];
  /** Nothing is read, and nothing that was read is kept. */
  readonly suspended: boolean;
  /** Changes whenever a connection made before must be made anew. */
  readonly stamp: string;
}

/** A peer that cannot be read as it is described. */
export interface BadPeer {
  readonly name: string;
  readonly source: PeerSpec['source'];
  readonly reason: string;
}

/**
 * - `connecting`, `handshake`, `syncing`: on the way, with nothing of it known yet
 * - `ready`: everything is read and followed
 * - `stale`: out of reach; what it said last is in force until the grace is over
 * - `withdrawing`: the grace is over; its services go one by one
 * - `withdrawn`: nothing of it is in force; it is tried all the same
 * - `refused`: its store is not what it should be; what was in force before is so until the grace is over
 * - `suspended`: by its object
 */
export type PeerState =
  | 'connecting'
  | 'handshake'
  | 'syncing'
  | 'ready'
  | 'stale'
  | 'withdrawing'
  | 'withdrawn'
  | 'refused'
  | 'suspended';

export type PeerCounts = Readonly<Record<StateKind | 'rejected', number>>;

/** A row of `mesh-peers`. Times are milliseconds since the epoch. */
export interface MeshPeerRow {
  readonly name: string;
  readonly source: PeerSpec['source'];
  /** As its cluster-config says, once that was read. */
  readonly id: number | undefined;
  /** The one that answers, or all that are tried. */
  readonly endpoint: string;
  readonly state: PeerState;
  /** When it entered the state. */
  readonly since: number;
  /** When all of it was last known to be current; undefined while it is: ready, and its store answers. */
  readonly lastContact: number | undefined;
  /** Why it is not ready; of a ready one, what it is told apart from the rest by. */
  readonly reason: string | undefined;
  /** Losses of contact within the last grace period. */
  readonly losses: number;
  readonly counts: PeerCounts;
}
