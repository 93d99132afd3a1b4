import type { Log } from '@causeway/daemon';
import { connectKv, type Kv } from '@causeway/etcd';
import { ClusterId, identityLayout } from '@causeway/identity';
import {
  type Allowed,
  CacheUpstreams,
  ClusterCounts,
  ClusterIds,
  KeptPeers,
  type MeshPeerRow,
  type MeshPeerTable,
  MeshReader,
  type MeshTables,
  meshPeerTable,
  PeerDirectory,
  PeerObjects,
  type PeerSpec,
  Peers,
  Ranges,
  Room,
  type StateKind,
  TableTarget,
} from '@causeway/mesh';
import type { EmptyStoreGuard, ResourceStore } from '@causeway/resources';
import type { Clock, Database, Table } from '@causeway/tables';
import type { PoolRow } from '../addresses/sources.ts';
import type { HealthRow } from '../api/types.ts';
import type { ClusterTables } from '../cluster/tables.ts';
import type { AgentConfig } from '../config/schema.ts';
import { outlivingPlace } from '../state-place.ts';
import { OwnRanges } from './own-ranges.ts';
import { PlannedRanges } from './planned-ranges.ts';

/** Peers may be slow; what is given up too early is read again from its beginning. Milliseconds. */
const PEER_DEADLINE = 8000;
/** So many are read at once within that time; of more each answer waits behind those of the others, here and there. */
const PEERS_IN_TIME = 32;
const LONGEST_DEADLINE = 60_000;
/** A peer's config is asked for more often than this, so that no probe is needed. */
const PROBE_INTERVAL = 20_000;
/** For so long peers wait for the own nodes, whose ranges they may not speak of. */
const OWN_NODES_MS = 10_000;

export interface AgentMeshOptions {
  readonly config: AgentConfig;
  /** The own cluster's store. */
  readonly kv: Kv;
  readonly resources: ResourceStore;
  readonly guard: EmptyStoreGuard;
  readonly database: Database;
  readonly cluster: ClusterTables;
  readonly pools: Table<PoolRow>;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
  /** The sockets of peers' stores have changed. */
  readonly onEndpoints: () => void;
}

/** `GET /v1/mesh`. */
export interface MeshView {
  readonly cluster: string;
  /** 0: it takes part in no mesh. */
  readonly id: number;
  readonly access: AgentConfig['mesh']['access'];
  readonly graceSeconds: number;
  readonly peers: readonly (MeshPeerRow & { readonly ageSeconds: number | undefined })[];
  /** Peers' last state on the own disk; undefined where none is kept, or the own store has it. */
  readonly keep: { readonly directory: string; readonly bytes: number } | undefined;
  readonly problems: readonly string[];
}

/** What this node knows of clusters: its own by its own store, and the peers', each by theirs or by the cache. */
export class AgentMesh implements AsyncDisposable {
  readonly table: MeshPeerTable;
  readonly #options: AgentMeshOptions;
  readonly #own: MeshReader;
  readonly #ranges = new Ranges();
  readonly #ownRanges: OwnRanges | undefined;
  readonly #planned: PlannedRanges | undefined;
  readonly #peers: Peers | undefined;
  /** Where peers are read from the copies that the operator keeps. */
  readonly #upstreams: CacheUpstreams | undefined;
  readonly #kept: KeptPeers | undefined;
  readonly #room = new Room();
  readonly #described = new Map<PeerSpec['source'], readonly string[]>();
  readonly #stop = new AbortController();
  #directory: PeerDirectory | undefined;
  #objects: PeerObjects | undefined;
  readonly #starting: Promise<void>;
  #ownNodes = false;
  #endpoints = '';

