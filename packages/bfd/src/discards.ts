/**
 * Why a received datagram was discarded: RFC 5880 section 6.8.6 in its order, with the checks of RFC
 * 5881 section 5 and RFC 5883 before and those of section 6.7 within.
 */
export const discardReasons = [
  /** Fewer bytes than the mandatory section has. */
  'truncated',
  /** "If the version number is not correct (1), the packet MUST be discarded." */
  'bad-version',
  /** The Length field is less than 24, or than 26 with the A bit. */
  'bad-length',
  'length-beyond-payload',
  'zero-multiplier',
  'multipoint',
  'zero-my-discriminator',
  /** Your Discriminator is zero in a packet whose state says that it cannot be. */
  'zero-your-discriminator',
  /** It is not zero and no session of ours. */
  'unknown-discriminator',
  /** It is zero, and no session is configured with whom it came from: none is made for it. */
  'unknown-peer',
  /** The discriminator of a single-hop session in a multihop packet, or the other way round. */
  'wrong-port',
  /** RFC 5881 section 5: not 255; multihop: below the session's least. */
  'ttl',
  'auth-missing',
  'auth-unexpected',
  'auth-type',
  'auth-length',
  'auth-key',
  'auth-sequence',
  'auth-digest',
  /** "If bfd.SessionState is AdminDown, discard the packet." */
  'admin-down',
] as const;

export type DiscardReason = (typeof discardReasons)[number];

export type DiscardCounts = Record<DiscardReason, number>;

export function noDiscards(): DiscardCounts {
  return Object.fromEntries(discardReasons.map((reason) => [reason, 0])) as DiscardCounts;
}
