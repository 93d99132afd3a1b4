/**
 * What policy costs: traffic to pods that allow 1, 100 and 10,000 identities (the last by 1,000 rules)
 * against a pod without policy beside them; how long a policy takes from `apply` to every one of 100
 * endpoints; how long a new identity takes from the store into the kernel, and with how many writes.
 */
import type { ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { maps } from '@causeway/datapath';
import type { Kv } from '@causeway/etcd';
import { nodePaths } from '@causeway/lab';
import { BpfMap } from '@causeway/linux';
import { identityKey } from '@causeway/mesh';
import type { ResourceStore } from '@causeway/resources';
import {
  type Bar,
  type Benchmark,
  compare,
  type Figure,
  quantile,
  ratioBar,
} from './lib/benchmark.ts';
import { labelsText, numberOf, openStore, putIdentities } from './lib/identities.ts';
import { startChild } from './lib/interrupt.ts';
import { type BenchLab, benchLab, twoNodes } from './lib/site.ts';
import {
  connectRate,
  iperfServer,
  type Place,
  requestResponse,
  requestServer,
  tcpStream,
  webServer,
} from './lib/traffic.ts';

const PORTS = [5201, 8080, 11111, 19765, 19766];
const CLIENT = 'main/default/client';
const CROWD = 100;
/** Identities beside the client's own, and the rules that name them. */
const TIERS = [
  { server: 'none', identities: 0, rules: 0 },
  { server: 'again', identities: 0, rules: 0 },
  { server: 'one', identities: 1, rules: 1 },
  { server: 'hundred', identities: 100, rules: 10 },
  { server: 'many', identities: 10_000, rules: 1000 },
] as const;
type Tier = (typeof TIERS)[number];

/** Names of variants as they are printed. */
const variantOf = ({ server, identities, rules }: Tier): string => {
  if (server === 'none') return 'no policy';
  if (server === 'again') return 'no policy, again';
  const count = (what: number, one: string, many: string): string =>
    `${what.toLocaleString('en')} ${what === 1 ? one : many}`;
  return `${count(identities, 'identity', 'identities')}, ${count(rules, 'rule', 'rules')}`;
};

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** The client may come in by the first rule; every further rule names ten identities and one port. */
function tierPolicy(tier: Tier): unknown {
  return {
    apiVersion: 'cilium.io/v2',
    kind: 'CiliumNetworkPolicy',
    metadata: { name: `tier-${tier.server}`, namespace: 'default' },
    spec: {
      endpointSelector: { matchLabels: { app: tier.server } },
      ingress: Array.from({ length: tier.rules }, (_, rule) => ({
        fromEndpoints: [
          { matchLabels: { app: 'client' } },
          ...(tier.rules > 1 ? [{ matchLabels: { group: `${tier.server}-${rule}` } }] : []),
        ].slice(rule === 0 ? 0 : 1),
        toPorts: [
          {
            ports:
              rule === 0
                ? PORTS.map((port) => ({ port: String(port), protocol: 'TCP' }))
                : [{ port: String(portOf(rule)), protocol: 'TCP' }],
          },
        ],
      })),
    },
  };
}

const portOf = (rule: number): number => 1024 + rule;

const CROWD_POLICY = {
  apiVersion: 'networking.k8s.io/v1',
  kind: 'NetworkPolicy',
  metadata: { name: 'crowd', namespace: 'default' },
  spec: {
    podSelector: { matchLabels: { app: 'crowd' } },
    policyTypes: ['Ingress'],
    ingress: [{ from: [{ podSelector: { matchLabels: { app: 'client' } } }] }],
  },
};

interface PolicyRow {
  readonly id: number;
  readonly pod: string;
  readonly ingress: string;
}

async function policyRows(site: BenchLab): Promise<PolicyRow[]> {
  const all = await Promise.all(
    ['n1', 'n2'].map(async (node) => (await site.lab.agent(node).get('/v1/policy')) as PolicyRow[]),
  );
  return all.flat();
}

/** Waits until so many of the crowd are enforced. */
async function enforced(site: BenchLab, count: number): Promise<void> {
  for (let attempt = 0; attempt < 6000; attempt += 1) {
    const rows = (await policyRows(site)).filter(({ pod }) => pod.startsWith('default/crowd-'));
    if (rows.filter(({ ingress }) => ingress === 'enforced').length === count) return;
    await sleep(4);
  }
  throw new Error(`not ${count} endpoints of the crowd are enforced after 30 seconds`);
}

/** Echo requests every 5 ms; `lastAnswer` is when, on the clock of `Date.now`. */
class Prober implements Disposable {
  readonly #child: ChildProcess;
  #last = 0;

  constructor(place: Place, address: string) {
    const argv = [...place, 'ping', '-n', '-D', '-i', '0.005', address];
    this.#child = startChild(argv, { stdio: ['ignore', 'pipe', 'ignore'] });
    this.#child.stdout?.on('data', (chunk: Buffer) => {
      for (const [, seconds] of chunk.toString().matchAll(/^\[(\d+\.\d+)\] \d+ bytes from/gm))
        this.#last = Number(seconds) * 1000;
    });
  }

  get lastAnswer(): number {
    return this.#last;
  }

  /** True once answers come, or false once none came for a while. */
  async until(answering: boolean): Promise<void> {
    for (let attempt = 0; attempt < 1000; attempt += 1) {
      if (Date.now() - this.#last < 100 === answering) return;
      await sleep(10);
    }
    throw new Error(`the probe ${answering ? 'is not answered' : 'is still answered'} after 10 s`);
  }

  [Symbol.dispose](): void {
    this.#child.kill('SIGKILL');
  }
}