  constructor(options: AgentMeshOptions) {
    this.#options = options;
    const { config, kv, database, cluster } = options;
    const { name, id, maxConnectedClusters } = config.cluster;
    const layout = identityLayout(maxConnectedClusters);
    this.table = meshPeerTable(database);
    // Id 0 takes part in no mesh.
    if (id !== 0) {
      if (config.mesh.access === 'cache') {
        this.#upstreams = new CacheUpstreams(kv, options.clock);
      } else if (config.mesh.keep.enabled) {
        const { clock } = options;
        const directory = this.#keepDirectory();
        this.#kept = new KeptPeers({ directory, own: name, tables: cluster.mesh, clock });
      }
      this.#peers = this.#makePeers();
      this.#ownRanges = new OwnRanges({
        cluster: name,
        serviceCIDRs: config.serviceCIDRs,
        tables: cluster.mesh,
        pools: options.pools,
        ranges: this.#ranges,
        peers: () => this.#peers,
        clock: options.clock,
      });
    }
    if (this.#peers !== undefined) {
      this.#planned = new PlannedRanges({
        store: options.resources,
        guard: options.guard,
        own: name,
        log: options.log,
        onChange: (clusters) => {
          for (const each of clusters)
            this.#peers?.get(each)?.reread('what the address plan says of it has changed');
        },
      });
    }
    const onSynced = (kind: StateKind) => {
      if (kind === 'nodes') this.#ownNodes = true;
    };
    this.#own = new MeshReader({
      kv,
      cluster: { name, id: ClusterId(id) },
      layout,
      tables: cluster.mesh,
      kinds: ['identities', 'ip', 'nodes'],
      onSynced,
    });
    this.#starting = this.#peers === undefined ? Promise.resolve() : this.#start(this.#peers);
  }

  /** The own cluster's state. */
  get own(): MeshReader {
    return this.#own;
  }

  get peers(): Peers | undefined {
    return this.#peers;
  }

  get tables(): MeshTables {
    return this.#options.cluster.mesh;
  }

  now(): number {
    return this.#options.clock.now();
  }

  /** How all of it fares, for whoever asks. */
  view(): MeshView {
    const { cluster, mesh } = this.#options.config;
    const now = this.now();
    return {
      cluster: cluster.name,
      id: cluster.id,
      access: mesh.access,
      graceSeconds: mesh.graceSeconds,
      peers: Array.from(this.table.rows(), (row) => ({
        ...row,
        ageSeconds:
          row.lastContact === undefined ? undefined : Math.round((now - row.lastContact) / 1000),
      })),
      keep:
        this.#kept === undefined
          ? undefined
          : { directory: this.#kept.directory, bytes: this.#kept.bytes },
      problems: this.#problems(),
    };
  }

  get ranges(): Ranges {
    return this.#ranges;
  }

  /** Sockets of peers' stores, which no pod may reach. */
  endpoints(): string[] {
    return this.#peers?.endpoints() ?? [];
  }

  /** What a start still waits for. */
  waiting(): string[] {
    if (this.#peers === undefined || this.#peers.settled) return [];
    const unread = this.#peers.unread();
    return unread.map((name) => `peer cluster ${name} is not read yet`);
  }

  health(): HealthRow[] {
    const now = this.#options.clock.now();
    const rows = Array.from(this.table.rows(), (row) => peerHealth(row, now));
    const problems = this.#problems();
    if (problems.length > 0) {
      rows.push({ name: 'mesh-peers', healthy: false, detail: problems.join('; ') });
    }
    return rows;
  }

  /** What is wrong with descriptions of peers. */
  #problems(): string[] {
    const problems = [...(this.#peers?.problems() ?? []), ...(this.#kept?.problems() ?? [])];
    if (this.#directory?.lastError !== undefined) {
      problems.push(`${this.#options.config.mesh.configDir}: ${this.#directory.lastError}`);
    }
    for (const { name, rejected } of this.#objects?.status() ?? []) {
      if (name === 'MeshPeer') problems.push(...rejected);
    }
    return problems;
  }

  /** What somebody here has said of a peer's ranges; whoever described the peer itself comes first. */
  #allowed(spec: PeerSpec | undefined): Allowed | undefined {
    const ranges = spec?.allowedCIDRs;
    if (ranges !== undefined) return { ranges, by: 'spec.allowedCIDRs of its MeshPeer' };
    return spec && this.#planned?.of(spec.name);
  }

  #keepDirectory(): string {
    const { config, log } = this.#options;
    const warn = (err: unknown) =>
      log.warn({ err }, 'the last state of peers stays in the run directory');
    return config.mesh.keep.directory ?? outlivingPlace(config, 'peers', warn);
  }

  #makePeers(): Peers {
    const { config, kv, cluster, clock, random, log } = this.#options;
    const { name, id, maxConnectedClusters } = config.cluster;
    const { graceSeconds, withdrawSeconds, syncTimeoutSeconds } = config.mesh;
    const ids = new ClusterIds({ name, id });
    const counts = new ClusterCounts(cluster.mesh);
    const { identities, ipEntries, nodes, services, serviceShards } = cluster.mesh;
    const peers: Peers = new Peers({
      own: name,
      sources: ['file', 'object'],
      initial: [identities, ipEntries, nodes, services, serviceShards].map((each) =>
        each.source('mesh-peers'),
      ),
      syncTimeout: syncTimeoutSeconds * 1000,
      connect: (spec) => {
        const upstream = this.#upstreams?.of(spec.name);
        if (upstream === undefined) return connection(spec, () => peers.unread().length);
        return { kv, upstream, close: async () => {} };
      },
      target: (peer) =>
        new TableTarget({
          name: peer,
          expectedId: () => peers.get(peer)?.spec.id,
          allowed: () => this.#allowed(peers.get(peer)?.spec),
          maxConnectedClusters,
          layout: identityLayout(maxConnectedClusters),
          tables: cluster.mesh,
          ids,
          counts,
          ranges: this.#ranges,
          room: this.#room,
          clock,
          ...(this.#kept === undefined ? {} : { kept: this.#kept.of(peer) }),
        }),
      table: this.table,
      times: { grace: graceSeconds * 1000, withdraw: withdrawSeconds * 1000 },
      clock,
      random,
      onLog: (event) => log.info(event, 'a peer cluster'),
    });
    return peers;
  }

  /** What is ours is known before peers speak; a store that is away must not keep them out for long. */
  async #start(peers: Peers): Promise<void> {
    const { config, resources, guard, clock, log } = this.#options;
    const { signal } = this.#stop;
    const due = clock.now() + OWN_NODES_MS;
    while (!this.#ownNodes && clock.now() < due && !signal.aborted) await clock.sleep(20, signal);
    if (signal.aborted) return;
    this.#ownRanges?.refresh();
    const set = (source: PeerSpec['source']) => (list: Parameters<Peers['set']>[1]) => {
      peers.set(source, list);
      this.#described.set(
        source,
        [...list.peers, ...list.bad].map(({ name }) => name),
      );
      if (this.#described.size === 2) void this.#kept?.retain([...this.#described.values()].flat());
      this.#tellEndpoints();
    };
    this.#directory = new PeerDirectory({
      directory: config.mesh.configDir,
      clock,
      onList: set('file'),
    });
    this.#objects = new PeerObjects({
      store: resources,
      guard,
      own: config.cluster.name,
      log,
      onList: set('object'),
    });
  }

  #tellEndpoints(): void {
    const now = this.endpoints().toSorted().join();
    if (now === this.#endpoints) return;
    this.#endpoints = now;
    this.#options.onEndpoints();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#starting;
    await this.#planned?.[Symbol.asyncDispose]();
    await this.#directory?.[Symbol.asyncDispose]();
    await this.#objects?.[Symbol.asyncDispose]();
    await this.#peers?.[Symbol.asyncDispose]();
    await this.#kept?.[Symbol.asyncDispose]();
    await this.#upstreams?.[Symbol.asyncDispose]();
    await this.#ownRanges?.[Symbol.asyncDispose]();
    await this.#own[Symbol.asyncDispose]();
  }
}

