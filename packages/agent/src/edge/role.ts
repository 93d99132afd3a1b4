import { EDGE_LABEL, type Labels } from '@causeway/resources';

/** Kubernetes' own word for nodes that load balancers shall leave alone. */
export const EXCLUDE_LABEL = 'node.kubernetes.io/exclude-from-external-load-balancers';

/**
 * `edge`; `draining`: it announces no more where another can, and goes on with what comes still; `excluded`: it
 * announces no service; `none`: it announces as long as the cluster has no edge nodes.
 */
export type EdgeRole = 'edge' | 'draining' | 'excluded' | 'none';

/** By the label `causeway.io/edge` of a node: `draining`, `false`, or anything else for an edge node. */
export function edgeRole(labels: Labels): EdgeRole {
  const value = Object.hasOwn(labels, EDGE_LABEL) ? labels[EDGE_LABEL] : undefined;
  const isEdge = value !== undefined && value !== 'false';
  if (Object.hasOwn(labels, EXCLUDE_LABEL) && labels[EXCLUDE_LABEL] !== 'false') {
    return isEdge ? 'draining' : 'excluded';
  }
  if (!isEdge) return 'none';
  return value === 'draining' ? 'draining' : 'edge';
}

/** This node among the edge nodes of its cluster. */
export interface EdgeView {
  readonly role: EdgeRole;
  /** The others of role `edge` that live. */
  readonly others: readonly string[];
}

/** Why this node does not announce an address of a service; undefined: it does. */
export function edgeObstacle({ role, others }: EdgeView): string | undefined {
  switch (role) {
    case 'edge':
      return undefined;
    case 'draining':
      // The last one stays: to withdraw an address that nobody else has loses what drains.
      return others.length === 0
        ? undefined
        : `the node drains, and ${list(others)} announce${others.length === 1 ? 's' : ''} it`;
    case 'excluded':
      return `the node's label ${EXCLUDE_LABEL} keeps services' addresses away`;
    case 'none':
      return others.length === 0
        ? undefined
        : `edge nodes announce it (${list(others)}), and this is none`;
    default:
      return role satisfies never;
  }
}

const list = (names: readonly string[]): string =>
  names.length <= 4
    ? names.join(', ')
    : `${names.slice(0, 3).join(', ')} and ${names.length - 3} more`;
