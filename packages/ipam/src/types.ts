import type { Address, Family, Prefix } from '@causeway/ip';
import type { PodCidr } from './cidrs.ts';
import type { Owner } from './owner.ts';
import type { Choice } from './pool.ts';

/** One address that an owner holds. `prefix` and `gateway` are missing if no CIDR of the node holds it. */
export interface LeasedAddress {
  readonly address: Address;
  readonly prefix?: Prefix;
  readonly gateway?: Address;
  /** The named pool of its CIDR. */
  readonly pool?: string;
  /** Its CIDR is not usable yet: nobody else had an address left. */
  readonly early?: true;
}

export interface Lease {
  readonly owner: Owner;
  readonly ipv4?: LeasedAddress;
  readonly ipv6?: LeasedAddress;
}

/** What is wanted of a family: any address, this one, or as told. A family that is left out is not wanted. */
export interface AddressRequest {
  readonly ipv4?: 'any' | Address | FamilyRequest;
  readonly ipv6?: 'any' | Address | FamilyRequest;
}

export interface FamilyRequest {
  /** Missing: any address. */
  readonly address?: Address;
  /** Only of this pool's CIDRs; null: only of CIDRs of no pool. Missing: of any. */
  readonly pool?: string | null;
  /**
   * The owner has the claim of `address`: it is given also where it is kept for the claim, rests, drains, or lies
   * in no CIDR of the node.
   */
  readonly claimed?: boolean;
}

export interface IpamOptions {
  readonly cidrs: readonly PodCidr[];
  /** How long a released address rests before it is given again, in milliseconds. */
  readonly quarantineMs: number;
  /**
   * Where nothing else is left, an address that has rested this long is given early, the one that rested longest
   * first: better than a pod that cannot start. Default: `quarantineMs`, so never early.
   */
  readonly leastRestMs?: number;
  /** Default: the next one after the last given. */
  readonly choice?: Choice;
  /** Give from a draining CIDR when no other has an address left. Default false: it then counts as full. */
  readonly drainingAsLastResort?: boolean;
}

/** Addresses that somebody was found to be using. */
export interface LeaseRecord {
  readonly owner: Owner;
  readonly ipv4?: Address;
  readonly ipv6?: Address;
}

/** Why a record did not fit. `outside` and `reserved` addresses stay with their owner and are given to nobody. */
export type RestoreConflict =
  | { readonly type: 'owner-invalid'; readonly owner: unknown; readonly cause: unknown }
  | ({ readonly type: 'address-invalid' } & Found<unknown>)
  | ({ readonly type: 'taken'; readonly holder: Owner } & Found<Address>)
  | ({ readonly type: 'owner-has-other'; readonly held: Address } & Found<Address>)
  | ({ readonly type: 'outside' } & Found<Address>)
  | ({ readonly type: 'reserved'; readonly prefix: Prefix } & Found<Address>);

interface Found<T> {
  readonly owner: Owner;
  readonly family: Family;
  readonly address: T;
}

/** The addresses of one CIDR, counted. `size` is the sum of the six counts below it. */
export interface PoolStats {
  readonly prefix: Prefix;
  readonly pool: string | undefined;
  readonly usable: boolean;
  readonly family: Family;
  readonly gateway: Address;
  readonly state: 'active' | 'draining' | 'leaving';
  readonly size: bigint;
  readonly reserved: bigint;
  readonly used: bigint;
  readonly quarantined: bigint;
  /** Kept for claims, and not in use here. */
  readonly claimed: bigint;
  /** Kept free because a CIDR on its way out still uses them. */
  readonly blocked: bigint;
  readonly free: bigint;
}
