import type { Address } from '@causeway/ip';
import type { Asn, FamilyKey, RouterId } from './types.ts';

/** How the session reaches the neighbour. `interface`: the one that answers on the link (unnumbered). */
export interface PeerTarget {
  /** Absent: not known yet (unnumbered, default gateway); no connection is tried until it is. */
  readonly address?: Address;
  /** Device to bind to; needed with a link-local address. */
  readonly device?: string;
  /** Default 179. */
  readonly port?: number;
  /** Source address. */
  readonly localAddress?: Address;
  /** Source port; default any. */
  readonly localPort?: number;
}

export interface PeerFamilyConfig {
  readonly family: FamilyKey;
  /** `send`: how many paths per prefix at most; 0 for none. */
  readonly addPath?: { readonly receive: boolean; readonly send: number };
  /** LLGR stale time to advertise, seconds (RFC 9494). */
  readonly llgr?: number;
}

/** Seconds. */
export interface PeerTimers {
  /** Default 90. 0, or at least 3. */
  readonly hold?: number;
  /** Default a third of the hold time that was agreed; never more than that. */
  readonly keepalive?: number;
  /** Default 5 (RFC 4271 suggests 120, which is a long time for a pod to be unreachable). */
  readonly connectRetry?: number;
  /** Default none: OPEN goes at once. */
  readonly delayOpen?: number;
  /**
   * Longest wait for the neighbour's OPEN once connected. RFC 4271 section 8.2.2 suggests a HoldTimer of 4 minutes for
   * it, which is the default.
   */
  readonly open?: number;
  /** First pause after a session fell; doubles while it keeps falling, up to 60. Default 1. */
  readonly idleHold?: number;
}

/** One neighbour's session: what its packets look like, not what is sent in it. */
export interface PeerConfig {
  readonly name: string;
  readonly target: PeerTarget;
  /** `internal`: our own; `external`: any other; a list: one of these (dynamic neighbours). */
  readonly asn: Asn | readonly Asn[] | 'internal' | 'external' | 'any';
  /** Ours towards this neighbour. */
  readonly localAsn: Asn;
  readonly routerId: RouterId;
  readonly families: readonly PeerFamilyConfig[];
  readonly timers?: PeerTimers;
  readonly passive?: boolean;
  readonly adminDown?: boolean;
  /** TCP MD5 (RFC 2385), up to 80 bytes. */
  readonly password?: string;
  /** RFC 5082: the number of hops that packets may have made, at least 1: TTL 255 out, 256 - hops in at least. */
  readonly ttlSecurity?: number;
  /** TTL out; default 1 for external neighbours, 64 for internal ones. Not with ttlSecurity. */
  readonly multihopTtl?: number;
  /** IPv4 NLRI with IPv6 next hops (RFC 8950). */
  readonly extendedNextHop?: boolean;
  /** RFC 8654. Default true. */
  readonly extendedMessages?: boolean;
  readonly gracefulRestart?: {
    /** Seconds, 1 to 4095: how long our restart may take. */
    readonly restartTime: number;
    /** Keep this neighbour's routes while it restarts. Default true. */
    readonly helper?: boolean;
    /** RFC 8538. Default true. */
    readonly notification?: boolean;
  };
  /** Strict: nothing is connected or accepted before BFD is up. */
  readonly bfd?: { readonly strict?: boolean };
  /** External only: refuse paths that do not start with the neighbour's AS (RFC 4271 section 6.3). Default true. */
  readonly enforceFirstAs?: boolean;
  /** Announced in the FQDN capability; nothing depends on it. */
  readonly hostname?: string;
  /** Refuse a session in which the neighbour lacks one of our families. Default false: what both have is used. */
  readonly requireFamilies?: boolean;
}
