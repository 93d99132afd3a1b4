import { maglevSize, maglevTable } from './maglev.ts';
import { type Backend, type Frontend, serviceName } from './model.ts';

export interface ChoiceQuery {
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
  readonly node: string | undefined;
  readonly state: Backend['state'];
  readonly eligible: boolean;
  readonly reason: string;
  /** Part of new connections that it gets, 0 to 1. */
  readonly share: number;
}

export interface Choice {
  readonly frontend: string;
  readonly service: string;
  readonly algorithm: Frontend['algorithm'];
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
  const { chosen } = frontend;
  const maglev = frontend.algorithm === 'maglev' && chosen.length > 0;
  const table = maglev ? maglevTable(chosen, maglevSize(chosen.length)) : undefined;
  const shares = new Map(chosen.map((each) => [each.key, table ? 0 : 1 / chosen.length]));
  for (const index of table ?? []) {
    const { key } = chosen[index]!;
    shares.set(key, shares.get(key)! + 1 / table!.length);
  }
  const candidates = frontend.backends.map((backend): Candidate => {
    const share = shares.get(backend.key) ?? 0;
    const { key, target, node, state } = backend;
    const reason = reasonFor(backend, shares.has(key));
    return {
      key,
      backendId: idOf(key),
      target,
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
    algorithm: frontend.algorithm,
    candidates,
  };
  const sticky = frontend.affinitySeconds === undefined ? undefined : query.affinityBackendId;
  const kept = candidates.find((each) => each.eligible && each.backendId === sticky);
  if (sticky !== undefined && kept !== undefined) {
    const explanation = `session affinity keeps the client at ${kept.key} until it is silent for ${frontend.affinitySeconds} s`;
    return { ...base, chosen: kept.key, explanation };
  }
  if (chosen.length === 0) {
    const explanation = `${emptiness(frontend)}: connections are refused at once`;
    return { ...base, chosen: undefined, explanation };
  }
  if (table === undefined || query.hash === undefined) {
    const how = table
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

function reasonFor(backend: Backend, eligible: boolean): string {
  if (backend.excluded === 'other-node') {
    return `on node ${backend.node ?? 'unknown'}, and the traffic policy is Local`;
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

function emptiness({ backends }: Frontend): string {
  if (backends.length === 0) return 'no endpoint serves this port';
  const elsewhere = backends.filter((each) => each.excluded !== undefined).length;
  if (elsewhere === backends.length) return `all ${elsewhere} backends are on other nodes`;
  return `none of ${backends.length} backends may take connections`;
}
