import type { MeshTables } from '../rows.ts';
import type { PeerCounts } from './types.ts';

/** Rows of each cluster in the tables that all share. */
export class ClusterCounts {
  readonly #tables: MeshTables;

  constructor(tables: MeshTables) {
    this.#tables = tables;
  }

  of(cluster: string): PeerCounts {
    const { identities, nodes, services, serviceShards, rejected, ipEntries } = this.#tables;
    return {
      nodes: nodes.count('cluster', cluster),
      services: services.count('cluster', cluster),
      'service-backends': serviceShards.count('cluster', cluster),
      identities: identities.count('cluster', cluster),
      ip: ipEntries.count(cluster),
      rejected: rejected.count('cluster', cluster),
    };
  }
}

export const nothing = (): PeerCounts => ({
  nodes: 0,
  services: 0,
  'service-backends': 0,
  identities: 0,
  ip: 0,
  rejected: 0,
});
