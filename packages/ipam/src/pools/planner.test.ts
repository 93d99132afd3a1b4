import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prefix } from '@causeway/ip';
import fc from 'fast-check';
import { blockCapacity } from './blocks.ts';
import { MAX_NEEDED } from './giving.ts';
import { PoolPlanner } from './planner.ts';
import type { Decision, PlannerNode, PoolSpec } from './types.ts';

const p = (text: string) => Prefix.parse(text);
const pool = (name: string, cidrs: string[], maskSize: number, more: Partial<PoolSpec> = {}) =>
  ({ name, ipv4: { cidrs: cidrs.map(p), maskSize }, ...more }) satisfies PoolSpec;
const node = (name: string, ipv4: number, more: Partial<PlannerNode> = {}): PlannerNode => ({
  name,
  labels: {},
  requested: [{ pool: 'a', ipv4, ipv6: 0 }],
  allocated: [],
  ...more,
});
const short = (decisions: readonly Decision[]) =>
  decisions.map((one) => `${one.type} ${one.node} ${one.cidr}`);
const settleAll = (planner: PoolPlanner, decisions: readonly Decision[]) => {
  for (const decision of decisions) planner.settle(decision, true);
  return short(decisions);
};

test('nodes that ask at once get one block each in turn, densely from the start of the range', () => {
  const planner = new PoolPlanner();
  planner.setPools([pool('a', ['10.0.0.0/22'], 24)]);
  planner.upsertNode(node('n1', 600));
  planner.upsertNode(node('n2', 300));
  assert.deepEqual(settleAll(planner, planner.plan()), [
    'give n1 10.0.0.0/24',
    'give n2 10.0.1.0/24',
    'give n1 10.0.2.0/24',
    'give n2 10.0.3.0/24',
  ]);
  assert.deepEqual(planner.refusals(), [
    {
      type: 'exhausted',
      node: 'n1',
      pool: 'a',
      family: 'ipv4',
      maskSize: 24,
      needed: 600,
      have: 506,
      closedFree: 0n,
    },
  ]);
  assert.deepEqual(planner.plan(), []);
  const [usage] = planner.usage();
  assert.deepEqual(usage, {
    pool: 'a',
    family: 'ipv4',
    size: 1024n,
    given: 1024n,
    free: 0n,
    closed: 0n,
    blocks: 4,
    nodes: 2,
    waiting: 1,
    largestFree: undefined,
  });
  // What another gives back heals the refusal without anybody asking again.
  planner.upsertNode(node('n2', 0, { allocated: [{ pool: 'a', cidrs: [p('10.0.1.0/24')] }] }));
  assert.deepEqual(settleAll(planner, planner.plan()), ['release n2 10.0.3.0/24']);
  assert.deepEqual(settleAll(planner, planner.plan()), ['give n1 10.0.3.0/24']);
  assert.deepEqual(planner.refusals(), []);
});

test('what a node names and nobody has is adopted; what another has is refused until he lets go', () => {
  const planner = new PoolPlanner();
  planner.setPools([pool('a', ['10.0.0.0/16'], 24)]);
  planner.upsertRecord({ cidr: p('10.0.7.0/24'), pool: 'a', node: 'n2' });
  const mine = [{ pool: 'a', cidrs: [p('10.0.6.0/24'), p('10.0.7.0/25')] }];
  planner.upsertNode(node('n1', 10, { allocated: mine }));
  planner.upsertNode(node('n2', 0, { allocated: [{ pool: 'a', cidrs: [p('10.0.7.0/24')] }] }));
  assert.deepEqual(settleAll(planner, planner.plan()), ['adopt n1 10.0.6.0/24']);
  const [refusal] = planner.refusals();
  assert.equal(refusal?.type === 'cidr-taken' && refusal.holder, 'n2');
  planner.upsertNode(node('n2', 0));
  assert.deepEqual(settleAll(planner, planner.plan()), ['release n2 10.0.7.0/24']);
  assert.deepEqual(settleAll(planner, planner.plan()), ['adopt n1 10.0.7.0/25']);
  assert.deepEqual(planner.refusals(), []);
});

