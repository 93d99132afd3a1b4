import { type Address, Prefix } from '@causeway/ip';
import { PoolPlanner } from '../pools/planner.ts';
import type { Decision, PoolSpec } from '../pools/types.ts';
import { type Operator, putNode, type State, same, type World } from './state.ts';

/** What an operator does, with the package's planner. */

const name = (node: number): string => `n${node}`;
const indexOf = (node: string): number => Number(node.slice(1));

export function poolOf(world: World, closed: readonly Prefix[]): PoolSpec {
  const large = { ipv4MaskSize: world.large, ipv6MaskSize: world.large };
  return {
    name: 'a',
    [Prefix.family(world.range)]: { cidrs: [world.range], maskSize: world.common },
    blockSizes: [{ matches: ({ size }) => size === 'large', ...large }],
    closed,
  };
}

export function plannerOf(
  world: World,
  { nodes, records, closed }: Pick<Operator, 'nodes' | 'records' | 'closed'>,
): PoolPlanner {
  const planner = new PoolPlanner();
  for (const [cidr, node] of records) planner.upsertRecord({ cidr, pool: 'a', node: name(node) });
  planner.setPools([poolOf(world, closed)]);
  for (const [index, { requested, allocated }] of nodes.entries()) {
    planner.upsertNode({
      name: name(index),
      labels: index === 0 ? { size: 'large' } : {},
      requested: [{ pool: 'a', ipv4: 0, ipv6: 0, [Prefix.family(world.range)]: requested }],
      allocated: [{ pool: 'a', cidrs: allocated }],
    });
  }
  return planner;
}

const REMEMBERED = 20_000;
const plans = new Map<string, Decision[]>();

/** The plan of a view. It depends on nothing else, so it is remembered. */
export function planOf(world: World, op: Operator): Decision[] {
  const { nodes, records, closed } = op;
  const key = JSON.stringify([world.range, world.large, world.fault, nodes, records, closed]);
  let plan = plans.get(key);
  if (plan === undefined) {
    plan = plannerOf(world, op).plan();
    if (world.fault === 'never-release') plan = plan.filter(({ type }) => type !== 'release');
    if (plans.size === REMEMBERED) plans.clear();
    plans.set(key, plan);
  }
  return plan;
}

/** The lease is held: everything is read after that. */
export function elect(world: World, state: State, index: number): void {
  const { store, ops } = state;
  ops[index] = {
    term: 'leading',
    nodes: store.nodes.map((node) => ({ ...node, fresh: true })),
    records: world.fault === 'forget-records' ? [] : [...store.records],
    closed: store.closed,
  };
}

export function watch(state: State, op: Operator): boolean {
  if (op.nodes.every(({ fresh }) => fresh) && same(op.closed, state.store.closed)) return false;
  op.nodes = state.store.nodes.map((node) => ({ ...node, fresh: true }));
  op.closed = state.store.closed;
  return true;
}

/** The transaction of one decision. False if its compares fail. */
export function commit(world: World, state: State, op: Operator, decision: Decision): boolean {
  const { store } = state;
  const node = indexOf(decision.node);
  const record = store.records.find(([cidr]) => cidr === decision.cidr);
  const gives = decision.type === 'give' || decision.type === 'adopt';
  const leads = op.term === 'leading' || world.fault === 'no-fence';
  const fresh = op.nodes[node]?.fresh === true;
  const fits = gives ? record === undefined : record?.[1] === node;
  const before = store.nodes[node] ?? { requested: 0, allocated: [] };
  // What the node says by now may have overtaken a decision: the view may be newer than the plan.
  const named = before.allocated.includes(decision.cidr);
  const overtaken = decision.type !== 'reclaim' && named !== (decision.type === 'adopt');
  if (!leads || !fresh || !fits || overtaken) return false;
  const without = before.allocated.filter((cidr) => cidr !== decision.cidr);
  const allocated = gives ? [...without, decision.cidr].sort() : without;
  const records = store.records.filter(([cidr]) => cidr !== decision.cidr);
  if (gives) records.push([decision.cidr, node]);
  store.records = records.sort(([a], [b]) => (a < b ? -1 : 1));
  const object = { ...before, allocated };
  // A release or adoption leaves the CiliumNode as it is.
  if (decision.type === 'give' || decision.type === 'reclaim') putNode(state, node, object);
  const own = op.records.filter(([cidr]) => cidr !== decision.cidr);
  if (gives) own.push([decision.cidr, node]);
  op.records = own.sort(([a], [b]) => (a < b ? -1 : 1));
  op.nodes[node] = { ...object, fresh: true };
  return true;
}

/** The leader takes all blocks of a node, as it is told to: one transaction for all of them. */
export function force(world: World, state: State, op: Operator, node: number): void {
  const planner = plannerOf(world, op);
  planner.forceRelease(name(node));
  const { store, ghost } = state;
  for (const decision of planner.plan()) {
    if (decision.type !== 'reclaim') continue;
    store.records = store.records.filter(([cidr]) => cidr !== decision.cidr);
    op.records = op.records.filter(([cidr]) => cidr !== decision.cidr);
    // Force waits for no rest.
    ghost.resting = ghost.resting.filter(
      (address) => !Prefix.contains(decision.cidr, address as Address),
    );
    for (const set of [ghost.unaware, ghost.forced]) {
      set[node] = [...new Set([...(set[node] ?? []), decision.cidr])].sort();
    }
  }
  const object = { requested: 0, allocated: [] };
  putNode(state, node, object);
  op.nodes[node] = { ...object, fresh: true };
}
