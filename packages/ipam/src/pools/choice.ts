import type { Family } from '@causeway/ip';
import type { Labels, PoolSpec } from './types.ts';

/** Annotations by which a pod, or its namespace, names its pools (Cilium's). */
const ANY_POOL = 'ipam.cilium.io/ip-pool';
const POOL_OF = {
  ipv4: 'ipam.cilium.io/ipv4-pool',
  ipv6: 'ipam.cilium.io/ipv6-pool',
} as const satisfies Record<Family, string>;

/** The pool of pods that nobody says anything about. */
const DEFAULT_POOL = 'default';

/** What a pool's selectors look at. */
export interface PodView {
  readonly namespace: string;
  readonly labels: Labels;
  readonly annotations: Readonly<Record<string, string>>;
  readonly namespaceLabels: Labels;
  readonly namespaceAnnotations: Readonly<Record<string, string>>;
}

/** A pool as the choice sees it. `selects` is missing where the pool has neither pod nor namespace selector. */
export type ChoosablePool = PoolSpec & { readonly selects?: (pod: PodView) => boolean };

/** The pool that serves a pod in one family; `pool` is null for the node's own pod CIDRs. */
export interface PoolChoice {
  readonly pool: string | null;
  readonly why:
    | 'pod-annotation'
    | 'namespace-annotation'
    | 'selector'
    | 'place'
    | 'default'
    | 'node-cidrs';
}

/**
 * Which pool serves a pod. What is said of the pod comes before what is said of its namespace, then selectors, then
 * the pool of the node's place (the one that says most of it; equals by name), then the pool `default`, then the
 * node's own pod CIDRs. An annotation is followed also where no such pool exists, so that the refusal names it.
 */
export function choosePool(
  pod: PodView,
  family: Family,
  nodeLabels: Labels,
  pools: readonly ChoosablePool[],
): PoolChoice {
  const named = (annotations: Readonly<Record<string, string>>) =>
    annotations[POOL_OF[family]] || annotations[ANY_POOL] || undefined;
  const ofPod = named(pod.annotations);
  if (ofPod !== undefined) return { pool: ofPod, why: 'pod-annotation' };
  const ofNamespace = named(pod.namespaceAnnotations);
  if (ofNamespace !== undefined) return { pool: ofNamespace, why: 'namespace-annotation' };
  const here = pools
    .filter((pool) => pool[family] !== undefined)
    .filter((pool) => pool.place === undefined || pool.place.matches(nodeLabels))
    .sort(
      (a, b) =>
        (b.place?.specificity ?? 0) - (a.place?.specificity ?? 0) || (a.name < b.name ? -1 : 1),
    );
  const selected = here.find((pool) => pool.selects?.(pod));
  if (selected !== undefined) return { pool: selected.name, why: 'selector' };
  const placed = here.find((pool) => pool.place !== undefined && pool.selects === undefined);
  if (placed !== undefined) return { pool: placed.name, why: 'place' };
  const common = here.find((pool) => pool.name === DEFAULT_POOL && pool.selects === undefined);
  if (common !== undefined) return { pool: common.name, why: 'default' };
  return { pool: null, why: 'node-cidrs' };
}
