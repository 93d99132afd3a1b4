import { Address, boundsOf, type Family, type Prefix, PrefixTrie } from '@causeway/ip';
import type { VipPool, VipPoolStatus, VipServiceView } from './types.ts';

interface Interval {
  readonly family: Family;
  readonly first: bigint;
  readonly last: bigint;
}

/** A pool's addresses; `cursor` is where the search for a free one goes on, for none before it is free. */
interface PoolSpace {
  readonly pool: VipPool;
  readonly intervals: readonly Interval[];
  readonly conflict: string | undefined;
  readonly cursor: Map<Interval, bigint>;
}

/** The addresses of all pools, and those that may never be VIPs. Of pools that overlap the first in the list gives. */
export class VipSpace {
  readonly #pools: readonly PoolSpace[];
  readonly #reserved = new PrefixTrie<string>();

  constructor(
    pools: readonly VipPool[],
    reserved: readonly { readonly cidr: Prefix; readonly owner: string }[],
  ) {
    for (const { cidr, owner } of reserved) this.#reserved.set(cidr, owner);
    const spaces: PoolSpace[] = [];
    for (const pool of pools) {
      const intervals = pool.blocks.flatMap((block) => intervalOf(block, pool.allowFirstLast));
      const other = spaces.find((space) =>
        space.intervals.some((mine) => intervals.some((theirs) => meet(mine, theirs))),
      );
      const conflict = other?.pool.name;
      spaces.push({ pool, intervals, conflict, cursor: new Map() });
    }
    this.#pools = spaces;
  }

  /** Who else has the address, so that it can be nobody's VIP. */
  reservedBy(address: Address): string | undefined {
    return this.#reserved.lookup(address)?.value;
  }

  /** Pools that hold the address, those first that give. */
  around(address: Address): VipPool[] {
    return this.#pools
      .filter(({ intervals }) => intervals.some((interval) => within(interval, address)))
      .sort((a, b) => Number(closed(a)) - Number(closed(b)))
      .map(({ pool }) => pool);
  }

  /** Pools that serve the service and have addresses of the family; those that give nothing new are left out. */
  serving(service: VipServiceView, family: Family): VipPool[] {
    return this.#pools
      .filter((space) => !closed(space) && selects(space.pool, service))
      .filter(({ intervals }) => intervals.some((interval) => interval.family === family))
      .map(({ pool }) => pool);
  }

  /** Whether the pool gives new addresses. */
  gives(pool: VipPool): boolean {
    return this.#pools.some((space) => space.pool === pool && !closed(space));
  }

  /** The lowest address of the pool that nobody has. */
  free(pool: VipPool, family: Family, taken: ReadonlyMap<Address, unknown>): Address | undefined {
    const space = this.#pools.find((one) => one.pool === pool);
    for (const interval of space?.intervals ?? []) {
      if (interval.family !== family) continue;
      let at = space?.cursor.get(interval) ?? interval.first;
      let found: Address | undefined;
      while (at <= interval.last && found === undefined) {
        const address = Address.fromBigInt(family, at);
        const reserved = this.#reserved.lookup(address);
        if (reserved !== undefined) at = boundsOf(reserved.prefix).last + 1n;
        else if (taken.has(address)) at += 1n;
        else found = address;
      }
      space?.cursor.set(interval, at);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  status(used: Iterable<Address>): VipPoolStatus[] {
    const addresses = [...used];
    return this.#pools.map(({ pool, intervals, conflict }) => {
      const total = intervals.reduce((sum, { first, last }) => sum + (last - first + 1n), 0n);
      const mine = addresses.filter((address) =>
        intervals.some((interval) => within(interval, address)),
      );
      const count = BigInt(mine.length);
      return { pool: pool.name, total, used: count, available: total - count, conflict };
    });
  }
}

export function selects(pool: VipPool, service: VipServiceView): boolean {
  return pool.selects === undefined || pool.selects(service);
}

const closed = ({ pool, conflict }: PoolSpace): boolean => pool.disabled || conflict !== undefined;

function intervalOf(block: VipPool['blocks'][number], allowFirstLast: boolean): Interval[] {
  if (block.type === 'range') {
    const family = Address.family(block.start);
    const first = Address.toBigInt(block.start);
    const last = Address.toBigInt(block.stop);
    return family === Address.family(block.stop) && first <= last ? [{ family, first, last }] : [];
  }
  const { first, last } = boundsOf(block.cidr);
  const family: Family = block.cidr.includes(':') ? 'ipv6' : 'ipv4';
  // Of one or two addresses none is left out (Cilium does the same).
  if (allowFirstLast || last - first < 2n) return [{ family, first, last }];
  return [{ family, first: first + 1n, last: last - 1n }];
}

function within({ family, first, last }: Interval, address: Address): boolean {
  if (Address.family(address) !== family) return false;
  const value = Address.toBigInt(address);
  return value >= first && value <= last;
}

const meet = (a: Interval, b: Interval): boolean =>
  a.family === b.family && a.first <= b.last && b.first <= a.last;
