import type { Family } from '@causeway/ip';
import type { PoolFamily } from './ranges.ts';

/** Nodes that ask a pool for what it has not, the one that waits longest first, with the longest length they take. */
export class Waiting {
  readonly #pools = new Map<string, Map<string, number>>();
  /** Pools that have had something freed since they were last looked at. */
  readonly #freed = new Set<string>();

  count(pool: string, family: Family): number {
    return this.#pools.get(key(pool, family))?.size ?? 0;
  }

  add(pool: string, family: Family, node: string, length: number): void {
    let nodes = this.#pools.get(key(pool, family));
    if (nodes === undefined) {
      nodes = new Map();
      this.#pools.set(key(pool, family), nodes);
    }
    nodes.set(node, length);
  }

  delete(node: string): void {
    for (const [name, nodes] of this.#pools) {
      if (nodes.delete(node) && nodes.size === 0) this.#pools.delete(name);
    }
  }

  freed({ spec, family }: PoolFamily): void {
    this.#freed.add(key(spec.name, family));
  }

  /** Up to `limit` nodes for which a pool may have something now. */
  wake(pools: Iterable<PoolFamily>, limit: number): string[] {
    const woken: string[] = [];
    if (this.#freed.size === 0) return woken;
    for (const { spec, family, free } of pools) {
      const name = key(spec.name, family);
      if (!this.#freed.delete(name)) continue;
      for (const [node, length] of this.#pools.get(name) ?? []) {
        if (free.largest === undefined || free.largest > length) continue;
        if (woken.length === limit) {
          this.#freed.add(name);
          break;
        }
        woken.push(node);
      }
    }
    return woken;
  }

  /** Everybody, as after a change of the pools themselves. */
  all(): Set<string> {
    return new Set(Array.from(this.#pools.values(), (nodes) => [...nodes.keys()]).flat());
  }
}

const key = (pool: string, family: Family): string => `${family} ${pool}`;
