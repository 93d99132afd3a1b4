import type { Address, Family, Prefix } from '@causeway/ip';

/** A service as the selectors of pools see it. */
export interface VipServiceView {
  readonly namespace: string;
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
}

export type VipBlock =
  | { readonly type: 'cidr'; readonly cidr: Prefix }
  | { readonly type: 'range'; readonly start: Address; readonly stop: Address };

/** CiliumLoadBalancerIPPool, read. */
export interface VipPool {
  readonly name: string;
  readonly blocks: readonly VipBlock[];
  /** Missing: every service. */
  readonly selects?: (service: VipServiceView) => boolean;
  /** Gives nothing new; what it gave stays. */
  readonly disabled: boolean;
  /** Give also the first and the last address of a CIDR block. */
  readonly allowFirstLast: boolean;
}

/** A Service of type LoadBalancer of our class. */
export interface VipService extends VipServiceView {
  /** Families to give, in the service's order. */
  readonly families: readonly Family[];
  /** PreferDualStack: a family of which there is none is no failure. */
  readonly preferDual: boolean;
  /** `lbipam.cilium.io/ips` or spec.loadBalancerIP. */
  readonly requested: readonly Address[];
  /** `lbipam.cilium.io/sharing-key`. */
  readonly sharingKey?: string;
  /** `lbipam.cilium.io/sharing-cross-namespace`: namespaces, or `*`. */
  readonly sharingNamespaces: readonly string[];
  /** `TCP/443`: two services share an address only without a port in common. */
  readonly ports: readonly string[];
  /** externalTrafficPolicy: services of different policies share no address, unless both are Cluster. */
  readonly local: boolean;
  /** Pods that the service selects, as text: services of policy Local share only if they select the same. */
  readonly selector: string;
}

/** `causeway/allocations/vips/<address>`: the services that have the address. */
export interface VipClaim {
  readonly address: Address;
  readonly pool: string | null;
  /** namespace/name */
  readonly services: readonly string[];
  readonly sharingKey: string | null;
}

export interface VipWorld {
  readonly pools: readonly VipPool[];
  readonly services: readonly VipService[];
  readonly claims: readonly VipClaim[];
  /** Addresses that may never be VIPs, each with its owner: node addresses, reserved ones, service ranges. */
  readonly reserved: readonly { readonly cidr: Prefix; readonly owner: string }[];
}

/** Why a service has no address, or not the one that it asks for. */
export interface VipRefusal {
  readonly service: string;
  readonly family: Family | undefined;
  readonly address: Address | undefined;
  readonly code:
    | 'no-pool'
    | 'pools-full'
    | 'outside-pools'
    | 'pool-not-selecting'
    | 'reserved'
    | 'taken'
    | 'not-shareable';
  readonly message: string;
}

export interface VipPoolStatus {
  readonly pool: string;
  readonly total: bigint;
  readonly used: bigint;
  readonly available: bigint;
  /** Pools whose blocks overlap this one's and came earlier: this pool gives nothing new. */
  readonly conflict: string | undefined;
}

export interface VipPlan {
  /** The addresses of each service, key namespace/name, in the order of its families. */
  readonly assignments: ReadonlyMap<string, readonly Address[]>;
  /** Claims to write, and claims to delete, against `claims`. */
  readonly writes: readonly VipClaim[];
  readonly deletes: readonly Address[];
  readonly refusals: readonly VipRefusal[];
  readonly pools: readonly VipPoolStatus[];
}
