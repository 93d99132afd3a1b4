import type { Family } from '@causeway/ip';
import { type Labels, type Selector, selects } from '@causeway/resources';

/** What the agent knows of a CiliumPodIPPool with its PodIPPoolOptions. */
export interface PoolView {
  readonly name: string;
  readonly families: readonly Family[];
  readonly podSelector?: Selector;
  readonly namespaceSelector?: Selector;
  /** The place that the pool is bound to. */
  readonly nodeSelector?: Selector;
}

/** What decides for a pod. Undefined parts are not known, or there are none. */
export interface PodView {
  readonly namespace: string | undefined;
  readonly name: string | undefined;
  readonly labels: Labels;
  readonly annotations: Labels;
  readonly namespaceLabels: Labels;
  readonly namespaceAnnotations: Labels;
}

export interface NodeView {
  readonly labels: Labels;
  /** It has `spec.ipam.podCIDRs` of this family. */
  readonly isStatic: boolean;
  /** Its CiliumNode takes part in pools: it asks for CIDRs or has some. */
  readonly hasPools: boolean;
}

/** Where a pod's address of one family comes from. */
export interface PoolChoice {
  /** In this order; `STATIC` stands for the node's own podCIDRs. */
  readonly pools: readonly string[];
  /** In a person's words. */
  readonly why: string;
}

/** No pool has this name, for it is no DNS name. */
export const STATIC = '';
export const DEFAULT_POOL = 'default';

const ANNOTATION = 'ipam.cilium.io/';

/**
 * Which pool serves a pod, as Cilium has it and with places: the pod's annotation, its namespace's, the pool that
 * selects it, the pool of the node's place, `default`, the node's own podCIDRs. What is asked for by name is that
 * pool and no other; between those that nobody named the next is tried where one has nothing left.
 */
export function choosePools(
  family: Family,
  pod: PodView,
  node: NodeView,
  pools: readonly PoolView[],
): PoolChoice {
  const named =
    annotated(family, pod.annotations, 'the pod') ??
    annotated(family, pod.namespaceAnnotations, `the namespace ${pod.namespace}`);
  if (named !== undefined) {
    const pool = pools.find(({ name }) => name === named.pool);
    // A pool of one family that is named for both says nothing of the other one.
    if (named.exact || pool === undefined || pool.families.includes(family)) {
      return { pools: [named.pool], why: named.why };
    }
  }
  const usable = pools
    .filter(({ families }) => families.includes(family))
    .toSorted((a, b) => (a.name < b.name ? -1 : 1));
  const selecting = usable.find((pool) => isSelecting(pool) && selectsPod(pool, pod));
  if (selecting !== undefined) {
    return { pools: [selecting.name], why: `the pool ${selecting.name} selects the pod` };
  }
  if (node.isStatic && !node.hasPools) {
    return { pools: [STATIC], why: 'the node has podCIDRs of its own and no pools' };
  }
  const place = placeOf(node.labels, usable);
  const fallback = [
    ...(place === undefined ? [] : [place.name]),
    ...(usable.some(({ name }) => name === DEFAULT_POOL) ? [DEFAULT_POOL] : []),
    ...(node.isStatic ? [STATIC] : []),
  ];
  const list = [...new Set(fallback)];
  if (list.length === 0) return { pools: [DEFAULT_POOL], why: 'nothing names another pool' };
  const [first] = list;
  const why =
    first === STATIC
      ? 'no pool is for this pod, and the node has podCIDRs of its own'
      : first === place?.name
        ? `the pool ${first} is for nodes such as this one`
        : 'nothing names another pool';
  return { pools: list, why };
}

/** The pool that is bound to the node's place; of several the one that says most of it. */
export function placeOf(labels: Labels, pools: readonly PoolView[]): PoolView | undefined {
  let best: { readonly pool: PoolView; readonly weight: number } | undefined;
  for (const pool of pools) {
    if (pool.nodeSelector === undefined || isSelecting(pool)) continue;
    if (!selects(pool.nodeSelector, labels)) continue;
    const { matchLabels = {}, matchExpressions = [] } = pool.nodeSelector;
    const weight = Object.keys(matchLabels).length + matchExpressions.length;
    if (best === undefined || weight > best.weight) best = { pool, weight };
  }
  return best?.pool;
}

function annotated(family: Family, annotations: Labels, whose: string) {
  const exact = annotations[`${ANNOTATION}${family}-pool`];
  if (exact !== undefined) {
    return { pool: exact, exact: true, why: `${whose} asks for it by ${ANNOTATION}${family}-pool` };
  }
  const both = annotations[`${ANNOTATION}ip-pool`];
  if (both === undefined) return undefined;
  return { pool: both, exact: false, why: `${whose} asks for it by ${ANNOTATION}ip-pool` };
}

const isSelecting = ({ podSelector, namespaceSelector }: PoolView): boolean =>
  podSelector !== undefined || namespaceSelector !== undefined;

/** Both selectors must hold where both are given. Pods can also be selected by where and what they are. */
function selectsPod({ podSelector, namespaceSelector }: PoolView, pod: PodView): boolean {
  if (pod.namespace === undefined) return false;
  const own = {
    ...pod.labels,
    'io.kubernetes.pod.namespace': pod.namespace,
    ...(pod.name === undefined ? {} : { 'io.kubernetes.pod.name': pod.name }),
  };
  if (podSelector !== undefined && !selects(podSelector, own)) return false;
  const space = { ...pod.namespaceLabels, 'kubernetes.io/metadata.name': pod.namespace };
  return namespaceSelector === undefined || selects(namespaceSelector, space);
}
