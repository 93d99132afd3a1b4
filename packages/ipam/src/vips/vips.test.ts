import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Address, Prefix } from '@causeway/ip';
import fc from 'fast-check';
import { MAX_SHARERS, planVips } from './plan.ts';
import { whyNotShared } from './sharing.ts';
import type { VipClaim, VipPlan, VipPool, VipService, VipWorld } from './types.ts';

const pool = (name: string, cidrs: string[], more: Partial<VipPool> = {}): VipPool => ({
  name,
  blocks: cidrs.map((cidr) => ({ type: 'cidr', cidr: Prefix.parse(cidr) })),
  disabled: false,
  allowFirstLast: true,
  ...more,
});
const service = (name: string, more: Partial<VipService> = {}): VipService => ({
  namespace: 'shop',
  name,
  labels: {},
  families: ['ipv4'],
  preferDual: false,
  requested: [],
  sharingNamespaces: [],
  ports: ['TCP/80'],
  local: false,
  selector: `app=${name}`,
  ...more,
});
const ip = (text: string) => Address.parse(text);
const world = (more: Partial<VipWorld>): VipWorld => ({
  pools: [],
  services: [],
  claims: [],
  reserved: [],
  ...more,
});
/** The claims as the store has them after the plan. */
const after = (claims: readonly VipClaim[], plan: VipPlan): VipClaim[] => [
  ...claims.filter(
    ({ address }) =>
      !plan.deletes.includes(address) && !plan.writes.some((one) => one.address === address),
  ),
  ...plan.writes,
];
const of = (plan: VipPlan, name: string) => plan.assignments.get(`shop/${name}`);

test('editing pools renumbers nobody who can keep his address', () => {
  const services = [service('a'), service('b')];
  const first = planVips(world({ pools: [pool('p', ['192.0.2.0/28'])], services }));
  assert.deepEqual(of(first, 'a'), ['192.0.2.0']);
  assert.deepEqual(of(first, 'b'), ['192.0.2.1']);
  const claims = after([], first);
  for (const pools of [
    [pool('p', ['192.0.2.0/28', '198.51.100.0/28'])],
    [pool('p', ['198.51.100.0/28', '192.0.2.0/29'])],
    [pool('p', ['192.0.2.0/28'], { disabled: true })],
    [pool('renamed', ['192.0.2.0/28'])],
    [pool('early', ['192.0.2.1/32']), pool('p', ['192.0.2.0/28'])],
    [pool('p', ['192.0.2.0/31'])],
  ]) {
    const plan = planVips(world({ pools, services: [...services, service('A')], claims }));
    assert.deepEqual(of(plan, 'a'), ['192.0.2.0']);
    assert.deepEqual(of(plan, 'b'), ['192.0.2.1']);
  }
  const gone = planVips(world({ pools: [pool('p', ['198.51.100.0/28'])], services, claims }));
  assert.deepEqual(of(gone, 'a'), ['198.51.100.0']);
  assert.deepEqual(gone.deletes, ['192.0.2.0', '192.0.2.1']);
  const none = planVips(world({ services: [service('a')], claims }));
  assert.deepEqual(of(none, 'a'), []);
  assert.equal(none.refusals[0]?.code, 'no-pool');
});

test("first and last addresses, reserved ones and those of nodes are nobody's VIP", () => {
  const services = [service('a'), service('b', { requested: [ip('192.0.2.5')] }), service('c')];
  const plan = planVips(
    world({
      pools: [pool('p', ['192.0.2.0/29'], { allowFirstLast: false })],
      services,
      reserved: [
        { cidr: Prefix.parse('192.0.2.1/32'), owner: 'Node/n1' },
        { cidr: Prefix.parse('192.0.2.4/31'), owner: 'AddressReservation/shop/api' },
      ],
    }),
  );
  assert.deepEqual(of(plan, 'a'), ['192.0.2.2']);
  assert.deepEqual(of(plan, 'c'), ['192.0.2.3']);
  assert.deepEqual(
    plan.refusals.map(({ code, message }) => [code, message]),
    [['reserved', '192.0.2.5 belongs to AddressReservation/shop/api']],
  );
  assert.deepEqual(plan.pools, [
    { pool: 'p', total: 6n, used: 2n, available: 4n, conflict: undefined },
  ]);
});

