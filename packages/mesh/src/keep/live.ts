import { encodeIp } from '../codec/ip.ts';
import { encodeNode } from '../codec/node.ts';
import { encodeService } from '../codec/service.ts';
import { encodeServiceShard } from '../codec/service-shard.ts';
import type { StateKind } from '../keys.ts';
import type { MeshTables } from '../rows.ts';
import { putRecord } from './records.ts';

/**
 * All that is known of one cluster, as records, from the tables themselves: so that nobody holds it a second time.
 * Rows may change between two steps; what has changed by then is told by the log that follows.
 */
export function* liveRecords(tables: MeshTables, cluster: string): Generator<Buffer, void> {
  const record = (kind: StateKind, rest: string, text: string) =>
    putRecord(kind, rest, Buffer.from(text));
  for (const row of [...tables.nodes.by('cluster', cluster)]) {
    yield record('nodes', row.name, encodeNode(row));
  }
  for (const { id, labels } of [...tables.identities.by('cluster', cluster)]) {
    yield record('identities', String(id), labels.text);
  }
  for (const row of [...tables.services.by('cluster', cluster)]) {
    yield record('services', `${row.namespace}/${row.name}`, encodeService(row));
  }
  for (const row of [...tables.serviceShards.by('cluster', cluster)]) {
    const rest = `${row.namespace}/${row.name}/${row.shard}`;
    yield record('service-backends', rest, encodeServiceShard(row));
  }
  // Names of pods are in no column, and nobody needs them.
  const unknown = { metadata: '', namespace: '', pod: '', serviceAccount: '' };
  for (const entry of tables.ipEntries.entriesOf(cluster)) {
    yield record('ip', entry.address, encodeIp({ ...entry, ...unknown }));
  }
}
