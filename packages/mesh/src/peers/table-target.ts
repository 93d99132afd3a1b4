import type { KvError } from '@causeway/etcd';
import type { IdentityLayout } from '@causeway/identity';
import { ClusterId } from '@causeway/identity';
import type { Clock } from '@causeway/tables';
import type { ClusterConfig } from '../codec/cluster-config.ts';
import { MeshError } from '../errors.ts';
import type { KeptPeer } from '../keep/kept-peer.ts';
import { putBack } from '../keep/put-back.ts';
import type { KeptContact } from '../keep/records.ts';
import { type StateKind, stateKindsOf, syncedKey } from '../keys.ts';
import { MeshReader, type ReaderLimits } from '../reader.ts';
import type { Room } from '../room.ts';
import type { MeshTables } from '../rows.ts';
import { turnOf } from './contact.ts';
import type { ClusterCounts } from './counts.ts';
import type { ClusterIds } from './ids.ts';
import type { KeptPeerState, PeerTarget } from './peer.ts';
import type { Ranges } from './ranges.ts';
import { leaveOtherForm } from './service-form.ts';
import type { PeerStore, PeerStream } from './session.ts';
import { take } from './take.ts';
import type { Allowed } from './trust.ts';
import type { PeerCounts } from './types.ts';

const MIB = 1024 * 1024;

/** What one peer may say at most: far more than a cluster has, far less than would hurt. */
export const PEER_LIMITS: ReaderLimits = {
  rows: {
    identities: 65_536,
    ip: 1_000_000,
    nodes: 20_000,
    services: 20_000,
    'service-backends': 40_000,
  },
  bytes: {
    identities: 16_384,
    ip: 4096,
    nodes: 65_536,
    services: 1_572_864,
    'service-backends': 65_536,
  },
  total: {
    identities: 64 * MIB,
    ip: 512 * MIB,
    nodes: 64 * MIB,
    services: 64 * MIB,
    'service-backends': 64 * MIB,
  },
};

export interface TableTargetOptions {
  readonly name: string;
  /** The id that the peer must have, where that is known beforehand. */
  readonly expectedId: () => number | undefined;
  /** What somebody said the peer may speak of at all. */
  readonly allowed?: () => Allowed | undefined;
  readonly maxConnectedClusters: 255 | 511;
  readonly layout: IdentityLayout;
  readonly tables: MeshTables;
  readonly ids: ClusterIds;
  readonly counts: ClusterCounts;
  readonly ranges: Ranges;
  readonly clock: Clock;
  readonly limits?: ReaderLimits;
  /** What all peers share. */
  readonly room?: Room;
  /** Where the peer's last state is kept over restarts. */
  readonly kept?: KeptPeer;
}

/** A peer's state in the tables that all clusters share. */
export class TableTarget implements PeerTarget {
  readonly #options: TableTargetOptions;
  #id: number | undefined;
  #config = '';

  constructor(options: TableTargetOptions) {
    this.#options = options;
  }

