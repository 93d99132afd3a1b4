import type { Address, Prefix } from '@causeway/ip';
import { Address as Addresses } from '@causeway/ip';
import {
  type NodeRow as MeshNode,
  type MeshTables,
  meshTables,
  NODE_ANNOTATIONS,
  nodeRowKey,
  ROUTING_MODES,
  type RoutingMode,
} from '@causeway/mesh';
import type { Change, Database, Table } from '@causeway/tables';
import type { StoreTrust } from '../sources/trust.ts';

/** A node of this or another cluster, as routes and the ipcache look at it. */
export interface NodeRow {
  readonly cluster: string;
  readonly name: string;
  readonly addresses: readonly { readonly type: string; readonly address: Address }[];
  readonly podCIDRs: readonly Prefix[];
  readonly labels: Readonly<Record<string, string>>;
  /** What its agent says of itself; nothing of nodes that run another program. */
  readonly routingMode?: RoutingMode | undefined;
  /** Which of the nodes was here first; less is earlier. */
  readonly turn?: number;
}

export type NodeTable = Table<NodeRow, string, 'address'>;

/** What is known of the clusters: the tables of the mesh, and its nodes in the agent's form. */
export interface ClusterTables extends Pick<MeshTables, 'identities' | 'ipEntries'> {
  readonly mesh: MeshTables;
  readonly nodes: NodeTable;
}

export const nodeKey = nodeRowKey;

export function clusterTables(
  database: Database,
  trust: StoreTrust,
  signal: AbortSignal,
  own?: string,
  seed?: number,
): ClusterTables {
  const mesh = meshTables(database, own, seed);
  const nodes: NodeTable = database.table({
    name: 'nodes',
    key: (row: NodeRow) => nodeKey(row.cluster, row.name),
    indexes: { address: { keys: (row) => row.addresses.map(({ address }) => address) } },
    columns: [
      { name: 'cluster', of: (row) => row.cluster },
      { name: 'name', of: (row) => row.name },
      { name: 'addresses', of: (row) => row.addresses.map(({ address }) => address).join(',') },
      { name: 'pod-cidrs', of: (row) => row.podCIDRs.join(',') },
    ],
  });
  followNodes(mesh.nodes, nodes, trust, signal);
  return { mesh, nodes, identities: mesh.identities, ipEntries: mesh.ipEntries };
}

/** Nodes come at once; they go only when their absence from the store can be believed. */
function followNodes(
  from: MeshTables['nodes'],
  to: NodeTable,
  trust: StoreTrust,
  signal: AbortSignal,
): void {
  const tracker = from.changes('nodes', 'start');
  const initial = to.source('mesh');
  let turns = 0;
  const follow = () => {
    if (signal.aborted) return;
    const changes: Change<MeshNode, string>[] = [];
    while (tracker.pending) changes.push(...tracker.take());
    to.database.write(() => {
      for (const { type, key, row } of changes) {
        if (type === 'put') to.put(nodeRow(row, to.get(key)?.turn ?? ++turns));
        else trust.whenSettled(() => !from.has(key) && to.delete(key), signal);
      }
    });
    if (from.initialized) trust.whenSettled(() => initial.done(), signal);
  };
  const undo = from.onCommit(() => queueMicrotask(follow));
  signal.addEventListener('abort', () => {
    undo();
    tracker[Symbol.dispose]();
  });
}

function nodeRow(node: MeshNode, turn: number): NodeRow {
  return {
    turn,
    cluster: node.cluster,
    name: node.name,
    addresses: node.addresses.flatMap(({ type, ip }) => {
      const address = Addresses.tryParse(ip);
      return address === undefined ? [] : [{ type, address }];
    }),
    podCIDRs: [...node.podCIDRs.ipv4, ...node.podCIDRs.ipv6],
    labels: node.labels ?? {},
    routingMode: ROUTING_MODES.find(
      (mode) => mode === node.annotations?.[NODE_ANNOTATIONS.routingMode],
    ),
  };
}

/**
 * Whose an address is that several nodes say they have, of which an IP entry says nothing: the own cluster's, then that
 * of the one that was here first, as with entries.
 * @param address in its canonical form.
 */
export function nodeAt(nodes: NodeTable, address: string, own: string): NodeRow | undefined {
  const rank = ({ cluster, turn = 0 }: NodeRow) => (cluster === own ? turn : 2 ** 52 + turn);
  let best: NodeRow | undefined;
  for (const node of nodes.by('address', address))
    if (best === undefined || rank(node) < rank(best)) best = node;
  return best;
}

/** Addresses by which a node is reached, best first; never those inside its pod CIDRs. */
export function reachable(node: NodeRow): Address[] {
  const of = (type: string) =>
    node.addresses.filter((each) => each.type === type).map(({ address }) => address);
  return [...of('InternalIP'), ...of('ExternalIP')];
}