test('a closed range gives nothing, counts as no capacity, and is removable when nobody holds it', () => {
  const planner = new PoolPlanner();
  planner.setPools([pool('a', ['10.0.0.0/23'], 24)]);
  planner.upsertNode(node('n1', 200));
  assert.deepEqual(settleAll(planner, planner.plan()), ['give n1 10.0.0.0/24']);
  planner.setPools([pool('a', ['10.0.0.0/23'], 24, { closed: [p('10.0.0.0/24')] })]);
  assert.deepEqual(settleAll(planner, planner.plan()), ['give n1 10.0.1.0/24']);
  assert.deepEqual(planner.removable(), []);
  assert.deepEqual(planner.drain(p('10.0.0.0/24')).holders, [
    { cidr: '10.0.0.0/24', node: 'n1', pool: 'a' },
  ]);
  planner.upsertNode(node('n1', 200, { allocated: [{ pool: 'a', cidrs: [p('10.0.1.0/24')] }] }));
  assert.deepEqual(settleAll(planner, planner.plan()), ['release n1 10.0.0.0/24']);
  assert.deepEqual(planner.removable(), [{ pool: 'a', cidr: '10.0.0.0/24' }]);
  planner.upsertNode(node('n2', 9));
  planner.plan();
  const [refusal] = planner.refusals();
  assert.equal(refusal?.type === 'exhausted' && refusal.closedFree, 256n);
});

test('place, unknown pools and missing families are refused with the reason', () => {
  const planner = new PoolPlanner();
  const place = {
    matches: (labels: Readonly<Record<string, string>>) => labels.rack === 'r1',
    specificity: 1,
    text: 'rack=r1',
  };
  planner.setPools([pool('a', ['10.0.0.0/16'], 24, { place }), pool('b', ['10.1.0.0/16'], 24)]);
  const requested = [
    { pool: 'a', ipv4: 1, ipv6: 0 },
    { pool: 'b', ipv4: 0, ipv6: 1 },
    { pool: 'c', ipv4: 1, ipv6: 0 },
  ];
  planner.upsertNode(node('n1', 0, { requested, labels: { rack: 'r2' } }));
  assert.deepEqual(planner.plan(), []);
  assert.deepEqual(
    planner.refusals().map(({ type }) => type),
    ['wrong-place', 'no-family', 'unknown-pool'],
  );
  planner.upsertNode(node('n1', 0, { requested, labels: { rack: 'r1' } }));
  assert.deepEqual(short(planner.plan()), ['give n1 10.0.0.0/24']);
});

test('large nodes get large blocks, and common ones when no large one is left', () => {
  const planner = new PoolPlanner();
  const blockSizes = [
    { minPods: 500, ipv4MaskSize: 23 },
    { matches: () => true, ipv4MaskSize: 25 },
  ];
  planner.setPools([pool('a', ['10.0.0.0/22'], 24, { blockSizes })]);
  planner.upsertNode(node('small', 10, { pods: 110 }));
  planner.upsertNode(node('large', 700, { pods: 1000 }));
  assert.deepEqual(settleAll(planner, planner.plan()), [
    'give large 10.0.0.0/23',
    'give small 10.0.2.0/25',
    'give large 10.0.3.0/24',
  ]);
});

test('a node that is gone, or taken by force, loses its blocks; a lost transaction is planned again', () => {
  const planner = new PoolPlanner();
  planner.setPools([pool('a', ['10.0.0.0/24'], 25)]);
  planner.upsertNode(node('n1', 10));
  planner.upsertNode(node('n2', 10));
  const first = planner.plan();
  planner.settle(first[0] as Decision, false);
  planner.settle(first[1] as Decision, true);
  assert.deepEqual(settleAll(planner, planner.plan()), ['give n1 10.0.0.0/25']);
  planner.removeNode('n1');
  assert.deepEqual(planner.plan({ mayReclaim: () => false }), []);
  assert.deepEqual(settleAll(planner, planner.plan()), ['reclaim n1 10.0.0.0/25']);
  planner.forceRelease('n2');
  assert.deepEqual(settleAll(planner, planner.plan()), ['reclaim n2 10.0.0.128/25']);
  assert.deepEqual([...planner.records()], []);
});

