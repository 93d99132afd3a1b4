import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Address } from '@causeway/ip';
import fc from 'fast-check';
import { Balancer, type BalancerSettings, type Endpoint, type RemotePart } from '../index.ts';
import { KernelMaps } from '../testing/kernel-maps.ts';
import { sharesOf, tiersOf } from './clusters.ts';

type State = 'active' | 'not-ready' | 'failing' | 'terminating' | 'draining';

const FRONTEND = '10.96.0.1:80/TCP';
const settings: BalancerSettings = {
  node: 'n1',
  cluster: 'home',
  defaultAlgorithm: 'random',
  resolveSelectors: false,
};

const service = (annotations: Record<string, string> = {}, ports: object[] = [{ port: 80 }]) => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: {
    name: 'web',
    namespace: 'shop',
    annotations: { 'service.cilium.io/global': 'true', ...annotations },
  },
  spec: { clusterIPs: ['10.96.0.1'], ports, selector: { app: 'web' } },
});

const slice = (given: Record<string, 'active' | 'not-ready' | 'terminating'>, name?: string) => ({
  apiVersion: 'discovery.k8s.io/v1',
  kind: 'EndpointSlice',
  metadata: {
    name: 'web-a',
    namespace: 'shop',
    labels: { 'kubernetes.io/service-name': 'web' },
  },
  addressType: 'IPv4',
  ports: [{ port: 80, ...(name === undefined ? {} : { name }) }],
  endpoints: Object.entries(given).map(([address, state]) => ({
    addresses: [address],
    conditions:
      state === 'terminating'
        ? { ready: false, serving: true, terminating: true }
        : { ready: state === 'active' },
    nodeName: 'n1',
  })),
});

function endpoint(address: string, state: State, more: Partial<Endpoint> = {}): Endpoint {
  return {
    portName: '',
    protocol: 'TCP',
    address: Address.parse(address),
    port: 80,
    ready: state === 'active' || state === 'failing',
    serving: state === 'active' || state === 'terminating',
    terminating: state === 'terminating' || state === 'draining',
    node: undefined,
    zone: undefined,
    target: undefined,
    weight: 100,
    ...(state === 'failing' ? { failing: 'no answer' } : {}),
    ...more,
  };
}

const part = (
  cluster: string,
  given: Record<string, State>,
  more: Partial<RemotePart> = {},
): RemotePart => ({
  cluster,
  namespace: 'shop',
  name: 'web',
  part: '',
  expected: 0,
  endpoints: Object.entries(given).map(([address, state]) => endpoint(address, state)),
  ...more,
});

function start(annotations: Record<string, string> = {}, more: Partial<BalancerSettings> = {}) {
  const balancer = new Balancer({ ...settings, ...more });
  const maps = new KernelMaps();
  balancer.markSynced();
  assert.ok(balancer.applyService(service(annotations)).ok);
  const flush = () => {
    const operations = balancer.flush();
    maps.apply(operations);
    return operations;
  };
  const chosen = () => {
    flush();
    const { candidates } = balancer.why(FRONTEND);
    const eligible = candidates.filter((each) => each.eligible);
    return Object.fromEntries(
      eligible.map(({ key, share }) => [key.split(':')[0]!, Math.round(share * 100)]),
    );
  };
  const own = (given: Parameters<typeof slice>[0]) =>
    assert.ok(balancer.applyEndpointSlice(slice(given)).ok);
  return { balancer, maps, flush, chosen, own };
}

test('a global service is served by the backends of all clusters alike', () => {
  const t = start();
  t.own({ '10.1.0.1': 'active' });
  t.balancer.applyRemote(part('east', { '10.2.0.1': 'active', '10.2.0.2': 'failing' }));
  t.balancer.applyRemote(part('west', { '10.3.0.1': 'active', '10.3.0.2': 'not-ready' }));
  assert.deepEqual(t.chosen(), { '10.1.0.1': 33, '10.2.0.1': 33, '10.3.0.1': 33 });
  t.balancer.deleteRemote(part('east', {}));
  assert.deepEqual(t.chosen(), { '10.1.0.1': 50, '10.3.0.1': 50 });
});

