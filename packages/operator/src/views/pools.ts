import { Prefix } from '@causeway/ip';
import { PoolPlanner } from '@causeway/ipam';
import { plannerNode } from '../nodes.ts';
import { poolSpecOf } from '../pod-cidrs/pool-specs.ts';
import { refusalText } from '../pod-cidrs/refusals.ts';
import type { World } from './world.ts';

/** One family of a pool. Counts are addresses, as text where they may be large. */
export interface PoolView {
  readonly pool: string;
  readonly family: string;
  readonly ranges: readonly string[];
  readonly closed: readonly string[];
  readonly size: string;
  readonly given: string;
  readonly free: string;
  /** Addresses that pods have. */
  readonly pods: number;
  readonly blocks: number;
  readonly nodes: number;
  /** Nodes that ask and are not served. */
  readonly waiting: number;
  /** What is wrong, and what would help. */
  readonly problems: readonly string[];
}

/** The planner over what the store holds. It only tells: nothing that it decides is written. */
export function plannerOf(world: World): PoolPlanner {
  const planner = new PoolPlanner();
  planner.setPools(
    world.pools
      .toSorted(
        (a, b) =>
          age(a.metadata.creationTimestamp) - age(b.metadata.creationTimestamp) ||
          (a.metadata.name < b.metadata.name ? -1 : 1),
      )
      .map((pool) => poolSpecOf(pool, world.options.get(pool.metadata.name))),
  );
  for (const record of world.records) planner.upsertRecord(record);
  for (const node of world.nodes) planner.upsertNode(plannerNode(node, world.facts.get(node.name)));
  return planner;
}

const age = (text = ''): number => Date.parse(text) || 0;

export function poolViews(world: World): PoolView[] {
  const planner = plannerOf(world);
  const before = planner.usage();
  // What a plan leaves is what the operator would have to leave as well.
  planner.plan({ decisions: Number.MAX_SAFE_INTEGER });
  const refusals = planner.refusals();
  return before.map((usage) => {
    const { pool, family } = usage;
    const spec = world.pools.find(({ metadata }) => metadata.name === pool)?.spec[family];
    const ranges = (spec?.cidrs ?? []).map((text) => Prefix.parse(text, { hostBits: 'clear' }));
    const closed = (world.options.get(pool)?.spec.closed ?? [])
      .map((text) => Prefix.parse(text, { hostBits: 'clear' }))
      .filter((cidr) => Prefix.family(cidr) === family);
    const mine = refusals.filter(
      (each) => each.type === 'exhausted' && each.pool === pool && each.family === family,
    );
    const pods = world.pods.flatMap(({ addresses }) => addresses);
    return {
      pool,
      family,
      ranges,
      closed,
      size: String(usage.size),
      given: String(usage.given),
      free: String(usage.free),
      pods: pods.filter((address) => ranges.some((range) => Prefix.contains(range, address)))
        .length,
      blocks: usage.blocks,
      nodes: usage.nodes,
      waiting: mine.length,
      problems: [
        ...planner
          .conflicts()
          .filter((each) => each.pool === pool && Prefix.family(each.cidr) === family)
          .map(
            ({ cidr, with: other }) =>
              `${cidr} overlaps ${other.cidr} of pool ${other.pool}, which has it`,
          ),
        ...new Set(mine.map(refusalText)),
      ],
    };
  });
}

/** One pod CIDR of one node, or a node without any. */
export interface NodeView {
  readonly node: string;
  readonly pool: string;
  readonly cidr: string;
  /** `given`, `adopted`; `own` for spec.ipam.podCIDRs; `unrecorded` for what the node names and has no record. */
  readonly state: string;
  readonly pods: number;
  readonly since: string;
  readonly error: string;
}

export function nodeViews(world: World): NodeView[] {
  const records = new Map(world.records.map((record) => [record.cidr, record]));
  const addresses = Map.groupBy(
    world.pods.flatMap((pod) => pod.addresses.map((address) => ({ address, node: pod.node }))),
    ({ node }) => node,
  );
  return world.nodes.flatMap((row): NodeView[] => {
    const { name: node, error } = row;
    const here = addresses.get(node) ?? [];
    const pods = (cidr: Prefix) =>
      here.filter(({ address }) => Prefix.contains(cidr, address)).length;
    const named = row.allocated.flatMap(({ pool, cidrs }) =>
      cidrs.map((cidr): NodeView => {
        const record = records.get(cidr);
        const state =
          record === undefined
            ? 'unrecorded'
            : record.node === node
              ? record.state
              : `taken by ${record.node}`;
        return { node, pool, cidr, state, pods: pods(cidr), since: record?.since ?? '', error };
      }),
    );
    const own = row.podCidrs.map(
      (cidr): NodeView => ({
        node,
        pool: '',
        cidr,
        state: 'own',
        pods: pods(cidr),
        since: '',
        error,
      }),
    );
    const all = [...own, ...named];
    if (all.length > 0) return all;
    return [{ node, pool: '', cidr: '', state: 'none', pods: 0, since: '', error }];
  });
}
