/**
 * Live TCP connections from outside to a service behind four edge nodes: how many live on when an edge node
 * is cut off in silence, when it comes back, when one of a hundred backends goes, when one is added, and
 * when flows meet another edge node after that, which knows nothing of them but the Maglev table. Beside them
 * connections straight to pods over the same switches: what they lose, the client's own path lost.
 */
import {
  type FlowCount,
  FlowServers,
  Flows,
  type Lab,
  type PodPlan,
  podPlace,
  sumFlows,
} from '@causeway/lab';
import type { Bar, Benchmark, Context, Figure } from './lib/benchmark.ts';
import { median } from './lib/benchmark.ts';
import { EDGES, EdgeSite, TALK } from './lib/edge.ts';

const CLIENTS = ['client-1', 'client-2'] as const;
/** A retransmission comes after 0.2, 0.6, 1.4, 3 and 6.2 seconds. */
const ANSWER_SECONDS = 8;
const BACKENDS = 100;
/**
 * Another port than the service's: a client may use one port of its own for the service and for a pod, which
 * in DSR would see the same connection twice.
 */
const DIRECT = TALK + 1;
/** A backend less moves its own connections and, by Maglev's paper, about as many again between the others. */
const MAGLEV_SHARE = 1 - 2 / BACKENDS;

/** All clients' connections, to the service and straight to pods. */
class Crowd {
  readonly #flows: readonly Flows[];
  readonly #backends: ReadonlySet<string>;

  private constructor(flows: readonly Flows[], backends: ReadonlySet<string>) {
    this.#flows = flows;
    this.#backends = backends;
  }

  static async open(
    lab: Lab,
    stack: AsyncDisposableStack,
    to: { readonly vips: readonly string[]; readonly pods: readonly string[] },
    count: number,
  ): Promise<Crowd> {
    const target = (name: string, port: number) => (address: string) => ({ name, address, port });
    const flows: Flows[] = [];
    for (const client of CLIENTS)
      for (const [targets, share] of [
        [to.vips.map(target('service', TALK)), count],
        [to.pods.map(target('pod', DIRECT)), count / 10],
      ] as const) {
        const request = { targets, flows: Math.ceil(share / CLIENTS.length / targets.length) };
        flows.push(stack.use(await Flows.open(lab, client, request)));
      }
    const opened = flows.flatMap((each) => each.opened);
    const { lost } = sumFlows(opened);
    if (lost > 0) throw new Error(`${lost} connections did not open`);
    return new Crowd(flows, new Set(opened.map(({ backend }) => backend)));
  }

  get backends(): number {
    return this.#backends.size;
  }

  async check(): Promise<FlowCount[]> {
    return (await Promise.all(this.#flows.map((each) => each.check(ANSWER_SECONDS)))).flat();
  }
}

interface Outcome {
  readonly what: string;
  readonly service: number;
  readonly pod: number;
  readonly lost: number;
  readonly flows: number;
}

/** One sequence of events; `edges` are the nodes that go and come. */
async function sequence(
  site: EdgeSite,
  edges: readonly [string, string],
  count: number,
  log: Context['log'],
): Promise<Outcome[]> {
  const { lab } = site;
  await using stack = new AsyncDisposableStack();
  const places = lab.pods.map(podPlace);
  const servers = stack.use(await FlowServers.start(lab, 'w1', places, TALK));
  stack.use(await FlowServers.start(lab, 'w1', places.slice(0, 10), DIRECT));
  const pods = (await Promise.all(places.slice(0, 10).map((place) => lab.addresses(place)))).flat();
  const vips = await site.addresses();
  const crowd = await Crowd.open(lab, stack, { vips, pods }, count);
  log(`${count} connections to ${crowd.backends} backends`);
  const outcomes: Outcome[] = [];
  const judge = async (what: string, gone?: string): Promise<void> => {
    const counts = (await crowd.check()).filter(({ backend }) => backend !== gone);
    const [service, pod] = ['service', 'pod'].map((name) =>
      sumFlows(counts.filter(({ target }) => target === name)),
    );
    outcomes.push({
      what,
      service: service!.kept,
      pod: pod!.kept,
      lost: service!.lost,
      flows: service!.flows,
    });
    log(
      `${what}: ${service!.lost} of ${service!.flows} lost; straight to pods ${pod!.lost} of ${pod!.flows}`,
    );
  };
  await judge('nothing happens');
  const [first, second] = edges;
  await lab.freeze(first);
  await site.paths(EDGES.filter((name) => name !== first));
  await judge('an edge node is cut off');
  await lab.thaw(first);
  await site.paths(EDGES);
  await judge('an edge node is added');

  const victim = lab.pods.at(-1)!;
  await servers.close(victim.name);
  await lab.removePod(podPlace(victim));
  await site.backends(BACKENDS - 1);
  await judge('a backend of 100 goes', victim.name);
  await lab.freeze(second);
  await site.paths(EDGES.filter((name) => name !== second));
  await judge('an edge node is cut off with a backend gone');
  await lab.thaw(second);
  await site.paths(EDGES);
  await judge('it is added again with a backend gone');
  const added: PodPlan = { ...victim, name: `${victim.name}-again` };
  await lab.addPods([added]);
  await site.backends(BACKENDS);
  await judge('a backend is added');
  await lab.removePod(podPlace(added));
  await lab.addPods([victim]);
  await site.backends(BACKENDS);
  return outcomes;
}

const BARS: Readonly<Record<string, number>> = {
  'nothing happens': 1,
  'an edge node is cut off': 0.99,
  'an edge node is added': 0.99,
  'a backend of 100 goes': 0.99,
  'an edge node is cut off with a backend gone': MAGLEV_SHARE,
  'it is added again with a backend gone': MAGLEV_SHARE,
  'a backend is added': 0.99,
};

const edgeFlows: Benchmark = async ({ quick, log }) => {
  const count = quick ? 1000 : 10_000;
  const rounds = quick ? 1 : 3;
  await using site = await EdgeSite.start('bench-edge', BACKENDS, log);
  const all: Outcome[] = [];
  for (let round = 0; round < rounds; round += 1) {
    const edges = [EDGES[round % 4]!, EDGES[(round + 1) % 4]!] as const;
    all.push(...(await sequence(site, edges, count, log)));
  }
  const figures: Figure[] = [];
  const bars: Bar[] = [];
  for (const [what, bar] of Object.entries(BARS)) {
    const own = all.filter((outcome) => outcome.what === what);
    const ratios = own.map(({ service, pod }) => Math.min(1, service / pod));
    for (const [variant, of] of [
      ['straight to pods', ({ pod }: Outcome) => pod],
      ['through the edge', ({ service }: Outcome) => service],
    ] as const) {
      const samples = own.map(of);
      figures.push({
        metric: `share kept when ${what}`,
        unit: 'of live connections',
        better: 'higher',
        variant,
        median: median(samples),
        samples,
        reference: 'straight to pods',
        ratio: variant === 'straight to pods' ? 1 : median(ratios),
      });
    }
    bars.push({
      what: `${what}: connections kept beyond what the path itself lost, the worst of ${own.length}`,
      wanted: `at least ${bar}`,
      got: Math.min(...ratios).toFixed(4),
      met: Math.min(...ratios) >= bar,
    });
  }
  return {
    figures,
    bars,
    notes: [
      `${count} connections of both families from two clients to ${BACKENDS} backends; a connection is kept when it answers within ${ANSWER_SECONDS} s`,
      'connections to the backend that goes are not counted',
    ],
  };
};

export default edgeFlows;
