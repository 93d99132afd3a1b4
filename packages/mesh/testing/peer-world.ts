import { type Kv, type MemoryEtcd, memoryEtcd } from '@causeway/etcd';
import { ClusterId, identityLayout, LabelSet } from '@causeway/identity';
import { Address, Prefix } from '@causeway/ip';
import { Database, VirtualClock } from '@causeway/tables';
import {
  announceClusterConfig,
  announceHeartbeat,
  announceIp,
  announceNode,
  announceService,
  announceSynced,
} from '../src/announcements.ts';
import type { ClusterConfig } from '../src/codec/cluster-config.ts';
import type { KeptPeer } from '../src/keep/kept-peer.ts';
import { identityKey, STATE_KINDS } from '../src/keys.ts';
import { ClusterCounts } from '../src/peers/counts.ts';
import { ClusterIds } from '../src/peers/ids.ts';
import { lookAfter, Peer, type PeerEvent, type PeerTarget } from '../src/peers/peer.ts';
import { Ranges } from '../src/peers/ranges.ts';
import { meshPeerTable } from '../src/peers/table.ts';
import { TableTarget } from '../src/peers/table-target.ts';
import type { Allowed } from '../src/peers/trust.ts';
import type { MeshPeerRow, PeerSpec } from '../src/peers/types.ts';
import { Room, type RoomLimits } from '../src/room.ts';
import { type MeshTables, meshTables } from '../src/rows.ts';

export const OWN = { name: 'own', id: 1 };

/** A peer cluster's store and everything in it, as its own agents would write it. */
export class PeerStoreInTest {
  readonly name: string;
  readonly id: number;
  readonly kv: Kv;

  constructor(name: string, id: number, kv: Kv) {
    this.name = name;
    this.id = id;
    this.kv = kv;
  }

  async put({ key, value }: { key: string; value: string }): Promise<void> {
    await this.kv.put(key, value);
  }

  beat = (now = 0): Promise<void> => this.put(announceHeartbeat(now));

  config(more: Partial<ClusterConfig> = {}): Promise<void> {
    return this.put(
      announceClusterConfig(this.name, {
        id: this.id,
        syncedCanaries: true,
        cached: false,
        maxConnectedClusters: 255,
        serviceExportsEnabled: undefined,
        ...more,
      }),
    );
  }

  async markers(): Promise<void> {
    for (const kind of STATE_KINDS) await this.put(announceSynced(this.name, kind, 0));
  }

  labels(app: string): LabelSet {
    return LabelSet.parse(
      `k8s:app=${app};k8s:io.cilium.k8s.policy.cluster=${this.name};k8s:io.kubernetes.pod.namespace=shop;`,
    );
  }

  identity(local: number, app: string): Promise<void> {
    return this.put({ key: identityKey((this.id << 16) | local), value: this.labels(app).text });
  }

  ip(address: string, local: number, host: string): Promise<void> {
    return this.put(
      announceIp({
        address: address.includes('/') ? Prefix.parse(address) : Address.parse(address),
        hostIP: Address.parse(host),
        identity: (this.id << 16) | local,
        encryptionKey: 0,
        metadata: '',
        namespace: 'shop',
        pod: 'p',
        serviceAccount: '',
        namedPorts: [],
      }),
    );
  }

  node(name: string, address: string, cidr: string): Promise<void> {
    return this.put(
      announceNode({
        name,
        cluster: this.name,
        clusterId: ClusterId(this.id),
        addresses: [{ type: 'InternalIP', ip: address }],
        podCIDRs: { ipv4: [Prefix.parse(cidr)], ipv6: [] },
        healthIPs: {},
        ingressIPs: {},
        source: 'local',
        encryptionKey: 0,
        labels: {},
        annotations: undefined,
        nodeIdentity: 0,
        wireguardPublicKey: '',
        bootId: '',
      }),
    );
  }

  service(name: string, backend: string): Promise<void> {
    return this.put(
      announceService({
        cluster: this.name,
        clusterId: this.id,
        namespace: 'shop',
        name,
        frontends: {},
        backends: { [backend]: { http: { protocol: 'TCP', port: 80 } } },
        hostnames: {},
        zones: {},
        labels: {},
        selector: {},
        includeExternal: false,
        shared: true,
      }),
    );
  }

  /** A whole small cluster: one of everything, and twenty services. */
  async fill(): Promise<void> {
    await this.beat();
    await this.config();
    await this.identity(300, 'till');
    await this.node('n1', `192.0.${this.id}.1`, `10.${this.id}.0.0/16`);
    await this.ip(`10.${this.id}.0.9`, 300, `192.0.${this.id}.1`);
    for (let i = 0; i < 20; i++) await this.service(`s${i}`, `10.${this.id}.0.9`);
    await this.markers();
  }
}

class MemoryPeerStore extends PeerStoreInTest {
  readonly etcd: MemoryEtcd;

