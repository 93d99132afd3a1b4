import type { Cause, CauseWhy } from '../cause.ts';

/**
 * A fault is what an operator would call one thing that went wrong: forty sessions that fall within two seconds
 * are one. It gathers while sessions keep falling, is then judged, stays open while one of its sessions is
 * down, and is recovered when all are back.
 */
export type FaultState = 'gathering' | 'open' | 'recovered';

/** A speaker, monitored or not: known by its BGP identifier. */
export interface FaultNode {
  readonly bgpId: string;
  readonly asn: number;
  /** A monitored router's sysName, or an address by which others know it. */
  readonly name: string;
}

export interface FaultSession {
  /** Numbers in the history, and what a person calls them. */
  readonly router: number;
  readonly routerName: string;
  readonly peer: number;
  readonly peerAddress: string;
  readonly peerAsn: number;
  readonly local: FaultNode;
  readonly remote: FaultNode;
  readonly cause: Cause;
  readonly downAt: number;
  readonly upAt?: number;
  readonly routesLost: number;
  /** Times that it went down, this one included. */
  readonly flaps?: { readonly lastHour: number; readonly lastDay: number };
}

/** A node that could be what is broken, with what speaks for it. */
export interface Suspect {
  readonly node: FaultNode;
  /** The higher, the more suspicious; what has less than half of the first's is left out. */
  readonly score: number;
  /** Sessions of the fault that end there, and sessions that are known to end there at all. */
  readonly sessionsDown: number;
  readonly sessionsKnown: number;
  readonly reasons: readonly string[];
}

export interface LossAtRouter {
  readonly router: number;
  readonly routerName: string;
  readonly lost: number;
  /** Lost prefixes that this router still has another way to. */
  readonly reachable: number;
}

export interface AlsoLost {
  readonly router: number;
  readonly routerName: string;
  readonly peer: number;
  readonly peerAddress: string;
  /** Prefixes of the fault that it withdrew at that time though its session stayed up. */
  readonly prefixes: number;
  readonly sample: readonly string[];
}

export interface FaultPrefixes {
  /** Different prefixes that went with the sessions. */
  readonly lost: number;
  /** Those to which every router that lost them has another way, at the time of the judgement. */
  readonly reachable: number;
  /** Those of which no router at this station has any route left. */
  readonly gone: number;
  readonly goneSample: readonly string[];
  readonly perRouter: readonly LossAtRouter[];
}

export interface Fault {
  readonly id: number;
  readonly state: FaultState;
  readonly openedAt: number;
  /** When the last of its sessions fell. */
  readonly lastAt: number;
  readonly recoveredAt?: number;
  /** One sentence for a person. */
  readonly headline: string;
  readonly suspects: readonly Suspect[];
  readonly causes: readonly {
    readonly why: CauseWhy;
    readonly closedBy: Cause['closedBy'];
    readonly sessions: number;
    /** NOTIFICATION's name and shutdown text where all have the same. */
    readonly name?: string;
    readonly text?: string;
  }[];
  /** In order of falling; `sessionsLeftOut` more are not listed. */
  readonly sessions: readonly FaultSession[];
  readonly sessionsLeftOut: number;
  readonly prefixes: FaultPrefixes;
  readonly alsoLost: readonly AlsoLost[];
  /** Routers whose feeds to the station ended at that time without goodbye. */
  readonly feedsLost: readonly {
    readonly router: number;
    readonly name: string;
    readonly why: string;
  }[];
}
