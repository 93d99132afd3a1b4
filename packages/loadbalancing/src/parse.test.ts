import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseEndpointSlice, parsePod, parseService } from '../index.ts';

const service = (spec: unknown, metadata = {}) => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name: 'web', namespace: 'shop', ...metadata },
  spec,
});
const slice = (rest: object, labels: object = { 'kubernetes.io/service-name': 'web' }) => ({
  apiVersion: 'discovery.k8s.io/v1',
  kind: 'EndpointSlice',
  metadata: { name: 'web-1', namespace: 'shop', labels },
  addressType: 'IPv4',
  ports: [{ name: '', port: 8080, protocol: 'TCP' }],
  endpoints: [],
  ...rest,
});

test('a service with everything given', () => {
  const parsed = parseService({
    ...service(
      {
        type: 'LoadBalancer',
        clusterIP: '10.96.0.1',
        clusterIPs: ['10.96.0.1', 'fd00::1'],
        externalIPs: ['192.0.2.1'],
        ports: [
          { name: 'http', port: 80, targetPort: 'web', nodePort: 30080 },
          { name: 'dns', port: 53, protocol: 'UDP' },
        ],
        selector: { app: 'web' },
        publishNotReadyAddresses: true,
        sessionAffinity: 'ClientIP',
        sessionAffinityConfig: { clientIP: { timeoutSeconds: 60 } },
        internalTrafficPolicy: 'Local',
        externalTrafficPolicy: 'Local',
        healthCheckNodePort: 30999,
        loadBalancerSourceRanges: [' 203.0.113.7/24 ', '2001:db8::/32'],
      },
      {
        annotations: {
          'service.cilium.io/lb-algorithm': 'maglev',
          'service.cilium.io/forwarding-mode': 'dsr',
          'causeway.io/health-check': 'http:/ready?deep=1',
          'causeway.io/health-check-interval': '2s',
          'causeway.io/health-check-port': '9000',
          'service.cilium.io/global': 'True',
          'io.cilium/global-service': 'false',
          'io.cilium/shared-service': 'FALSE',
          'io.cilium/service-affinity': 'Local',
          'causeway.io/cluster-preference': 'east, west,east',
          'causeway.io/spill-over': '50%',
          'causeway.io/expected-backends': '12',
        },
      },
    ),
    status: {
      loadBalancer: {
        ingress: [
          { ip: '198.51.100.1' },
          { ip: '198.51.100.2', ipMode: 'Proxy' },
          { hostname: 'x' },
        ],
      },
    },
  });
  assert.deepEqual(parsed, {
    ok: true,
    value: {
      namespace: 'shop',
      name: 'web',
      type: 'LoadBalancer',
      headless: false,
      clusterIPs: ['10.96.0.1', 'fd00::1'],
      externalIPs: ['192.0.2.1'],
      loadBalancerIPs: ['198.51.100.1'],
      sourceRanges: ['203.0.113.0/24', '2001:db8::/32'],
      ports: [
        { name: 'http', protocol: 'TCP', port: 80, targetPort: 'web', nodePort: 30080 },
        { name: 'dns', protocol: 'UDP', port: 53, targetPort: 53 },
      ],
      selector: { app: 'web' },
      publishNotReadyAddresses: true,
      affinitySeconds: 60,
      internalTrafficPolicy: 'Local',
      externalTrafficPolicy: 'Local',
      healthCheckNodePort: 30999,
      algorithm: 'maglev',
      forwarding: 'dsr',
      healthCheck: {
        type: 'http',
        path: '/ready?deep=1',
        port: 9000,
        intervalMs: 2_000,
        timeoutMs: 1_000,
        healthyAfter: 2,
        unhealthyAfter: 3,
      },
      mesh: {
        global: true,
        shared: false,
        affinity: 'local',
        preference: ['east', 'west'],
        spillOver: 0.5,
        expected: 12,
      },
    },
  });
});

test('defaults are those of Kubernetes', () => {
  const parsed = parseService(
    service({
      clusterIP: '10.96.0.1',
      ports: [{ port: 80 }],
      selector: {},
      sessionAffinity: 'ClientIP',
      healthCheckNodePort: 0,
    }),
  );
  assert.ok(parsed.ok);
  assert.deepEqual(
    [
      parsed.value.type,
      parsed.value.selector,
      parsed.value.affinitySeconds,
      parsed.value.internalTrafficPolicy,
      parsed.value.healthCheckNodePort,
      parsed.value.algorithm,
    ],
    ['ClusterIP', undefined, 10_800, 'Cluster', undefined, undefined],
  );
  const headless = parseService(service({ clusterIP: 'None', clusterIPs: ['None'], ports: [] }));
  assert.ok(headless.ok && headless.value.headless && headless.value.clusterIPs.length === 0);
});