/** The time that an answer may take while so many peers are read for the first time. */
const peerDeadline = (unread: number): number =>
  Math.min(LONGEST_DEADLINE, PEER_DEADLINE * Math.max(1, unread / PEERS_IN_TIME));

function connection(
  { endpoints, tls }: PeerSpec,
  unread: () => number,
): { kv: Kv; close: () => Promise<void> } {
  const kv = connectKv({
    endpoints,
    deadline: () => peerDeadline(unread()),
    probeInterval: PROBE_INTERVAL,
    ...(tls === undefined ? {} : { tls }),
  });
  return { kv, close: async () => kv[Symbol.asyncDispose]() };
}

function peerHealth(row: MeshPeerRow, now: number): HealthRow {
  const { counts, state, reason, lastContact } = row;
  const read = `${counts.nodes} nodes, ${counts.ip} entries, ${counts.identities} identities, ${counts.services + counts['service-backends']} services, ${counts.rejected} refused`;
  const age =
    lastContact === undefined
      ? ''
      : `; last in contact ${Math.round((now - lastContact) / 1000)} s ago`;
  const why = reason === undefined ? '' : ` (${reason})`;
  return {
    name: `peer ${row.name}`,
    healthy: state === 'ready' || state === 'suspended',
    detail: `${state}${why}${age}; ${read}`,
  };
}
