import type { Asn, FamilyKey } from '../types.ts';
import type { NotificationMessage } from './notification.ts';

/** What an UPDATE cannot be read without; all of it was agreed in the OPENs or follows from the peer's kind. */
export interface UpdateContext {
  readonly fourOctetAs: boolean;
  /** NLRI of other families are skipped, and said so in `problem`. */
  readonly families: readonly FamilyKey[];
  /** Families whose NLRI come with path identifiers from this peer. */
  readonly addPath: readonly FamilyKey[];
  /** External peers' LOCAL_PREF, ORIGINATOR_ID and CLUSTER_LIST are dropped (RFC 7606 section 7). */
  readonly external: boolean;
  /** External peers only: the AS that the path must start with. */
  readonly firstAs?: Asn;
  /** What a router tells a monitor: its own routes may have 0.0.0.0 as NEXT_HOP. */
  readonly monitored?: boolean;
}

/**
 * A run of NLRI inside a message whose syntax has been checked. A range instead of a view: a view costs more
 * than reading the five prefixes that it shows. Read it with a `NlriCursor`.
 */
export interface NlriBlock {
  readonly family: FamilyKey;
  readonly bytes: Uint8Array;
  readonly start: number;
  readonly end: number;
  readonly addPath: boolean;
  /** The next hop's bytes in the same buffer: length 4, 16, or 32 (global, then link-local); 0 in withdrawals. */
  readonly nextHopStart: number;
  readonly nextHopLength: number;
}

/**
 * RFC 7606 section 2, the strongest last. A `session-reset` leaves nothing else of the UPDATE to use. "AFI/SAFI
 * disable" is not among them: wherever the RFC allows it, it allows the session reset, too, which also mends the fault.
 */
export type UpdateAction = 'attribute-discard' | 'treat-as-withdraw' | 'session-reset';

export interface UpdateProblem {
  readonly action: UpdateAction;
  /** Stable: `origin-length`, `nlri-syntax`, ... */
  readonly reason: string;
  /** Attribute type code it is about, 0 if none. */
  readonly attribute: number;
  /** In the message body. */
  readonly offset: number;
  /** With `session-reset`: what to send. */
  readonly notification?: NotificationMessage;
}

/**
 * One UPDATE, valid until its parser is used again (as are the bytes that it points into). With
 * `treat-as-withdraw` the blocks that were announced already stand in `withdrawn` instead.
 */
export interface ParsedUpdate {
  readonly withdrawn: readonly NlriBlock[];
  readonly announced: readonly NlriBlock[];
  /**
   * Canonical attributes: sorted by type, shortest length form, 4-octet AS numbers with AS4_PATH merged, without
   * NEXT_HOP, MP_REACH_NLRI, MP_UNREACH_NLRI. Equal sets are equal bytes. Empty when nothing is announced.
   */
  readonly attributeBytes: Uint8Array;
  readonly attributesStart: number;
  readonly attributesEnd: number;
  /** Signed 32 bits, over the canonical bytes. */
  readonly attributesHash: number;
  /** RFC 4724 section 2: this UPDATE is the family's End-of-RIB marker. */
  readonly endOfRib: FamilyKey | undefined;
  readonly problem: UpdateProblem | undefined;
}