for (const [path, object] of [
  ['kind', service({})].map((each, i) =>
    i === 1 ? { ...(each as object), kind: 'Pod' } : each,
  ) as [string, unknown],
  ['metadata.name', { ...service({}), metadata: {} }],
  ['spec', service(undefined)],
  ['spec.type', service({ type: 'Magic' })],
  ['spec.clusterIPs[0]', service({ clusterIP: '10.0.0.256' })],
  ['spec.ports[0].port', service({ ports: [{ port: 0 }] })],
  ['spec.ports[0].port', service({ ports: [{}] })],
  ['spec.ports[0].protocol', service({ ports: [{ port: 1, protocol: 'ICMP' }] })],
  ['spec.ports[0].targetPort', service({ ports: [{ port: 1, targetPort: 70_000 }] })],
  [
    'spec.ports[1]',
    service({
      ports: [
        { port: 1, name: 'a' },
        { port: 1, name: 'b' },
      ],
    }),
  ],
  ['spec.ports[1]', service({ ports: [{ port: 1 }, { port: 2 }] })],
  ['spec.sessionAffinity', service({ sessionAffinity: 'Cookie' })],
  [
    'spec.sessionAffinityConfig.clientIP.timeoutSeconds',
    service({
      sessionAffinity: 'ClientIP',
      sessionAffinityConfig: { clientIP: { timeoutSeconds: 0 } },
    }),
  ],
  ['spec.internalTrafficPolicy', service({ internalTrafficPolicy: 'Zone' })],
  ['spec.publishNotReadyAddresses', service({ publishNotReadyAddresses: 'yes' })],
  ['spec.selector[a]', service({ selector: { a: 1 } })],
  [
    'metadata.annotations[service.cilium.io/lb-algorithm]',
    service({}, { annotations: { 'service.cilium.io/lb-algorithm': 'luck' } }),
  ],
  ['spec.externalIPs[0]', service({ externalIPs: ['127.0.0.1'] })],
  ['spec.externalIPs[0]', service({ externalIPs: ['fe80::1'] })],
  [
    'spec.loadBalancerSourceRanges[1]',
    service({ type: 'LoadBalancer', loadBalancerSourceRanges: ['10.0.0.0/8', '10.0.0.0'] }),
  ],
  ...(
    [
      ['service.cilium.io/forwarding-mode', 'hybrid'],
      ['causeway.io/health-check', 'udp'],
      ['causeway.io/health-check', 'http:ready'],
      ['causeway.io/health-check', 'http:/ready HTTP/1.1\r\nx: y'],
      ['causeway.io/health-check-interval', '100ms'],
      ['causeway.io/health-check-interval', '1h'],
      ['causeway.io/health-check-timeout', '10s'],
      ['causeway.io/health-check-port', '0'],
      ['causeway.io/health-check-healthy', '11'],
      ['causeway.io/health-check-unhealthy', 'many'],
    ] as const
  ).map(([name, value]) => [
    `metadata.annotations[${name}]`,
    service({}, { annotations: { 'causeway.io/health-check': 'tcp', [name]: value } }),
  ]),
] as [string, unknown][]) {
  test(`refused at ${path}: ${JSON.stringify(object).slice(70, 150)}`, () => {
    const parsed = parseService(object);
    assert.ok(
      !parsed.ok && parsed.problems.some((each) => each.path === path),
      JSON.stringify(parsed),
    );
  });
}

test('conditions that are not given mean what the API says', () => {
  const states = (conditions: unknown) => {
    const parsed = parseEndpointSlice(
      slice({ endpoints: [{ addresses: ['10.0.0.1'], conditions }] }),
    );
    assert.ok(parsed.ok);
    const { ready, serving, terminating } = parsed.value.endpoints[0]!;
    return [ready, serving, terminating];
  };
  assert.deepEqual(states(undefined), [true, true, false]);
  assert.deepEqual(states({ ready: null }), [true, true, false]);
  assert.deepEqual(states({ ready: false }), [false, false, false]);
  assert.deepEqual(states({ ready: false, serving: true, terminating: true }), [false, true, true]);
});

test('slices: every port with the first address; names and strangers give nothing', () => {
  const parsed = parseEndpointSlice(
    slice({
      ports: [{ name: 'a', port: 1 }, { name: 'b', port: 2, protocol: 'UDP' }, { name: 'c' }],
      endpoints: [
        {
          addresses: ['10.0.0.1', '10.0.0.2'],
          nodeName: 'n1',
          zone: 'z',
          targetRef: { name: 'p', namespace: 'shop' },
        },
      ],
    }),
  );
  assert.ok(parsed.ok);
  assert.deepEqual(
    parsed.value.endpoints.map((each) => [
      each.portName,
      each.protocol,
      each.address,
      each.port,
      each.node,
      each.target,
    ]),
    [
      ['a', 'TCP', '10.0.0.1', 1, 'n1', 'shop/p'],
      ['b', 'UDP', '10.0.0.1', 2, 'n1', 'shop/p'],
    ],
  );
  const names = parseEndpointSlice(
    slice({ addressType: 'FQDN', endpoints: [{ addresses: ['x.example'] }] }),
  );
  assert.ok(names.ok && names.value.endpoints.length === 0);
  const nobody = parseEndpointSlice(slice({}, {}));
  assert.ok(nobody.ok && nobody.value.service === undefined);
  assert.equal(parseEndpointSlice(slice({ addressType: undefined })).ok, false);
  assert.equal(parseEndpointSlice(slice({ endpoints: [{ addresses: ['x'] }] })).ok, false);
  // Else a slice could have every node send to itself, or to its cloud's metadata.
  for (const address of ['127.0.0.1', '169.254.169.254', '0.0.0.0', '224.0.0.1'])
    assert.equal(parseEndpointSlice(slice({ endpoints: [{ addresses: [address] }] })).ok, false);
});

test('any JSON gives a value or problems, never an exception', () => {
  fc.assert(
    fc.property(fc.anything(), fc.anything(), (a, b) => {
      for (const parse of [parseService, parseEndpointSlice, parsePod]) {
        for (const kind of ['Service', 'EndpointSlice', 'Pod']) {
          const apiVersion = kind === 'EndpointSlice' ? 'discovery.k8s.io/v1' : 'v1';
          const parsed = parse({
            apiVersion,
            kind,
            metadata: { name: 'x', labels: a },
            spec: { ports: a, containers: b, clusterIPs: a, selector: b },
            status: b,
            addressType: 'IPv4',
            endpoints: b,
            ports: a,
          });
          if (!parsed.ok) assert.ok(parsed.problems.length > 0);
        }
        parse(a);
      }
    }),
    { numRuns: 200 },
  );
});
