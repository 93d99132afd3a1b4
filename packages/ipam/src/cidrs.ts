import { type Address, Prefix } from '@causeway/ip';
import { IpamError } from './errors.ts';
import { layout } from './layout.ts';
import { Pool } from './pool.ts';

/** A pod CIDR of the node. A draining one gives no new addresses and so empties by itself. */
export interface PodCidr {
  readonly prefix: Prefix;
  readonly draining?: boolean;
  /** The named pool that it comes from; missing for a CIDR that is simply the node's. */
  readonly pool?: string;
  /** False while others do not know the way to it: it then gives only where no other has an address left. */
  readonly usable?: boolean;
}

/** What a change of the CIDR set came to. */
export interface CidrChange {
  readonly added: readonly Prefix[];
  /** Gone at once, for nothing was in use. */
  readonly removed: readonly Prefix[];
  /** No longer the node's, but in use: give nothing, and go when the last address comes back. */
  readonly leaving: readonly Prefix[];
}

/** Throws IpamError `cidr-invalid`, `cidr-too-small` or `cidr-overlap`. */
export function checkCidrs(cidrs: readonly PodCidr[]): void {
  for (const [index, cidr] of cidrs.entries()) {
    const field = `cidrs[${index}].prefix`;
    if (typeof cidr?.prefix !== 'string' || !Prefix.is(cidr.prefix)) {
      throw new IpamError('cidr-invalid', `${field} is not a prefix in canonical form`, {
        field,
        value: cidr?.prefix,
        hint: 'give a prefix such as 10.0.1.0/24 or fd00:1::/64',
      });
    }
    layout(cidr.prefix);
    const other = cidrs.slice(0, index).find((one) => Prefix.overlaps(one.prefix, cidr.prefix));
    if (other !== undefined) {
      throw new IpamError('cidr-overlap', `${cidr.prefix} overlaps ${other.prefix}`, {
        field,
        value: cidr.prefix,
        hint: 'give each address to one pod CIDR only',
      });
    }
  }
}

/**
 * The pools of a node in the order in which they are tried. At most one active pool holds an address; a pool
 * on its way out may overlap active ones, which then keep off its addresses and its gateway until they are free.
 */
export class PoolSet {
  #pools: Pool[] = [];
  readonly #inUse: (pool: Pool) => Iterable<Address>;

  readonly #claimed = new Set<Address>();

  /** `inUse` names the used addresses of a pool. */
  constructor(inUse: (pool: Pool) => Iterable<Address>) {
    this.#inUse = inUse;
  }

  get claimed(): ReadonlySet<Address> {
    return this.#claimed;
  }

  /** Keeps the address for its claim in every pool that holds it, now or later. */
  claim(address: Address): void {
    this.#claimed.add(address);
    for (const pool of this.#pools) this.#keep(pool, address);
  }

  unclaim(address: Address): void {
    if (!this.#claimed.delete(address)) return;
    for (const pool of this.#pools) {
      const offset = pool.layout.offsetOf(address);
      if (offset !== undefined) pool.unkeep(offset);
    }
  }

  #keep(pool: Pool, address: Address): void {
    const offset = pool.layout.offsetOf(address);
    if (offset !== undefined && !pool.isReserved(offset)) pool.keep(offset);
  }

  #make(prefix: Prefix): Pool {
    const pool = new Pool(prefix);
    for (const address of this.#claimed) this.#keep(pool, address);
    return pool;
  }

  [Symbol.iterator](): Iterator<Pool> {
    return this.#pools[Symbol.iterator]();
  }

  /** The pool of that prefix if it holds the address, else the active one that does, else one on its way out. */
  find(
    address: Address,
    prefix?: Prefix,
  ): { readonly pool: Pool; readonly offset: bigint } | undefined {
    let fallback: { readonly pool: Pool; readonly offset: bigint } | undefined;
    for (const pool of this.#pools) {
      const offset = pool.layout.offsetOf(address);
      if (offset === undefined) continue;
      if (pool.layout.prefix === prefix) return { pool, offset };
      if (!pool.leaving) fallback = { pool, offset };
      fallback ??= { pool, offset };
    }
    return fallback;
  }

  byPrefix(prefix: Prefix): Pool | undefined {
    return this.#pools.find((pool) => pool.layout.prefix === prefix);
  }

  /** Puts back a pool that was on its way out. Call `refresh` once its addresses are known. */
  addLeaving(prefix: Prefix, name: string | undefined): void {
    if (this.byPrefix(prefix) !== undefined) return;
    const pool = this.#make(prefix);
    pool.name = name;
    pool.leaving = true;
    this.#pools.push(pool);
  }

  /** Applies CIDRs that `checkCidrs` has passed. */
  set(cidrs: readonly PodCidr[]): CidrChange {
    const added: Prefix[] = [];
    const active = cidrs.map((cidr) => {
      const kept = this.byPrefix(cidr.prefix);
      if (kept === undefined) added.push(cidr.prefix);
      const pool = kept ?? this.#make(cidr.prefix);
      pool.name = cidr.pool;
      pool.draining = cidr.draining ?? false;
      pool.usable = cidr.usable ?? true;
      pool.leaving = false;
      return pool;
    });
    const rest = this.#pools.filter((pool) => !active.includes(pool));
    const leaving = rest.filter((pool) => !pool.empty);
    for (const pool of leaving) pool.leaving = true;
    this.#pools = [...active, ...leaving];
    this.refresh();
    const prefixes = (pools: readonly Pool[]) => pools.map((pool) => pool.layout.prefix);
    return {
      added,
      removed: prefixes(rest.filter((pool) => pool.empty)),
      leaving: prefixes(leaving),
    };
  }

  /** Ends quarantines that are over; pools on their way out that are empty now go. Returns their prefixes. */
  expire(now: number): Prefix[] {
    let left = false;
    for (const pool of this.#pools) {
      const freed = pool.expire(now);
      if (pool.leaving && (freed > 0 || pool.empty)) left = true;
    }
    if (!left) return [];
    const gone = this.#pools.filter((pool) => pool.leaving && pool.empty);
    this.#pools = this.#pools.filter((pool) => !gone.includes(pool));
    this.refresh();
    return gone.map((pool) => pool.layout.prefix);
  }

  /** Active pools keep off what overlapping ones on their way out still use. */
  refresh(): void {
    const leaving = this.#pools.filter((pool) => pool.leaving);
    for (const pool of this.#pools) {
      pool.unblockAll();
      if (pool.leaving) continue;
      for (const other of leaving) {
        if (!Prefix.overlaps(pool.layout.prefix, other.layout.prefix)) continue;
        const held = Array.from(other.held(), ([offset]) => other.layout.addressAt(offset));
        for (const address of [other.layout.gateway, ...held, ...this.#inUse(other)]) {
          const offset = pool.layout.offsetOf(address);
          if (offset !== undefined) pool.block(offset);
        }
      }
    }
  }
}
