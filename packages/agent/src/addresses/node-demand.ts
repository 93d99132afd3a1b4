import { type Family, Prefix } from '@causeway/ip';
import {
  type BlockUse,
  DEFAULT_MARKS,
  type DemandState,
  type DemandStep,
  FRESH_DEMAND,
  layout,
  type Marks,
  type PoolRequest,
  type PoolStats,
  stepDemand,
} from '@causeway/ipam';
import type { StoredNode } from '../node/own-node.ts';
import { choosePools, type NodeView, type PodView, STATIC } from './choice.ts';
import { type HeldBlock, isStatic } from './held.ts';
import { type AddressTables, type PoolOptionsRow, poolViews } from './sources.ts';

/** No more addresses are counted in one CIDR than anybody could want. */
const MOST = 1_000_000_000n;

const NO_POD: PodView = {
  namespace: undefined,
  name: undefined,
  labels: {},
  annotations: {},
  namespaceLabels: {},
  namespaceAnnotations: {},
};

/** A pod CIDR of a pool with its use. */
export interface UsedBlock {
  readonly pool: string;
  readonly family: Family;
  readonly use: Omit<BlockUse, 'closed'>;
}

export interface NodeDemandOptions {
  readonly families: readonly Family[];
  readonly tables: AddressTables;
  /** How many pods of this node have no address of the pool yet and will want one. */
  readonly waiting: () => ReadonlyMap<string, number>;
  /** How many addresses of the pool were given in the last seconds. */
  readonly recent: (pool: string, family: Family) => number;
  /** Milliseconds, monotonic. */
  readonly now: () => number;
}

/** What the node asks of pools, and what it lets run empty. */
export interface DemandLook {
  readonly requested: readonly PoolRequest[];
  readonly draining: ReadonlySet<Prefix>;
}

/** A pool and family on this node, for people. */
export interface DemandRow extends Pick<DemandStep, 'needed' | 'why'> {
  readonly pool: string;
  readonly family: Family;
  readonly blocks: number;
  readonly capacity: number;
  readonly used: number;
}

export const demandKey = (pool: string, family: Family): string => `${pool} ${family}`;

/** How much of each pool this node needs, from what is in use and what is coming. The deciding is `stepDemand`'s. */
export class NodeDemand {
  readonly #options: NodeDemandOptions;
  readonly #states = new Map<string, DemandState>();
  #rows: readonly DemandRow[] = [];

  constructor(options: NodeDemandOptions) {
    this.#options = options;
  }

  rows(): readonly DemandRow[] {
    return this.#rows;
  }

  /** Undefined before it is known which pools there are: what was asked for last stands. */
  look(blocks: readonly UsedBlock[], own: StoredNode): DemandLook | undefined {
    const { families, tables, recent, now } = this.#options;
    if (!tables.pools.initialized || !tables.options.initialized) return undefined;
    const waiting = this.#options.waiting();
    const groups = Map.groupBy(blocks, ({ pool, family }) => demandKey(pool, family));
    const keys = new Set([...groups.keys(), ...waiting.keys(), ...this.#ahead(own)]);
    const draining = new Set<Prefix>();
    const requests = new Map<string, PoolRequest>();
    const rows: DemandRow[] = [];
    for (const key of [...keys].sort()) {
      const [pool, family] = key.split(' ') as [string, Family];
      if (!families.includes(family)) continue;
      const options = tables.options.get(pool);
      const uses = (groups.get(key) ?? []).map(({ use }): BlockUse => {
        const closed = options?.closed.some((range) => Prefix.overlaps(range, use.cidr)) ?? false;
        return { ...use, closed };
      });
      const step = stepDemand(
        this.#states.get(key) ?? FRESH_DEMAND,
        {
          pool,
          family,
          blocks: uses,
          waiting: waiting.get(key) ?? 0,
          recent: recent(pool, family),
        },
        marksOf(options),
        now(),
      );
      this.#states.set(key, step.state);
      for (const cidr of step.draining) draining.add(cidr);
      const before = requests.get(pool) ?? { pool, ipv4: 0, ipv6: 0 };
      requests.set(pool, { ...before, [family]: step.needed });
      const sum = (of: (use: BlockUse) => number) =>
        uses.reduce((total, use) => total + of(use), 0);
      rows.push({
        pool,
        family,
        needed: step.needed,
        why: step.why,
        blocks: uses.length,
        capacity: sum(({ capacity }) => capacity),
        used: sum(({ used }) => used),
      });
    }
    for (const key of this.#states.keys()) if (!keys.has(key)) this.#states.delete(key);
    this.#rows = rows;
    const requested = [...requests.values()].filter(({ ipv4, ipv6 }) => ipv4 + ipv6 > 0);
    return { requested, draining };
  }

  /** Pools that a pod would be served from that asks for nothing: kept ready before the first one comes. */
  *#ahead(own: StoredNode): Generator<string> {
    const { families, tables } = this.#options;
    const pools = poolViews(tables);
    for (const family of families) {
      const [first] = choosePools(family, NO_POD, nodeView(own, family), pools).pools;
      if (first !== undefined && first !== STATIC) yield demandKey(first, family);
    }
  }
}

export function nodeView(own: StoredNode, family: Family): NodeView {
  return {
    labels: own.labels,
    isStatic: own.podCIDRs.some((cidr) => Prefix.family(cidr) === family),
    hasPools: own.pools !== undefined,
  };
}

/** CIDRs of pools that count for what the node has, with their use. */
export function usableBlocks(
  blocks: readonly HeldBlock[],
  stats: ReadonlyMap<Prefix, PoolStats>,
): UsedBlock[] {
  return blocks.flatMap((block): UsedBlock[] => {
    const { cidr, pool, phase } = block;
    if (isStatic(block) || phase === 'returning' || phase === 'lost') return [];
    const known = stats.get(cidr);
    const count = (value: bigint | undefined) => Number(value ?? 0n);
    const use = {
      cidr,
      capacity: capacityOf(cidr),
      // An address that is kept for a claim is as good as used.
      used: count(known?.used) + count(known?.claimed),
      resting: count(known?.quarantined),
    };
    return [{ pool, family: Prefix.family(cidr), use }];
  });
}

/** How many addresses for pods a CIDR has. */
export function capacityOf(cidr: Prefix): number {
  const { size, reserved } = layout(cidr);
  const free = size - BigInt(reserved.length);
  return Number(free > MOST ? MOST : free);
}

function marksOf(options: PoolOptionsRow | undefined): Marks {
  const { high, low, lowForSeconds } = options?.marks ?? {};
  return {
    high: high ?? DEFAULT_MARKS.high,
    low: low ?? DEFAULT_MARKS.low,
    lowForMs: lowForSeconds === undefined ? DEFAULT_MARKS.lowForMs : lowForSeconds * 1_000,
    preAllocate: options?.preAllocate ?? DEFAULT_MARKS.preAllocate,
  };
}