test('weight 0 stands also where every other backend fails', () => {
  const t = start();
  const of = (weight: number, net: string, number: string) =>
    part(
      'east',
      {},
      { part: number, endpoints: [endpoint(`10.2.${net}.1`, 'failing', { weight })] },
    );
  t.balancer.applyRemote(of(0, '0', '0'));
  t.balancer.applyRemote(of(100, '1', '1'));
  assert.deepEqual(t.chosen(), { '10.2.1.1': 100 });
  t.balancer.deleteRemote(of(100, '1', '1'));
  assert.deepEqual(t.chosen(), {});
});

test('a service that is not global hears of no other cluster, and does as soon as it is', () => {
  const t = start({ 'service.cilium.io/global': 'false' });
  t.own({ '10.1.0.1': 'active' });
  t.balancer.applyRemote(part('east', { '10.2.0.1': 'active' }));
  assert.deepEqual(t.chosen(), { '10.1.0.1': 100 });
  assert.ok(t.balancer.applyService(service()).ok);
  assert.deepEqual(t.chosen(), { '10.1.0.1': 50, '10.2.0.1': 50 });
});

test('affinity local: other clusters serve only while no own backend is healthy', () => {
  const t = start({ 'io.cilium/service-affinity': 'local' });
  t.balancer.applyRemote(part('east', { '10.2.0.1': 'active' }));
  t.own({ '10.1.0.1': 'active' });
  assert.deepEqual(t.chosen(), { '10.1.0.1': 100 });
  t.own({ '10.1.0.1': 'not-ready' });
  assert.deepEqual(t.chosen(), { '10.2.0.1': 100 });
  t.own({ '10.1.0.1': 'terminating' });
  assert.deepEqual(
    t.chosen(),
    { '10.2.0.1': 100 },
    'healthy elsewhere is better than draining here',
  );
  t.balancer.applyRemote(part('east', { '10.2.0.1': 'draining' }));
  assert.deepEqual(t.chosen(), { '10.1.0.1': 100 }, 'what still serves is better than nothing');
});

test('affinity remote: own backends serve only while no other is healthy', () => {
  const t = start({ 'service.cilium.io/affinity': 'remote' });
  t.own({ '10.1.0.1': 'active' });
  assert.deepEqual(t.chosen(), { '10.1.0.1': 100 });
  t.balancer.applyRemote(part('east', { '10.2.0.1': 'active' }));
  assert.deepEqual(t.chosen(), { '10.2.0.1': 100 });
});

test('clusters are tried in the order of preference, those without a name after them', () => {
  const t = start({
    'service.cilium.io/affinity': 'local',
    'causeway.io/cluster-preference': 'west, east',
  });
  for (const [cluster, net] of [
    ['east', 2],
    ['west', 3],
    ['north', 4],
    ['south', 5],
  ] as const) {
    t.balancer.applyRemote(part(cluster, { [`10.${net}.0.1`]: 'active' }));
  }
  t.own({ '10.1.0.1': 'active' });
  assert.deepEqual(t.chosen(), { '10.1.0.1': 100 });
  t.own({});
  assert.deepEqual(t.chosen(), { '10.3.0.1': 100 });
  t.balancer.applyRemote(part('west', { '10.3.0.1': 'terminating' }));
  assert.deepEqual(t.chosen(), { '10.2.0.1': 100 });
  t.balancer.applyRemote(part('east', {}));
  assert.deepEqual(t.chosen(), { '10.4.0.1': 50, '10.5.0.1': 50 });
  const { tiers, candidates } = t.balancer.why(FRONTEND);
  assert.deepEqual(
    tiers.map(({ clusters }) => clusters),
    [['home'], ['west'], ['east'], ['north', 'south']],
  );
  assert.deepEqual(
    candidates.map(({ cluster, tier }) => [cluster, tier]),
    [
      ['west', 2],
      ['north', 4],
      ['south', 4],
    ],
  );
});

test('tiers, by affinity and preference', () => {
  const rules = { global: true, shared: true, spillOver: undefined, expected: 0 };
  const of = (affinity: 'local' | 'remote' | undefined, ...preference: string[]) =>
    tiersOf({ ...rules, affinity, preference }, 'home', ['east', 'west'])
      .map((tier) => tier.join('+'))
      .join(' ');
  assert.equal(of(undefined), 'home+east+west');
  assert.equal(of('local'), 'home east+west');
  assert.equal(of('remote'), 'east+west home');
  assert.equal(of(undefined, 'west'), 'west home+east');
  assert.equal(of(undefined, 'west', 'home'), 'west home east');
  assert.equal(of('local', 'west', 'home'), 'home west east');
  assert.equal(of('remote', 'gone', 'west'), 'west east home');
});

