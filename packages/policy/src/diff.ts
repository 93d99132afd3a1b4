import type { Prefix } from '@causeway/ip';
import type { Enforcement } from './lookup.ts';
import type { Direction, RuleOrigin } from './model.ts';

/** A key of the kernel's policy map, without the policy id. */
export interface PolicyEntryKey {
  readonly direction: Direction;
  /** 0 = every identity. */
  readonly identity: number;
  /** 0 = every protocol; then `prefixLength` and `port` are 0. */
  readonly protocol: number;
  readonly prefixLength: number;
  /** Host byte order; the message type for ICMP and ICMPv6. */
  readonly port: number;
}

export interface PolicyEntry extends PolicyEntryKey {
  /** ENTRY_FLAGS. */
  readonly flags: number;
  /** One of the rules that made the entry; the table of rules tells more. */
  readonly ruleId: number;
}

/** The row of `policy_info`. */
export interface PolicyInfo {
  /** Grows with every change of the set; verdicts cached under another number are void. */
  readonly revision: number;
  /** Bit n: a port prefix of length n is in use; 0 in a direction: nothing to look up there. */
  readonly prefixLengths: { readonly ingress: number; readonly egress: number };
  readonly ingress: Enforcement;
  readonly egress: Enforcement;
}

/**
 * What changed in one compiled set. Apply in this order: upserts, deletes, then `info`; a set must
 * be complete before an endpoint's row names it, and outlive the last row that does.
 */
export interface PolicySetChange {
  readonly policyId: number;
  readonly type: 'created' | 'changed' | 'removed';
  /** Absent when the set is removed. */
  readonly info?: PolicyInfo;
  readonly upserts: readonly PolicyEntry[];
  readonly deletes: readonly PolicyEntryKey[];
}

/** What an endpoint's row in the `endpoints` map must say. */
export interface EndpointPolicy {
  readonly endpointId: number;
  readonly policyId: number;
  readonly revision: number;
  readonly ingress: Enforcement;
  readonly egress: Enforcement;
}

/** A row of the rule table. */
export interface RuleRow {
  readonly ruleId: number;
  readonly name: string;
  /** Absent for rules that Causeway adds itself. */
  readonly origin?: RuleOrigin;
  readonly deny: boolean;
  readonly audit: boolean;
}

/** Everything that changed since the last flush, in the order in which to apply it. */
export interface PolicyDiff {
  readonly sets: readonly PolicySetChange[];
  /** Endpoints whose row changes, also where only the revision does. To be applied after `sets`. */
  readonly endpoints: readonly EndpointPolicy[];
  /** Sets that no row names any more. To be applied after `endpoints`. */
  readonly removedSets: readonly PolicySetChange[];
  readonly rules: { readonly added: readonly RuleRow[]; readonly removed: readonly number[] };
  readonly prefixes: PrefixChange;
}

/** Prefixes that rules came to need a node-local identity for, or ceased to. */
export interface PrefixChange {
  readonly added: readonly Prefix[];
  readonly removed: readonly Prefix[];
}
