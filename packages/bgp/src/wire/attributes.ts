import type { Asn, Origin, RouterId } from '../types.ts';

export type AsPathSegmentType = 'set' | 'sequence' | 'confed-sequence' | 'confed-set';

export interface AsPathSegment {
  readonly type: AsPathSegmentType;
  /** 1 to 255 numbers. */
  readonly asns: readonly Asn[];
}

/** From the nearest AS to the origin. */
export type AsPath = readonly AsPathSegment[];

/** An attribute that we do not know, kept to be passed on (RFC 4271 section 9). */
export interface UnknownAttribute {
  readonly type: number;
  /** Optional and Partial bits as received; Transitive is set, others are not kept. */
  readonly flags: number;
  readonly value: Uint8Array;
}

/**
 * The path attributes without next hop and NLRI, which belong to the blocks of an UPDATE. An absent
 * field is an absent attribute. Lists are in ascending order without duplicates where their order
 * means nothing (communities of all kinds).
 */
export interface PathAttributes {
  readonly origin: Origin;
  readonly asPath: AsPath;
  readonly med?: number;
  readonly localPreference?: number;
  readonly atomicAggregate?: true;
  readonly aggregator?: { readonly asn: Asn; readonly routerId: RouterId };
  /** Unsigned 32 bits each (RFC 1997). `Community.parse` and `.format` for text. */
  readonly communities?: readonly number[];
  readonly originatorId?: RouterId;
  /** Nearest reflector first (RFC 4456). */
  readonly clusterList?: readonly RouterId[];
  /** 64 bits each (RFC 4360). */
  readonly extendedCommunities?: readonly bigint[];
  readonly largeCommunities?: readonly LargeCommunityValue[];
  readonly unknown?: readonly UnknownAttribute[];
  /** Type codes of those above that came with the Partial bit, which nobody may take away (RFC 4271 section 5). */
  readonly partial?: readonly number[];
}

/** RFC 8092. */
export interface LargeCommunityValue {
  readonly admin: number;
  readonly data1: number;
  readonly data2: number;
}