/** `apply` until the agents say so, and until the last packet that came through. */
async function applyUntilEnforced(
  site: BenchLab,
  store: ResourceStore,
  probers: readonly Prober[],
): Promise<{ tables: number; packets: number }> {
  await Promise.all(probers.map((prober) => prober.until(true)));
  const started = Date.now();
  await store.apply([CROWD_POLICY]);
  await enforced(site, CROWD);
  const tables = Date.now() - started;
  await Promise.all(probers.map((prober) => prober.until(false)));
  const packets = Math.max(...probers.map((prober) => prober.lastAnswer)) - started;
  await store.delete('NetworkPolicy', { namespace: 'default', name: 'crowd' });
  await enforced(site, 0);
  return { tables, packets: Math.max(0, packets) };
}

/** The kernel's maps of a node that policy is written to, by what they hold. */
class KernelPolicy implements Disposable {
  readonly #maps: readonly BpfMap[];

  constructor(lab: string, node: string) {
    const directory = join(nodePaths(lab, node).bpffs, 'causeway', 'maps');
    this.#maps = ['policy', 'policy_info', 'endpoints'].map((name) =>
      BpfMap.openPinned(join(directory, name)),
    );
  }

  has(policyId: number, identity: number, port: number): boolean {
    const key = {
      policyId,
      identity,
      direction: 0,
      protocol: 6,
      portBits: 16,
      pad: 0,
      port,
      pad2: 0,
    };
    return this.#maps[0]?.has(maps.policy.key.encode(key as never)) ?? false;
  }

  /** Every entry of every map. Hits of policy entries do not count: the programs write those. */
  snapshot(): Map<string, string> {
    const all = new Map<string, string>();
    this.#maps.forEach((map, index) => {
      for (const [key, value] of map.entries()) {
        const written = index === 0 ? value.subarray(0, 8) : value;
        all.set(
          `${index} ${Buffer.from(key).toString('hex')}`,
          Buffer.from(written).toString('hex'),
        );
      }
    });
    return all;
  }

  [Symbol.dispose](): void {
    for (const map of this.#maps) map.close();
  }
}

function changes(before: Map<string, string>, after: Map<string, string>): number {
  let count = 0;
  for (const [key, value] of after) if (before.get(key) !== value) count += 1;
  for (const key of before.keys()) if (!after.has(key)) count += 1;
  return count;
}