test('what a tier that runs short cannot take goes to the next, little by little', () => {
  const t = start({
    'service.cilium.io/affinity': 'local',
    'causeway.io/spill-over': '50%',
    'causeway.io/expected-backends': '4',
  });
  t.balancer.applyRemote(part('east', { '10.2.0.1': 'active' }));
  const healthy = (count: number) =>
    t.own(Object.fromEntries(Array.from({ length: count }, (_, i) => [`10.1.0.${i}`, 'active'])));
  const away = () => t.chosen()['10.2.0.1'] ?? 0;
  for (const [count, expected] of [
    [4, 0],
    [3, 0],
    [2, 0],
    [1, 50],
    [0, 100],
    [2, 0],
  ] as const) {
    healthy(count);
    assert.equal(away(), expected, `${count} of 4`);
  }
  t.own({
    '10.1.0.0': 'active',
    ...Object.fromEntries(
      Array.from({ length: 7 }, (_, i) => [`10.1.0.${i + 1}`, 'not-ready'] as const),
    ),
  });
  assert.equal(away(), 75, 'one of eight that are listed');
  const { tiers } = t.balancer.why(FRONTEND);
  assert.deepEqual(
    tiers.map(({ healthy, expected, share }) => [healthy, expected, Math.round(share * 100)]),
    [
      [1, 8, 25],
      [1, 1, 75],
    ],
  );
});

test('shares follow the formula and are whole', () => {
  assert.deepEqual(sharesOf([{ healthy: 0, expected: 9 }], 0.5), [0]);
  assert.deepEqual(sharesOf([{ healthy: 1, expected: 10 }], 0.5), [1]);
  assert.deepEqual(
    sharesOf(
      [
        { healthy: 1, expected: 8 },
        { healthy: 1, expected: 4 },
        { healthy: 3, expected: 3 },
      ],
      0.5,
    ),
    [0.25, 0.375, 0.375],
  );
  const tier = fc.record({ healthy: fc.nat(20), expected: fc.nat(20) });
  const given = [
    fc.array(tier, { maxLength: 5 }),
    fc.option(fc.double({ min: 0.01, max: 1, noNaN: true }), { nil: undefined }),
  ] as const;
  fc.assert(
    fc.property(...given, (tiers, spillOver) => {
      const shares = sharesOf(tiers, spillOver);
      const sum = shares.reduce((total, each) => total + each, 0);
      const any = tiers.some(({ healthy }) => healthy > 0);
      assert.ok(Math.abs(sum - (any ? 1 : 0)) < 1e-9);
      shares.forEach((share, i) => {
        assert.ok(share >= 0 && (share === 0 || tiers[i]!.healthy > 0));
      });
    }),
  );
});

test('ports: the protocol must match, names only where both sides have one', () => {
  const ports = [
    { name: 'http', port: 80 },
    { name: 'dns', port: 53, protocol: 'UDP' },
  ];
  const balancer = new Balancer(settings);
  assert.ok(balancer.applyService(service({}, ports)).ok);
  const of = (address: string, portName: string, protocol: 'TCP' | 'UDP', port: number) =>
    endpoint(address, 'active', { portName, protocol, port });
  balancer.applyRemote({
    ...part('east', {}),
    endpoints: [
      of('10.2.0.1', 'http', 'TCP', 8080),
      of('10.2.0.2', '', 'TCP', 8081),
      of('10.2.0.3', 'other', 'TCP', 8082),
      of('10.2.0.4', 'dns', 'TCP', 8083),
      of('10.2.0.5', '', 'UDP', 5353),
    ],
  });
  balancer.flush();
  const keys = (frontend: string) => balancer.frontend(frontend)!.backends.map(({ key }) => key);
  assert.deepEqual(keys('10.96.0.1:80/TCP'), ['10.2.0.1:8080/TCP', '10.2.0.2:8081/TCP']);
  assert.deepEqual(keys('10.96.0.1:53/UDP'), ['10.2.0.5:5353/UDP']);
  assert.ok(balancer.applyService(service({}, [{ port: 80 }])).ok);
  balancer.flush();
  assert.equal(
    keys('10.96.0.1:80/TCP').length,
    4,
    'a port without a name takes all of its protocol',
  );
});

