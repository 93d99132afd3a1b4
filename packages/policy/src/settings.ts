import type { Family } from '@causeway/ip';
import type { NodeView } from './node-peers.ts';
import type { ParseSettings } from './parse/peers.ts';

export interface PolicySettings extends ParseSettings {
  /** Families of the cluster; with both, world is two identities (9 and 10). */
  readonly families: readonly Family[];
  /**
   * `default`: endpoints that no policy selects are open. `always`: they are closed. `never`:
   * policies are kept and can be traced, but nothing is compiled into the sets.
   */
  readonly enforcement: 'default' | 'always' | 'never';
  /** `always`: the node may reach its own pods whatever default deny says, as kubelet's probes need. */
  readonly allowLocalhost: 'always' | 'policy';
  /** Greater than any revision of an earlier run whose connections still live: seconds since 1970 do. */
  readonly firstRevision: number;
  /**
   * Entries of all sets together: what the kernel's map holds. Beyond it, and beyond the bound of one
   * set, allow rules are left out and deny rules close their direction; `overflows` tells.
   */
  readonly maxEntries: number;
  readonly maxEntriesPerSet: number;
  /** Numbers of policy sets in an earlier run, by PolicySet key; without them the hash decides. */
  readonly policyIds: ReadonlyMap<string, number>;
  /**
   * Other nodes, each with the identity that its addresses have without its labels, for `whatIf` about rules that
   * tell apart what no rule in force does.
   */
  readonly nodes: () => Iterable<{ readonly node: NodeView; readonly base: number }>;
}

export const DEFAULT_POLICY_SETTINGS: Omit<PolicySettings, 'cluster' | 'families'> = Object.freeze({
  defaultCluster: 'local',
  enforcement: 'default',
  allowLocalhost: 'always',
  firstRevision: 1,
  maxEntries: 262_144,
  maxEntriesPerSet: 65_536,
  policyIds: new Map(),
  nodes: () => [],
});