test('requested addresses come before the rest, and a refusal says whose they are', () => {
  const pools = [
    pool('p', ['192.0.2.0/30', 'fd00::/120']),
    pool('q', ['203.0.113.0/30'], { selects: ({ labels }) => labels.tier === 'gold' }),
  ];
  const services = [
    service('a'),
    service('z', { requested: [ip('192.0.2.0'), ip('fd00::9')] }),
    service('y', { requested: [ip('192.0.2.0')] }),
    service('x', { requested: [ip('203.0.113.1')] }),
    service('w', { requested: [ip('10.9.9.9')] }),
  ];
  const plan = planVips(world({ pools, services }));
  assert.deepEqual(of(plan, 'y'), ['192.0.2.0']);
  assert.deepEqual(of(plan, 'z'), ['fd00::9']);
  assert.deepEqual(of(plan, 'a'), ['192.0.2.1']);
  assert.deepEqual(
    plan.refusals.map(({ service: of, code }) => [of, code]),
    [
      ['shop/w', 'outside-pools'],
      ['shop/x', 'pool-not-selecting'],
      ['shop/z', 'taken'],
    ],
  );
  assert.match(plan.refusals[2]?.message ?? '', /is shop\/y's/);
});

test('services with one sharing key share where nothing speaks against it', () => {
  const key = { sharingKey: 'web' };
  const services = [
    service('a', key),
    service('b', { ...key, ports: ['TCP/443'] }),
    service('c', { ...key, ports: ['TCP/443'] }),
    service('d', { ...key, ports: ['UDP/53'], namespace: 'other' }),
  ];
  const pools = [pool('p', ['192.0.2.0/29'])];
  const plan = planVips(world({ pools, services }));
  assert.deepEqual(of(plan, 'a'), of(plan, 'b'));
  assert.notDeepEqual(of(plan, 'a'), of(plan, 'c'));
  assert.notDeepEqual(plan.assignments.get('other/d'), of(plan, 'a'));
  const crossing = services.map((one) => ({ ...one, sharingNamespaces: ['*'] }));
  const crossed = planVips(world({ pools, services: crossing }));
  assert.deepEqual(crossed.assignments.get('other/d'), of(crossed, 'a'));
  // Who comes to have a port in common with an older one gives way, the older one stays.
  const claims = after([], plan);
  const changed = services.map((one) => (one.name === 'b' ? { ...one, ports: ['TCP/80'] } : one));
  const next = planVips(world({ pools, services: changed, claims }));
  assert.deepEqual(of(next, 'a'), of(plan, 'a'));
  assert.notDeepEqual(of(next, 'b'), of(plan, 'a'));
  const local = service('l', { ...key, local: true, ports: ['TCP/1'] });
  assert.match(whyNotShared(local, service('a', key)) ?? '', /policies differ/);
  const other = service('m', { ...key, local: true, ports: ['TCP/2'] });
  assert.match(whyNotShared(local, other) ?? '', /same pods/);
});

test('both families, one that may be missing, and pools that overlap or are full', () => {
  const dual = { families: ['ipv6', 'ipv4'] } as const;
  const pools = [pool('p', ['192.0.2.0/32', 'fd00::/127']), pool('q', ['192.0.2.0/31'])];
  const services = [
    service('a', dual),
    service('b', { ...dual, preferDual: true }),
    service('c', dual),
  ];
  const plan = planVips(world({ pools, services }));
  assert.deepEqual(of(plan, 'a'), ['fd00::', '192.0.2.0']);
  assert.deepEqual(of(plan, 'b'), ['fd00::1']);
  assert.deepEqual(
    plan.refusals.map(({ service: name, family, code }) => [name, family, code]),
    [
      ['shop/c', 'ipv6', 'pools-full'],
      ['shop/c', 'ipv4', 'pools-full'],
    ],
  );
  assert.equal(plan.pools[1]?.conflict, 'p');
});

test('whatever changes, an address has no two owners, a plan is at rest, and who can stays', () => {
  const name = fc.constantFrom('a', 'b', 'c', 'd', 'e');
  const cidr = fc.constantFrom('192.0.2.0/30', '192.0.2.4/30', '192.0.2.0/29', 'fd00::/126');
  const step = fc.record({
    pools: fc.array(
      fc.record({
        name: fc.constantFrom('p', 'q'),
        cidr,
        disabled: fc.boolean(),
        all: fc.boolean(),
      }),
      { maxLength: 3 },
    ),
    services: fc.uniqueArray(
      fc.record({
        name,
        key: fc.option(fc.constantFrom('k', 'l'), { nil: undefined }),
        port: fc.constantFrom('TCP/1', 'TCP/2'),
        requested: fc.option(fc.constantFrom('192.0.2.1', '192.0.2.6'), { nil: undefined }),
        dual: fc.boolean(),
      }),
      { selector: (one) => one.name, maxLength: 5 },
    ),
    reserved: fc.option(fc.constantFrom('192.0.2.1/32', '192.0.2.0/31'), { nil: undefined }),
  });
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 5 }), (steps) => {
      let claims: VipClaim[] = [];
      let before: VipPlan | undefined;
      for (const { pools, services, reserved } of steps) {
        const now = world({
          pools: pools.map((one, index) =>
            pool(`${one.name}${index}`, [one.cidr], {
              disabled: one.disabled,
              ...(one.all ? {} : { selects: (of: { name: string }) => of.name < 'd' }),
            }),
          ),
          services: services.map((one) =>
            service(one.name, {
              ports: [one.port],
              ...(one.key === undefined ? {} : { sharingKey: one.key }),
              ...(one.requested === undefined ? {} : { requested: [ip(one.requested)] }),
              families: one.dual ? ['ipv4', 'ipv6'] : ['ipv4'],
            }),
          ),
          claims,
          reserved:
            reserved === undefined ? [] : [{ cidr: Prefix.parse(reserved), owner: 'Node/n1' }],
        });
        const plan = planVips(now);
        claims = after(claims, plan);
        const again = planVips({ ...now, claims });
        assert.deepEqual([again.writes, again.deletes], [[], []]);
        assert.deepEqual(again.assignments, plan.assignments);
        for (const claim of claims) {
          assert.ok(
            reserved === undefined || !Prefix.contains(Prefix.parse(reserved), claim.address),
          );
          const users = claim.services.map((key) =>
            now.services.find((one) => `shop/${one.name}` === key),
          );
          for (const [index, one] of users.entries()) {
            for (const other of users.slice(0, index)) {
              assert.equal(whyNotShared(one as VipService, other as VipService), undefined);
            }
          }
        }
        for (const [key, addresses] of before?.assignments ?? []) {
          const still = now.services.find((one) => `shop/${one.name}` === key);
          if (still === undefined || still.requested.length > 0 || still.sharingKey) continue;
          for (const address of addresses) {
            const fits =
              now.pools.some(
                (one) =>
                  one.blocks.some((b) => b.type === 'cidr' && Prefix.contains(b.cidr, address)) &&
                  (one.selects === undefined || one.selects(still)),
              ) &&
              still.families.includes(Address.family(address)) &&
              !now.reserved.some((one) => Prefix.contains(one.cidr, address)) &&
              addresses.filter((one) => Address.family(one) === Address.family(address)).length ===
                1;
            if (fits) assert.ok(plan.assignments.get(key)?.includes(address), `${key} ${address}`);
          }
        }
        before = plan;
      }
    }),
    { numRuns: 300 },
  );
});

test('an address takes a bounded number of services, and says so', () => {
  const services = Array.from({ length: MAX_SHARERS + 1 }, (_, i) =>
    service(`s${String(i).padStart(4, '0')}`, { sharingKey: 'one', ports: [`TCP/${i + 1}`] }),
  );
  const plan = planVips(world({ pools: [pool('p', ['192.0.2.0/32'])], services }));
  assert.equal(plan.writes[0]?.services.length, MAX_SHARERS);
  assert.deepEqual(
    plan.refusals.map((each) => each.code),
    ['pools-full'],
  );
  const [last] = services.slice(-1);
  const asking = planVips(
    world({
      pools: [pool('p', ['192.0.2.0/32'])],
      services: [...services.slice(0, -1), { ...last!, requested: [ip('192.0.2.0')] }],
      claims: plan.writes,
    }),
  );
  assert.match(asking.refusals[0]?.message ?? '', /has 1000 services, and takes no more/);
});