test('an address that two clusters claim is of the own one, then of the one that comes first', () => {
  const t = start({ 'causeway.io/cluster-preference': 'west' });
  t.own({ '10.9.0.1': 'active' });
  t.balancer.applyRemote(part('east', { '10.9.0.1': 'active', '10.9.0.2': 'active' }));
  t.balancer.applyRemote(part('west', { '10.9.0.1': 'active', '10.9.0.2': 'active' }));
  t.flush();
  const { candidates } = t.balancer.why(FRONTEND);
  assert.deepEqual(
    candidates.map(({ key, cluster }) => [key, cluster]),
    [
      ['10.9.0.1:80/TCP', 'home'],
      ['10.9.0.2:80/TCP', 'west'],
    ],
  );
  assert.match(candidates[1]!.reason, /east has the same address/);
});

test('shards are believed and the whole value beside them is not; without them it is again', () => {
  const t = start();
  t.balancer.applyRemote(part('east', { '10.2.0.1': 'active', '10.2.0.2': 'active' }));
  assert.deepEqual(t.chosen(), { '10.2.0.1': 50, '10.2.0.2': 50 });
  t.balancer.applyRemote(
    part('east', { '10.2.0.1': 'active', '10.2.0.2': 'terminating' }, { part: '0' }),
  );
  assert.deepEqual(t.chosen(), { '10.2.0.1': 100 });
  const drained = [...t.maps.backends.values()].find(({ socket }) => socket === '10.2.0.2:80');
  assert.equal(drained?.state, 'terminating', 'its connections go on');
  t.balancer.deleteRemote(part('east', {}, { part: '0' }));
  assert.deepEqual(t.chosen(), { '10.2.0.1': 50, '10.2.0.2': 50 });
});

test('what other clusters serve too is never forwarded with the address of the client', () => {
  const t = start({ 'service.cilium.io/forwarding-mode': 'dsr' });
  const forwarding = () => {
    t.flush();
    return t.balancer.why(FRONTEND).forwarding;
  };
  assert.equal(forwarding(), 'dsr');
  t.balancer.applyRemote(part('east', { '10.2.0.1': 'active' }));
  assert.equal(forwarding(), 'snat');
  t.balancer.deleteRemote(part('east', {}));
  assert.equal(forwarding(), 'dsr');
});

test('traffic that stays on its node goes to no other cluster', () => {
  const balancer = new Balancer(settings);
  const object = service();
  assert.ok(
    balancer.applyService({ ...object, spec: { ...object.spec, internalTrafficPolicy: 'Local' } })
      .ok,
  );
  balancer.applyRemote(part('east', { '10.2.0.1': 'active' }));
  balancer.flush();
  assert.equal(balancer.why(FRONTEND).candidates[0]?.eligible, false);
});

test('one of thousands that changes costs a few writes, and keeps every other slot', () => {
  const t = start();
  const shard = (number: number, state: State = 'active') =>
    part(
      'east',
      Object.fromEntries(
        Array.from({ length: 64 }, (_, i) => [`10.2.${number}.${i}`, i === 9 ? state : 'active']),
      ) as Record<string, State>,
      { part: String(number) },
    );
  for (let i = 0; i < 20; i++) t.balancer.applyRemote(shard(i));
  t.flush();
  const before = t.maps.slotsOf(FRONTEND);
  assert.equal(before.length, 1280);
  t.balancer.applyRemote(shard(7, 'terminating'));
  const types = t.flush().map(({ type }) => type);
  assert.deepEqual(types, ['backend-put', 'slots-put', 'service-put']);
  const after = t.maps.slotsOf(FRONTEND);
  assert.equal(after.length, 1279);
  assert.equal(after.filter((socket, i) => socket !== before[i]).length, 1);
  t.balancer.applyRemote(shard(7));
  assert.equal(t.flush().length, 3);
  assert.deepEqual(t.maps.backendsOf(FRONTEND), before.sort());
  t.balancer.deleteRemote(shard(19));
  t.flush();
  assert.equal(t.maps.backendsOf(FRONTEND).length, 1216);
});

