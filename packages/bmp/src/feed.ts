import type { Asn, DownReason, FamilyKey, RouterId } from '@causeway/bgp';
import type { Address } from '@causeway/ip';
import type { RibView } from './wire/peer-header.ts';
import type { Statistic } from './wire/statistics.ts';

/**
 * What the exporter asks of the program that it exports. The contract is the exporter's: the speaker
 * implements it, and tests do with tables of their own.
 */
export interface ExportSource {
  /**
   * A feed of one view of all sessions, or of the Loc-RIB, from its beginning: of each session that is up what
   * the table holds, then End-of-RIB for each family, then what changes; of one that comes up later the
   * same. `wake` is to be called, with the time in ms, when the feed has something to pull again after it had
   * nothing. Undefined: there is no such table.
   */
  openFeed(view: RibView, wake: (now: number) => void): RouteFeed | undefined;
  /** Current counters of a session; of the Loc-RIB when undefined. */
  statistics(session: string | undefined): readonly Statistic[];
}

/** Whole UPDATE messages with header about one session; about the Loc-RIB when it has no name. */
export interface MonitoredUpdates {
  readonly session?: string;
  readonly updates: readonly Uint8Array[];
}

/**
 * Routes are pulled. A station that reads slowly costs a feed its place in the table and a mark per prefix
 * that has changed, never the changes themselves.
 */
export interface RouteFeed {
  /**
   * About `budget` bytes; empty: nothing now. `overrun`: withdrawals were forgotten that the station has not
   * heard of. The exporter then starts over.
   */
  pull(budget: number): readonly MonitoredUpdates[] | 'overrun';
  /** The first walk over the tables is not over: when its routes came is not known any more. */
  readonly dumping: boolean;
  close(): void;
}

/** An established session, as Peer Up tells of it. */
export interface MonitoredSession {
  /** The speaker's name of the neighbour; not empty. */
  readonly name: string;
  readonly address: Address;
  readonly asn: Asn;
  readonly bgpId: RouterId;
  /** False: what is sent to the neighbour has AS numbers of two octets. */
  readonly fourOctetAs: boolean;
  readonly localAddress: Address;
  readonly localPort: number;
  readonly remotePort: number;
  /** Whole messages with header. */
  readonly sentOpen: Uint8Array;
  readonly receivedOpen: Uint8Array;
}

/** The Loc-RIB as RFC 9069 shows it: a peer of the router that is the router itself. */
export interface MonitoredLocRib {
  readonly asn: Asn;
  readonly bgpId: RouterId;
  readonly families: readonly FamilyKey[];
  /** Families whose routes come with path identifiers. */
  readonly addPath?: readonly FamilyKey[];
}

export interface ExporterOptions {
  readonly source: ExportSource;
  /** Takes outputs in order, during the call that caused them. */
  readonly emit: (output: ExporterOutput) => void;
  /** Microseconds since 1970, for the messages' timestamps. */
  readonly wallClock: () => number;
  readonly sysName: string;
  readonly sysDescr: string;
  /** Free text for Initiation. */
  readonly information?: readonly string[];
  /** What is sent, per session and for the Loc-RIB. Default `in-pre` and `in-post`. */
  readonly views?: readonly RibView[];
  /** Needed for view `loc`. */
  readonly locRib?: MonitoredLocRib;
  /** Seconds between statistics reports; 0 for none. Default 60. */
  readonly statisticsInterval?: number;
  /** Seconds before the first and the longest pause between attempts to connect. Default 30 and 720 (RFC 7854 section 3.2). */
  readonly reconnect?: { readonly first: number; readonly longest: number };
  /** Seconds that a station may take nothing while there is something for it. Default 120; 0: for ever. */
  readonly stallTimeout?: number;
}

export type ExporterInput =
  | { readonly type: 'start' }
  /** Says goodbye with a Termination message. */
  | { readonly type: 'stop' }
  | { readonly type: 'connected' }
  | { readonly type: 'connect-failed'; readonly error: string }
  /** `error` absent: the station closed in order. */
  | { readonly type: 'closed'; readonly error?: string }
  /** The deadline has been reached. */
  | { readonly type: 'timer' }
  | { readonly type: 'session-up'; readonly session: MonitoredSession }
  | { readonly type: 'session-down'; readonly name: string; readonly reason: DownReason }
  /** The session is well, but the station is not to hear of it any more. */
  | { readonly type: 'session-removed'; readonly name: string };

export type ExporterOutput =
  | { readonly type: 'connect' }
  /** Send these last bytes, if any, then close. No `closed` is expected for it. */
  | { readonly type: 'close'; readonly last?: Uint8Array }
  /** Something can be had from `produce`. */
  | { readonly type: 'wake' }
  | { readonly type: 'state'; readonly state: ExporterState; readonly text?: string };

export type ExporterState = 'stopped' | 'connecting' | 'up' | 'waiting';

/** What an operator is shown of one station. */
export interface ExporterStatus {
  readonly state: ExporterState;
  /** Why it is not up, when it is not. */
  readonly text?: string;
  /** Views that were asked for and that the speaker does not keep. */
  readonly viewsMissing: readonly RibView[];
  readonly sessionsTold: number;
  readonly messages: number;
  readonly bytes: number;
  readonly connects: number;
  /** Sessions' ups and downs that a slow station was never told of. */
  readonly flapsLeftOut: number;
}
