import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Address, Prefix } from '@causeway/ip';
import type { Route, RouteSpec } from '@causeway/linux';
import fc from 'fast-check';
import { RouteView } from './route-view.ts';

const PREFIXES = ['10.1.0.0/24', '10.2.0.0/24', 'fd00:1::/64'].map((text) => Prefix.parse(text));
const specOf = (prefix: Prefix, mtu: number): RouteSpec => ({
  family: Prefix.family(prefix) === 'ipv4' ? 4 : 6,
  destination: Address.toBytes(Prefix.address(prefix)),
  prefixLength: Prefix.length(prefix),
  ifindex: 1,
  mtu,
});

/** Routes by prefix: their MTU, which is all that differs. */
class FakeKernel {
  readonly routesByPrefix = new Map<Prefix, number>();
  lists = 0;
  failing = false;

  routes(): Route[] {
    this.lists++;
    const rest = { type: 'unicast', table: 254, protocol: 0, onlink: false, scope: 0 } as const;
    return [...this.routesByPrefix].map(([prefix, mtu]) => ({
      ...specOf(prefix, mtu),
      ...rest,
      destination: Address.toBytes(Prefix.address(prefix)),
      ifindex: 1,
      prefixLength: Prefix.length(prefix),
      via: undefined,
      source: undefined,
      metric: undefined,
      mtu,
      nextHops: [],
      nextHopId: undefined,
    }));
  }

  routeDigest(): string {
    if (this.failing) throw new Error('busy');
    return [...this.routesByPrefix].sort().join();
  }
}

const wanted = PREFIXES.map((prefix) => [prefix, 1500] as const);

/** As the reconciler does it: every row, and then what is there and wanted no more. */
function compareAll(view: RouteView, kernel: FakeKernel, between: () => void): void {
  if (view.unchanged()) return;
  view.forget();
  for (const [index, [prefix, mtu]] of wanted.entries()) {
    if (index === 1) between();
    if (view.stands(prefix, specOf(prefix, mtu))) continue;
    kernel.routesByPrefix.set(prefix, mtu);
    view.made(prefix, specOf(prefix, mtu));
  }
}

test('what nobody touched is listed no more, and whatever was touched is found by the next comparison', () => {
  const touch = fc.record({
    which: fc.constantFrom(...PREFIXES),
    mtu: fc.constantFrom(undefined, 1300, 1500),
    when: fc.constantFrom('before', 'while', 'after'),
    doubted: fc.boolean(),
    failing: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(touch, { maxLength: 8 }), (touches) => {
      const kernel = new FakeKernel();
      const view = new RouteView(kernel);
      for (const { which, mtu, when, doubted, failing } of touches) {
        const change = () => {
          if (mtu === undefined) kernel.routesByPrefix.delete(which);
          else kernel.routesByPrefix.set(which, mtu);
        };
        kernel.failing = failing;
        if (when === 'before') change();
        compareAll(view, kernel, () => {
          if (when === 'while') change();
          if (doubted) view.doubt();
        });
        if (when === 'after') change();
      }
      kernel.failing = false;
      compareAll(view, kernel, () => {});
      assert.deepEqual([...kernel.routesByPrefix].sort(), [...wanted].sort());
      compareAll(view, kernel, () => {});
      compareAll(view, kernel, () => {});
      const before = kernel.lists;
      compareAll(view, kernel, () => {});
      assert.equal(kernel.lists, before, 'nothing has changed');
    }),
    { numRuns: Number(process.env.RUNS ?? 200) },
  );
});

test('while a wanted route is lacking, nothing counts as unchanged', () => {
  const view = new RouteView(new FakeKernel());
  assert.equal(view.unchanged(), false, 'nothing was compared yet');
  assert.equal(view.unchanged(), true);
  view.lack();
  assert.equal(view.unchanged(), false);
});
