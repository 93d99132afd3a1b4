import { Prefix } from '@causeway/ip';
import { ownerText } from '@causeway/ipam';
import { plannerOf } from './pools.ts';
import { podName, podsIn, type World } from './world.ts';

/** What a range that is to go has left. */
export interface DrainReport {
  readonly cidr: string;
  readonly pool: string | undefined;
  readonly closed: boolean;
  /** Nobody holds any of it: the operator takes it out of its pool, if it is closed. */
  readonly empty: boolean;
  readonly blocks: readonly {
    readonly cidr: string;
    readonly node: string;
    readonly pool: string;
    readonly pods: readonly string[];
  }[];
  /** Addresses in it that stay with an owner. */
  readonly claims: readonly { readonly address: string; readonly owner: string }[];
  /** Workloads whose restart would empty it; a pod that no workload made stands for itself. */
  readonly restart: readonly string[];
  /** What to do next. */
  readonly next: string;
}

export function drainReport(world: World, cidr: Prefix): DrainReport {
  const { pool, closed, holders } = plannerOf(world).drain(cidr);
  const blocks = holders.map((holder) => ({
    cidr: holder.cidr,
    node: holder.node,
    pool: holder.pool,
    pods: podsIn(
      world,
      (address) => Prefix.contains(holder.cidr, address) && Prefix.contains(cidr, address),
    ).map(podName),
  }));
  const claims = world.claims
    .filter(({ address }) => Prefix.contains(cidr, address))
    .map(({ address, owner }) => ({ address, owner: ownerText(owner) }));
  const pods = podsIn(world, (address) => Prefix.contains(cidr, address));
  const restart = [...new Set(pods.map((pod) => pod.owner ?? `Pod ${podName(pod)}`))].sort();
  const empty = holders.length === 0 && claims.length === 0;
  return {
    cidr,
    pool,
    closed,
    empty,
    blocks,
    claims,
    restart,
    next: nextStep(cidr, pool, closed, empty, restart.length),
  };
}

function nextStep(
  cidr: Prefix,
  pool: string | undefined,
  closed: boolean,
  empty: boolean,
  workloads: number,
): string {
  if (pool === undefined) return `${cidr} is in no pool`;
  if (!closed)
    return `add ${cidr} to spec.closed of PodIPPoolOptions ${pool}: new pods then avoid it`;
  if (empty) return 'nobody holds any of it: the operator takes it out of the pool';
  if (workloads === 0) return 'its nodes give it back by themselves';
  return `it empties as pods go; to hurry, restart the ${workloads} workloads of --restart-list`;
}