  constructor(name: string, id: number, etcd: MemoryEtcd) {
    super(name, id, etcd.connect());
    this.etcd = etcd;
  }
}

/** An own cluster that reads peers in virtual time. */
export class PeerWorld implements AsyncDisposable {
  readonly clock = new VirtualClock();
  readonly tables: MeshTables;
  readonly peers;
  readonly ids = new ClusterIds(OWN);
  readonly ranges = new Ranges();
  readonly counts: ClusterCounts;
  readonly room: Room;
  readonly log: PeerEvent[] = [];
  readonly #open: AsyncDisposable[] = [];
  readonly #stop = new AbortController();
  readonly #grace: number;
  #beating: PeerStoreInTest[] = [];

  /** @param grace milliseconds. */
  constructor(grace = 900_000, limits?: RoomLimits) {
    this.room = new Room(limits);
    this.#grace = grace;
    const database = new Database({ freeze: true });
    this.tables = meshTables(database, OWN.name);
    this.peers = meshPeerTable(database);
    this.counts = new ClusterCounts(this.tables);
    const nodes = this.tables.nodes.changes('ranges', 'start');
    this.tables.nodes.onCommit(() => {
      for (const { type, row } of nodes.take()) {
        if (type === 'put') this.ranges.setNode(row);
        else this.ranges.removeNode(row.cluster, row.name);
      }
    });
  }

  store(name: string, id: number): MemoryPeerStore {
    const etcd = memoryEtcd({ clock: this.clock });
    this.#open.push(etcd);
    return new MemoryPeerStore(name, id, etcd);
  }

  /** Somebody keeps the store from now on. */
  keep(store: PeerStoreInTest): void {
    this.#beating.push(store);
  }

  unkeep(store: PeerStoreInTest): void {
    this.#beating = this.#beating.filter((each) => each !== store);
  }

  target(name: string, expectedId?: number, kept?: KeptPeer, allowed?: Allowed): TableTarget {
    return new TableTarget({
      name,
      expectedId: () => expectedId,
      allowed: () => allowed,
      maxConnectedClusters: 255,
      layout: identityLayout(255),
      tables: this.tables,
      ids: this.ids,
      ranges: this.ranges,
      room: this.room,
      counts: this.counts,
      clock: this.clock,
      ...(kept === undefined ? {} : { kept }),
    });
  }

  spec(name: string, more: Partial<PeerSpec> = {}): PeerSpec {
    const endpoints = ['http://192.0.2.1:2379'];
    const rest = { source: 'file', tls: undefined, id: undefined, suspended: false } as const;
    return { name, endpoints, ...rest, stamp: `${name} ${JSON.stringify(more)}`, ...more };
  }

  join(store: MemoryPeerStore, expectedId?: number, kept?: KeptPeer, allowed?: Allowed): Peer {
    const peer = this.peer(store, this.target(store.name, expectedId, kept, allowed));
    this.lookAfter(peer);
    return peer;
  }

  /** Looks at all of them in one turn. */
  lookAfter(...peers: readonly Peer[]): void {
    void lookAfter(() => peers, this.clock, this.#stop.signal);
  }

  /** A peer that nobody looks after yet. */
  peer(store: MemoryPeerStore, target: PeerTarget): Peer {
    const peer = new Peer({
      spec: this.spec(store.name),
      connect: () => {
        const kv = store.etcd.connect();
        return { kv, close: async () => kv[Symbol.asyncDispose]() };
      },
      target,
      table: this.peers,
      times: { grace: this.#grace, withdraw: 20_000 },
      clock: this.clock,
      random: () => 0.5,
      onLog: (event) => this.log.push(event),
    });
    this.#open.unshift(peer);
    return peer;
  }

  row(name: string): MeshPeerRow {
    return this.peers.get(name)!;
  }

  /** What of a cluster is in force. */
  have(cluster: string): { nodes: number; services: number; identities: number; ip: number } {
    const { nodes, services, identities, ip } = this.counts.of(cluster);
    return { nodes, services, identities, ip };
  }

  async pass(ms: number): Promise<void> {
    for (let left = ms; left > 0; left -= 30_000) {
      for (const store of this.#beating) void store.beat(this.clock.now()).catch(() => {});
      await this.clock.advance(Math.min(left, 30_000));
    }
  }

  /** Lets time pass until something holds. */
  async until(what: string, holds: () => boolean, most = 600_000): Promise<void> {
    for (let passed = 0; passed <= most; passed += 500) {
      if (holds()) return;
      if (passed % 30_000 === 0) {
        for (const store of this.#beating) void store.beat(this.clock.now()).catch(() => {});
      }
      await this.clock.advance(500);
    }
    throw new Error(`not within ${most} ms: ${what}; ${JSON.stringify([...this.peers.rows()])}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    const closing = this.#open.map((each) => each[Symbol.asyncDispose]());
    await this.clock.advance(10_000);
    await Promise.all(closing);
  }
}
