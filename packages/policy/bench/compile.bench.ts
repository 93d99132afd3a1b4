/*
 * node packages/policy/bench/compile.bench.ts: the engine at the size of a busy node in a large
 * cluster. Prints JSON: milliseconds, medians of seven, and the map writes of one new identity.
 */
import { podLabels } from '@causeway/identity';
import { PolicyEngine } from '../index.ts';

const IDENTITIES = 10_000;
const RULES = 1_000;
const ENDPOINTS = 100;
const NAMESPACES = 50;

const labelsOf = (i: number) =>
  podLabels({
    cluster: 'bench',
    namespace: `ns-${i % NAMESPACES}`,
    labels: { app: `app-${i % 400}`, tier: `tier-${i % 7}`, pod: `p-${i}` },
    namespaceLabels: { team: `team-${(i % NAMESPACES) % 5}` },
  });

/** @param dense each endpoint has 100 rules that select 286 identities each, many of them the same. */
function policyOf(i: number, dense: boolean) {
  const from = dense
    ? {
        matchLabels: {
          'k8s:io.cilium.k8s.namespace.labels.team': `team-${i % 5}`,
          tier: `tier-${i % 7}`,
        },
      }
    : {
        matchLabels: {
          'k8s:io.kubernetes.pod.namespace': `ns-${(i * 7) % NAMESPACES}`,
          app: `app-${(i * 7) % 400}`,
        },
      };
  const own = dense ? { matchLabels: {} } : { matchLabels: { tier: `tier-${i % 7}` } };
  return {
    apiVersion: 'cilium.io/v2',
    kind: 'CiliumNetworkPolicy',
    metadata: { name: `policy-${i}`, namespace: `ns-${i % (dense ? 10 : NAMESPACES)}` },
    spec: {
      endpointSelector: own,
      ingress: [
        {
          fromEndpoints: [from],
          toPorts: [
            { ports: [{ port: String(dense && i < RULES ? 8080 : 1000 + i), protocol: 'TCP' }] },
          ],
        },
      ],
    },
  };
}

function build(dense: boolean): { engine: PolicyEngine; milliseconds: number; entries: number } {
  const engine = new PolicyEngine({ cluster: 'bench', families: ['ipv4', 'ipv6'] });
  const labels = Array.from({ length: IDENTITIES }, (_, i) => labelsOf(i));
  const manifests = Array.from({ length: RULES }, (_, i) => policyOf(i, dense));
  const begin = performance.now();
  labels.forEach((each, i) => void engine.setIdentity(1000 + i, each));
  for (let i = 0; i < ENDPOINTS; i++) {
    const at = dense ? (i % 10) + Math.floor(i / 10) * NAMESPACES : i;
    engine.setEndpoint({
      id: i + 1,
      identity: 1000 + at,
      labels: labels[at]!,
      namedPorts: [],
      audit: false,
    });
  }
  for (const each of manifests) if (!engine.apply(each).ok) throw new Error('refused');
  const diff = engine.flush();
  const milliseconds = performance.now() - begin;
  return {
    engine,
    milliseconds,
    entries: diff.sets.reduce((sum, each) => sum + each.upserts.length, 0),
  };
}

const median = (values: number[]) => values.sort((a, b) => a - b)[values.length >> 1]!;
const round = (value: number) => Math.round(value * 1000) / 1000;

function measure(dense: boolean) {
  const compiles: number[] = [];
  let last = build(dense);
  for (let i = 0; i < 7; i++) {
    last = build(dense);
    compiles.push(last.milliseconds);
  }
  const { engine, entries } = last;
  const timed = (count: number, work: (i: number) => number) => {
    const times: number[] = [];
    let writes = 0;
    for (let i = 0; i < count; i++) {
      const begin = performance.now();
      writes += work(i);
      times.push(performance.now() - begin);
    }
    return { ms: round(median(times)), worstMs: round(Math.max(...times)), writes: writes / count };
  };
  const flush = () =>
    engine.flush().sets.reduce((sum, each) => sum + each.upserts.length + each.deletes.length, 0);
  return {
    entries,
    compileMs: round(median(compiles)),
    addIdentity: timed(200, (i) => {
      engine.setIdentity(
        50_000 + i,
        labelsOf(i * 13).with([{ source: 'k8s', key: 'pod', value: `new-${i}` }]),
      );
      return flush();
    }),
    addPolicy: timed(200, (i) => {
      engine.apply({
        ...policyOf(i, dense),
        metadata: { name: `late-${i}`, namespace: `ns-${i % 10}` },
      });
      return flush();
    }),
    whatIf: timed(5, (i) => {
      const m = {
        ...policyOf(i + RULES, dense),
        metadata: { name: `maybe-${i}`, namespace: `ns-${i % 10}` },
      };
      return engine.whatIf({ manifests: [m] }).pairs.length;
    }),
    heapMiB: Math.round(process.memoryUsage().heapUsed / 2 ** 20),
  };
}

console.log(
  JSON.stringify(
    {
      identities: IDENTITIES,
      rules: RULES,
      endpoints: ENDPOINTS,
      sparse: measure(false),
      dense: measure(true),
    },
    null,
    2,
  ),
);
