/**
 * The sessions between our speakers and one foreign router, all at once: a session for each thing that is agreed in an
 * OPEN or on the socket, told apart by their addresses. Session n has 10.90.n.0/24 and fd90:n::/64; ours is .1, theirs .2.
 *
 *   speaker A (external) ─┬─ plain4, plain6, md5, ttl, ... ── the foreign router (AS 65020)
 *   speaker R (AS 65020)  ├─ client: R reflects, the foreign router is its client
 *   speaker C (AS 65020)  └─ reflector: the foreign router reflects, C is its client; and a session R to C
 */

export type OurSpeaker = 'A' | 'R' | 'C';

export interface SessionPlan {
  readonly key: string;
  readonly number: number;
  readonly speaker: OurSpeaker;
  readonly transport: 'ipv4' | 'ipv6';
  /** Who opens the connection. */
  readonly opens: 'ours' | 'theirs' | 'both';
  readonly password?: string;
  readonly ttlSecurity?: boolean;
  readonly gracefulRestart?: boolean;
  readonly addPath?: boolean;
  readonly extendedNextHop?: boolean;
  readonly extendedMessages?: boolean;
  /** The foreign router does as if it knew AS numbers of two octets only. */
  readonly oldSpeaker?: boolean;
  /** Who takes the other from a range instead of naming it. */
  readonly dynamic?: 'ours' | 'theirs';
  readonly holdTime?: number;
  readonly reflector?: 'ours' | 'theirs';
}

/** A has a number that needs four octets, so that every session shows that it is carried. */
export const OUR_ASN = 4_200_000_010;
export const THEIR_ASN = 65_020;
/** A's number towards a speaker that knows two octets only; the longer one stands behind it in the path. */
export const OUR_SHORT_ASN = 65_030;
export const THEIR_ID = '10.90.0.2';
export const OUR_IDS: Readonly<Record<OurSpeaker, string>> = {
  A: '10.90.0.1',
  R: '10.90.0.11',
  C: '10.90.0.12',
};
export const PASSWORD = 'correct-horse';

const rows: readonly Omit<SessionPlan, 'number'>[] = [
  { key: 'plain4', speaker: 'A', transport: 'ipv4', opens: 'ours' },
  { key: 'plain6', speaker: 'A', transport: 'ipv6', opens: 'theirs', extendedMessages: true },
  { key: 'md5', speaker: 'A', transport: 'ipv4', opens: 'both', password: PASSWORD },
  { key: 'md5v6', speaker: 'A', transport: 'ipv6', opens: 'both', password: PASSWORD },
  { key: 'ttl', speaker: 'A', transport: 'ipv4', opens: 'both', ttlSecurity: true },
  { key: 'ttlv6', speaker: 'A', transport: 'ipv6', opens: 'both', ttlSecurity: true },
  { key: 'restart', speaker: 'A', transport: 'ipv4', opens: 'both', gracefulRestart: true },
  { key: 'addpath', speaker: 'A', transport: 'ipv4', opens: 'ours', addPath: true },
  { key: 'nexthop', speaker: 'A', transport: 'ipv6', opens: 'ours', extendedNextHop: true },
  { key: 'old', speaker: 'A', transport: 'ipv4', opens: 'ours', oldSpeaker: true },
  { key: 'dynours', speaker: 'A', transport: 'ipv4', opens: 'theirs', dynamic: 'ours' },
  { key: 'dyntheirs', speaker: 'A', transport: 'ipv6', opens: 'ours', dynamic: 'theirs' },
  { key: 'hold', speaker: 'A', transport: 'ipv4', opens: 'ours', holdTime: 3 },
  { key: 'client', speaker: 'R', transport: 'ipv4', opens: 'ours', reflector: 'ours' },
  { key: 'reflector', speaker: 'C', transport: 'ipv4', opens: 'ours', reflector: 'theirs' },
];

export const ALL_SESSIONS: readonly SessionPlan[] = rows.map((row, index) => ({
  ...row,
  number: index + 1,
}));

