import type { Address, Family, Prefix } from '@causeway/ip';
import { choose, familyRequest } from './choose.ts';
import { type CidrChange, checkCidrs, type PodCidr, PoolSet } from './cidrs.ts';
import { IpamError } from './errors.ts';
import { type Held, Holdings, leaseOf } from './holdings.ts';
import { layout } from './layout.ts';
import { type Owner, ownerKey } from './owner.ts';
import type { Choice } from './pool.ts';
import { adopt, restoreRecord } from './restore.ts';
import { type IpamSnapshot, parseSnapshot, type SnapshotAddress } from './snapshot.ts';
import type {
  AddressRequest,
  IpamOptions,
  Lease,
  LeasedAddress,
  LeaseRecord,
  PoolStats,
  RestoreConflict,
} from './types.ts';

const FAMILIES = ['ipv4', 'ipv6'] as const;

/**
 * The addresses of one node. Time comes in with every call as milliseconds of any clock; one that runs
 * backwards is taken as standing still. A call that throws has changed nothing.
 */
export class NodeIpam {
  readonly #quarantineMs: number;
  readonly #leastRestMs: number;
  readonly #choice: Choice;
  readonly #lastResort: boolean;
  readonly #holdings = new Holdings();
  readonly #pools = new PoolSet((pool) => this.#holdings.in(pool));
  #now = Number.NEGATIVE_INFINITY;

  constructor(options: IpamOptions) {
    if (!(options.quarantineMs >= 0 && Number.isFinite(options.quarantineMs))) {
      throw new IpamError('option-invalid', 'quarantineMs is not a duration', {
        field: 'quarantineMs',
        value: options.quarantineMs,
        hint: 'give milliseconds, 0 or more',
      });
    }
    const least = options.leastRestMs ?? options.quarantineMs;
    if (!(least >= 0 && least <= options.quarantineMs)) {
      throw new IpamError('option-invalid', 'leastRestMs is not within the quarantine', {
        field: 'leastRestMs',
        value: least,
        hint: 'give milliseconds from 0 to quarantineMs',
      });
    }
    this.#quarantineMs = options.quarantineMs;
    this.#leastRestMs = least;
    this.#choice = options.choice ?? { type: 'next' };
    this.#lastResort = options.drainingAsLastResort ?? false;
    checkCidrs(options.cidrs);
    this.#pools.set(options.cidrs);
  }

  /**
   * Gives the owner an address of each family asked for, or nothing. An owner that asks again is answered with
   * what it holds. Throws `owner-invalid`, `request-invalid`, `no-cidr`, `exhausted`, `owner-has-other`, and for
   * an address asked for by name `address-outside`, `-reserved`, `-taken`, `-claimed`, `-quarantined`, `cidr-draining`.
   */
  allocate(owner: Owner, request: AddressRequest, now: number): Lease {
    const key = ownerKey(owner);
    this.#advance(now);
    const holding = this.#holdings.of(key);
    const chosen: [Family, Held][] = [];
    const context = {
      pools: this.#pools,
      holdings: this.#holdings,
      choice: this.#choice,
      drainingAsLastResort: this.#lastResort,
      earlyMs: this.#quarantineMs - this.#leastRestMs,
      now: this.#now,
    };
    for (const family of FAMILIES) {
      const wanted = familyRequest(request, family);
      if (wanted === undefined) continue;
      const { address } = wanted;
      const held = holding?.held.get(family);
      if (held === undefined) chosen.push([family, choose(context, family, wanted)]);
      else if (address !== undefined && address !== held.address) {
        throw new IpamError('owner-has-other', `${key} holds ${held.address}, not ${address}`, {
          field: family,
          value: address,
          hint: 'release what the owner holds first',
        });
      }
    }
    if (request.ipv4 === undefined && request.ipv6 === undefined) {
      throw new IpamError('request-invalid', 'the request names no family', {
        field: 'request',
        value: request,
        hint: 'ask for ipv4, ipv6 or both',
      });
    }
    for (const [family, held] of chosen) {
      // An address that is given early comes out of its quarantine.
      if (held.at !== undefined && !held.at.pool.take(held.at.offset)) {
        throw new RangeError(`${held.address} is occupied`);
      }
      this.#holdings.add(key, owner, family, held);
    }
    const given = this.#holdings.of(key);
    if (given === undefined) throw new RangeError(`${key} was given nothing`);
    return leaseOf(given);
  }

