import { Address, Prefix } from '@causeway/ip';
import type { PlannerNode, PoolRequest } from '@causeway/ipam';
import type { CiliumNode, Labels, Node } from '@causeway/resources';
import type { Database, Table } from '@causeway/tables';

/** The parts of a CiliumNode that the operator goes by; the rest is let go, for there are many. */
export interface NodeRow {
  readonly name: string;
  readonly uid: string | undefined;
  /** The store's revision of this state. */
  readonly revision: number;
  readonly labels: Labels;
  readonly requested: readonly PoolRequest[];
  readonly allocated: PlannerNode['allocated'];
  readonly podCidrs: readonly Prefix[];
  readonly addresses: readonly Address[];
  /** What its status says of the operator's refusals. */
  readonly error: string;
}

/** What Kubernetes' Node adds: labels, and how many pods it may run. */
export interface NodeFacts {
  readonly name: string;
  readonly labels: Labels;
  readonly pods: number | undefined;
}

export type NodeTable = Table<NodeRow>;
export type NodeFactsTable = Table<NodeFacts>;

export const nodeTable = (database: Database): NodeTable =>
  database.table({
    name: 'nodes',
    key: (row: NodeRow) => row.name,
    // Every write has a revision of its own; a store that was set up anew counts from the start again.
    equals: (a, b) => a.revision === b.revision && a.uid === b.uid,
  });

export const nodeFactsTable = (database: Database): NodeFactsTable =>
  database.table({ name: 'node-facts', key: (row: NodeFacts) => row.name });

/** @throws Error for a CIDR that is none; the schema has seen to that. */
export function nodeRow(node: CiliumNode): NodeRow {
  const { metadata, spec, status } = node;
  const pools = spec.ipam?.pools;
  return {
    name: metadata.name,
    uid: metadata.uid,
    revision: Number(metadata.resourceVersion ?? 0),
    labels: metadata.labels ?? {},
    requested: (pools?.requested ?? []).map(({ pool, needed }) => ({
      pool,
      ipv4: needed?.['ipv4-addrs'] ?? 0,
      ipv6: needed?.['ipv6-addrs'] ?? 0,
    })),
    allocated: (pools?.allocated ?? []).map(({ pool, cidrs = [] }) => ({
      pool,
      cidrs: cidrs.map(prefixOf),
    })),
    podCidrs: (spec.ipam?.podCIDRs ?? []).map(prefixOf),
    addresses: (spec.addresses ?? []).flatMap(({ type, ip }) =>
      // CiliumInternalIP is one of the node's own pod CIDRs.
      type === 'InternalIP' || type === 'ExternalIP' ? (Address.tryParse(ip) ?? []) : [],
    ),
    error: status?.ipam?.['operator-status']?.error ?? '',
  };
}

/** Host bits are taken and mean nothing, as in Cilium. */
const prefixOf = (text: string): Prefix => Prefix.parse(text, { hostBits: 'clear' });

export function nodeFacts({ metadata, status }: Node): NodeFacts {
  const pods = Number(status?.allocatable?.pods ?? Number.NaN);
  return {
    name: metadata.name,
    labels: metadata.labels ?? {},
    pods: Number.isSafeInteger(pods) && pods > 0 ? pods : undefined,
  };
}

/** Both together, for the planner. The CiliumNode's labels count where both have one of a name. */
export function plannerNode(row: NodeRow, facts: NodeFacts | undefined): PlannerNode {
  return {
    name: row.name,
    labels: facts === undefined ? row.labels : { ...facts.labels, ...row.labels },
    ...(facts?.pods === undefined ? {} : { pods: facts.pods }),
    requested: row.requested,
    allocated: row.allocated,
    podCidrs: row.podCidrs,
  };
}