export function oursOf({ number, transport }: SessionPlan): string {
  return transport === 'ipv4' ? `10.90.${number}.1` : `fd90:${number}::1`;
}

export function theirsOf({ number, transport }: SessionPlan): string {
  return transport === 'ipv4' ? `10.90.${number}.2` : `fd90:${number}::2`;
}

/** The AS that the foreign router is told to expect. */
export function asnSeenBy(session: SessionPlan): number {
  if (session.speaker !== 'A') return THEIR_ASN;
  return session.oldSpeaker ? OUR_SHORT_ASN : OUR_ASN;
}

export type Family = 'ipv4' | 'ipv6';

/** A route as both sides are asked for it: communities in the text that most routers use. */
export interface RouteText {
  readonly prefix: string;
  readonly asPath: readonly number[];
  readonly nextHop?: string;
  readonly med?: number;
  readonly localPreference?: number;
  /** `65020:1` */
  readonly communities: readonly string[];
  /** `65020:1:2` */
  readonly largeCommunities: readonly string[];
  /** Route targets, as `rt:65020:100`. */
  readonly extendedCommunities: readonly string[];
  readonly originatorId?: string;
  readonly clusterList?: readonly string[];
  readonly pathId?: number;
}

export interface Announced {
  readonly ipv4: string;
  readonly ipv6: string;
}

/** What the foreign router announces from its start, with everything that a route can carry. */
export const THEIR_ROUTES: Announced = { ipv4: '203.0.113.0/24', ipv6: '2001:db8:113::/48' };
/** The same by a path of more than one AS, the last of which needs four octets. */
export const THEIR_FAR_ROUTES: Announced = { ipv4: '203.0.114.0/24', ipv6: '2001:db8:114::/48' };
export const FAR_ASN = 4_200_000_999;
/** What it announces and withdraws while we watch. */
export const THEIR_MOVING_ROUTES: Announced = { ipv4: '203.0.115.0/24', ipv6: '2001:db8:115::/48' };
export const THEIR_ATTRIBUTES = {
  med: 50,
  communities: ['65020:1', '65020:2'],
  largeCommunities: ['65020:1:2'],
  extendedCommunities: ['rt:65020:100'],
} as const;

export const OUR_ROUTES: Announced = { ipv4: '192.0.2.0/24', ipv6: '2001:db8:2::/48' };
export const OUR_MOVING_ROUTES: Announced = { ipv4: '192.0.3.0/24', ipv6: '2001:db8:3::/48' };
/** Originated twice by A. */
export const OUR_DOUBLE_ROUTES: Announced = { ipv4: '192.0.4.0/24', ipv6: '2001:db8:4::/48' };
/** Announced to the foreign router by R and by C. */
export const INNER_DOUBLE_ROUTES: Announced = { ipv4: '192.0.5.0/24', ipv6: '2001:db8:5::/48' };
/** Told by R to the foreign router alone. */
export const R_ROUTES: Announced = { ipv4: '192.0.6.0/24', ipv6: '2001:db8:6::/48' };
/** Told by C to R alone. */
export const C_ROUTES: Announced = { ipv4: '192.0.7.0/24', ipv6: '2001:db8:7::/48' };
/** Told by C to the foreign router alone. */
export const C_OUTER_ROUTES: Announced = { ipv4: '192.0.9.0/24', ipv6: '2001:db8:9::/48' };
/** Told by R to the foreign router with a long AS number in its path, so that it is handed on with it. */
export const THROUGH_ROUTES: Announced = { ipv4: '192.0.10.0/24', ipv6: '2001:db8:10::/48' };
export const OUR_ATTRIBUTES = {
  med: 70,
  communities: ['65010:1', '65010:2'],
  largeCommunities: [`${OUR_ASN}:1:2`],
  extendedCommunities: ['rt:65010:100'],
} as const;

export const FAMILIES: readonly Family[] = ['ipv4', 'ipv6'];
