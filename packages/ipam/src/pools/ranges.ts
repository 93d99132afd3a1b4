import { type Family, Prefix, PrefixTrie, subtract } from '@causeway/ip';
import { FreeSpace } from './free-space.ts';
import type { Ledger } from './ledger.ts';
import type { PoolSpec, RangeConflict } from './types.ts';

const FAMILIES: readonly Family[] = ['ipv4', 'ipv6'];

/** One family of a pool: what of its ranges can be given. */
export interface PoolFamily {
  readonly spec: PoolSpec;
  readonly family: Family;
  readonly cidrs: readonly Prefix[];
  readonly closed: readonly Prefix[];
  readonly free: FreeSpace;
}

/** The ranges of all pools. Where two overlap, the pool that comes first in the list has it, the other has not. */
export class PoolRangesIndex {
  readonly #pools = new Map<string, PoolSpec>();
  readonly #families = new Map<string, PoolFamily>();
  readonly #byRange = new PrefixTrie<PoolFamily>();
  readonly #closed = new PrefixTrie<true>();
  readonly conflicts: readonly RangeConflict[];

  constructor(specs: readonly PoolSpec[], ledger: Ledger) {
    const conflicts: RangeConflict[] = [];
    const taken = new PrefixTrie<string>();
    for (const spec of specs) {
      this.#pools.set(spec.name, spec);
      for (const family of FAMILIES) {
        const ranges = spec[family];
        if (ranges === undefined) continue;
        const cidrs = ranges.cidrs.filter((cidr) => {
          const other = taken.covering(cidr)[0] ?? [...taken.covered(cidr)][0];
          if (other !== undefined) {
            conflicts.push({
              pool: spec.name,
              cidr,
              with: { pool: other.value, cidr: other.prefix },
            });
          } else taken.set(cidr, spec.name);
          return other === undefined;
        });
        const closed = (spec.closed ?? []).filter((one) => Prefix.family(one) === family);
        for (const one of closed) this.#closed.set(one, true);
        const free = new FreeSpace(family);
        for (const cidr of subtract(cidrs, closed)) free.add(cidr);
        for (const cidr of cidrs) {
          for (const holder of ledger.holders(cidr)) free.remove(holder.cidr);
        }
        const one = { spec, family, cidrs, closed, free };
        this.#families.set(key(spec.name, family), one);
        for (const cidr of cidrs) this.#byRange.set(cidr, one);
      }
    }
    this.conflicts = conflicts;
  }

  pool(name: string): PoolSpec | undefined {
    return this.#pools.get(name);
  }

  get(name: string, family: Family): PoolFamily | undefined {
    return this.#families.get(key(name, family));
  }

  all(): Iterable<PoolFamily> {
    return this.#families.values();
  }

  /** The pool whose range holds the whole prefix. */
  around(cidr: Prefix): PoolFamily | undefined {
    return this.#byRange.covering(cidr)[0]?.value;
  }

  /** True if part of the prefix lies in a closed range, or outside every range of that pool. */
  drains(cidr: Prefix, pool: string): boolean {
    return this.around(cidr)?.spec.name !== pool || this.closed(cidr);
  }

  closed(cidr: Prefix): boolean {
    if (this.#closed.covering(cidr).length > 0) return true;
    return this.#closed.covered(cidr).next().done === false;
  }

  /** The prefix is somebody's now. */
  take(cidr: Prefix): void {
    for (const one of this.#overlapping(cidr)) one.free.remove(cidr);
  }

  /** The prefix is nobody's any more: what is open of it and held by nobody else is free. Returns whose it was. */
  release(cidr: Prefix, ledger: Ledger): PoolFamily[] {
    const touched = [...this.#overlapping(cidr)];
    for (const one of touched) {
      const inside = one.cidrs.flatMap((range) =>
        Prefix.covers(range, cidr) ? [cidr] : Prefix.covers(cidr, range) ? [range] : [],
      );
      const holes = [...one.closed, ...Array.from(ledger.holders(cidr), (holder) => holder.cidr)];
      for (const piece of subtract(inside, holes)) one.free.add(piece);
    }
    return touched;
  }

  *#overlapping(cidr: Prefix): Generator<PoolFamily> {
    const around = this.#byRange.covering(cidr)[0];
    if (around !== undefined) {
      yield around.value;
      return;
    }
    const inside = new Set(Array.from(this.#byRange.covered(cidr), (entry) => entry.value));
    yield* inside;
  }
}

const key = (pool: string, family: Family): string => `${family} ${pool}`;
