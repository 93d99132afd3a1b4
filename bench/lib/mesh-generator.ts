/**
 * Stores of many peer clusters in the true form of Cilium's ClusterMesh, put into one etcd as a hub that
 * presents them all (`cached: true`, section 1.10 of the reference): configs, markers, identities, nodes
 * and IP entries, the same for the same shape.
 */
import type { Kv } from '@causeway/etcd';
import { LabelSet, label } from '@causeway/identity';
import { Address, Prefix } from '@causeway/ip';
import {
  announceHeartbeat,
  clusterConfigKey,
  encodeClusterConfig,
  encodeIp,
  encodeNode,
  type StateKind,
  statePrefix,
  syncedKey,
} from '@causeway/mesh';

/** Keys in one transaction; the etcd has to be started with as many allowed. */
export const TXN_OPS = 1000;
/** Transactions under way. */
const PARALLEL = 4;

export interface MeshShape {
  /** At most 255: their ids are 1 to 255. */
  readonly peers: number;
  /** Of all peers together. */
  readonly nodes: number;
  /** Each has an IPv4 and an IPv6 address, which is two entries. */
  readonly endpoints: number;
  /** Of each peer. */
  readonly identities: number;
  readonly maxConnectedClusters: 255 | 511;
}

export const FULL: MeshShape = {
  peers: 255,
  nodes: 20_000,
  endpoints: 500_000,
  identities: 100,
  maxConnectedClusters: 511,
};

export type Key = readonly [key: string, value: string];

export interface GeneratedEntry {
  readonly peer: string;
  readonly address: Address;
  readonly key: string;
  /** The value with an identity of its peer, counted from 0. */
  readonly value: (identity: number) => string;
}

const hex = (number: number): string => number.toString(16);
/** The share of a whole that falls to one of many, so that all together have it all. */
const share = (whole: number, parts: number, part: number): number =>
  Math.floor(((part + 1) * whole) / parts) - Math.floor((part * whole) / parts);

/** One peer cluster; everything of it follows from its number. */
export class GeneratedPeer {
  readonly shape: MeshShape;
  readonly name: string;
  readonly id: number;
  readonly nodes: number;
  readonly endpoints: number;
  readonly #firstNode: number;

  constructor(shape: MeshShape, index: number) {
    this.shape = shape;
    this.id = index + 1;
    this.name = `peer-${String(this.id).padStart(3, '0')}`;
    this.nodes = share(shape.nodes, shape.peers, index);
    this.endpoints = share(shape.endpoints, shape.peers, index);
    this.#firstNode = Math.floor((index * shape.nodes) / shape.peers);
  }

  get config(): Key {
    const value = encodeClusterConfig({
      id: this.id,
      syncedCanaries: true,
      cached: true,
      maxConnectedClusters: this.shape.maxConnectedClusters,
      serviceExportsEnabled: undefined,
    });
    return [clusterConfigKey(this.name), value];
  }

  /** Says that everything is there. */
  markers(now: number): Key[] {
    const { value } = announceHeartbeat(now);
    const kinds: readonly StateKind[] = ['nodes', 'services', 'identities', 'ip'];
    return kinds.map((kind) => [syncedKey(this.name, kind, 'cache'), value]);
  }

  identity(index: number): number {
    const shift = this.shape.maxConnectedClusters === 255 ? 16 : 15;
    return (this.id << shift) + 256 + (index % this.shape.identities);
  }

  *identities(): Generator<Key> {
    const prefix = statePrefix('identities', this.name, 'cache');
    for (let index = 0; index < this.shape.identities; index++) {
      const namespace = `team-${index % 10}`;
      const labels = LabelSet.of([
        label('k8s', 'app', `app-${index}`),
        label('k8s', 'app.kubernetes.io/part-of', `suite-${index % 7}`),
        label('k8s', 'io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name', namespace),
        label('k8s', 'io.cilium.k8s.policy.cluster', this.name),
        label('k8s', 'io.cilium.k8s.policy.serviceaccount', 'default'),
        label('k8s', 'io.kubernetes.pod.namespace', namespace),
      ]);
      yield [`${prefix}${this.identity(index)}`, labels.text];
    }
  }

