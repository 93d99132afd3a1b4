/**
 * Twenty pods a second on one node, over three borders of pod CIDRs: how long each ADD takes at the agent's socket,
 * against the same pods at the same pace inside one CIDR. Growth is ahead of need, so a border should not be felt.
 */
import { type Bar, type Benchmark, type Figure, median, quantile } from './lib/benchmark.ts';
import { namespaces } from './lib/namespaces.ts';
import { attachPod, detachPod } from './lib/pods.ts';
import { type BenchLab, benchLab } from './lib/site.ts';

const PACE_MS = 50;
/** A CIDR of /27 has 29 addresses for pods: 110 of them and the one that stays are in four, behind three borders. */
const PODS = 110;
const CIDR_LENGTH = 27;
/** With one pod and sixteen addresses ahead of need a node keeps so many of them. */
const SPARE = 2;

const LAB = `
racks: [{name: rack, ipv4: 192.168.64.0/24, ipv6: "fd64::/64"}]
clusters:
  - name: main
    id: 1
    routing: {mode: tunnel}
    podCIDRs: {ipv4: 10.64.0.0/16, ipv6: "fd64:1::/48"}
    operators: 1
    nodes: [{name: n1, rack: rack}]
`;

const pool = (name: string, ipv4: string, ipv6: string, lengths: readonly [number, number]) => ({
  apiVersion: 'cilium.io/v2alpha1',
  kind: 'CiliumPodIPPool',
  metadata: { name },
  spec: {
    ipv4: { cidrs: [ipv4], maskSize: lengths[0] },
    ipv6: { cidrs: [ipv6], maskSize: lengths[1] },
  },
});

/** Every use begins with the same few CIDRs: what the last round left is given back at once. */
const options = (name: string) => ({
  apiVersion: 'causeway.io/v1',
  kind: 'PodIPPoolOptions',
  metadata: { name },
  spec: { preAllocate: 16, marks: { high: 0.8, low: 0.3, lowForSeconds: 1 } },
});

const VARIANTS = { 'one CIDR': 'wide', 'three borders': 'narrow' } as const;

interface NodeView {
  readonly cidrs: readonly {
    readonly pool: string;
    readonly family: string;
    readonly phase: string;
  }[];
}

const cidrsOf = async (site: BenchLab, of: string): Promise<number> => {
  const { cidrs } = (await site.lab.agent('n1').get('/v1/ipam')) as NodeView;
  return cidrs.filter((each) => each.pool === of && each.family === 'ipv4').length;
};

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

async function until(what: string, condition: () => Promise<boolean>): Promise<void> {
  const end = performance.now() + 120_000;
  while (performance.now() < end) {
    if (await condition()) return;
    await sleep(100);
  }
  throw new Error(`still not after two minutes: ${what}`);
}

const podName = (kind: string, index: number): string => `${kind}-${index}`;

/** What the answer took, ms. */
async function attach(site: BenchLab, pod: string, netns: string): Promise<number> {
  const { ms, status, body } = await attachPod(site, pod, netns);
  if (status !== 201) throw new Error(`the agent answers ${status}: ${JSON.stringify(body)}`);
  return ms;
}

/** One burst at its pace, whatever the answers take; the milliseconds of each from question to answer. */
async function burst(site: BenchLab, kind: string, tag: string): Promise<number[]> {
  const started = performance.now();
  const one = async (index: number): Promise<number> => {
    await sleep(Math.max(0, started + index * PACE_MS - performance.now()));
    return await attach(site, podName(kind, index), `${tag}${index}`);
  };
  const all = await Promise.all(Array.from({ length: PODS }, (_, index) => one(index)));
  return all;
}

async function clear(site: BenchLab, kind: string): Promise<void> {
  for (let index = 0; index < PODS; index += 1) await detachPod(site, podName(kind, index));
}

const ipamBurst: Benchmark = async ({ quick, log }) => {
  const rounds = quick ? 2 : 5;
  const tag = `cwi${process.pid}n`;
  using _namespaces = namespaces(tag, PODS + 2);
  await using site = await benchLab('bench-ipam', LAB, log);
  const store = await site.lab.cluster().store();
  await store.apply([
    pool('wide', '10.65.0.0/16', 'fd65::/64', [22, 118]),
    options('wide'),
    pool('narrow', '10.66.0.0/16', 'fd66::/64', [CIDR_LENGTH, 123]),
    options('narrow'),
  ]);
  const pods = (kind: string, names: readonly string[]) =>
    names.map((name) => ({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: {
        name,
        namespace: 'default',
        annotations: { 'ipam.cilium.io/ip-pool': kind },
      },
      spec: { containers: [{ name: 'main' }] },
    }));
  const names = Array.from({ length: PODS }, (_, index) => index);
  for (const [index, kind] of Object.values(VARIANTS).entries()) {
    await store.apply(pods(kind, [`anchor-${kind}`, ...names.map((each) => podName(kind, each))]));
    // One that stays, so that the node has a CIDR of the pool: the very first of a pool does wait for the operator.
    await attach(site, `anchor-${kind}`, `${tag}${PODS + index}`);
  }
  const samples: Record<string, number[][]> = { 'one CIDR': [], 'three borders': [] };
  const grown: number[] = [];
  for (let round = -1; round < rounds; round += 1) {
    const order = Object.entries(VARIANTS);
    for (const [variant, kind] of round % 2 === 0 ? order : order.toReversed()) {
      // Which node the pods go to is not in the store: nothing but the burst itself says that they come.
      const ms = await burst(site, kind, tag);
      const cidrs = await cidrsOf(site, kind);
      if (round >= 0) {
        samples[variant]?.push(ms);
        if (kind === 'narrow') grown.push(cidrs);
      }
      await clear(site, kind);
      await until('what is spare goes back', async () => (await cidrsOf(site, kind)) <= SPARE);
    }
    if (round >= 0) log(`round ${round + 1} of ${rounds}`);
  }
  const figures = (
    [
      ['p50', 0.5],
      ['p99', 0.99],
    ] as const
  ).flatMap(([label, share]): Figure[] => {
    const of = (variant: string) => (samples[variant] ?? []).map((ms) => quantile(ms, share));
    const base = of('one CIDR');
    return Object.keys(VARIANTS).map((variant) => ({
      metric: `ADD at 20 a second, question to answer at the socket, ${label}`,
      unit: 'ms',
      better: 'lower',
      variant,
      median: median(of(variant)),
      samples: of(variant),
      reference: 'one CIDR',
      ratio: median(of(variant).map((value, index) => value / (base[index] ?? Number.NaN))),
    }));
  });
  const worst = figures.find(
    ({ metric, variant }) => metric.endsWith('p99') && variant === 'three borders',
  );
  const bars: Bar[] = [
    {
      what: 'CIDRs that a burst came to, at the least',
      wanted: '4 or more',
      got: String(Math.min(...grown)),
      met: Math.min(...grown) >= 4,
    },
    {
      what: 'ADD over three borders, p99: nobody waits for the operator',
      wanted: 'under 50 ms',
      got: `${worst?.median.toFixed(1)} ms`,
      met: (worst?.median ?? Number.POSITIVE_INFINITY) < 50,
    },
  ];
  return {
    figures,
    bars,
    notes: [
      `${PODS} pods, one every ${PACE_MS} ms, both families; CIDRs of /${CIDR_LENGTH} and /123 against /22 and /118.`,
      'a wait for the operator would be 3 s at most, and an ADD that fails ends the benchmark.',
    ],
  };
};

export default ipamBurst;
