import { VERSION } from '@causeway/daemon';
import type { CallOptions, Kv } from '@causeway/etcd';
import type { Address } from '@causeway/ip';
import {
  type ClusterConfig,
  type ClusterFacts,
  clusterConfigKey,
  decodeClusterConfig,
  decodeNode,
  type KnownPeer,
  NODE_ANNOTATIONS,
  type NodeFacts,
  type NodeValue,
  PEER_LIMITS,
  PEERS,
  peerRecord,
  ROUTING_MODES,
  type RoutingMode,
  rangeFact,
  statePrefix,
} from '@causeway/mesh';
import { type ResourceStore, rangesOf } from '@causeway/resources';
import { OperatorError } from '../errors.ts';

const PLANNED = [
  'AddressPlan',
  'CiliumPodIPPool',
  'ServiceCIDR',
  'CiliumLoadBalancerIPPool',
] as const;
/** More nodes than this are not held against each other one by one at join: their pools and the plan are. */
export const MAX_NODES = 20_000;

/** What the nodes of a cluster say in its store. */
export interface NodesFacts {
  readonly nodes: readonly NodeFacts[];
  readonly tunnelPorts: readonly number[];
  readonly routingModes: readonly RoutingMode[];
  readonly mtus: readonly number[];
}

/** A cluster's own side of a join. */
export interface OwnSide {
  readonly facts: ClusterFacts;
  readonly nodes: readonly NodeFacts[];
  readonly known: readonly KnownPeer[];
}

/**
 * Reads the nodes' entries, but no more than `MAX_NODES`; one that does not decode or is longer than a node may be
 * says nothing. Throws KvError, or as the signal says: pages without entries may come for ever.
 */
export async function readNodes(
  kv: Kv,
  cluster: string,
  options: CallOptions,
): Promise<NodesFacts> {
  const nodes: NodeFacts[] = [];
  const ports = new Set<number>();
  const modes = new Set<RoutingMode>();
  const mtus = new Set<number>();
  for await (const { text } of firstEntries(kv, statePrefix('nodes', cluster), options)) {
    const node = text.length > PEER_LIMITS.bytes.nodes ? undefined : nodeOf(text);
    if (node === undefined) continue;
    nodes.push({
      name: node.name,
      addresses: node.addresses.flatMap(({ type, ip }) =>
        type === 'InternalIP' || type === 'ExternalIP' ? [ip as Address] : [],
      ),
      podCIDRs: [...node.podCIDRs.ipv4, ...node.podCIDRs.ipv6],
    });
    const said = node.annotations ?? {};
    addNumber(ports, said[NODE_ANNOTATIONS.tunnelPort], 65_535);
    addNumber(mtus, said[NODE_ANNOTATIONS.mtu], 65_535);
    const mode = ROUTING_MODES.find((each) => each === said[NODE_ANNOTATIONS.routingMode]);
    if (mode !== undefined) modes.add(mode);
  }
  const sorted = (values: Set<number>) => [...values].sort((a, b) => a - b).slice(0, 64);
  return {
    nodes,
    tunnelPorts: sorted(ports),
    routingModes: [...modes].sort(),
    mtus: sorted(mtus),
  };
}

async function* firstEntries(kv: Kv, prefix: string, options: CallOptions) {
  let left = MAX_NODES;
  for await (const { entries } of kv.pages(prefix, options)) {
    options.signal?.throwIfAborted();
    yield* entries.slice(0, left);
    left -= entries.length;
    if (left <= 0) return;
  }
}

function nodeOf(text: string): NodeValue | undefined {
  try {
    return decodeNode(text);
  } catch {
    return undefined;
  }
}

function addNumber(to: Set<number>, text: string | undefined, most: number): void {
  if (text === undefined || !/^\d{1,5}$/.test(text)) return;
  const value = Number(text);
  if (value >= 1 && value <= most) to.add(value);
}

/** Reads what a cluster says of itself, and whom it knows. Throws OperatorError `not-ready`, KvError. */
export async function readOwnSide(
  kv: Kv,
  store: ResourceStore,
  cluster: string,
  options: CallOptions = {},
): Promise<OwnSide> {
  const config = await ownConfig(kv, cluster, options);
  const { nodes, ...said } = await readNodes(kv, cluster, options);
  const ranges = [];
  for (const kind of PLANNED) {
    const { items } = await store.list(kind, options);
    for (const object of items) ranges.push(...rangesOf(object, cluster).map(rangeFact));
  }
  const facts: ClusterFacts = {
    name: cluster,
    id: config.id,
    maxConnectedClusters: config.maxConnectedClusters,
    version: VERSION,
    tunnelPorts: [...said.tunnelPorts],
    routingModes: [...said.routingModes],
    mtus: [...said.mtus],
    ranges,
  };
  return { facts, nodes, known: await readKnownPeers(kv, store, options) };
}

async function ownConfig(kv: Kv, cluster: string, options: CallOptions): Promise<ClusterConfig> {
  const key = clusterConfigKey(cluster);
  const entry = await kv.get(key, options);
  if (entry !== undefined) return decodeClusterConfig(entry.text);
  throw new OperatorError(
    'not-ready',
    `the store has no ${key}: cluster ${cluster} is in no mesh`,
    {
      field: 'cluster',
      value: cluster,
      hint: 'its agents write it once they run with cluster.name and a cluster.id from 1',
    },
  );
}

async function readKnownPeers(
  kv: Kv,
  store: ResourceStore,
  options: CallOptions,
): Promise<KnownPeer[]> {
  const { items } = await store.list('MeshPeer', options);
  const { entries } = await kv.list(PEERS, options);
  const records = new Map(
    entries.flatMap(({ key, text }) => {
      const record = recordOf(text);
      return record === undefined ? [] : [[key.slice(PEERS.length), record] as const];
    }),
  );
  return items.map(({ metadata: { name }, spec }) => {
    const facts = records.get(name)?.facts;
    return { name, id: spec.id ?? facts?.id, facts };
  });
}

function recordOf(text: string) {
  try {
    return peerRecord.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}
