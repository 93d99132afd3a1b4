import type { Address } from '@causeway/ip';
import { MAX_SHARDS, type ServiceShardValue, SHARD_SIZE, type ShardBackend } from '@causeway/mesh';

/** A service as it is told: what every shard repeats. */
export type ShardHead = Omit<ServiceShardValue, 'shard' | 'backends'>;

/**
 * Where each backend of a service stands. A backend stays in its shard as long as it is there, so that a change of one
 * touches one shard, and nobody who reads shard after shard ever misses one that moved. Places of those that are gone
 * are given to those that come.
 */
export class ShardPlaces {
  readonly #shardOf = new Map<Address, number>();
  /** Backends in each shard. */
  readonly #count: number[] = [];

  /** Shards that may be in use: those from here on are not. */
  get shards(): number {
    return this.#count.length;
  }

  /** Where an earlier run, or another operator, had them. */
  adopt(address: Address, shard: number): void {
    if (this.#shardOf.has(address) || shard >= MAX_SHARDS) return;
    while (this.#count.length <= shard) this.#count.push(0);
    if (this.#count[shard]! >= SHARD_SIZE) return;
    this.#shardOf.set(address, shard);
    this.#count[shard]!++;
  }

  /**
   * The shards of these backends. Shard 0 is always there, an empty one besides it never.
   * @returns `left` counts backends that no shard has room for.
   */
  place(
    head: ShardHead,
    backends: readonly ShardBackend[],
  ): { readonly shards: ServiceShardValue[]; readonly left: number } {
    const wanted = new Set(backends.map(({ address }) => address));
    for (const [address, shard] of this.#shardOf) {
      if (wanted.has(address)) continue;
      this.#shardOf.delete(address);
      this.#count[shard]!--;
    }
    const members = new Map<number, ShardBackend[]>([[0, []]]);
    let left = 0;
    let next = 0;
    for (const backend of backends) {
      let shard = this.#shardOf.get(backend.address);
      if (shard === undefined) {
        while ((this.#count[next] ?? 0) >= SHARD_SIZE) next++;
        if (next >= MAX_SHARDS) {
          left++;
          continue;
        }
        shard = next;
        this.adopt(backend.address, shard);
      }
      const list = members.get(shard);
      if (list === undefined) members.set(shard, [backend]);
      else list.push(backend);
    }
    const shards = [...members]
      .sort(([a], [b]) => a - b)
      .map(([shard, list]) => ({
        ...head,
        // Said once, where every reader finds it.
        expected: shard === 0 ? head.expected : 0,
        shard,
        backends: list,
      }));
    return { shards, left };
  }
}
