import type { Database, Table } from '@causeway/tables';
import type { MeshPeerRow } from './types.ts';

export type MeshPeerTable = Table<MeshPeerRow, string>;

/** `mesh-peers`: how each peer cluster fares. */
export function meshPeerTable(database: Database): MeshPeerTable {
  return database.table<MeshPeerRow, string>({
    name: 'mesh-peers',
    key: (row) => row.name,
    columns: [
      { name: 'name', of: (row) => row.name },
      { name: 'id', of: (row) => row.id },
      { name: 'state', of: (row) => row.state },
      { name: 'since', of: (row) => timeOf(row.since) },
      { name: 'last-contact', of: (row) => timeOf(row.lastContact) },
      { name: 'endpoint', of: (row) => row.endpoint },
      { name: 'source', of: (row) => row.source },
      { name: 'losses', of: (row) => row.losses },
      { name: 'counts', of: (row) => row.counts },
      { name: 'reason', of: (row) => row.reason },
    ],
  });
}

const timeOf = (ms: number | undefined): string | undefined =>
  ms === undefined ? undefined : new Date(ms).toISOString();
