import type { Backend, MeshRules } from './model.ts';

/**
 * Services that have backends in more than one cluster: whose backends are tried first, and how much each cluster
 * gets while the first ones run short.
 *
 * Tiers. Without affinity and preference all clusters are one tier. `cluster-preference: east,west` makes a tier of
 * each cluster that it names, and one of all others. Affinity `local` puts the own cluster before these, `remote` after
 * them; without affinity the own cluster stands where it is named, or among the others.
 *
 * Without `spill-over` the first tier that has a healthy backend gets everything. With `spill-over: T` tier i has a
 * capacity c_i = min(1, h_i / (e_i * T)), of h_i healthy backends out of e_i expected ones, in steps of a hundredth;
 * of what the tiers before it have left over it takes c_i, so that its part is p_i = c_i * (1 - c_1) * ... *
 * (1 - c_{i-1}). What the last one leaves is shared out in proportion: p_i / (p_1 + ... + p_n). Inside a tier the
 * weights of the backends decide.
 */
export function tiersOf(
  { affinity, preference }: MeshRules,
  own: string,
  others: Iterable<string>,
): readonly (readonly string[])[] {
  const present = new Set([...others].filter((each) => each !== own).sort());
  const placed = affinity !== undefined;
  const named = preference.filter((each) => present.has(each) || (each === own && !placed));
  const rest = [
    ...(placed || named.includes(own) ? [] : [own]),
    ...[...present].filter((each) => !named.includes(each)),
  ];
  const ranked = [...named.map((each) => [each]), rest].filter((tier) => tier.length > 0);
  switch (affinity) {
    case 'local':
      return [[own], ...ranked];
    case 'remote':
      return [...ranked, [own]];
    case undefined:
      return ranked;
    default:
      return affinity satisfies never;
  }
}

export interface TierHealth {
  readonly healthy: number;
  readonly expected: number;
}

/** The part of connections that each tier gets, 0 to 1, together 1; all 0 where nothing is healthy. */
export function sharesOf(tiers: readonly TierHealth[], spillOver: number | undefined): number[] {
  if (spillOver === undefined) {
    const first = tiers.findIndex(({ healthy }) => healthy > 0);
    return tiers.map((_, index) => (index === first ? 1 : 0));
  }
  let left = 1;
  const parts = tiers.map(({ healthy, expected }) => {
    const part = left * capacity(healthy, expected, spillOver);
    left -= part;
    return part;
  });
  const sum = parts.reduce((total, each) => total + each, 0);
  return parts.map((each) => (sum === 0 ? 0 : each / sum));
}

/** In hundredths: with every one of thousands of backends a table would be made anew otherwise. */
function capacity(healthy: number, expected: number, spillOver: number): number {
  if (healthy === 0) return 0;
  const part = healthy / (Math.max(healthy, expected) * spillOver);
  return Math.min(1, Math.max(0.01, Math.round(part * 100) / 100));
}

export const isHealthy = ({ state, excluded }: Backend): boolean =>
  state === 'active' && excluded === undefined;

/** Those that are there to serve: a pod that is on its way out is not missed. */
const counts = ({ state }: Backend): boolean => state === 'active' || state === 'not-ready';

/** How each tier is, by a frontend's backends. */
export function healthOf(
  backends: readonly Backend[],
  tiers: readonly (readonly string[])[],
  expected: ReadonlyMap<string, number>,
): TierHealth[] {
  const listed = new Map<string, number>();
  const healthy = new Map<string, number>();
  for (const backend of backends) {
    const { cluster } = backend;
    if (counts(backend)) listed.set(cluster, (listed.get(cluster) ?? 0) + 1);
    if (isHealthy(backend)) healthy.set(cluster, (healthy.get(cluster) ?? 0) + 1);
  }
  return tiers.map((clusters) => ({
    healthy: clusters.reduce((sum, each) => sum + (healthy.get(each) ?? 0), 0),
    expected: clusters.reduce(
      (sum, each) => sum + Math.max(listed.get(each) ?? 0, expected.get(each) ?? 0),
      0,
    ),
  }));
}

export const tierOf = (tiers: readonly (readonly string[])[], cluster: string): number =>
  tiers.findIndex((clusters) => clusters.includes(cluster));

/**
 * Those among candidates of one kind that new connections are spread over. Where more than one tier gets any, weights
 * become parts of all connections.
 */
export function chooseByTier(
  candidates: readonly Backend[],
  tiers: readonly (readonly string[])[],
  shares: readonly number[],
): Backend[] {
  const used = shares.filter((each) => each > 0).length;
  const within = new Map<number, number>();
  for (const { cluster, weight } of candidates) {
    const tier = tierOf(tiers, cluster);
    within.set(tier, (within.get(tier) ?? 0) + weight);
  }
  return candidates.flatMap((backend) => {
    const tier = tierOf(tiers, backend.cluster);
    const share = shares[tier] ?? 0;
    if (share === 0) return [];
    if (used === 1) return [backend];
    const part = (share * backend.weight) / within.get(tier)!;
    // The same number on every node, whatever order it was reckoned in.
    return [{ ...backend, weight: Number(part.toPrecision(6)) }];
  });
}
