import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Address, Prefix } from '@causeway/ip';
import fc from 'fast-check';
import type { PodCidr } from './cidrs.ts';
import { IpamError } from './errors.ts';
import { NodeIpam } from './ipam.ts';
import { layout } from './layout.ts';
import { ownerKey } from './owner.ts';

/** Small enough to fill, and overlapping, so that the sets below grow, shrink, split and move. */
const SETS: readonly (readonly string[])[] = [
  ['10.0.0.0/29', 'fd00::/124'],
  ['10.0.0.0/28', 'fd00::/124'],
  ['10.0.0.0/29', '10.0.0.8/29', 'fd00::/125', 'fd00::8/125'],
  ['10.0.1.0/29', 'fd00::/64'],
  ['fd00:1::/126'],
  [],
];

/** Some are inside of the sets, some are on the edge, some are outside. */
const CLAIMABLE = [
  '10.0.0.2',
  '10.0.0.5',
  '10.0.0.9',
  '10.0.1.3',
  'fd00::3',
  'fd00::9',
] as Address[];

const QUARANTINE = 50;
/** Histories are played without and with giving early. */
const LEAST_REST = [50, 15] as const;

type Step =
  | { type: 'allocate'; pod: number; v4: boolean; v6: boolean }
  | { type: 'release'; pod: number }
  | { type: 'wait'; ms: number }
  | { type: 'cidrs'; set: number; draining: number }
  | { type: 'claim'; at: number; ends: boolean }
  | { type: 'reload' }
  | { type: 'crash' };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      type: fc.constant('allocate' as const),
      pod: fc.nat({ max: 24 }),
      v4: fc.boolean(),
      v6: fc.boolean(),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({ type: fc.constant('release' as const), pod: fc.nat({ max: 24 }) }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ type: fc.constant('wait' as const), ms: fc.nat({ max: 40 }) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      type: fc.constant('cidrs' as const),
      set: fc.nat({ max: SETS.length - 1 }),
      draining: fc.integer({ min: -4, max: 3 }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      type: fc.constant('claim' as const),
      at: fc.nat({ max: 5 }),
      ends: fc.boolean(),
    }),
  },
  { weight: 1, arbitrary: fc.constant({ type: 'reload' as const }) },
  { weight: 1, arbitrary: fc.constant({ type: 'crash' as const }) },
);

/** What must hold, kept apart from the program: who has which address, and when it was given back. */
class World {
  now = 0;
  cidrs: PodCidr[] = [];
  ipam: NodeIpam;
  readonly #options: { quarantineMs: number; leastRestMs: number };
  readonly held = new Map<string, { v4?: Address; v6?: Address }>();
  readonly releasedAt = new Map<Address, number>();
  readonly claimed = new Set<Address>();