/** One identity of a rule's group: from the store's put to the kernel's entry, and what was written. */
async function newIdentity(
  kv: Kv,
  kernel: KernelPolicy,
  policyId: number,
  group: { readonly name: string; readonly port: number },
  number: number,
): Promise<{ ms: number; writes: number }> {
  const before = kernel.snapshot();
  const started = performance.now();
  const text = labelsText('main', { group: group.name, newcomer: String(number) });
  await kv.put(identityKey(number), text);
  while (!kernel.has(policyId, number, group.port)) {
    if (performance.now() - started > 10_000)
      throw new Error(`identity ${number} is not in the kernel after ten seconds`);
    await new Promise((resolve) => setImmediate(resolve));
  }
  const ms = performance.now() - started;
  await sleep(100);
  const writes = changes(before, kernel.snapshot());
  await kv.delete(identityKey(number));
  while (kernel.has(policyId, number, group.port)) await sleep(5);
  return { ms, writes };
}

function plainFigure(
  metric: string,
  unit: string,
  variant: string,
  reference: string,
  samples: readonly number[],
  base: readonly number[],
): Figure {
  const [own, other] = [quantile(samples, 0.5), quantile(base, 0.5)];
  return {
    metric,
    unit,
    better: 'lower',
    variant,
    median: own,
    samples,
    reference,
    ratio: own / other,
  };
}

