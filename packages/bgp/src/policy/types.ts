import type { FamilyKey } from '../types.ts';

/**
 * Routing policy as data: JSON in and out, nothing to be run. Sets are named once in a library and
 * used by name; a statement may also write its own. What is absent in a `match` matches everything;
 * what is present must all hold.
 */

/** A prefix and the lengths that count under it: alone exactly it; `ge`/`le` as routers have it. */
export interface PrefixRule {
  /** `10.0.0.0/8`, host bits clear. */
  readonly prefix: string;
  /** Least length, at least the prefix's own. Given alone, up to the family's width. */
  readonly ge?: number;
  /** Greatest length. Given alone, from the prefix's own length. */
  readonly le?: number;
}

export type PrefixSet = readonly (string | PrefixRule)[];

/** Both ends count. */
export interface NumberRange {
  readonly min?: number;
  readonly max?: number;
}

/**
 * Community patterns in their text forms, any field of which may be `*`: `65000:100`, `65000:*`,
 * `no-export`; large `65000:1:2`; extended `rt:65000:100`, `soo:192.0.2.1:7`, `rt:*:*`,
 * `0x0002fde800000064` (generic, no wildcard). `@name` stands for a community set of the library.
 */
export interface CommunityMatch {
  /** At least one of these. */
  readonly any?: readonly string[];
  /** Each of these. */
  readonly all?: readonly string[];
  /** Not one of these. */
  readonly none?: readonly string[];
}

/**
 * AS path conditions. A pattern is a regular expression over the path's text (`65001 65002 {7,8}`), where
 * `_` is the edge of a number, as routers have it: `^65001_`, `_65010$`, `^$` (our own routes).
 * It runs in time linear in the path, whatever the pattern.
 */
export interface AsPathMatch {
  /** One of these patterns; `@name` stands for an AS path set. */
  readonly patterns?: readonly string[];
  /** Contains one of these. */
  readonly contains?: readonly number[];
  /** The AS that originated it is one of these (the path's last number). */
  readonly originatedBy?: readonly number[];
  /** The AS it came from is one of these (the path's first number). */
  readonly receivedFrom?: readonly number[];
  /** As the decision process counts: a set is one. */
  readonly length?: NumberRange;
}

export type RouteSource = 'local' | 'ibgp' | 'ebgp';
export type OriginName = 'igp' | 'egp' | 'incomplete';

export interface PolicyMatch {
  /** Names of prefix sets: one of them must hold. */
  readonly prefixSets?: readonly string[];
  /** A prefix set written here. With `prefixSets`, one of all must hold. */
  readonly prefixes?: PrefixSet;
  readonly families?: readonly FamilyKey[];
  readonly communities?: CommunityMatch;
  readonly largeCommunities?: CommunityMatch;
  readonly extendedCommunities?: CommunityMatch;
  readonly asPath?: AsPathMatch;
  /** Names of neighbours: on import whom it came from, on export whom it goes to. */
  readonly neighbors?: readonly string[];
  /** AS numbers of the neighbour. */
  readonly neighborAsns?: readonly number[];
  readonly origin?: readonly OriginName[];
  /** How the route came to us. */
  readonly source?: readonly RouteSource[];
  /** Tags of originated paths. */
  readonly tags?: readonly string[];
  /** Next hop lies in one of these. */
  readonly nextHop?: PrefixSet;
  /** An absent MED is 0. */
  readonly med?: NumberRange;
  /** An absent LOCAL_PREF is 100. */
  readonly localPreference?: NumberRange;
}

/** Applied as written: remove, then add; `replace` alone. Patterns may have `*` in `remove` only. */
export interface CommunityChange {
  readonly remove?: readonly string[];
  readonly add?: readonly string[];
  readonly replace?: readonly string[];
}

export interface PolicySet {
  readonly localPreference?: number;
  /** A value, a difference (kept within 0 to 4294967295), or none. */
  readonly med?: number | { readonly add: number } | 'none';
  readonly origin?: OriginName;
  /** `self`: our address on the session; `unchanged`: as it came, also to external peers. Or an address. */
  readonly nextHop?: string;
  readonly communities?: CommunityChange;
  readonly largeCommunities?: CommunityChange;
  readonly extendedCommunities?: CommunityChange;
  /** In front of the path, `asn` (our own if absent) so many times, 1 to 32. */
  readonly prepend?: { readonly asn?: number; readonly count: number };
}

/** `next`: what was set stays, and the next statement is looked at. */
export type PolicyVerdict = 'accept' | 'reject' | 'next';

export interface PolicyStatement {
  /** For explanations; absent: its position, from 1. */
  readonly name?: string;
  readonly match?: PolicyMatch;
  readonly set?: PolicySet;
  /** Absent: `next`, so that statements which only set need not say so. */
  readonly then?: PolicyVerdict;
}

export interface Policy {
  readonly statements: readonly PolicyStatement[];
  /** What becomes of a route that no statement decided. Absent: `reject`. */
  readonly otherwise?: 'accept' | 'reject';
}

export interface PolicyLibrary {
  readonly policies: Readonly<Record<string, Policy>>;
  readonly prefixSets?: Readonly<Record<string, PrefixSet>>;
  /** Used as `@name` in matches and in `remove`, for whichever kind of community they are written. */
  readonly communitySets?: Readonly<Record<string, readonly string[]>>;
  readonly asPathSets?: Readonly<Record<string, readonly string[]>>;
}

/** Which statement decided, as an operator reads it. */
export interface PolicyReason {
  readonly policy: string;
  /** The deciding statement's name or number from 1; `otherwise` when none decided. */
  readonly statement: string;
  readonly verdict: 'accept' | 'reject';
  /** Statements whose `set` applied, in order. */
  readonly applied: readonly string[];
}
