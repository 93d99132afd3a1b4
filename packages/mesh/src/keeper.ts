import { absent, type Kv, type Lease, SharedStore } from '@causeway/etcd';
import type { Clock, Table } from '@causeway/tables';
import { Database } from '@causeway/tables';
import {
  type Announcement,
  announceClusterConfig,
  announceHeartbeat,
  announcementTable,
  announceSynced,
} from './announcements.ts';
import { type ClusterConfig, decodeClusterConfig } from './codec/cluster-config.ts';
import { MeshError } from './errors.ts';
import {
  clusterConfigKey,
  HEARTBEAT_KEY,
  isClusterName,
  SHARDS_EXPORTED_KEY,
  STATE_KINDS,
  type StateKind,
  syncedKey,
  syncedPrefix,
} from './keys.ts';

/** Section 1.2: readers give up after two minutes without one. */
export const HEARTBEAT_INTERVAL = 60_000;

/** Milliseconds between looks whether a store has settled. */
const SETTLE_LOOK = 1000;
const LEADER_KEY = 'causeway/leader/cluster-state';
/** Seconds until another takes over from one that died. */
const LEADER_TTL = 15;

/**
 * Refuses a store that another cluster has written its config to: two clusters in one store would
 * give out each other's identities. Throws MeshError `foreign-store`.
 */
export async function checkStore(
  kv: Kv,
  name: string,
  config: ClusterConfig,
  signal?: AbortSignal,
): Promise<void> {
  if (!isClusterName(name) || name === 'default') {
    const rule = '1 to 32 of a-z, 0-9 and inner "-", and not "default"';
    throw new MeshError('bad-key', `cluster name ${JSON.stringify(name)} must be ${rule}`, name);
  }
  const { entries } = await kv.list(clusterConfigKey('x').slice(0, -1), signal ? { signal } : {});
  for (const entry of entries) {
    const other = entry.key.slice(entry.key.lastIndexOf('/') + 1);
    const stored = readConfig(entry.text);
    // Copies of remote clusters' configs stand beside ours.
    if (stored === undefined || stored.cached) continue;
    const same =
      other === name &&
      stored.id === config.id &&
      stored.maxConnectedClusters === config.maxConnectedClusters;
    if (same) continue;
    throw new MeshError(
      'foreign-store',
      `the store belongs to cluster ${other} (id ${stored.id}, at most ${stored.maxConnectedClusters} clusters), not to ${name} (id ${config.id}, ${config.maxConnectedClusters})`,
      entry.text,
    );
  }
}

function readConfig(text: string): ClusterConfig | undefined {
  try {
    return decodeClusterConfig(text);
  } catch {
    // Ours is written over it.
    return undefined;
  }
}

export interface KeeperOptions {
  readonly kv: Kv;
  readonly clock: Clock;
  readonly random: () => number;
  readonly cluster: string;
  /** But for what the operator exports, which its own key says. */
  readonly config: ClusterConfig;
  /** Who we are, for the leader's record. */
  readonly node: string;
  /**
   * Whether all that should stand in the store does, as far as anybody can know: a store that came back empty lacks
   * for a while what its writers are about to say again, and only then may readers take what is absent for gone.
   */
  readonly settled: () => boolean;
}

export interface KeeperStatus {
  readonly leading: boolean;
  readonly lastError: string | undefined;
}

/**
 * Writes what a cluster says once: heartbeat and cluster config. Every agent runs one; the holder of
 * a leased key writes, the others wait, so that the store sees one heartbeat a minute.
 */
export class ClusterKeeper implements AsyncDisposable {
  readonly #options: KeeperOptions;
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;
  #leading = false;
  #lastError: string | undefined;

  constructor(options: KeeperOptions) {
    this.#options = options;
    this.#running = this.#run();
  }

