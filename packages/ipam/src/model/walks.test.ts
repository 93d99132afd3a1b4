import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Address, Prefix } from '@causeway/ip';
import fc from 'fast-check';
import { FRESH_DEMAND, stepDemand } from '../node/demand.ts';
import type { DemandState, Marks } from '../node/types.ts';
import { blockCapacity } from '../pools/blocks.ts';
import { firstState, type Host, putNode, type State, type World } from './state.ts';
import { actionsOf, check, settle } from './world.ts';

/*
 * Random walks through a world too large to be searched whole: more nodes, more blocks, all disturbances many times,
 * and nodes that ask and give back by their real demand, under clocks that jump.
 */

const LEFT = { pods: 60, depose: 4, crash: 6, force: 2, close: 1, drain: 4, claim: 6, want: 4 };
const worlds: readonly World[] = [
  { range: Prefix.parse('10.0.0.0/26'), common: 29, large: 28, nodes: 4, ops: 3, left: LEFT },
  { range: Prefix.parse('fd00::/123'), common: 126, large: 125, nodes: 3, ops: 2, left: LEFT },
];
const marks: Marks = { high: 0.8, low: 0.4, lowForMs: 50, preAllocate: 2 };

/** The agent looks at its use and writes what it asks for; what it gives back drains. */
function demand(state: State, index: number, before: DemandState, now: number): DemandState {
  const host = state.hosts[index] as Host;
  if (!host.object.fresh) return before;
  const within = (addresses: readonly string[], cidr: Prefix) =>
    addresses.filter((address) => Prefix.contains(cidr, address as Address)).length;
  const blocks = host.blocks
    .filter(({ phase }) => phase !== 'taken' && phase !== 'returning')
    .map(({ cidr }) => ({
      cidr,
      capacity: blockCapacity(cidr),
      used: within(host.pods, cidr),
      resting: within(host.resting, cidr),
      closed: host.closed.some((closed) => Prefix.overlaps(closed, cidr)),
    }));
  const input = { pool: 'a', family: 'ipv4', blocks, waiting: 0, recent: 0 } as const;
  const step = stepDemand(before, input, marks, now);
  host.blocks = host.blocks.map((block) => ({
    ...block,
    drain: step.state.givingBack.includes(block.cidr),
  }));
  if (step.needed !== host.object.requested) {
    const object = { requested: step.needed, allocated: host.object.allocated };
    putNode(state, index, object);
    host.object = { ...object, fresh: true };
  }
  return step.state;
}

const step = fc.oneof(
  { weight: 6, arbitrary: fc.record({ type: fc.constant('act' as const), at: fc.nat() }) },
  {
    weight: 1,
    arbitrary: fc.record({ type: fc.constant('demand' as const), at: fc.nat({ max: 3 }) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      type: fc.constant('clock' as const),
      ms: fc.oneof(fc.nat({ max: 80 }), fc.integer({ min: -1_000_000, max: 1_000_000 })),
    }),
  },
);

for (const world of worlds) {
  test(`random histories of ${world.nodes} nodes and ${world.range}, with clocks that jump`, (t) => {
    let given = 0;
    let longest = 0;
    fc.assert(
      fc.property(fc.array(step, { maxLength: 250, size: 'max' }), (steps) => {
        const state = firstState(world);
        const demands = state.hosts.map(() => FRESH_DEMAND);
        let now = 0;
        let most = 0;
        for (const one of steps) {
          switch (one.type) {
            case 'clock':
              now += one.ms;
              break;
            case 'demand': {
              const index = one.at % world.nodes;
              demands[index] = demand(state, index, demands[index] as DemandState, now);
              break;
            }
            case 'act': {
              const actions = actionsOf(world, state);
              actions[one.at % actions.length]?.run(state);
              break;
            }
            default:
              one satisfies never;
          }
          check(state);
          most = Math.max(most, state.store.records.length);
        }
        settle(world, state);
        given += most;
        longest = Math.max(longest, most);
      }),
      { numRuns: 150 },
    );
    t.diagnostic(`up to ${longest} blocks given at once`);
    // Walks in which nothing is ever given would show nothing.
    assert.ok(given > 150, `${given} blocks in all histories`);
  });
}