test('a block is not given whose gateway is an address that somebody keeps', () => {
  const planner = new PoolPlanner();
  planner.setPools([pool('a', ['10.0.0.0/23'], 24)]);
  planner.upsertNode(node('n1', 1));
  const isClaimed = (address: string) => address === '10.0.0.1';
  assert.deepEqual(short(planner.plan({ isClaimed })), ['give n1 10.0.1.0/24']);
  planner.upsertNode(node('n2', 1));
  assert.deepEqual(planner.plan({ isClaimed }), []);
  assert.equal(planner.refusals()[0]?.type, 'exhausted');
  assert.equal(planner.usage()[0]?.free, 256n);
});

test('of pools that overlap the first has the range, and nodes keep their own pod CIDRs', () => {
  const planner = new PoolPlanner();
  planner.upsertNode(node('old', 0, { podCidrs: [p('10.0.0.0/24')] }));
  planner.setPools([pool('a', ['10.0.0.0/22'], 24), pool('b', ['10.0.2.0/24', '10.8.0.0/24'], 24)]);
  assert.deepEqual(planner.conflicts(), [
    { pool: 'b', cidr: '10.0.2.0/24', with: { pool: 'a', cidr: '10.0.0.0/22' } },
  ]);
  planner.upsertNode(node('n1', 1));
  assert.deepEqual(short(planner.plan()), ['give n1 10.0.1.0/24']);
  planner.removeNode('old');
  assert.equal(planner.usage()[0]?.free, 768n);
});

