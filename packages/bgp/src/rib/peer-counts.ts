/**
 * Paths of one peer in one prefix (RFC 7911). A prefix's paths are a chain that every change walks, so that a neighbour
 * with a hundred thousand identifiers for one prefix would hold everybody up.
 */
export const mostOfOne = 256;

/** What a peer has in one RIB. */
export interface PeerCounts {
  received: number;
  accepted: number;
  stale: number;
  /** A path was not taken because the prefix had too many of this peer. `told`: that has been said. */
  crowded: 'no' | 'yes' | 'told';
}
