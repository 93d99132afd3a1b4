import { type Address, Prefix } from '@causeway/ip';
import { healthOf, isHealthy, tierOf } from './clusters.ts';
import { weightedTable } from './maglev.ts';
import { type Backend, type Frontend, serviceName } from './model.ts';

export interface ChoiceQuery {
  /**
   * `outside`: it comes by the network, without being a pod or a node of the cluster. Default `inside`, but for the
   * frontends that are there for clients outside.
   */
  readonly from?: 'inside' | 'outside';
  /** Address of a client outside, for source ranges. */
  readonly client?: Address;
  /** The flow's 32-bit hash as the datapath reports it; without it maglev's slot stays open. */
  readonly hash?: number;
  /** Backend that the client's affinity entry names, if there is one. */
  readonly affinityBackendId?: number;
}

/** One backend, with what speaks for or against it. */
export interface Candidate {
  readonly key: string;
  readonly backendId: number | undefined;
  readonly target: string | undefined;
  readonly cluster: string;
  /** Counted from 1, in the order in which they are tried. */
  readonly tier: number;
  readonly node: string | undefined;
  readonly state: Backend['state'];
  readonly eligible: boolean;
  readonly reason: string;
  /** Part of new connections that it gets, 0 to 1. */
  readonly share: number;
}

/** Clusters that share connections, and what they get together. */
export interface TierView {
  readonly tier: number;
  readonly clusters: readonly string[];
  readonly healthy: number;
  readonly expected: number;
  /** 0 to 1. */
  readonly share: number;
}

export interface Choice {
  readonly frontend: string;
  readonly service: string;
  readonly type: Frontend['type'];
  readonly from: 'inside' | 'outside';
  readonly algorithm: Frontend['algorithm'];
  readonly forwarding: Frontend['forwarding'];
  readonly tiers: readonly TierView[];
  /** Healthy part of a tier below which it gives connections to the next one; absent: when none is healthy. */
  readonly spillOver?: number;
  readonly candidates: readonly Candidate[];
  /** The backend, where the query settles it. */
  readonly chosen: string | undefined;
  readonly slot?: number;
  /** In words. */
  readonly explanation: string;
}

/** Explains with the tables that the datapath has, not with a second idea of them. */
export function explainChoice(
  frontend: Frontend,
  query: ChoiceQuery,
  idOf: (backendKey: string) => number | undefined,
): Choice {
  const from = query.from ?? (query.client || frontend.type !== 'ClusterIP' ? 'outside' : 'inside');
  const outside = from === 'outside';
  const keepsClients = outside && frontend.chosenLocal !== undefined;
  const chosen = (outside && frontend.chosenLocal) || frontend.chosen;
  const weighted = chosen.some(({ weight }) => weight !== chosen[0]!.weight);
  const maglev = frontend.algorithm === 'maglev' && chosen.length > 0;
  const table = maglev || weighted ? weightedTable(chosen) : undefined;
  const shares = new Map(chosen.map((each) => [each.key, table ? 0 : 1 / chosen.length]));
  for (const index of table ?? []) {
    const { key } = chosen[index]!;
    shares.set(key, shares.get(key)! + 1 / table!.length);
  }
  const candidates = frontend.backends.map((backend): Candidate => {
    const share = shares.get(backend.key) ?? 0;
    const { key, target, cluster, node, state } = backend;
    const reason = reasonFor(backend, shares.has(key), keepsClients, frontend);
    return {
      key,
      backendId: idOf(key),
      target,
      cluster,
      tier: tierOf(frontend.tiers, cluster) + 1,
      node,
      state,
      eligible: shares.has(key),
      reason,
      share,
    };
  });
  const base = {
    frontend: frontend.key,
    service: serviceName(frontend.service),
    type: frontend.type,
    from,
    forwarding: frontend.forwarding,
    algorithm: frontend.algorithm,
    tiers: tierViews(frontend, candidates),
    ...(frontend.spillOver === undefined ? {} : { spillOver: frontend.spillOver }),
    candidates,
  };
  const refused = outside ? refusal(frontend, query.client) : undefined;
  if (refused !== undefined) return { ...base, chosen: undefined, explanation: refused };
  const sticky = frontend.affinitySeconds === undefined ? undefined : query.affinityBackendId;
  const kept = candidates.find((each) => each.eligible && each.backendId === sticky);
  if (sticky !== undefined && kept !== undefined) {
    const explanation = `session affinity keeps the client at ${kept.key} until it is silent for ${frontend.affinitySeconds} s`;
    return { ...base, chosen: kept.key, explanation };
  }
  if (chosen.length === 0) {
    const end = keepsClients && frontend.chosen.length > 0 ? 'dropped here' : 'refused at once';
    const explanation = `${emptiness(frontend, chosen, keepsClients)}: connections are ${end}`;
    return { ...base, chosen: undefined, explanation };
  }
  if (table === undefined || !maglev || query.hash === undefined) {
    const how = maglev
      ? "the flow's hash modulo the table's size picks"
      : 'each new connection takes at random';
    const explanation = `${how} one of ${chosen.length} backends`;
    const only = chosen.length === 1 ? chosen[0]!.key : undefined;
    return { ...base, chosen: only, explanation };
  }
  const slot = (query.hash >>> 0) % table.length;
  const { key } = chosen[table[slot]!]!;
  const explanation = `hash ${query.hash >>> 0} modulo ${table.length} is slot ${slot}, which ${key} holds`;
  return { ...base, chosen: key, slot, explanation };
}