const state = fc.constantFrom<State>(
  'active',
  'active',
  'active',
  'not-ready',
  'failing',
  'terminating',
  'draining',
);
const remote = fc.record({
  type: fc.constant('remote' as const),
  cluster: fc.constantFrom('east', 'west'),
  part: fc.constantFrom('', '0', '1'),
  hosts: fc.dictionary(fc.constantFrom('1', '2', '3', '4', '5', '6', '7'), state, { maxKeys: 6 }),
  weight: fc.constantFrom(100, 100, 100, 50, 0),
});
const operation = fc.oneof(
  { weight: 6, arbitrary: remote },
  {
    weight: 3,
    arbitrary: fc.record({
      type: fc.constant('own' as const),
      hosts: fc.dictionary(
        fc.constantFrom('1', '2', '3'),
        fc.constantFrom('active', 'not-ready', 'terminating'),
        { maxKeys: 3 },
      ),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      type: fc.constant('gone' as const),
      cluster: fc.constantFrom('east', 'west'),
      part: fc.constantFrom('', '0', '1'),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      type: fc.constant('rules' as const),
      affinity: fc.constantFrom('local', 'remote', 'none'),
      preference: fc.constantFrom('', 'west', 'west,home'),
      spill: fc.constantFrom('', '50%'),
      global: fc.constantFrom('true', 'true', 'false'),
    }),
  },
  { weight: 4, arbitrary: fc.constant({ type: 'flush' as const }) },
);

test('property: changes one by one lead to what a fresh start would, whole in between', () => {
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 40 }), (operations) => {
      const maps = new KernelMaps();
      const patching = new Balancer({ ...settings, patchFrom: 0 });
      patching.markSynced();
      let rules = service();
      let own: ReturnType<typeof slice> = slice({});
      const parts = new Map<string, RemotePart>();
      patching.applyService(rules);
      patching.applyEndpointSlice(own);
      for (const op of operations) {
        switch (op.type) {
          case 'remote': {
            const said = part(
              op.cluster,
              {},
              {
                part: op.part,
                endpoints: Object.entries(op.hosts).map(([host, each]) =>
                  endpoint(
                    `10.${op.cluster === 'east' ? 2 : 3}.${op.part === '1' ? 1 : 0}.${host}`,
                    each,
                    {
                      weight: op.weight,
                    },
                  ),
                ),
              },
            );
            parts.set(`${op.cluster} ${op.part}`, said);
            patching.applyRemote(said);
            break;
          }
          case 'own':
            own = slice(
              Object.fromEntries(
                Object.entries(op.hosts).map(([host, each]) => [`10.1.0.${host}`, each]),
              ) as Parameters<typeof slice>[0],
            );
            patching.applyEndpointSlice(own);
            break;
          case 'gone':
            parts.delete(`${op.cluster} ${op.part}`);
            patching.deleteRemote({ ...part(op.cluster, {}), part: op.part });
            break;
          case 'rules':
            rules = service({
              'service.cilium.io/affinity': op.affinity,
              'causeway.io/cluster-preference': op.preference,
              'causeway.io/spill-over': op.spill,
              'service.cilium.io/global': op.global,
            });
            patching.applyService(rules);
            break;
          case 'flush':
            maps.apply(patching.flush());
            break;
          default:
            op satisfies never;
        }
      }
      maps.apply(patching.flush());
      assert.deepEqual(patching.flush(), []);
      const fresh = new Balancer(settings);
      fresh.applyService(rules);
      fresh.applyEndpointSlice(own);
      for (const each of parts.values()) fresh.applyRemote(each);
      const expected = new KernelMaps();
      expected.apply(fresh.flush());
      assert.deepEqual(patching.frontend(FRONTEND), fresh.frontend(FRONTEND));
      assert.deepEqual(maps.backendsOf(FRONTEND), expected.backendsOf(FRONTEND));
      const states = (of: KernelMaps) =>
        [...of.backends.values()].map((each) => `${each.socket} ${each.state}`).sort();
      assert.deepEqual(states(maps), states(expected));
    }),
    { numRuns: 200 },
  );
});
