import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Balancer, type BalancerSettings } from '../index.ts';
import { KernelMaps } from '../testing/kernel-maps.ts';

const settings: BalancerSettings = {
  node: 'n1',
  defaultAlgorithm: 'random',
  resolveSelectors: false,
};
const name = fc.constantFrom('a', 'b', 'c');
const ips = fc.subarray(['10.96.0.1', '10.96.0.2', 'fd00:96::1'], { minLength: 1 });
const condition = fc.constantFrom(
  { ready: true },
  { ready: true },
  { ready: false },
  { ready: false, serving: true, terminating: true },
  { ready: false, serving: false, terminating: true },
);
const service = fc
  .record({
    name,
    ips,
    ports: fc.subarray([80, 81], { minLength: 1 }),
    maglev: fc.boolean(),
    local: fc.boolean(),
    sticky: fc.boolean(),
  })
  .map((each) => ({
    apiVersion: 'v1',
    kind: 'Service',
    metadata: {
      name: each.name,
      namespace: 'n',
      annotations: each.maglev ? { 'service.cilium.io/lb-algorithm': 'maglev' } : {},
    },
    spec: {
      clusterIPs: each.ips,
      ports: each.ports.map((port) => ({ name: `p${port}`, port })),
      internalTrafficPolicy: each.local ? 'Local' : 'Cluster',
      sessionAffinity: each.sticky ? 'ClientIP' : 'None',
    },
  }));
const slice = fc
  .record({
    name: fc.constantFrom('s1', 's2', 's3', 's4'),
    service: name,
    six: fc.boolean(),
    endpoints: fc.array(
      fc.record({
        host: fc.integer({ min: 1, max: 6 }),
        conditions: condition,
        nodeName: fc.constantFrom('n1', 'n2'),
      }),
      { maxLength: 5 },
    ),
  })
  .map((each) => ({
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: {
      name: each.name,
      namespace: 'n',
      labels: { 'kubernetes.io/service-name': each.service },
    },
    addressType: each.six ? 'IPv6' : 'IPv4',
    ports: [
      { name: 'p80', port: 8080 },
      { name: 'p81', port: 8081 },
    ],
    endpoints: each.endpoints.map(({ host, ...rest }) => ({
      addresses: [each.six ? `fd00::${host}` : `10.0.0.${host}`],
      ...rest,
    })),
  }));
const operation = fc.oneof(
  { weight: 3, arbitrary: service.map((object) => ({ type: 'service' as const, object })) },
  { weight: 5, arbitrary: slice.map((object) => ({ type: 'slice' as const, object })) },
  { weight: 1, arbitrary: name.map((each) => ({ type: 'delete-service' as const, name: each })) },
  {
    weight: 1,
    arbitrary: fc
      .constantFrom('s1', 's2', 's3', 's4')
      .map((each) => ({ type: 'delete-slice' as const, name: each })),
  },
  { weight: 3, arbitrary: fc.constant({ type: 'flush' as const }) },
  { weight: 1, arbitrary: fc.constant({ type: 'restart' as const }) },
);

test('after any operations the maps hold what a fresh start would, and are whole in between', () => {
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 40 }), (operations) => {
      const maps = new KernelMaps();
      const objects = new Map<string, { kind: string }>();
      let balancer = new Balancer(settings);
      balancer.markSynced();
      const feed = (to: Balancer, object: { kind: string }) => {
        const parsed =
          object.kind === 'Service' ? to.applyService(object) : to.applyEndpointSlice(object);
        assert.ok(parsed.ok);
      };
      for (const op of operations) {
        switch (op.type) {
          case 'service':
          case 'slice':
            objects.set(`${op.object.kind} ${op.object.metadata.name}`, op.object);
            feed(balancer, op.object);
            break;
          case 'delete-service':
            objects.delete(`Service ${op.name}`);
            balancer.deleteService({ namespace: 'n', name: op.name });
            break;
          case 'delete-slice':
            objects.delete(`EndpointSlice ${op.name}`);
            balancer.deleteEndpointSlice({ namespace: 'n', name: op.name });
            break;
          case 'flush':
            maps.apply(balancer.flush());
            break;
          case 'restart':
            maps.apply(balancer.flush());
            balancer = new Balancer(settings, balancer.assignment());
            for (const object of objects.values()) feed(balancer, object);
            balancer.markSynced();
            break;
          default:
            op satisfies never;
        }
      }
      maps.apply(balancer.flush());
      assert.deepEqual(balancer.flush(), []);
      const expected = new KernelMaps();
      const fresh = new Balancer(settings);
      // A frontend that two services claim stays with the first: hold that order.
      const claimed = new Map([...balancer.conflicts()].map((each) => [each.key, each.services]));
      for (const object of objects.values()) feed(fresh, object);
      expected.apply(fresh.flush());
      assert.deepEqual([...maps.services.keys()].sort(), [...expected.services.keys()].sort());
      for (const key of maps.services.keys()) {
        if (claimed.has(key)) continue;
        assert.deepEqual(maps.backendsOf(key), expected.backendsOf(key));
        const { serviceId: _a, generation: _b, ...is } = maps.services.get(key)!;
        const { serviceId: _c, generation: _d, ...should } = expected.services.get(key)!;
        assert.deepEqual(is, should);
      }
      if (claimed.size === 0) {
        const states = (of: KernelMaps) =>
          [...of.backends.values()].map((each) => `${each.socket} ${each.state}`).sort();
        assert.deepEqual(states(maps), states(expected));
      }
    }),
    { numRuns: 120 },
  );
});
