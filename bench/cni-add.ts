/**
 * ADD and DEL as a container runtime sees them: the whole plugin call from fork to exit, one after the
 * other and a hundred at once, against Debian's `ptp` with `host-local` in a namespace of its own; and at
 * our agent, as its own status says.
 */
import { type ChildProcess, execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import type { AgentStatus } from '@causeway/agent';
import {
  type Bar,
  type Benchmark,
  type Figure,
  median,
  quantile,
  ratioBar,
} from './lib/benchmark.ts';
import type { RunnerAnswer, RunnerRequest } from './lib/cni-runner.ts';
import { startChild, temporaryDirectory } from './lib/interrupt.ts';
import { namespaces, withoutDuplicateDetection } from './lib/namespaces.ts';
import { type BenchLab, benchLab } from './lib/site.ts';
import type { Place } from './lib/traffic.ts';

const OURS = join(import.meta.dirname, '../packages/cni/bin/causeway-cni');
const PTP = '/usr/lib/cni/ptp';
const RUNNER = join(import.meta.dirname, 'lib/cni-runner.ts');
const BURST = 100;

const LAB = `
racks: [{name: rack, ipv4: 192.168.60.0/24, ipv6: "fd60::/64"}]
clusters:
  - name: main
    id: 1
    routing: {mode: native}
    podCIDRs: {ipv4: 10.60.0.0/16, ipv6: "fd60:1::/48", nodeLength: {ipv4: 18}}
    nodes: [{name: n1, rack: rack}]
`;

/** A runtime in a place; see cni-runner.ts. */
class Runtime implements Disposable {
  readonly #child: ChildProcess;
  readonly #answers: Interface;
  readonly #next: AsyncIterator<string>;

  constructor(place: Place) {
    const argv = [...place, process.execPath, RUNNER];
    this.#child = startChild(argv, { stdio: ['pipe', 'pipe', 'inherit'] });
    if (this.#child.stdout === null) throw new Error('the runtime has no standard output');
    this.#answers = createInterface({ input: this.#child.stdout });
    this.#next = this.#answers[Symbol.asyncIterator]();
  }

  async run(request: RunnerRequest): Promise<readonly number[]> {
    this.#child.stdin?.write(`${JSON.stringify(request)}\n`);
    const { value, done } = await this.#next.next();
    if (done) throw new Error('the runtime has ended');
    const answer = JSON.parse(value) as RunnerAnswer;
    if (answer.failures.length > 0)
      throw new Error(`${answer.failures.length} calls failed, such as ${answer.failures[0]}`);
    return answer.ms;
  }

  [Symbol.dispose](): void {
    this.#child.kill('SIGKILL');
    this.#answers.close();
  }
}

/** A plugin under test: where it runs, and what it is told of the `index`-th pod. */
interface Contender {
  readonly name: string;
  readonly runtime: Runtime;
  readonly plugin: string;
  readonly input: string;
  readonly environment: (index: number) => Readonly<Record<string, string>>;
}

function calls(
  contender: Contender,
  command: 'ADD' | 'DEL',
  count: number,
  atOnce: number,
): Promise<readonly number[]> {
  return contender.runtime.run({
    plugin: contender.plugin,
    atOnce,
    calls: Array.from({ length: count }, (_, index) => ({
      env: { CNI_COMMAND: command, CNI_IFNAME: 'eth0', ...contender.environment(index) },
      input: contender.input,
    })),
  });
}

const podName = (index: number): string => `bench-${index}`;
const containerId = (index: number): string => index.toString(16).padStart(64, 'b');

interface Samples {
  readonly [contender: string]: number[][];
}

/** Figures of one command in one way: quantiles of each round's calls. */
function figuresOf(metric: string, samples: Samples): Figure[] {
  return [
    ['p50', 0.5],
    ['p99', 0.99],
  ].flatMap(([label, share]) => {
    const of = (name: string): number[] =>
      (samples[name] ?? []).map((round) => quantile(round, Number(share)));
    const base = of('ptp');
    return Object.keys(samples).map((variant) => {
      const own = of(variant);
      return {
        metric: `${metric}, ${label}`,
        unit: 'ms',
        better: 'lower' as const,
        variant,
        median: median(own),
        samples: own,
        reference: 'ptp',
        ratio: median(own.map((value, round) => value / (base[round] ?? Number.NaN))),
      };
    });
  });
}

/** Rounds of ADDs and DELs, the contenders in turn. */
async function measure(
  contenders: readonly Contender[],
  way: { readonly name: string; readonly count: number; readonly atOnce: number },
  rounds: number,
  log: (line: string) => void,
): Promise<Figure[]> {
  const adds: Samples = Object.fromEntries(contenders.map(({ name }) => [name, []]));
  const dels: Samples = Object.fromEntries(contenders.map(({ name }) => [name, []]));
  for (let round = -1; round < rounds; round += 1) {
    const order = round % 2 === 0 ? contenders : contenders.toReversed();
    for (const contender of order) {
      const add = await calls(contender, 'ADD', way.count, way.atOnce);
      const del = await calls(contender, 'DEL', way.count, way.atOnce);
      if (round < 0) continue;
      adds[contender.name]?.push([...add]);
      dels[contender.name]?.push([...del]);
    }
    if (round >= 0) log(`${way.name}: round ${round + 1} of ${rounds}`);
  }
  return [...figuresOf(`ADD ${way.name}`, adds), ...figuresOf(`DEL ${way.name}`, dels)];
}

async function latencyOf(site: BenchLab): Promise<AgentStatus['latency']> {
  return ((await site.lab.agent('n1').get('/v1/status')) as AgentStatus).latency;
}

function agentFigures(way: string, latency: AgentStatus['latency']): Figure[] {
  return (['add', 'del'] as const).flatMap((command) =>
    (['p50Ms', 'p99Ms', 'maxMs'] as const).map((key) => ({
      metric: `${command.toUpperCase()} ${way}, at the agent, ${key.replace('Ms', '')}`,
      unit: 'ms',
      better: 'lower' as const,
      variant: `${latency[command].count} requests`,
      median: latency[command][key],
      samples: [latency[command][key]],
      reference: 'itself',
      ratio: 1,
    })),
  );
}

/**
 * A hundred requests at once over the agent's socket, without plugins: from the question to its answer,
 * the wait for the others before it included.
 */
async function socketBursts(
  site: BenchLab,
  rounds: number,
  netns: (index: number) => string,
): Promise<Figure[]> {
  const agent = site.lab.agent('n1');
  const samples = { ADD: [] as number[][], DEL: [] as number[][] };
  const all = (one: (index: number) => ReturnType<typeof agent.ask>): Promise<number[]> =>
    Promise.all(
      Array.from({ length: BURST }, async (_, index) => {
        const started = performance.now();
        const { status, body } = await one(index);
        if (status >= 300) throw new Error(`the agent answers ${status}: ${JSON.stringify(body)}`);
        return performance.now() - started;
      }),
    );
  for (let round = -1; round < rounds; round += 1) {
    const add = await all((index) =>
      agent.ask('POST', '/v1/endpoints', {
        containerId: containerId(index),
        netns: netns(index),
        ifname: 'eth0',
        podNamespace: 'default',
        podName: podName(index),
      }),
    );
    const del = await all((index) =>
      agent.ask('DELETE', `/v1/endpoints/by-container/${containerId(index)}/eth0`),
    );
    if (round < 0) continue;
    samples.ADD.push(add);
    samples.DEL.push(del);
  }
  return (['ADD', 'DEL'] as const).flatMap((command) =>
    (
      [
        ['p50', 0.5],
        ['p99', 0.99],
      ] as const
    ).map(([label, share]) => {
      const own = samples[command].map((round) => quantile(round, share));
      return {
        metric: `${command} ${BURST} at once, question to answer at the socket, ${label}`,
        unit: 'ms',
        better: 'lower' as const,
        variant: 'causeway',
        median: median(own),
        samples: own,
        reference: 'itself',
        ratio: 1,
      };
    }),
  );
}

const cniAdd: Benchmark = async ({ quick, log }) => {
  const rounds = quick ? 2 : 5;
  const singles = quick ? 10 : 30;
  const pid = process.pid;
  using stack = new DisposableStack();
  await using site = await benchLab('bench-cni', LAB, log);
  stack.use(namespaces(`cwb${pid}o`, BURST));
  withoutDuplicateDetection(`cwb${pid}o`, BURST);
  stack.use(namespaces(`cwb${pid}p`, BURST));
  withoutDuplicateDetection(`cwb${pid}p`, BURST);
  stack.use(namespaces(`cwb${pid}h`, 1));
  withoutDuplicateDetection(`cwb${pid}h`, 1);
  const host = `cwb${pid}h0`;
  execFileSync('ip', ['-n', host, 'link', 'set', 'lo', 'up']);
  const data = stack.use(temporaryDirectory()).path;

  const store = await site.lab.cluster().store();
  const labels = { app: 'bench' };
  await store.apply(
    Array.from({ length: BURST }, (_, index) => ({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: podName(index), namespace: 'default', labels },
      spec: { nodeName: 'n1', containers: [{ name: 'main' }] },
    })),
  );
  const contenders: Contender[] = [
    {
      name: 'ptp',
      runtime: stack.use(new Runtime(['nsenter', `--net=/run/netns/${host}`])),
      plugin: PTP,
      input: JSON.stringify({
        cniVersion: '1.0.0',
        name: 'bench',
        type: 'ptp',
        ipam: {
          type: 'host-local',
          dataDir: data,
          ranges: [[{ subnet: '10.61.0.0/16' }], [{ subnet: 'fd61::/64' }]],
          routes: [{ dst: '0.0.0.0/0' }, { dst: '::/0' }],
        },
      }),
      environment: (index) => ({
        CNI_CONTAINERID: containerId(index),
        CNI_NETNS: `/run/netns/cwb${pid}p${index}`,
        CNI_PATH: '/usr/lib/cni',
      }),
    },
    {
      name: 'causeway',
      runtime: stack.use(new Runtime(site.place('n1'))),
      plugin: OURS,
      input: JSON.stringify({ cniVersion: '1.0.0', name: 'bench', type: 'causeway-cni' }),
      environment: (index) => ({
        CNI_CONTAINERID: containerId(index),
        CNI_NETNS: `/run/netns/cwb${pid}o${index}`,
        CNI_PATH: join(OURS, '..'),
        CNI_ARGS: `IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=${podName(index)}`,
      }),
    },
  ];

  const one = { name: 'one by one', count: singles, atOnce: 1 };
  const burst = { name: `${BURST} at once`, count: BURST, atOnce: BURST };
  const figures = await measure(contenders, one, rounds, log);
  figures.push(...agentFigures(one.name, await latencyOf(site)));
  // The agent keeps its last thousand durations: a new one has those of the bursts alone.
  await site.lab.agent('n1').restart();
  await site.lab.settled();
  figures.push(...(await measure(contenders, burst, rounds, log)));
  const atAgent = await latencyOf(site);
  figures.push(...agentFigures(burst.name, atAgent));

  figures.push(...(await socketBursts(site, rounds, (index) => `/run/netns/cwb${pid}o${index}`)));

  const bars: Bar[] = (['add', 'del'] as const).map((command) => ({
    what: `${command.toUpperCase()} ${burst.name}, at the agent, p99`,
    wanted: 'under 50 ms',
    got: `${atAgent[command].p99Ms} ms`,
    met: atAgent[command].p99Ms < 50,
  }));
  for (const way of [one, burst])
    for (const command of ['ADD', 'DEL'])
      bars.push(ratioBar(figures, `${command} ${way.name}, p50`, 'causeway', 1.5));
  return {
    figures,
    bars,
    notes: [
      'ptp runs without masquerading rules and without portmap; both attach IPv4 and IPv6.',
      'at the agent: from the start of the work on a request to its end; at the socket: with the wait for the requests before it.',
      'the first ADDs of an agent, when its code is cold, are among the figures at the agent.',
    ],
  };
};

export default cniAdd;
