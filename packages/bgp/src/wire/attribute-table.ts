/**
 * RFC 4271 section 4.3: a path attribute is flags (1), type (1), length (1, or 2 with the Extended Length flag),
 * value. One row per attribute: its flags, how its value is checked, and what RFC 7606 makes of a fault in it.
 */
export const AttributeType = Object.freeze({
  origin: 1,
  asPath: 2,
  nextHop: 3,
  med: 4,
  localPreference: 5,
  atomicAggregate: 6,
  aggregator: 7,
  communities: 8,
  originatorId: 9,
  clusterList: 10,
  mpReach: 14,
  mpUnreach: 15,
  extendedCommunities: 16,
  as4Path: 17,
  as4Aggregator: 18,
  ipv6ExtendedCommunities: 25,
  largeCommunities: 32,
} as const);

export const AttributeFlag = Object.freeze({
  optional: 0x80,
  transitive: 0x40,
  partial: 0x20,
  extendedLength: 0x10,
} as const);

/** How a value is checked before anybody reads it. */
export type AttributeCheck =
  | 'origin'
  | 'as-path'
  | 'next-hop'
  | 'four'
  | 'empty'
  | 'aggregator'
  | 'fours'
  | 'eights'
  | 'twelves'
  | 'twenties'
  | 'mp-reach'
  | 'mp-unreach'
  | 'as4-path'
  | 'as4-aggregator';

export interface AttributeRow {
  readonly type: number;
  readonly name: string;
  /** Optional and Transitive as they must be. */
  readonly flags: number;
  readonly check: AttributeCheck;
  /** RFC 7606 section 7, for a fault in the value. */
  readonly action: 'treat-as-withdraw' | 'attribute-discard' | 'session-reset';
  /** From external neighbours it is dropped unread (RFC 7606 sections 7.5, 7.9, 7.10). */
  readonly internalOnly?: true;
}

const wellKnown = AttributeFlag.transitive;
const transitive = AttributeFlag.optional | AttributeFlag.transitive;
const nonTransitive = AttributeFlag.optional;

const withdraw = 'treat-as-withdraw';
const discard = 'attribute-discard';

/** In the order of type codes. Sections are RFC 7606's unless said otherwise. */
const rows: readonly AttributeRow[] = [
  // 7.1
  { type: 1, name: 'ORIGIN', flags: wellKnown, check: 'origin', action: withdraw },
  // 7.2
  { type: 2, name: 'AS_PATH', flags: wellKnown, check: 'as-path', action: withdraw },
  // 7.3
  { type: 3, name: 'NEXT_HOP', flags: wellKnown, check: 'next-hop', action: withdraw },
  // 7.4
  { type: 4, name: 'MULTI_EXIT_DISC', flags: nonTransitive, check: 'four', action: withdraw },
  // 7.5
  {
    type: 5,
    name: 'LOCAL_PREF',
    flags: wellKnown,
    check: 'four',
    action: withdraw,
    internalOnly: true,
  },
  // 7.6
  { type: 6, name: 'ATOMIC_AGGREGATE', flags: wellKnown, check: 'empty', action: discard },
  // 7.7
  { type: 7, name: 'AGGREGATOR', flags: transitive, check: 'aggregator', action: discard },
  // 7.8
  { type: 8, name: 'COMMUNITIES', flags: transitive, check: 'fours', action: withdraw },
  // 7.9
  {
    type: 9,
    name: 'ORIGINATOR_ID',
    flags: nonTransitive,
    check: 'four',
    action: withdraw,
    internalOnly: true,
  },
  // 7.10
  {
    type: 10,
    name: 'CLUSTER_LIST',
    flags: nonTransitive,
    check: 'fours',
    action: withdraw,
    internalOnly: true,
  },
  // 7.11 and 5.3: without its NLRI nothing can be withdrawn instead.
  {
    type: 14,
    name: 'MP_REACH_NLRI',
    flags: nonTransitive,
    check: 'mp-reach',
    action: 'session-reset',
  },
  // 7.12
  {
    type: 15,
    name: 'MP_UNREACH_NLRI',
    flags: nonTransitive,
    check: 'mp-unreach',
    action: 'session-reset',
  },
  // 7.14
  {
    type: 16,
    name: 'EXTENDED_COMMUNITIES',
    flags: transitive,
    check: 'eights',
    action: withdraw,
  },
  // RFC 6793 section 6
  { type: 17, name: 'AS4_PATH', flags: transitive, check: 'as4-path', action: discard },
  { type: 18, name: 'AS4_AGGREGATOR', flags: transitive, check: 'as4-aggregator', action: discard },
  // 7.15
  {
    type: 25,
    name: 'IPV6_EXTENDED_COMMUNITIES',
    flags: transitive,
    check: 'twenties',
    action: withdraw,
  },
  // RFC 8092 section 6
  { type: 32, name: 'LARGE_COMMUNITIES', flags: transitive, check: 'twelves', action: withdraw },
];

/** By type code. */
export const attributeTable: readonly (AttributeRow | undefined)[] = Array.from(
  { length: 256 },
  (_, type) => rows.find((row) => row.type === type),
);

/** `AS_PATH`, `attribute 99`. */
export function attributeName(type: number): string {
  return attributeTable[type]?.name ?? `attribute ${type}`;
}
