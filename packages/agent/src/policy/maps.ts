import type { Address, Mac } from '@causeway/ip';
import type { Enforcement, PolicyEntryKey, PolicySetChange } from '@causeway/policy';

/** A row of the `endpoints` map: an address of a local pod. */
export interface EndpointMapRow {
  readonly address: Address;
  readonly ifindex: number;
  readonly endpointId: number;
  readonly identity: number;
  readonly policyId: number;
  readonly policyRevision: number;
  readonly mac: Mac;
  readonly hostMac: Mac;
  readonly ingress: Enforcement;
  readonly egress: Enforcement;
}

/** The maps of policy and endpoints, as the controller writes them. All calls are synchronous. */
export interface EnforcementMaps {
  /** Upserts, then deletes, then the set's `policy_info`. A `removed` set goes altogether. */
  applySet(change: PolicySetChange): void;
  /** The revision and defaults of a set that the kernel has, whoever wrote it. */
  knownSet(
    policyId: number,
  ):
    | { readonly revision: number; readonly ingress: Enforcement; readonly egress: Enforcement }
    | undefined;
  putEndpoint(row: EndpointMapRow): void;
  deleteEndpoint(address: Address): void;
  endpoint(address: Address): EndpointMapRow | undefined;
  /** Rows of pods; those of the node itself are somebody else's. */
  endpoints(): Iterable<EndpointMapRow>;
  /** Deletes entries and sets that `keep` does not want; returns how many. */
  prune(keep: (policyId: number, key: PolicyEntryKey | undefined) => boolean): number;
}
