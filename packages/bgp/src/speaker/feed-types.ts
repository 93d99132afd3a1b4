/** What monitors and the kernel pull from the RIBs. */
import type { FamilyKey } from '../types.ts';

/** Number of a feed; `Speaker.openFeed` gives it. */
export type FeedId = number;

/**
 * What a feed tells. A reader that is slow costs a position: what changed twice is told once. If it falls
 * so far behind that withdrawn paths can no longer be remembered for it, `overrun` is told once and the
 * feed starts again from the whole table.
 */
export type FeedSpec =
  /** Best path and equal-cost set of each prefix, for the kernel: `best` items. */
  | { readonly type: 'best'; readonly families?: readonly FamilyKey[] }
  /** BMP: UPDATE messages as the peers' (pre-policy, post-policy), with `monitor` items. */
  | {
      readonly type: 'adj-rib-in';
      readonly policy: 'pre' | 'post';
      readonly peers?: readonly string[];
    }
  | {
      readonly type: 'adj-rib-out';
      /** `post` (default): what is really sent. `pre`: what would be, were there no export policy. */
      readonly policy?: 'pre' | 'post';
      readonly peers?: readonly string[];
    }
  | { readonly type: 'loc-rib' };

export interface BestNextHop {
  readonly address: string;
  /** For link-local next hops. */
  readonly device?: string;
  readonly peer: string;
}

export type FeedItem =
  | {
      readonly type: 'best';
      readonly family: FamilyKey;
      readonly prefix: string;
      /** Empty: the prefix has no path any more. */
      readonly nextHops: readonly BestNextHop[];
      /** Originated here: nothing to install. */
      readonly local: boolean;
      readonly source?: 'local' | 'ibgp' | 'ebgp';
      readonly med?: number;
    }
  /** Whole UPDATE messages with headers, 4-octet AS numbers. `peer` absent: the Loc-RIB. */
  | {
      readonly type: 'monitor';
      readonly peer?: string;
      readonly messages: Uint8Array;
      readonly count: number;
    }
  /** All of the table that there was has been told (End-of-RIB of the peer's family, if of a peer). */
  | { readonly type: 'synced'; readonly peer?: string; readonly family: FamilyKey }
  /** Told once; from here on the whole table comes again. */
  | { readonly type: 'overrun' };
