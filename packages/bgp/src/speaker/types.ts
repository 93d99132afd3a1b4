/** What the speaker's core gives: effects to do, events to tell, rows to show. */
import type {
  ConnectionId,
  DownReason,
  Endpoints,
  Negotiated,
  PeerOutput,
  PeerState,
} from '../events.ts';
import type { PolicyReason } from '../policy/types.ts';
import type { FamilyKey, RouterId } from '../types.ts';
import type { PathAttributes } from '../wire/attributes.ts';
import type { OpenMessage } from '../wire/open.ts';
import type { SpeakerPeerConfig } from './config.ts';

/** Work for the shell. In order; valid after the call (bytes are the shell's to keep). */
export type SpeakerEffect =
  | ({ readonly peer: string } & Extract<
      PeerOutput,
      { type: 'connect' | 'options' | 'close' | 'send' }
    >)
  /** There may be something to `produce()` for this established session. */
  | { readonly type: 'wake'; readonly peer: string; readonly connection: ConnectionId }
  /** A feed that had been read dry has something again. */
  | { readonly type: 'feed'; readonly feed: number }
  | { readonly type: 'event'; readonly event: SpeakerEvent };

export type SpeakerEvent =
  | {
      readonly type: 'peer-state';
      readonly peer: string;
      readonly from: PeerState;
      readonly to: PeerState;
    }
  | {
      readonly type: 'peer-up';
      readonly peer: string;
      readonly negotiated: Negotiated;
      readonly localOpen: OpenMessage;
      readonly peerOpen: OpenMessage;
      /** Whole messages, for BMP's Peer Up. */
      readonly localOpenBytes: Uint8Array;
      readonly peerOpenBytes: Uint8Array;
    }
  | {
      readonly type: 'peer-down';
      readonly peer: string;
      readonly reason: DownReason;
      /** False: an attempt failed. */
      readonly established: boolean;
      /** Families whose routes are kept as stale, and until when at most (ms). */
      readonly retained: readonly { readonly family: FamilyKey; readonly until: number }[];
    }
  | {
      readonly type: 'max-prefix';
      readonly peer: string;
      readonly family: FamilyKey;
      readonly level: 'warning' | 'limit';
      readonly count: number;
      readonly limit: number;
      readonly action: 'warn' | 'reset' | 'refuse';
    }
  | {
      readonly type: 'end-of-rib';
      readonly peer: string;
      readonly family: FamilyKey;
      readonly received: boolean;
    }
  /** Stale routes of a peer went: it did not bring them again in time, or said End-of-RIB without them. */
  | {
      readonly type: 'stale-purged';
      readonly peer: string;
      readonly family: FamilyKey;
      readonly count: number;
      readonly llgr: boolean;
    }
  /** After a restart: best paths are chosen and sent from now on. */
  | {
      readonly type: 'deferral-over';
      readonly why: 'all-end-of-rib' | 'no-peers' | 'timeout';
      readonly afterMs: number;
    }
  /** An UPDATE had a fault (RFC 7606), or the session something worth a line in the log. */
  | {
      readonly type: 'notice';
      readonly peer: string;
      readonly code: string;
      readonly text: string;
    };

/** A page: `next` goes into the next call; absent at the end. */
export interface Page<Row> {
  readonly rows: readonly Row[];
  readonly next?: number;
}

export interface RouteRow {
  readonly family: FamilyKey;
  readonly prefix: string;
  /** `local:OWNER` for originated paths. */
  readonly peer: string;
  /** ADD-PATH identifier as received (views received, accepted, loc) or sent (advertised). */
  readonly pathId?: number;
  readonly nextHop: string;
  readonly linkLocalNextHop?: string;
  readonly attributes: PathAttributes;
  /** View `loc`: the best, or one of the equal-cost set. */
  readonly best?: boolean;
  readonly multipath?: boolean;
  readonly stale?: 'graceful-restart' | 'long-lived';
  /** View `received`: why it is not used at all. */
  readonly refused?: RefusedWhy;
}

/** Why a received path is no candidate. */
export type RefusedWhy =
  | 'policy'
  | 'no-policy'
  | 'as-loop'
  | 'originator-loop'
  | 'cluster-loop'
  | 'own-next-hop'
  | 'no-llgr';

export type RouteView = 'loc' | 'received' | 'accepted' | 'advertised';

