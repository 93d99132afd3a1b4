import type { Clock } from '@causeway/tables';
import type { MeshTables } from '../rows.ts';
import type { PeerCounts } from './types.ts';

/** How old a count may be, milliseconds: one walk over the tables serves all peers for so long. */
const MAX_AGE = 5000;

type Mutable = { -readonly [K in keyof PeerCounts]: number };

/** Rows of each cluster in the tables that all share. */
export class ClusterCounts {
  readonly #tables: MeshTables;
  readonly #clock: Clock;
  #counts = new Map<string, Mutable>();
  #until = Number.NEGATIVE_INFINITY;

  constructor(tables: MeshTables, clock: Clock) {
    this.#tables = tables;
    this.#clock = clock;
  }

  /** What changed is to be seen at once. */
  stale(): void {
    this.#until = Number.NEGATIVE_INFINITY;
  }

  of(cluster: string): PeerCounts {
    const now = this.#clock.now();
    if (now >= this.#until) {
      this.#counts = this.#count();
      this.#until = now + MAX_AGE;
    }
    const counts = this.#counts.get(cluster) ?? nothing();
    return { ...counts, ip: this.#tables.ipEntries.count(cluster) };
  }

  #count(): Map<string, Mutable> {
    const counts = new Map<string, Mutable>();
    const { identities, nodes, services, serviceShards, rejected } = this.#tables;
    const kinds = { identities, nodes, services, 'service-backends': serviceShards, rejected };
    for (const [kind, table] of Object.entries(kinds)) {
      for (const { cluster } of table.rows()) {
        const of = counts.get(cluster) ?? nothing();
        counts.set(cluster, of);
        of[kind as keyof PeerCounts]++;
      }
    }
    return counts;
  }
}

export const nothing = (): Mutable => ({
  nodes: 0,
  services: 0,
  'service-backends': 0,
  identities: 0,
  ip: 0,
  rejected: 0,
});