const policy: Benchmark = async ({ quick, log }) => {
  const rounds = quick ? 2 : 5;
  const seconds = 1;
  const identities = quick ? 1000 : 10_000;
  const servers = TIERS.map(
    ({ server }) => `      - {name: ${server}, node: n2, labels: {app: ${server}}}\n`,
  ).join('');
  const crowd = ['n1', 'n2']
    .map(
      (node) => `      - {name: crowd-${node}, node: ${node}, count: 50, labels: {app: crowd}}\n`,
    )
    .join('');
  await using site = await benchLab(
    'bench-policy',
    twoNodes({ mode: 'native', net: 64, extra: servers + crowd }),
    log,
  );
  await using stack = new AsyncDisposableStack();
  const store = await site.lab.cluster().store();
  const kv = stack.use(await openStore(site.lab.cluster().etcd.socket));
  log(`${identities} identities into the store`);
  await putIdentities(kv, 'main', identities, (index) => ({
    group: index < 100 ? `hundred-${index % 10}` : `many-${index % 1000}`,
    member: String(index),
  }));
  await store.apply(TIERS.filter(({ rules }) => rules > 0).map(tierPolicy));
  for (const { server, rules } of TIERS) {
    if (rules === 0) continue;
    for (let attempt = 0; ; attempt += 1) {
      const row = (await policyRows(site)).find(({ pod }) => pod === `default/${server}`);
      if (row?.ingress === 'enforced') break;
      if (attempt > 300) throw new Error(`${server} is not enforced`);
      await sleep(100);
    }
  }
  const kernel = stack.use(new KernelPolicy(site.lab.name, 'n2'));
  log(`${kernel.snapshot().size} entries in the kernel's maps of n2`);

  const figures: Figure[] = [];
  const bars: Bar[] = [];
  const client = site.place(CLIENT);
  const addresses = new Map<string, string>();
  for (const { server } of TIERS) {
    const place = site.place(`main/default/${server}`);
    addresses.set(server, await site.address(`main/default/${server}`, 'ipv4'));
    stack.use(await iperfServer(place));
    stack.use(await requestServer(place));
    stack.use(await webServer(place));
  }
  const kinds = [
    ['TCP stream', 'Gbit/s', (to: string) => tcpStream(client, to, seconds)],
    [
      'TCP request/response on one processor',
      'exchanges/s',
      (to: string) => requestResponse(client, to, 1, true),
    ],
    ['new connections', 'connections/s', (to: string) => connectRate(client, to, 3000)],
  ] as const;
  for (const [metric, unit, one] of kinds) {
    const own = await compare(
      {
        metric,
        unit,
        better: 'higher',
        reference: 'no policy',
        rounds,
        variants: Object.fromEntries(
          TIERS.map((tier) => [variantOf(tier), () => one(addresses.get(tier.server) ?? '')]),
        ),
      },
      log,
    );
    figures.push(...own);
    // What two pods without policy differ by is noise: half of the rounds differ by more than this.
    const noise = noiseOf(own);
    const limit = Math.min(0.97, Number((1 - noise).toFixed(3)));
    for (const tier of TIERS.slice(2)) bars.push(ratioBar(own, metric, variantOf(tier), limit));
  }

  const near = site.place('main/default/near');
  using onFirst = new Prober(near, await site.address('main/default/crowd-n1-50', 'ipv4'));
  using onSecond = new Prober(near, await site.address('main/default/crowd-n2-50', 'ipv6'));
  const tables: number[] = [];
  const packets: number[] = [];
  for (let round = -1; round < (quick ? 2 : 9); round += 1) {
    const took = await applyUntilEnforced(site, store, [onFirst, onSecond]);
    if (round < 0) continue;
    tables.push(took.tables);
    packets.push(took.packets);
  }
  const whole = `apply to enforced on ${CROWD} endpoints of two nodes`;
  figures.push(
    plainFigure(whole, 'ms', "in the agents' tables", "in the agents' tables", tables, tables),
    plainFigure(
      whole,
      'ms',
      'last packet that came through',
      "in the agents' tables",
      packets,
      tables,
    ),
  );

  const rows = await policyRows(site);
  const groups = [
    { variant: 'among 100 identities', tier: 'hundred', name: 'hundred-5', port: portOf(5) },
    { variant: 'among 10,000 identities', tier: 'many', name: 'many-5', port: portOf(5) },
  ].map((group) => ({
    ...group,
    policyId: rows.find(({ pod }) => pod === `default/${group.tier}`)?.id ?? 0,
    ms: [] as number[],
    writes: [] as number[],
  }));
  for (let round = -1; round < (quick ? 5 : 25); round += 1) {
    for (const [index, group] of groups.entries()) {
      const number = numberOf(20_000 + round * groups.length + index + groups.length);
      const took = await newIdentity(kv, kernel, group.policyId, group, number);
      if (round < 0) continue;
      group.ms.push(took.ms);
      group.writes.push(took.writes);
    }
  }
  const [few] = groups;
  for (const { variant, ms, writes } of groups) {
    const reference = few?.variant ?? '';
    figures.push(
      plainFigure('new identity: store to kernel', 'ms', variant, reference, ms, few?.ms ?? ms),
      plainFigure(
        'new identity: map entries written',
        'entries',
        variant,
        reference,
        writes,
        few?.writes ?? writes,
      ),
    );
    bars.push({
      what: `new identity ${variant}: map entries written, worst case`,
      wanted: '1',
      got: String(Math.max(...writes)),
      met: Math.max(...writes) === 1,
    });
  }
  return {
    figures,
    bars,
    notes: [
      `noise: median distance from 1 of the two pods without policy, round by round: ${kinds
        .map(([metric]) => {
          const own = figures.filter((figure) => figure.metric === metric);
          return `${metric} ${noiseOf(own).toFixed(3)}`;
        })
        .join(', ')}; a bar is 0.97 or one less this, whichever is lower.`,
      'probes: echo requests every 5 ms from a pod that the policy shuts out, one over IPv4 on its node, one over IPv6 to the other.',
      'entries written: differences of policy, policy_info and endpoints before and after, at one node.',
    ],
  };
};

function noiseOf(figures: readonly Figure[]): number {
  const none = figures.find(({ variant }) => variant === 'no policy')?.samples ?? [];
  const again = figures.find(({ variant }) => variant === 'no policy, again')?.samples ?? [];
  return quantile(
    again.map((value, round) => Math.abs(1 - value / (none[round] ?? Number.NaN))),
    0.5,
  );
}

export default policy;