  /** Nodes have a /24 and a /64 of the peer's range, and addresses of a range that all share. */
  *nodeKeys(): Generator<Key> {
    const prefix = statePrefix('nodes', this.name, 'cache');
    for (let node = 0; node < this.nodes; node++) {
      const name = this.#nodeName(node);
      const value = encodeNode({
        name,
        cluster: this.name,
        clusterId: this.id,
        addresses: [
          { type: 'InternalIP', ip: this.nodeAddress(node) },
          { type: 'InternalIP', ip: `2001:db8:${hex(this.id)}::${hex(node + 1)}` },
          { type: 'CiliumInternalIP', ip: `10.${this.id}.${node}.1` },
        ],
        podCIDRs: {
          ipv4: [Prefix.parse(`10.${this.id}.${node}.0/24`)],
          ipv6: [Prefix.parse(`fd00:${hex(this.id)}:${hex(node + 1)}::/64`)],
        },
        healthIPs: {},
        ingressIPs: {},
        source: 'custom-resource',
        encryptionKey: 0,
        labels: { 'kubernetes.io/hostname': name, 'topology.kubernetes.io/zone': `z${node % 3}` },
        annotations: undefined,
        nodeIdentity: 0,
        wireguardPublicKey: '',
        bootId: '',
      });
      yield [`${prefix}${name}`, value];
    }
  }

  *entries(): Generator<GeneratedEntry> {
    for (let endpoint = 0; endpoint < this.endpoints; endpoint++) {
      const node = endpoint % this.nodes;
      const place = Math.floor(endpoint / this.nodes) + 2;
      yield this.#entry(endpoint, node, Address.parse(`10.${this.id}.${node}.${place}`));
      const ipv6 = `fd00:${hex(this.id)}:${hex(node + 1)}::${hex(place)}`;
      yield this.#entry(endpoint, node, Address.parse(ipv6));
    }
  }

  #entry(endpoint: number, node: number, address: Address): GeneratedEntry {
    const value = (identity: number): string =>
      encodeIp({
        address,
        hostIP: this.nodeAddress(node),
        identity: this.identity(identity),
        encryptionKey: 0,
        metadata: `cilium-global:default:${this.#nodeName(node)}:${endpoint % 4096}`,
        namespace: `team-${endpoint % 10}`,
        pod: `app-${endpoint % this.shape.identities}-7c9f8d6b5d-${endpoint.toString(36)}`,
        serviceAccount: 'default',
        namedPorts: endpoint % 10 === 0 ? [{ name: 'http', port: 8080, protocol: 'TCP' }] : [],
      });
    const key = `${statePrefix('ip', this.name, 'cache')}${address}`;
    return { peer: this.name, address, key, value };
  }

  nodeAddress(node: number): Address {
    const number = this.#firstNode + node + 1;
    return Address.parse(`172.${16 + (number >> 16)}.${(number >> 8) & 255}.${number & 255}`);
  }

  #nodeName(node: number): string {
    return `${this.name}-node-${node}`;
  }
}

export const peersOf = (shape: MeshShape): GeneratedPeer[] =>
  Array.from({ length: shape.peers }, (_, index) => new GeneratedPeer(shape, index));

/** Everything but the entries and the markers: what a peer with no pod has. */
export async function fillBare(kv: Kv, shape: MeshShape): Promise<void> {
  await putAll(kv, bareKeys(shape));
}

function* bareKeys(shape: MeshShape): Generator<Key> {
  for (const peer of peersOf(shape)) {
    yield peer.config;
    yield* peer.identities();
    yield* peer.nodeKeys();
  }
}

export async function fillEntries(kv: Kv, shape: MeshShape): Promise<number> {
  return putAll(kv, entryKeys(shape));
}

function* entryKeys(shape: MeshShape): Generator<Key> {
  let index = 0;
  for (const peer of peersOf(shape)) {
    for (const { key, value } of peer.entries()) yield [key, value(index++)];
  }
}

/** To be written last: readers list nothing before. */
export async function fillMarkers(kv: Kv, shape: MeshShape, now: number): Promise<void> {
  await putAll(
    kv,
    peersOf(shape).flatMap((peer) => peer.markers(now)),
  );
}

/** Writes keys in transactions, a few at a time. Returns how many. */
async function putAll(kv: Kv, keys: Iterable<Key>): Promise<number> {
  const source = keys[Symbol.iterator]();
  let count = 0;
  const worker = async (): Promise<void> => {
    for (;;) {
      const success = [];
      for (let next = source.next(); !next.done; next = source.next()) {
        const [key, value] = next.value;
        success.push({ type: 'put', key, value } as const);
        if (success.length === TXN_OPS) break;
      }
      if (success.length === 0) return;
      count += success.length;
      await kv.txn({ compare: [], success }, { deadline: 60_000 });
    }
  };
  await Promise.all(Array.from({ length: PARALLEL }, worker));
  return count;
}