  status(): KeeperStatus {
    return { leading: this.#leading, lastError: this.#lastError };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { clock, random } = this.#options;
    const { signal } = this.#stop;
    while (!signal.aborted) {
      try {
        const lease = await this.#lead();
        // The store answers again; leading, or waiting to, may last for ever.
        this.#lastError = undefined;
        if (lease !== undefined) await this.#keep(lease);
        else await this.#vacant();
      } catch (error) {
        if (signal.aborted) return;
        this.#lastError = (error as Error).message;
        await clock.sleep(1000 + random() * 4000, signal);
      }
    }
  }

  /** The lease of the leader's key, or undefined if another leads. */
  async #lead(): Promise<Lease | undefined> {
    const { kv, node } = this.#options;
    const { signal } = this.#stop;
    if ((await kv.get(LEADER_KEY, { signal })) !== undefined) return undefined;
    const lease = await kv.lease(LEADER_TTL, { signal });
    try {
      const { succeeded } = await kv.txn(
        {
          compare: [absent(LEADER_KEY)],
          success: [{ type: 'put', key: LEADER_KEY, value: node, lease: lease.id }],
        },
        { signal },
      );
      if (succeeded) return lease;
      await lease[Symbol.asyncDispose]();
      return undefined;
    } catch (error) {
      await lease[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Returns when nobody leads any more. */
  async #vacant(): Promise<void> {
    const { kv } = this.#options;
    await using watch = kv.watch(LEADER_KEY, { signal: this.#stop.signal });
    let held = false;
    for await (const event of watch) {
      if (event.type === 'put') held = true;
      else if (event.type === 'delete' || (event.type === 'synced' && !held)) return;
    }
  }

  /** Writes the config, once it is known whether shards are exported, and again when that changes. */
  async #followExports(
    table: Table<Announcement, string>,
    written: () => void,
    signal: AbortSignal,
  ): Promise<void> {
    const { kv, cluster, config } = this.#options;
    await using watch = kv.watch(SHARDS_EXPORTED_KEY, { signal });
    let exported = false;
    let known = false;
    for await (const event of watch) {
      if (event.type === 'put') exported = true;
      else if (event.type === 'delete') exported = false;
      else if (event.type === 'synced') known = true;
      if (!known) continue;
      // Who is told of shards waits for their marker.
      if (exported && config.syncedCanaries) await this.#putMarker('service-backends', signal);
      const causeway = exported ? { serviceBackends: true } : undefined;
      table.put(announceClusterConfig(cluster, { ...config, causeway }));
      written();
      this.#lastError = undefined;
    }
  }

  /** Section 1.4: each kind has its marker, written again once an emptied store is whole again. */
  async #keepMarkers(signal: AbortSignal): Promise<void> {
    const { kv, cluster, config, clock, settled } = this.#options;
    if (!config.syncedCanaries) return;
    const standing = new Set<string>();
    let known = false;
    await using watch = kv.watch(syncedPrefix(cluster), { signal, ownWrites: true });
    for await (const event of watch) {
      if (event.type === 'put') standing.add(event.entry.key);
      else if (event.type === 'delete') standing.delete(event.key);
      else if (event.type === 'snapshot-start') standing.clear();
      else known = event.type === 'synced';
      if (!known) continue;
      for (const kind of STATE_KINDS) {
        if (standing.has(syncedKey(cluster, kind))) continue;
        while (!settled() && !signal.aborted) await clock.sleep(SETTLE_LOOK, signal);
        await this.#putMarker(kind, signal);
        standing.add(syncedKey(cluster, kind));
      }
      this.#lastError = undefined;
    }
  }

  /** On no lease: readers of now need it whoever leads. */
  async #putMarker(kind: StateKind, signal: AbortSignal): Promise<void> {
    const { kv, clock, cluster } = this.#options;
    const { key, value } = announceSynced(cluster, kind, clock.now());
    await kv.put(key, value, { signal });
  }

  /** From the start after each error, for as long as we lead: nobody else does it meanwhile. */
  async #persist(work: () => Promise<void>, signal: AbortSignal): Promise<void> {
    const { clock, random } = this.#options;
    while (!signal.aborted) {
      try {
        await work();
      } catch (error) {
        if (!signal.aborted) this.#lastError = (error as Error).message;
      }
      await clock.sleep(1000 + random() * 4000, signal);
    }
  }

  async #keep(lease: Lease): Promise<void> {
    const { kv, clock, random, cluster } = this.#options;
    const table: Table<Announcement, string> = announcementTable(new Database(), 'cluster-state');
    // What a former leader wrote of us stands until we know what to write in its place.
    const configWritten = table.source('config');
    const store = new SharedStore<Announcement, string>({
      name: 'mesh-cluster-state',
      kv,
      clock,
      random,
      table,
      encode: (row) => row,
      scopes: [HEARTBEAT_KEY, clusterConfigKey(cluster)].map((key) => ({
        prefix: key,
        owns: (entry) => entry.key === key,
      })),
    });
    const signal = AbortSignal.any([this.#stop.signal, lease.ended]);
    this.#leading = true;
    try {
      const following = this.#persist(
        () => this.#followExports(table, configWritten.done, signal),
        signal,
      );
      const marking = this.#persist(() => this.#keepMarkers(signal), signal);
      while (!signal.aborted) {
        table.put(announceHeartbeat(clock.now()));
        await clock.sleep(HEARTBEAT_INTERVAL, signal);
      }
      await following;
      await marking;
    } finally {
      this.#leading = false;
      await store[Symbol.asyncDispose]();
      await lease[Symbol.asyncDispose]();
    }
  }
}
