import type { PeerConfig, PeerFamilyConfig } from '../config.ts';
import type { PolicyLibrary } from '../policy/types.ts';
import type { Asn, RouterId } from '../types.ts';

export interface MaxPrefixes {
  /** Paths received before policy, of this family. */
  readonly limit: number;
  /** Per cent of the limit at which a `max-prefix` event says so once. Default 80. */
  readonly warnAt?: number;
  /** `warn`: events only; `reset`: the session falls; `refuse`: paths beyond the limit are not taken. */
  readonly action: 'warn' | 'reset' | 'refuse';
  /** Seconds after which a session that fell for it starts again; absent: stays down until started. */
  readonly restartAfter?: number;
}

export interface SpeakerFamilyConfig extends PeerFamilyConfig {
  /** Default: 4,000,000, `reset`, again after 300 seconds. */
  readonly maxPrefixes?: MaxPrefixes;
  /** Name of a policy. Absent: internal neighbours everything, external nothing (RFC 8212). */
  readonly import?: string;
  readonly export?: string;
  /**
   * Absent: RFC 4271 section 5.1.3 (external: self, or a third party on the shared subnet; internal: unchanged,
   * but self for what an owner originated without a next hop).
   */
  readonly nextHop?: 'self' | 'unchanged';
}

/** One neighbour as the speaker sees it: its session (`PeerConfig`) and what is exchanged in it. */
export interface SpeakerPeerConfig extends Omit<PeerConfig, 'families' | 'routerId' | 'localAsn'> {
  /** Default: the speaker's. */
  readonly localAsn?: Asn;
  /** Said in our OPEN to this neighbour. Default: the speaker's. What decisions and reflection look at is the speaker's. */
  readonly localRouterId?: RouterId;
  readonly families: readonly SpeakerFamilyConfig[];
  readonly routeReflectorClient?: boolean;
  /** The subnet that we share with the neighbour, of each family, if any: for third-party next hops. */
  readonly sharedSubnets?: readonly string[];
  /**
   * Our addresses for next hop self in families that the session itself does not run over (IPv6 routes over an
   * IPv4 session need one).
   */
  readonly selfAddresses?: readonly string[];
}

export interface MultipathConfig {
  /** Equal external paths used at once, 1 to 255. Default 1. */
  readonly ebgp?: number;
  readonly ibgp?: number;
  /** Only paths whose AS paths are the same, not merely as long. Default false. */
  readonly sameAsPath?: boolean;
}

export interface DecisionConfig {
  /** MED compared between paths from different ASes too. Default false. */
  readonly alwaysCompareMed?: boolean;
  /**
   * Default true: paths are grouped by neighbour AS before MED is compared, so that the outcome does not depend
   * on the order of arrival. False: pair by pair, newest first, as old routers do.
   */
  readonly deterministicMed?: boolean;
  /** An absent MED is the worst, not the best. Default false. */
  readonly missingMedWorst?: boolean;
}

export interface RestartConfig {
  /** Seconds, default 120; advertised to peers that do not say otherwise. */
  readonly restartTime?: number;
  /** Longest time after a restart without choosing and sending routes, seconds. Default 60. */
  readonly deferral?: number;
}

export interface SpeakerConfig {
  readonly asn: Asn;
  readonly routerId: RouterId;
  /** Default: the router id (RFC 4456 section 7). */
  readonly clusterId?: RouterId;
  readonly multipath?: MultipathConfig;
  readonly decision?: DecisionConfig;
  readonly gracefulRestart?: RestartConfig;
  /**
   * Most bytes of distinct path attributes, of all neighbours together. Beyond it the neighbour whose routes need most
   * of them falls. Default 512 MiB: a full table of the Internet has some 20.
   */
  readonly attributeBytes?: number;
  /** Policies by name and their sets. */
  readonly policies: PolicyLibrary;
}

/** A path that an owner (the agent, an operator) originates. */
export interface OriginatedPath {
  readonly prefix: string;
  /** `self` (default): our address on each session. */
  readonly nextHop?: string;
  readonly communities?: readonly string[];
  readonly largeCommunities?: readonly string[];
  readonly extendedCommunities?: readonly string[];
  readonly localPreference?: number;
  readonly med?: number;
  readonly origin?: 'igp' | 'egp' | 'incomplete';
  /** For policies (`match.tags`). */
  readonly tag?: string;
  /** Only to these neighbours; absent: to all that policy lets it. */
  readonly neighbors?: readonly string[];
}

export type ResetHow = 'hard' | 'soft-in' | 'soft-out' | 'refresh';

/** What a change of configuration did to a neighbour. */
export type PeerChange =
  | 'unchanged'
  | 'updated-live'
  | 'soft-reset'
  | 'restarted'
  | 'added'
  | 'removed';