  open(store: PeerStore, page: { readonly size: number }): readonly PeerStream[] {
    const { config, kv, tree } = store;
    this.#check(config);
    const { name, layout, tables, ranges, clock, kept, limits = PEER_LIMITS } = this.#options;
    this.#config = store.configText;
    const cluster = { name, id: ClusterId(config.id) };
    const stream = (kind: StateKind): PeerStream => ({
      name: kind,
      canary: syncedKey(name, kind, tree),
      start: ({ synced, broken }) => {
        const over = new AbortController();
        let leaving: Promise<unknown> | undefined;
        const reader = new MeshReader({
          kv,
          cluster,
          layout,
          tables,
          tree,
          kinds: [kind],
          once: true,
          initial: false,
          guard: ranges.guard(name, this.#options.allowed),
          limits,
          ...(this.#options.room === undefined ? {} : { room: this.#options.room }),
          ...(kept === undefined ? {} : { journal: kept }),
          pageSize: page.size,
          onSynced: () => {
            if (kind === 'services' || kind === 'service-backends') {
              const form = { tables, cluster: name, marked: config.syncedCanaries, clock };
              // Whoever listens to the tables may fail; the rows are gone all the same.
              leaving = leaveOtherForm(kind, form, over.signal).then(
                (left) => left && kept?.outdated(),
                () => kept?.outdated(),
              );
            }
            synced();
          },
          onBreak: (_, error: KvError) => broken(error),
        });
        return {
          async [Symbol.asyncDispose]() {
            over.abort();
            await reader[Symbol.asyncDispose]();
            await leaving;
          },
        };
      },
    });
    return stateKindsOf(config).map(stream);
  }

  async restore(oldest: number, signal: AbortSignal): Promise<KeptPeerState | undefined> {
    const { name, layout, tables, ranges, kept, limits = PEER_LIMITS } = this.#options;
    const found = await kept?.find(oldest);
    if (kept === undefined || found === undefined || signal.aborted) return undefined;
    const { config } = found.header;
    try {
      this.#check(config);
      const cluster = { name, id: ClusterId(config.id) };
      const guard = ranges.guard(name, this.#options.allowed);
      const { room } = this.#options;
      const shared = room === undefined ? {} : { room };
      await putBack(found, { tables, cluster, layout, guard, limits, ...shared }, signal);
    } catch (error) {
      await kept.refuse(error);
      this.forget();
      return undefined;
    }
    const { at, store } = found.contact;
    return { id: config.id, lastContact: at, mark: store };
  }

  current(contact: KeptContact): void {
    this.#options.kept?.current(contact, this.#config);
  }

  /** Section 4.4, steps 3 and 4. */
  #check(config: ClusterConfig): void {
    const { name, ids, maxConnectedClusters, expectedId } = this.#options;
    const expected = expectedId();
    if (expected !== undefined && config.id !== expected) {
      throw new MeshError(
        'id-clash',
        `cluster ${name} says it has id ${config.id}, and its MeshPeer says ${expected}`,
        config.id,
        'id',
      );
    }
    // Of other bits every number would mean another cluster's.
    if (config.maxConnectedClusters !== maxConnectedClusters) {
      throw new MeshError(
        'mismatch',
        `cluster ${name} divides identities for ${config.maxConnectedClusters} clusters, this one for ${maxConnectedClusters}; the mesh must use one maxConnectedClusters`,
        config.maxConnectedClusters,
        'capabilities.maxConnectedClusters',
      );
    }
    if (this.#id !== undefined && this.#id !== config.id) this.withdrawAll();
    ids.reserve(config.id, name);
    this.#id = config.id;
  }

  counts(): PeerCounts {
    return this.#options.counts.of(this.#options.name);
  }

  withdrawServices(share: number): boolean {
    const { tables, name, kept } = this.#options;
    const goes = (row: { cluster: string; namespace: string; name: string }) =>
      row.cluster === name && turnOf(`${row.namespace}/${row.name}`) < share;
    const services = take(tables.services, goes, (row) =>
      kept?.delete('services', `${row.namespace}/${row.name}`),
    );
    const shards = take(tables.serviceShards, goes, (row) =>
      kept?.delete('service-backends', `${row.namespace}/${row.name}/${row.shard}`),
    );
    return services || shards;
  }

  withdrawAll(): boolean {
    const { tables, name, kept, room } = this.#options;
    kept?.drop();
    room?.forget(name);
    const mine = (row: { readonly cluster: string }) => row.cluster === name;
    const gone = [
      take(tables.services, mine),
      take(tables.serviceShards, mine),
      take(tables.nodes, mine),
      tables.ipEntries.drain(name) > 0,
      take(tables.identities, mine),
    ];
    return gone.includes(true);
  }

  forget(): void {
    const { tables, name, ids } = this.#options;
    this.withdrawAll();
    take(tables.rejected, (row) => row.cluster === name);
    ids.release(name);
    this.#id = undefined;
  }
}