  constructor(leastRestMs: number) {
    this.#options = { quarantineMs: QUARANTINE, leastRestMs };
    this.ipam = new NodeIpam({ cidrs: [], ...this.#options });
  }

  run(one: Step): void {
    switch (one.type) {
      case 'allocate':
        this.#allocate(one.pod, one.v4, one.v6);
        return;
      case 'release':
        this.#release(one.pod);
        return;
      case 'wait':
        this.now += one.ms;
        return;
      case 'claim': {
        const address = CLAIMABLE[one.at] as Address;
        if (one.ends) {
          this.claimed.delete(address);
          this.ipam.unclaim(address);
        } else {
          this.claimed.add(address);
          this.ipam.claim(address);
        }
        return;
      }
      case 'cidrs':
        this.#setCidrs(one.set, one.draining);
        return;
      case 'reload': {
        const stored: unknown = JSON.parse(JSON.stringify(this.ipam.snapshot(this.now)));
        // Another clock after the restart: only time left may count.
        const before = this.ipam.snapshot(this.now);
        this.ipam = NodeIpam.fromSnapshot(this.#options, stored, this.now);
        // Claims are the store's, not the snapshot's.
        for (const address of this.claimed) this.ipam.claim(address);
        assert.deepEqual(sorted(this.ipam.snapshot(this.now)), sorted(before));
        return;
      }
      case 'crash': {
        this.ipam = new NodeIpam({ cidrs: this.cidrs, ...this.#options });
        for (const address of this.claimed) this.ipam.claim(address);
        const records = Array.from(this.held, ([key, { v4, v6 }]) => ({
          owner: { containerId: key.slice(0, key.indexOf('/')), ifname: 'eth0' },
          ...(v4 && { ipv4: v4 }),
          ...(v6 && { ipv6: v6 }),
        }));
        const conflicts = this.ipam.restore(records, this.now);
        assert.deepEqual(
          conflicts.filter((c) => c.type !== 'outside' && c.type !== 'reserved'),
          [],
        );
        // A crash that loses the snapshot loses the quarantines with it.
        this.releasedAt.clear();
        return;
      }
      default:
        one satisfies never;
    }
  }

  #allocate(pod: number, v4: boolean, v6: boolean): void {
    const owner = { containerId: `p${pod}`, ifname: 'eth0' };
    const key = ownerKey(owner);
    const before = this.held.get(key);
    try {
      const lease = this.ipam.allocate(
        owner,
        { ...(v4 && { ipv4: 'any' as const }), ...(v6 && { ipv6: 'any' as const }) },
        this.now,
      );
      const after = { ...before };
      for (const [family, leased] of [
        ['v4', lease.ipv4],
        ['v6', lease.ipv6],
      ] as const) {
        if (leased === undefined) continue;
        if (before?.[family] !== undefined) assert.equal(leased.address, before[family]);
        else this.#mayBeGiven(leased.address);
        after[family] = leased.address;
      }
      this.held.set(key, after);
    } catch (error) {
      assert.ok(error instanceof IpamError, String(error));
      if (error.code === 'request-invalid') assert.ok(!v4 && !v6);
      else assert.ok(error.code === 'exhausted' || error.code === 'no-cidr', error.code);
      if (error.code === 'exhausted') this.#mustBeFull(error.field === 'ipv4');
    }
  }

  #mayBeGiven(address: Address): void {
    for (const { v4, v6 } of this.held.values()) assert.ok(v4 !== address && v6 !== address);
    const cidr = this.cidrs.find(({ prefix }) => Prefix.contains(prefix, address));
    assert.ok(cidr && !cidr.draining, `${address} is in no CIDR that gives`);
    const shape = layout(cidr.prefix);
    assert.ok(!shape.reserved.includes(shape.offsetOf(address) as bigint));
    assert.ok(!this.claimed.has(address), `${address} is kept for its claim`);
    const released = this.releasedAt.get(address);
    assert.ok(
      released === undefined || this.now - released >= this.#options.leastRestMs,
      `${address} too soon`,
    );
  }

  /** Exhausted is true only if each address is used, resting, reserved or kept for a leaving CIDR. */
  #mustBeFull(v4: boolean): void {
    const taken = new Set(Array.from(this.held.values(), (one) => (v4 ? one.v4 : one.v6)));
    const pools = this.ipam.stats(this.now);
    const leaving = pools.filter(({ state }) => state === 'leaving').map(({ prefix }) => prefix);
    const gateways = new Set(pools.map((pool) => pool.gateway));
    for (const { prefix, draining } of this.cidrs) {
      if (draining || (Prefix.family(prefix) === 'ipv4') !== v4) continue;
      const shape = layout(prefix);
      for (let i = 0n; i < shape.size; i += 1n) {
        const address = shape.addressAt(i);
        const rest = this.now - (this.releasedAt.get(address) ?? -QUARANTINE);
        // What rests in a CIDR on its way out rests to the end.
        const late = leaving.some((one) => Prefix.contains(one, address));
        const resting = rest < (late ? QUARANTINE : this.#options.leastRestMs);
        const busy =
          taken.has(address) || this.claimed.has(address) || gateways.has(address) || resting;
        assert.ok(busy || shape.reserved.includes(i), `${address} is free`);
      }
    }
  }

  #release(pod: number): void {
    const owner = { containerId: `p${pod}`, ifname: 'eth0' };
    const before = this.held.get(ownerKey(owner));
    const lease = this.ipam.release(owner, this.now);
    assert.equal(lease?.ipv4?.address, before?.v4);
    assert.equal(lease?.ipv6?.address, before?.v6);
    for (const part of [lease?.ipv4, lease?.ipv6]) {
      // An address outside every CIDR does not rest: nothing can give it.
      if (part?.prefix !== undefined) this.releasedAt.set(part.address, this.now);
    }
    this.held.delete(ownerKey(owner));
    for (const part of [lease?.ipv4, lease?.ipv6]) {
      if (part !== undefined) assert.equal(this.ipam.ownerOf(part.address), undefined);
    }
  }

  #setCidrs(set: number, draining: number): void {
    const wanted = (SETS[set] as readonly string[]).map((text, i) => ({
      prefix: Prefix.parse(text),
      draining: i === draining,
    }));
    const before = this.ipam.stats(this.now);
    try {
      this.ipam.setCidrs(wanted, this.now);
      this.cidrs = wanted;
    } catch (error) {
      assert.ok(error instanceof IpamError && error.code === 'cidr-overlap', String(error));
      assert.deepEqual(this.ipam.stats(this.now), before);
    }
  }

  /** Nothing lost: every lease is known from both sides, and each pool's counts add up. */
  check(): void {
    assert.equal(this.ipam.leases().length, this.held.size);
    for (const { owner, ipv4, ipv6 } of this.ipam.leases()) {
      const expected = this.held.get(ownerKey(owner));
      assert.equal(ipv4?.address, expected?.v4);
      assert.equal(ipv6?.address, expected?.v6);
    }
    let used = 0n;
    for (const pool of this.ipam.stats(this.now)) {
      const { reserved, used: inUse, quarantined, claimed, blocked, free } = pool;
      assert.equal(reserved + inUse + quarantined + claimed + blocked + free, pool.size);
      used += pool.used;
    }
    const strays = this.ipam.leases().flatMap(({ ipv4, ipv6 }) => [ipv4, ipv6]);
    assert.equal(used, BigInt(strays.filter((one) => one?.prefix !== undefined).length));
  }
}

function sorted(snapshot: ReturnType<NodeIpam['snapshot']>): unknown {
  const text = (value: unknown) => JSON.stringify(value);
  return {
    cidrs: snapshot.cidrs.map(text).sort(),
    leases: snapshot.leases.map(text).sort(),
    quarantine: snapshot.quarantine.map(text).sort(),
  };
}

function play(leastRestMs: number, steps: readonly Step[]): void {
  const world = new World(leastRestMs);
  world.run({ type: 'cidrs', set: 0, draining: -1 });
  for (const one of steps) {
    world.run(one);
    world.check();
  }
}

test('never twice, never lost: 400 short histories', () => {
  const history = fc.array(step, { maxLength: 120, size: 'max' });
  fc.assert(fc.property(fc.constantFrom(...LEAST_REST), history, play), { numRuns: 400 });
});

test('never twice, never lost: 10,000 random steps in one history', () => {
  const [steps] = fc.sample(fc.array(step, { minLength: 10_000, maxLength: 10_000 }), {
    numRuns: 1,
    seed: 20_261_122,
  });
  assert.equal(steps?.length, 10_000);
  for (const leastRestMs of LEAST_REST) play(leastRestMs, steps as Step[]);
});