export interface RouteQuery {
  readonly view: RouteView;
  readonly family?: FamilyKey;
  /** Needed for `received`, `accepted` (or all peers) and `advertised` (required). */
  readonly peer?: string;
  readonly prefix?: string;
  /** With `prefix`: `exact` (default), `longer` (it and what is inside), `match` (longest match). */
  readonly lookup?: 'exact' | 'longer' | 'match';
  /** Rows at most, default 1000, most 10000. */
  readonly limit?: number;
  readonly cursor?: number;
}

/** The steps of the decision process, in order (RFC 4271 section 9.1.2.2 and what came later). */
export type DecisionStep =
  | 'reachable'
  | 'not-llgr-stale'
  | 'local-preference'
  | 'local-origin'
  | 'as-path-length'
  | 'origin'
  | 'med'
  | 'external'
  | 'igp-metric'
  | 'router-id'
  | 'cluster-list-length'
  | 'peer-address'
  | 'path-id';

/** One comparison, as data: at `step` the winner had `winner`, the other `loser`. */
export interface Comparison {
  readonly step: DecisionStep;
  readonly winner: string | number | boolean;
  readonly loser: string | number | boolean;
}

/** Why a path goes to a neighbour, or not. */
export type ExportOutcome =
  | 'sent'
  /** Chosen to be sent; the neighbour has not taken it yet. */
  | 'pending'
  | 'session-down'
  | 'family-not-negotiated'
  | 'deferred'
  | 'split-horizon'
  | 'not-best'
  | 'no-policy'
  | 'policy'
  | 'no-advertise'
  | 'no-export'
  | 'no-export-subconfed'
  | 'internal-to-internal'
  | 'originator-is-peer'
  | 'llgr-stale'
  | 'other-neighbors-only'
  | 'no-next-hop'
  | 'too-long';

export interface WhyPath {
  readonly route: RouteRow;
  /** A path that lost: against which peer's path and by which comparison. */
  readonly lostTo?: { readonly peer: string; readonly comparison: Comparison };
  readonly importPolicy?: PolicyReason;
  readonly refused?: RefusedWhy;
}

export interface WhyExport {
  readonly peer: string;
  readonly outcome: ExportOutcome;
  readonly policy?: PolicyReason;
  readonly sent?: { readonly nextHop: string; readonly attributes: PathAttributes };
}

export interface Why {
  readonly family: FamilyKey;
  readonly prefix: string;
  readonly paths: readonly WhyPath[];
  readonly exports: readonly WhyExport[];
}

export interface FamilyCounters {
  readonly family: FamilyKey;
  /** Paths held from the peer, before policy. */
  readonly received: number;
  /** Paths that are candidates. */
  readonly accepted: number;
  /** Prefixes (paths with ADD-PATH) that the neighbour has been sent; 0 when the session is down. */
  readonly advertised: number;
  /** Changes that the neighbour has not taken yet, at most. */
  readonly pending: number;
  readonly stale: number;
  readonly endOfRibReceived: boolean;
  readonly endOfRibSent: boolean;
}

export interface PeerRow {
  readonly name: string;
  readonly asn: SpeakerPeerConfig['asn'];
  readonly kind?: 'internal' | 'external';
  readonly state: PeerState;
  /** ms; the state's beginning. */
  readonly since: number;
  readonly endpoints?: Endpoints;
  readonly peerId?: RouterId;
  readonly negotiated?: Negotiated;
  readonly lastDown?: {
    readonly at: number;
    readonly reason: DownReason;
    readonly established: boolean;
  };
  readonly ups: number;
  readonly downs: number;
  readonly families: readonly FamilyCounters[];
  readonly restart?: { readonly phase: 'stale' | 'llgr'; readonly until: number };
  readonly messages: {
    readonly updatesIn: number;
    readonly updatesOut: number;
    readonly bytesIn: number;
    readonly bytesOut: number;
  };
  readonly routeReflectorClient: boolean;
}

export interface SpeakerCounters {
  readonly peers: number;
  readonly established: number;
  readonly prefixes: Readonly<Record<FamilyKey, number>>;
  readonly paths: Readonly<Record<FamilyKey, number>>;
  readonly attributeSets: number;
  readonly attributeBytes: number;
  readonly updateGroups: number;
  /** Bytes in the typed arrays of the RIBs and groups. */
  readonly tableBytes: number;
  readonly deferring: boolean;
}

/** What the shell knows about a next hop; `metric` of the IGP or the interface. */
export interface NextHopState {
  readonly reachable: boolean;
  readonly metric: number;
}
