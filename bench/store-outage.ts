/**
 * The cluster's store is away for ten minutes while pods come and go on a node and two others talk: what an ADD costs
 * meanwhile, what fails, whether an address is given twice, and how soon all is told once the store is back.
 */
import { type Bar, type Benchmark, median, ownFigure, quantile } from './lib/benchmark.ts';
import { namespaces } from './lib/namespaces.ts';
import { attachPod, detachPod } from './lib/pods.ts';
import { type BenchLab, benchLab } from './lib/site.ts';

const AWAY_SECONDS = { full: 600, quick: 40 };
const STEP_MS = 2_000;
/** Pods on the node at a time, and in all: an address rests for 30 s before it is given again. */
const STANDING = 20;
const PODS = 60;

const LAB = `
racks: [{name: rack, ipv4: 192.168.66.0/24, ipv6: "fd66::/64"}]
clusters:
  - name: main
    id: 1
    routing: {mode: tunnel}
    podCIDRs: {ipv4: 10.66.0.0/16, ipv6: "fd66:1::/48"}
    operators: 1
    nodes: [{name: n1, rack: rack}, {name: n2, rack: rack}]
    pods:
      - {name: client, node: n1}
      - {name: server, node: n2, serve: [{port: 80, type: http}]}
`;

const podName = (index: number): string => `pod-${index % PODS}`;
const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

interface Attached {
  readonly addresses: { readonly ipv4?: string; readonly ipv6?: string };
}

/** Pods of n1 in turn: each step the oldest goes and another comes. */
class Turnover {
  readonly #site: BenchLab;
  readonly #tag: string;
  readonly #standing = new Map<number, readonly string[]>();
  #next = 0;
  readonly adds: number[] = [];
  failures = 0;
  twice = 0;

  constructor(site: BenchLab, tag: string) {
    this.#site = site;
    this.#tag = tag;
  }

  async fill(): Promise<void> {
    while (this.#standing.size < STANDING) await this.#add();
  }

  async step(): Promise<void> {
    const [oldest] = this.#standing.keys();
    if (oldest !== undefined) await this.#remove(oldest);
    await this.#add();
  }

  async #add(): Promise<void> {
    const index = this.#next++;
    const netns = `${this.#tag}${index % PODS}`;
    const { ms, status, body } = await attachPod(this.#site, podName(index), netns);
    this.adds.push(ms);
    if (status !== 201) {
      this.failures++;
      return;
    }
    const mine = Object.values((body as Attached).addresses);
    const others = new Set([...this.#standing.values()].flat());
    if (mine.some((address) => others.has(address))) this.twice++;
    this.#standing.set(index, mine);
  }

  async #remove(index: number): Promise<void> {
    if ((await detachPod(this.#site, podName(index))) !== 200) this.failures++;
    this.#standing.delete(index);
  }
}

const none = (what: string, got: number): Bar => ({
  what,
  wanted: 'none',
  got: String(got),
  met: got === 0,
});

const storeOutage: Benchmark = async ({ quick, log }) => {
  const seconds = quick ? AWAY_SECONDS.quick : AWAY_SECONDS.full;
  const tag = `cwo${process.pid}n`;
  using _namespaces = namespaces(tag, PODS);
  await using site = await benchLab('bench-outage', LAB, log);
  const { lab } = site;
  const store = await lab.cluster().store();
  await store.apply(
    Array.from({ length: PODS }, (_, index) => ({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: podName(index), namespace: 'default', labels: { app: 'turnover' } },
      spec: { nodeName: 'n1', containers: [{ name: 'main' }] },
    })),
  );
  const server = await site.address('main/default/server', 'ipv4');
  const turnover = new Turnover(site, tag);
  await turnover.fill();
  const before = [...turnover.adds];
  turnover.adds.length = 0;
  await lab.cluster().etcd.stop('SIGKILL');
  log(`the store is gone for ${seconds} s`);
  let unanswered = 0;
  const gone = performance.now();
  for (let step = 1; performance.now() - gone < seconds * 1000; step++) {
    await turnover.step();
    const { outcome } = await lab.traffic.http('main/default/client', server, 80);
    if (outcome !== 'answered') unanswered++;
    if (step % 30 === 0) log(`${Math.round((performance.now() - gone) / 1000)} s of ${seconds}`);
    await sleep(Math.max(0, gone + step * STEP_MS - performance.now()));
  }
  const back = performance.now();
  await lab.cluster().etcd.start();
  await lab.settled({ timeoutMs: 120_000 });
  const healed = (performance.now() - back) / 1000;
  await turnover.step();
  return {
    figures: [
      ownFigure('ADD before, p50', 'ms', [median(before)]),
      ownFigure('ADD while the store is away, p50', 'ms', [median(turnover.adds)]),
      ownFigure('ADD while the store is away, p99', 'ms', [quantile(turnover.adds, 0.99)]),
      ownFigure('from the start of the store until every table is whole again', 's', [healed]),
    ],
    bars: [
      none('ADDs and DELs that failed', turnover.failures),
      none('addresses given to two pods at a time', turnover.twice),
      none('requests between other pods that got no answer', unanswered),
    ],
    notes: [
      `${turnover.adds.length} pods came and went on a node of ${STANDING}, one every ${STEP_MS / 1000} s.`,
    ],
  };
};

export default storeOutage;
