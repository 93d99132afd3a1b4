import type { PrefixSet } from './types.ts';

/** The named sets of a library. */
export interface PolicySets {
  readonly prefixSets: Readonly<Record<string, PrefixSet>>;
  readonly communitySets: Readonly<Record<string, readonly string[]>>;
  readonly asPathSets: Readonly<Record<string, readonly string[]>>;
}
