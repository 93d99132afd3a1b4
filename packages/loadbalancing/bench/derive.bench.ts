/*
 * node packages/loadbalancing/bench/derive.bench.ts: services of ten backends each, from objects to map
 * writes. Prints JSON, milliseconds, medians of five.
 */
import { type Algorithm, Balancer, maglevTable, SLOTS_PER_CHUNK } from '../index.ts';

const BACKENDS = 10;

function objects(count: number) {
  const list: object[] = [];
  for (let i = 0; i < count; i++) {
    const name = `service-${i}`;
    list.push({
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name, namespace: 'bench' },
      spec: {
        clusterIPs: [`10.96.${i >> 8}.${i & 255}`],
        ports: [{ port: 80, targetPort: 8080 }],
        selector: { app: name },
      },
    });
    list.push(slice(i, BACKENDS));
  }
  return list;
}

function slice(i: number, backends: number) {
  const name = `service-${i}`;
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: {
      name: `${name}-a`,
      namespace: 'bench',
      labels: { 'kubernetes.io/service-name': name },
    },
    addressType: 'IPv4',
    ports: [{ port: 8080 }],
    endpoints: Array.from({ length: backends }, (_, b) => {
      const n = i * BACKENDS + b;
      return {
        addresses: [`10.${1 + (n >> 16)}.${(n >> 8) & 255}.${n & 255}`],
        conditions: { ready: true },
        nodeName: `n${b}`,
      };
    }),
  };
}

const median = (values: number[]) =>
  Math.round(values.sort((a, b) => a - b)[values.length >> 1]! * 1000) / 1000;
const time = (work: () => void) => {
  const begin = performance.now();
  work();
  return performance.now() - begin;
};

function measure(count: number, defaultAlgorithm: Algorithm) {
  const list = objects(count);
  let writes = 0;
  let balancer = new Balancer({ node: 'n1', defaultAlgorithm, resolveSelectors: false });
  const all = Array.from({ length: 5 }, () =>
    time(() => {
      balancer = new Balancer({ node: 'n1', defaultAlgorithm, resolveSelectors: false });
      for (const each of list) {
        if ((each as { kind: string }).kind === 'Service') balancer.applyService(each);
        else balancer.applyEndpointSlice(each);
      }
      writes = balancer.flush().length;
    }),
  );
  let changed = 0;
  const one = Array.from({ length: 201 }, (_, i) =>
    time(() => {
      balancer.applyEndpointSlice(slice(i % count, i % 2 === 0 ? BACKENDS - 1 : BACKENDS));
      changed = Math.max(changed, balancer.flush().length);
    }),
  );
  return {
    deriveMs: median(all),
    writes,
    oneBackendMs: median(one),
    oneBackendWritesAtMost: changed,
  };
}

const result: Record<string, unknown> = { backendsEach: BACKENDS };
for (const algorithm of ['random', 'maglev'] as const) {
  for (const count of [10, 1_000, 10_000])
    result[`${algorithm} ${count}`] = measure(count, algorithm);
}
const keys = Array.from({ length: 1000 }, (_, i) => ({ key: `10.0.${i >> 8}.${i & 255}:80/TCP` }));
result['maglev table of 131071 slots, 1000 backends, ms'] = median(
  Array.from({ length: 5 }, () => time(() => void maglevTable(keys, 131_071))),
);

/** Bytes of slot rows, key and value, that one address for clients outside takes. */
function slotBytes(backends: number): number {
  const balancer = new Balancer({
    node: 'n1',
    defaultAlgorithm: 'maglev',
    resolveSelectors: false,
  });
  const [service] = objects(1);
  balancer.applyService(service);
  balancer.applyEndpointSlice(slice(0, backends));
  const writes = balancer.flush().filter(({ type }) => type === 'slots-put');
  return writes.length * (8 + 4 * SLOTS_PER_CHUNK);
}
for (const backends of [1, 2, 10, 100, 1_000]) {
  result[`slots of one address with ${backends} backends, bytes`] = slotBytes(backends);
}
console.log(JSON.stringify(result, null, 2));
