import { Address, type Family, type Prefix } from '@causeway/ip';
import { type CidrChange, checkCidrs, type PodCidr, PoolSet } from './cidrs.ts';
import { IpamError } from './errors.ts';
import { layout } from './layout.ts';
import { type Owner, ownerKey } from './owner.ts';
import type { Choice, Pool } from './pool.ts';
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

interface Held {
  readonly address: Address;
  /** Missing for an address that no CIDR could hold when it was restored. */
  readonly at: { readonly pool: Pool; readonly offset: bigint } | undefined;
}

interface Holding {
  readonly owner: Owner;
  readonly held: Map<Family, Held>;
}

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
  readonly #pools = new PoolSet((pool) => this.#usedIn(pool));
  readonly #holdings = new Map<string, Holding>();
  readonly #byAddress = new Map<Address, Holding>();
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
   * an address asked for by name `address-outside`, `-reserved`, `-taken`, `-quarantined`, `cidr-draining`.
   */
  allocate(owner: Owner, request: AddressRequest, now: number): Lease {
    const key = ownerKey(owner);
    this.#advance(now);
    const holding = this.#holdings.get(key);
    const chosen: [Family, Held][] = [];
    for (const family of FAMILIES) {
      const wanted = request[family];
      if (wanted === undefined) continue;
      const held = holding?.held.get(family);
      if (held === undefined) chosen.push([family, this.#choose(family, wanted)]);
      else if (wanted !== 'any' && wanted !== held.address) {
        throw new IpamError('owner-has-other', `${key} holds ${held.address}, not ${wanted}`, {
          field: family,
          value: wanted,
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
      this.#record(key, owner, family, held);
    }
    return lease(this.#holdings.get(key) as Holding);
  }

  /** Takes back all that the owner holds; undefined if that is nothing. The addresses go into quarantine. */
  release(owner: Owner, now: number): Lease | undefined {
    const key = ownerKey(owner);
    this.#advance(now);
    const holding = this.#holdings.get(key);
    if (holding === undefined) return undefined;
    const before = lease(holding);
    for (const { address, at } of holding.held.values()) {
      this.#byAddress.delete(address);
      at?.pool.release(at.offset, this.#now + this.#quarantineMs);
    }
    this.#holdings.delete(key);
    return before;
  }

  /** What the owner holds. */
  lookup(owner: Owner): Lease | undefined {
    const holding = this.#holdings.get(ownerKey(owner));
    return holding === undefined ? undefined : lease(holding);
  }

  ownerOf(address: Address): Owner | undefined {
    return this.#byAddress.get(address)?.owner;
  }

  leases(): Lease[] {
    return Array.from(this.#holdings.values(), lease);
  }

  /**
   * Makes these the node's CIDRs, in the order in which they are to be used. One that is gone but in use stays,
   * gives nothing, and goes with its last address. Throws `cidr-invalid`, `cidr-too-small`, `cidr-overlap`.
   */
  setCidrs(cidrs: readonly PodCidr[], now: number): CidrChange {
    checkCidrs(cidrs);
    for (const { prefix } of cidrs) {
      const { gateway } = layout(prefix);
      const holder = this.#byAddress.get(gateway);
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
    for (const holding of this.#holdings.values()) {
      for (const [family, { address, at }] of holding.held) {
        if (at === undefined) holding.held.set(family, this.#adopt(address));
      }
    }
    return change;
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
    const conflicts: RestoreConflict[] = [];
    for (const { owner, ...addresses } of records) {
      let key: string;
      try {
        key = ownerKey(owner);
      } catch (cause) {
        conflicts.push({ type: 'owner-invalid', owner, cause });
        continue;
      }
      for (const family of FAMILIES) {
        const address = addresses[family];
        if (address === undefined) continue;
        const conflict = this.#restoreOne(key, owner, family, address);
        if (conflict !== undefined) conflicts.push(conflict);
      }
    }
    return conflicts;
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
      cidrs: pools.map((pool) => ({ prefix: pool.layout.prefix, state: pool.state })),
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
      cidrs: active.map(({ prefix, state }) => ({ prefix, draining: state === 'draining' })),
    });
    ipam.#advance(now);
    for (const cidr of snapshot.cidrs) {
      if (cidr.state === 'leaving') ipam.#pools.addLeaving(cidr.prefix);
    }
    for (const { owner, ...addresses } of snapshot.leases) {
      for (const family of FAMILIES) {
        const part = addresses[family];
        if (part === undefined) continue;
        const held = ipam.#adopt(part.address, part.prefix ?? undefined);
        ipam.#record(ownerKey(owner), owner, family, held);
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
      size: pool.layout.size,
      reserved: BigInt(pool.layout.reserved.length),
      used: pool.used,
      quarantined: BigInt(pool.quarantined),
      blocked: BigInt(pool.blocked),
      free: pool.free,
    }));
  }

  #advance(now: number): Prefix[] {
    if (now > this.#now) this.#now = now;
    return this.#pools.expire(this.#now);
  }

  #choose(family: Family, wanted: 'any' | Address): Held {
    return wanted === 'any' ? this.#chooseAny(family) : this.#chooseNamed(family, wanted);
  }

  #chooseAny(family: Family): Held {
    const pools = [...this.#pools].filter((pool) => pool.layout.family === family && !pool.leaving);
    const open = pools.filter((pool) => !pool.draining);
    if (this.#lastResort) open.push(...pools.filter((pool) => pool.draining));
    for (const pool of open) {
      const offset = pool.candidate(this.#choice);
      if (offset === undefined) continue;
      return { address: pool.layout.addressAt(offset), at: { pool, offset } };
    }
    const early = this.#quarantineMs - this.#leastRestMs;
    for (const pool of open) {
      const offset = pool.rested(this.#now + early);
      if (offset === undefined) continue;
      return { address: pool.layout.addressAt(offset), at: { pool, offset } };
    }
    if (open.length === 0) {
      throw new IpamError('no-cidr', `the node has no ${family} pod CIDR that gives addresses`, {
        field: family,
        value: pools.map((pool) => pool.layout.prefix),
        hint: `give the node an ${family} pod CIDR that is not draining`,
      });
    }
    const ends = open.flatMap((pool) => {
      const first = pool.held()[Symbol.iterator]().next();
      return first.done ? [] : [first.value[1]];
    });
    throw new IpamError('exhausted', `no ${family} address is free on the node`, {
      field: family,
      value: open.map((pool) => pool.layout.prefix),
      hint:
        ends.length === 0 ? 'give the node another pod CIDR' : 'wait for an address in quarantine',
      ...(ends.length === 0 ? {} : { retryAfterMs: Math.min(...ends) - early - this.#now }),
    });
  }

  #chooseNamed(family: Family, address: Address): Held {
    const refuse = (code: IpamError['code'], why: string, hint: string, retryAfterMs?: number) =>
      new IpamError(code, `${address} ${why}`, {
        field: family,
        value: address,
        hint,
        ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
      });
    if (typeof address !== 'string' || !Address.is(address) || Address.family(address) !== family) {
      throw refuse(
        'request-invalid',
        `is not an ${family} address`,
        `give an ${family} address or "any"`,
      );
    }
    const holder = this.#byAddress.get(address);
    if (holder !== undefined) {
      throw refuse(
        'address-taken',
        `is held by ${ownerKey(holder.owner)}`,
        'ask for another address',
      );
    }
    const at = this.#pools.find(address);
    if (at === undefined || at.pool.leaving) {
      throw refuse(
        'address-outside',
        'is in no pod CIDR of this node',
        'ask for an address of the node',
      );
    }
    if (at.pool.isReserved(at.offset)) {
      throw refuse('address-reserved', 'is reserved in its CIDR', 'ask for another address');
    }
    if (at.pool.draining && !this.#lastResort) {
      throw refuse(
        'cidr-draining',
        `is in ${at.pool.layout.prefix}, which is draining`,
        'ask for "any"',
      );
    }
    const until = at.pool.heldUntil(at.offset);
    if (until !== undefined) {
      throw refuse('address-quarantined', 'was released a moment ago', 'wait', until - this.#now);
    }
    if (!at.pool.isFree(at.offset)) {
      throw refuse('address-taken', 'belongs to a CIDR that is leaving', 'ask for another address');
    }
    return { address, at };
  }

  #restoreOne(
    key: string,
    owner: Owner,
    family: Family,
    address: Address,
  ): RestoreConflict | undefined {
    if (!Address.is(address) || Address.family(address) !== family) {
      return { type: 'address-invalid', owner, family, address };
    }
    const holder = this.#byAddress.get(address);
    if (holder !== undefined) {
      const same = ownerKey(holder.owner) === key;
      return same ? undefined : { type: 'taken', owner, family, address, holder: holder.owner };
    }
    const other = this.#holdings.get(key)?.held.get(family);
    if (other !== undefined) {
      return { type: 'owner-has-other', owner, family, address, held: other.address };
    }
    const held = this.#adopt(address);
    this.#record(key, owner, family, held);
    if (held.at !== undefined) return undefined;
    const at = this.#pools.find(address);
    return at === undefined
      ? { type: 'outside', owner, family, address }
      : { type: 'reserved', owner, family, address, prefix: at.pool.layout.prefix };
  }

  /** An address in use, in the pool that can hold it if there is one. */
  #adopt(address: Address, prefix?: Prefix): Held {
    const at = this.#pools.find(address, prefix);
    return { address, at: at?.pool.take(at.offset) ? at : undefined };
  }

  #record(key: string, owner: Owner, family: Family, held: Held): void {
    let holding = this.#holdings.get(key);
    if (holding === undefined) {
      holding = {
        owner: { containerId: owner.containerId, ifname: owner.ifname },
        held: new Map(),
      };
      this.#holdings.set(key, holding);
    }
    holding.held.set(family, held);
    this.#byAddress.set(held.address, holding);
  }

  *#usedIn(pool: Pool): Generator<Address> {
    for (const holding of this.#holdings.values()) {
      for (const { address, at } of holding.held.values()) {
        if (at?.pool === pool) yield address;
      }
    }
  }
}

function lease(holding: Holding): Lease {
  const of = (family: Family): LeasedAddress | undefined => {
    const held = holding.held.get(family);
    if (held === undefined) return undefined;
    if (held.at === undefined) return { address: held.address };
    const { prefix, gateway } = held.at.pool.layout;
    return { address: held.address, prefix, gateway };
  };
  const ipv4 = of('ipv4');
  const ipv6 = of('ipv6');
  return {
    owner: holding.owner,
    ...(ipv4 === undefined ? {} : { ipv4 }),
    ...(ipv6 === undefined ? {} : { ipv6 }),
  };
}