/** Why the frontend takes no packet of this client at all. */
function refusal({ external, sourceRanges, key }: Frontend, client: Address | undefined) {
  if (!external) return `${key} is for clients in the cluster: packets from outside are dropped`;
  if (sourceRanges === undefined) return undefined;
  if (client === undefined) {
    return `only clients in ${sourceRanges.join(', ')} may enter from outside; name the client to see more`;
  }
  if (sourceRanges.some((range) => Prefix.contains(range, client))) return undefined;
  return `${client} is in none of loadBalancerSourceRanges ${sourceRanges.join(', ')}: its packets are dropped`;
}

function tierViews(
  { backends, tiers, expected }: Frontend,
  candidates: readonly Candidate[],
): TierView[] {
  const health = healthOf(backends, tiers, expected);
  return tiers.map((clusters, index) => {
    const mine = candidates.filter(({ tier }) => tier === index + 1);
    const share = mine.reduce((sum, each) => sum + each.share, 0);
    return { tier: index + 1, clusters, ...health[index]!, share };
  });
}

function reasonFor(
  backend: Backend,
  eligible: boolean,
  keepsClients: boolean,
  { tiers, backends }: Frontend,
): string {
  const { alsoIn } = backend;
  const reason = reasonOf(backend, eligible, keepsClients);
  const twice =
    alsoIn === undefined ? '' : `; ${alsoIn.join(', ')} has the same address, and is not believed`;
  if (eligible || !isHealthy(backend) || keepsClients) return reason + twice;
  const tier = tierOf(tiers, backend.cluster);
  const better = tiers
    .slice(0, tier)
    .find((clusters) =>
      backends.some((each) => isHealthy(each) && clusters.includes(each.cluster)),
    );
  if (better === undefined) return reason + twice;
  return `ready, but ${better.join(', ')} comes before ${backend.cluster} and has enough${twice}`;
}

function reasonOf(backend: Backend, eligible: boolean, keepsClients: boolean): string {
  if (backend.excluded === 'other-node' || (keepsClients && !eligible && usable(backend))) {
    return `on node ${backend.node ?? 'unknown'}, and the traffic policy is Local`;
  }
  if (backend.excluded === 'weight')
    return 'its weight is 0: keeps its connections, gets no new ones';
  if (backend.failing !== undefined) {
    return eligible
      ? `its health check fails (${backend.failing}), but so do all others`
      : `its health check fails (${backend.failing}): keeps its connections, gets no new ones`;
  }
  switch (backend.state) {
    case 'active':
      return 'ready';
    case 'terminating':
      return eligible
        ? 'terminating but serving, and no backend is ready'
        : 'terminating: keeps its connections, gets no new ones';
    case 'leaving':
      return 'terminating and no longer serving';
    case 'not-ready':
      return 'not ready';
    default:
      return backend.state satisfies never;
  }
}

const usable = ({ state, excluded }: Backend): boolean =>
  state === 'active' && excluded === undefined;

function emptiness(
  { backends, chosen }: Frontend,
  mine: readonly Backend[],
  keepsClients: boolean,
): string {
  if (backends.length === 0) return 'no endpoint serves this port';
  if (keepsClients && mine.length < chosen.length) {
    return 'the external traffic policy is Local and this node has no backend';
  }
  const elsewhere = backends.filter((each) => each.excluded === 'other-node').length;
  if (elsewhere === backends.length) return `all ${elsewhere} backends are on other nodes`;
  return `none of ${backends.length} backends may take connections`;
}
