import type { Address } from '@causeway/ip';

/** For whom an address is kept. A workload's pod is named by its ordinal or, without one, by its pod name. */
export type ClaimOwner =
  | { readonly type: 'pod'; readonly namespace: string; readonly pod: string }
  | {
      readonly type: 'workload';
      readonly namespace: string;
      readonly kind: string;
      readonly name: string;
      readonly ordinal: number;
    };

/**
 * `causeway/allocations/addresses/<address>`: an address that stays with its owner. The record is changed by
 * compare-and-swap only; `epoch` counts its endpoints, so that what was meant for one before changes nothing.
 */
export interface Claim {
  readonly address: Address;
  readonly owner: ClaimOwner;
  /** The same owner's address of the other family. */
  readonly partner: Address | null;
  /** The node whose pod CIDR holds the address; null if no CIDR does. */
  readonly home: string | null;
  /** The node that has, or last had, the owner's endpoint; null before the first. */
  readonly at: string | null;
  /** The container that has the address there; null when none has. */
  readonly holder: string | null;
  readonly epoch: number;
  /** The node `at` answers for the address: routes lead there. Until then the one before sends on what it gets. */
  readonly announced: boolean;
  /** The node before `at`, until it has seen that `at` is announced. */
  readonly from: string | null;
  /** Nodes that had the endpoint before and have not said yet that nothing of it is left there. */
  readonly behind: readonly string[];
  /** A second endpoint with the address, made ready and silent on this node: the switch makes it the first. */
  readonly standby: { readonly node: string; readonly holder: string } | null;
  /** Wall clock of the release in milliseconds, to be read by people; expiry goes by the leader's own waiting. */
  readonly releasedAt: number | null;
  /** How long after the release the address stays; null for ever, as for explicit reservations. */
  readonly ttlSeconds: number | null;
  /** namespace/name of the AddressReservation behind it. */
  readonly reservation: string | null;
}

/** A step on a claim: what to write if the record is still as it was read, or why not. */
export type ClaimStep =
  | { readonly type: 'write'; readonly claim: Claim }
  | { readonly type: 'delete' }
  | { readonly type: 'same'; readonly claim: Claim }
  | ClaimRefusal;

export interface ClaimRefusal {
  readonly type: 'refused';
  readonly code:
    | 'claim-held'
    | 'claim-unknown'
    | 'claim-moved'
    | 'claim-in-use'
    | 'no-standby'
    | 'block-taken'
    | 'foreign-home';
  readonly message: string;
  /** Who holds the address, as a person would name him. */
  readonly by: string | undefined;
  readonly hint: string;
}

/** What a node has to do for one claim, derived from the record alone. */
export interface ClaimDuty {
  readonly address: Address;
  /** Keep the address from ordinary pods. */
  readonly keep: boolean;
  /** `active`: the endpoint here is the address. `standby`: it is ready and silent. `none`: there must be none. */
  readonly endpoint: 'active' | 'standby' | 'none';
  /** The container whose endpoint may have it here. */
  readonly holder: string | undefined;
  /** Announce the host route (/32 or /128) from this node. */
  readonly announce: boolean;
  /** Write the address's ipcache entry from this node. */
  readonly publish: boolean;
  /** Send what still arrives for the address to that node. */
  readonly forwardTo: string | undefined;
}