/** Random histories: the sets of a plain model, and the same plan from a planner built anew. */
test('no address is given twice, nothing is lost, and what can be given is given', () => {
  const step = fc.oneof(
    fc.record({ type: fc.constant('ask' as const), node: fc.nat(4), count: fc.nat(40) }),
    fc.record({ type: fc.constant('drop' as const), node: fc.nat(4), at: fc.nat(7) }),
    fc.record({ type: fc.constant('gone' as const), node: fc.nat(4) }),
    fc.record({ type: fc.constant('force' as const), node: fc.nat(4) }),
    fc.record({ type: fc.constant('close' as const), at: fc.integer({ min: -1, max: 3 }) }),
    fc.record({ type: fc.constant('plan' as const), lose: fc.nat(5) }),
  );
  const pools = (closed: number): PoolSpec[] => [
    pool('a', ['10.0.0.0/26', '10.0.1.0/27'], 29, {
      blockSizes: [{ minPods: 20, ipv4MaskSize: 28 }],
      ...(closed < 0 ? {} : { closed: [Prefix.subnetAt(p('10.0.0.0/26'), 28, closed)] }),
    }),
  ];
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60, size: 'max' }), (steps) => {
      let closed = -1;
      const nodes = new Map<string, PlannerNode>();
      const records = new Map<Prefix, { cidr: Prefix; pool: string; node: string }>();
      const planner = new PoolPlanner();
      planner.setPools(pools(closed));
      const apply = (decisions: readonly Decision[], lose: number) => {
        for (const [index, one] of decisions.entries()) {
          const won = lose === 0 || index % lose !== 0;
          const owner = nodes.get(one.node);
          if (won && (one.type === 'give' || one.type === 'adopt')) {
            for (const other of records.keys()) assert.ok(!Prefix.overlaps(other, one.cidr));
            assert.equal(
              closed >= 0 && Prefix.overlaps(one.cidr, pools(closed)[0]!.closed![0]!),
              false,
            );
            records.set(one.cidr, { cidr: one.cidr, pool: one.pool, node: one.node });
            const allocated = [...(owner?.allocated ?? []), { pool: 'a', cidrs: [one.cidr] }];
            nodes.set(one.node, { ...(owner as PlannerNode), allocated });
          } else if (won) {
            assert.equal(records.get(one.cidr)?.node, one.node);
            records.delete(one.cidr);
            if (owner !== undefined) {
              const allocated = owner.allocated.filter(({ cidrs }) => cidrs[0] !== one.cidr);
              nodes.set(one.node, { ...owner, allocated });
            }
          }
          planner.settle(one, won);
        }
      };
      for (const one of steps) {
        const name = 'node' in one ? `n${one.node}` : '';
        const known = nodes.get(name);
        if (one.type === 'ask') {
          const pods = one.node > 2 ? 30 : 10;
          const next = node(name, one.count, { pods, allocated: known?.allocated ?? [] });
          nodes.set(name, next);
          planner.upsertNode(next);
        } else if (one.type === 'drop' && known !== undefined) {
          const allocated = known.allocated.filter((_, index) => index !== one.at);
          nodes.set(name, { ...known, allocated });
          planner.upsertNode({ ...known, allocated });
        } else if (one.type === 'gone') {
          nodes.delete(name);
          planner.removeNode(name);
        } else if (one.type === 'force' && known !== undefined) {
          planner.forceRelease(name);
          nodes.set(name, { ...known, requested: [] });
          planner.upsertNode({ ...known, requested: [] });
        } else if (one.type === 'close') {
          closed = one.at;
          planner.setPools(pools(closed));
        } else if (one.type === 'plan') apply(planner.plan(), one.lose);
      }
      // Let it come to rest: then records and `allocated` agree, and nobody waits for what is free.
      for (let rounds = 0; ; rounds += 1) {
        const decisions = planner.plan();
        if (decisions.length === 0) break;
        assert.ok(rounds < 20, 'the plan does not come to rest');
        apply(decisions, 0);
      }
      const named = [...nodes.values()].flatMap((one) =>
        one.allocated.flatMap(({ cidrs }) => cidrs),
      );
      assert.deepEqual(named.sort(), [...records.keys()].sort());
      const anew = new PoolPlanner();
      for (const record of records.values()) anew.upsertRecord(record);
      anew.setPools(pools(closed));
      for (const one of nodes.values()) anew.upsertNode(one);
      assert.deepEqual(anew.plan(), []);
      assert.deepEqual(
        anew.usage().map((usage) => [usage.free, usage.given, usage.waiting]),
        planner.usage().map((usage) => [usage.free, usage.given, usage.waiting]),
      );
      for (const refusal of planner.refusals()) {
        assert.equal(refusal.type, 'exhausted');
        const largest = planner.usage()[0]?.largestFree;
        assert.ok(
          largest === undefined || refusal.type !== 'exhausted' || largest > refusal.maskSize,
        );
      }
      for (const one of nodes.values()) {
        const have = one.allocated
          .flatMap(({ cidrs }) => cidrs)
          .filter((cidr) => closed < 0 || !Prefix.overlaps(cidr, pools(closed)[0]!.closed![0]!))
          .reduce((sum, cidr) => sum + blockCapacity(cidr), 0);
        const wanted = one.requested[0]?.ipv4 ?? 0;
        assert.ok(
          have >= wanted || planner.refusals().some((refusal) => refusal.node === one.name),
        );
      }
    }),
    { numRuns: 200 },
  );
});

test('a node that asks for everything is given what a node can use', () => {
  const planner = new PoolPlanner();
  planner.setPools([pool('a', ['10.0.0.0/8'], 16)]);
  planner.upsertNode(node('greedy', 2 ** 31));
  assert.equal(settleAll(planner, planner.plan()).length, Math.ceil(MAX_NEEDED / 65_534));
  assert.deepEqual(planner.plan(), []);
});