  /** Takes back all that the owner holds; undefined if that is nothing. The addresses go into quarantine. */
  release(owner: Owner, now: number): Lease | undefined {
    const key = ownerKey(owner);
    this.#advance(now);
    const holding = this.#holdings.of(key);
    if (holding === undefined) return undefined;
    const before = leaseOf(holding);
    for (const { at } of holding.held.values()) {
      at?.pool.release(at.offset, this.#now + this.#quarantineMs);
    }
    this.#holdings.delete(key);
    return before;
  }

  /** What the owner holds. */
  lookup(owner: Owner): Lease | undefined {
    const holding = this.#holdings.of(ownerKey(owner));
    return holding === undefined ? undefined : leaseOf(holding);
  }

  ownerOf(address: Address): Owner | undefined {
    return this.#holdings.at(address)?.owner;
  }

  leases(): Lease[] {
    return Array.from(this.#holdings, leaseOf);
  }

  /**
   * Makes these the node's CIDRs, in the order in which they are to be used. One that is gone but in use stays,
   * gives nothing, and goes with its last address. Throws `cidr-invalid`, `cidr-too-small`, `cidr-overlap`.
   */
  setCidrs(cidrs: readonly PodCidr[], now: number): CidrChange {
    checkCidrs(cidrs);
    for (const { prefix } of cidrs) {
      const { gateway } = layout(prefix);
      const holder = this.#holdings.at(gateway);
      if (holder === undefined || this.#pools.byPrefix(prefix) !== undefined) continue;
      throw new IpamError(
        'cidr-overlap',
        `${ownerKey(holder.owner)} holds ${gateway}, the gateway of ${prefix}`,
        {
          field: 'prefix',
          value: prefix,
          hint: 'wait until that pod is gone, or give another CIDR',
        },
      );
    }
    this.#advance(now);
    const change = this.#pools.set(cidrs);
    for (const holding of this.#holdings) {
      for (const [family, { address, at }] of holding.held) {
        if (at === undefined) holding.held.set(family, adopt(this.#pools, address));
      }
    }
    return change;
  }

  /**
   * Keeps the address for its claim: it is given to nobody but by `claimed`, in CIDRs that come later too. Whoever
   * has it now keeps it, and it is not given to another after him.
   */
  claim(address: Address): void {
    this.#pools.claim(address);
  }

  /** The claim is gone: after its quarantine the address is like any other. */
  unclaim(address: Address): void {
    this.#pools.unclaim(address);
    this.#pools.refresh();
  }

  /** The addresses that are kept for claims. */
  get claimed(): ReadonlySet<Address> {
    return this.#pools.claimed;
  }

  /** Ends quarantines that are over. Returns CIDRs that were on their way out and are gone now. */
  expire(now: number): Prefix[] {
    return this.#advance(now);
  }

  /**
   * Takes over what is in use already, as the caller found it after a restart. What is in use is never given to
   * another, also where it lies outside the CIDRs; what does not fit is reported, each with its reason.
   */
  restore(records: Iterable<LeaseRecord>, now: number): RestoreConflict[] {
    this.#advance(now);
    return Array.from(records, (record) =>
      restoreRecord(record, this.#pools, this.#holdings),
    ).flat();
  }

  /** The whole state as a value. */
  snapshot(now: number): IpamSnapshot {
    this.#advance(now);
    const pools = [...this.#pools];
    const part = (leased: LeasedAddress): SnapshotAddress => ({
      address: leased.address,
      prefix: leased.prefix ?? null,
    });
    return {
      version: 1,
      cidrs: pools.map((pool) => ({
        prefix: pool.layout.prefix,
        state: pool.state,
        ...(pool.name === undefined ? {} : { pool: pool.name }),
      })),
      leases: this.leases().map(({ owner, ipv4, ipv6 }) => ({
        owner,
        ...(ipv4 && { ipv4: part(ipv4) }),
        ...(ipv6 && { ipv6: part(ipv6) }),
      })),
      quarantine: pools.flatMap((pool) =>
        Array.from(pool.held(), ([offset, until]) => ({
          address: pool.layout.addressAt(offset),
          prefix: pool.layout.prefix,
          remainingMs: until - this.#now,
        })),
      ),
    };
  }

  /**
   * The state that `snapshot` gave, with its CIDRs; `setCidrs` then brings today's. Throws `snapshot-version`,
   * `snapshot-invalid` and what `setCidrs` throws.
   */
  static fromSnapshot(options: Omit<IpamOptions, 'cidrs'>, value: unknown, now: number): NodeIpam {
    const snapshot = parseSnapshot(value);
    const active = snapshot.cidrs.filter((cidr) => cidr.state !== 'leaving');
    const ipam = new NodeIpam({
      ...options,
      cidrs: active.map(({ prefix, state, pool }) => ({
        prefix,
        draining: state === 'draining',
        ...(pool === undefined ? {} : { pool }),
      })),
    });
    ipam.#advance(now);
    for (const cidr of snapshot.cidrs) {
      if (cidr.state === 'leaving') ipam.#pools.addLeaving(cidr.prefix, cidr.pool);
    }
    for (const { owner, ...addresses } of snapshot.leases) {
      for (const family of FAMILIES) {
        const part = addresses[family];
        if (part === undefined) continue;
        const held = adopt(ipam.#pools, part.address, part.prefix ?? undefined);
        ipam.#holdings.add(ownerKey(owner), owner, family, held);
      }
    }
    const resting = snapshot.quarantine.toSorted((a, b) => a.remainingMs - b.remainingMs);
    for (const { address, prefix, remainingMs } of resting) {
      const at = ipam.#pools.find(address, prefix);
      at?.pool.hold(at.offset, ipam.#now + Math.min(remainingMs, ipam.#quarantineMs));
    }
    ipam.#pools.refresh();
    return ipam;
  }

  stats(now: number): PoolStats[] {
    this.#advance(now);
    return Array.from(this.#pools, (pool) => ({
      prefix: pool.layout.prefix,
      family: pool.layout.family,
      gateway: pool.layout.gateway,
      state: pool.state,
      pool: pool.name,
      usable: pool.usable,
      size: pool.layout.size,
      reserved: BigInt(pool.layout.reserved.length),
      ...pool.counts(),
    }));
  }

  #advance(now: number): Prefix[] {
    if (now > this.#now) this.#now = now;
    return this.#pools.expire(this.#now);
  }
}
