import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Address } from '@causeway/ip';
import {
  type CommandResult,
  echoServers,
  inParallel,
  type Lab,
  type LabAgent,
  type LabClusterFace,
  type LoadTarget,
  podPlace,
  type TrafficResult,
  until,
} from '@causeway/lab';
import { parseManifests, type Resource } from '@causeway/resources';
import type { Report } from './report.ts';

const EXAMPLES = join(import.meta.dirname, '../../examples');
const CAUSEWAY = new URL('../../packages/cli/bin/causeway', import.meta.url).pathname;
const FAMILIES = ['ipv4', 'ipv6'] as const;
/** Long enough to tell silence from slowness on a busy machine. */
const SILENCE_SECONDS = 1;
/** Of what a command says: more is no story. */
const MOST_LINES = 24;
/** From `apply` to enforced everywhere; far more than it takes. */
const SETTLE_MS = 8000;

export type Family = (typeof FAMILIES)[number];
export type Outcome = TrafficResult['outcome'];

export interface Expectation {
  readonly what: string;
  readonly wanted: Outcome;
  readonly attempt: (seconds: number) => Promise<TrafficResult>;
  /** What the answer must say. */
  readonly answer?: (answer: string) => boolean;
}

/** Who asks whom at which port, over both families. */
type Asked = [what: string, from: string, to: string, port: number, wanted: Outcome];

/** The running lab as the demonstration's acts see it. */
export class Site {
  readonly lab: Lab;
  /** The first of the lab's clusters: where examples go unless a cluster is named. */
  readonly cluster: LabClusterFace;
  readonly report: Report;
  readonly #addresses = new Map<string, readonly Address[]>();
  readonly #services = new Map<string, readonly Address[]>();

  constructor(lab: Lab, report: Report) {
    this.lab = lab;
    this.cluster = lab.clusters[0]!;
    this.report = report;
  }

  /** Of all clusters. */
  get agents(): readonly LabAgent[] {
    return this.lab.clusters.flatMap(({ agents }) => agents);
  }

  /** A pod by its name, with its namespace before it if that is not `default`; any other place by its own. */
  place(name: string): string {
    const [own, namespace = 'default'] = name.split('/').reverse();
    const pod = this.lab.pods.find(
      (candidate) => candidate.namespace === namespace && candidate.name === own,
    );
    return pod === undefined ? name : podPlace(pod);
  }

  async address(name: string, family: Family): Promise<Address> {
    const place = this.place(name);
    const known =
      this.#addresses.get(place) ?? (await this.lab.addresses(place)).map(Address.parse);
    this.#addresses.set(place, known);
    return known.find((address) => Address.family(address) === family)!;
  }

  /** Servers that echo datagrams, in pods by name. */
  echo(names: readonly string[], port: number): Promise<AsyncDisposableStack> {
    return echoServers(
      this.lab,
      names.map((name) => this.place(name)),
      port,
    );
  }

  /** Both addresses of each pod. */
  async loadTargets(names: readonly string[], port: number): Promise<LoadTarget[]> {
    const targets: LoadTarget[] = [];
    for (const name of names)
      for (const family of FAMILIES)
        targets.push({ name, address: await this.address(name, family), port });
    return targets;
  }

  /** Runs a command on this machine: the command line's own programs. */
  run([file, ...argv]: readonly string[]): Promise<CommandResult> {
    return new Promise((resolve) =>
      execFile(file!, argv, (error, stdout, stderr) =>
        resolve({ code: error === null ? 0 : Number(error.code ?? 1), stdout, stderr }),
      ),
    );
  }

  /** A service's cluster address, as it was when first asked for: it may be asked for while the store is away. */
  async service(name: string, family: Family, cluster = this.cluster): Promise<Address> {
    const key = `${cluster.plan.name} ${name}`;
    const known = this.#services.get(key) ?? (await clusterIPs(cluster, name));
    this.#services.set(key, known);
    const address = known.find((each) => Address.family(each) === family);
    if (address === undefined) throw new Error(`service ${name} has no ${family} address`);
    return address;
  }

  /** One expectation a family, about traffic between two addresses. */
  both(make: (family: Family) => Promise<Expectation>): Promise<Expectation[]> {
    return Promise.all(
      FAMILIES.map(async (family) => {
        const one = await make(family);
        return { ...one, what: `${one.what} over ${family === 'ipv4' ? 'IPv4' : 'IPv6'}` };
      }),
    );
  }

  http(...asked: Asked): Promise<Expectation[]> {
    return this.#reaches('http', asked);
  }

  tcp(...asked: Asked): Promise<Expectation[]> {
    return this.#reaches('tcp', asked);
  }

  #reaches(by: 'http' | 'tcp', [what, from, to, port, wanted]: Asked): Promise<Expectation[]> {
    return this.both(async (family) => {
      const address = await this.address(to, family);
      return {
        what,
        wanted,
        attempt: (seconds) => this.lab.traffic[by](this.place(from), address, port, { seconds }),
      };
    });
  }

  /** Tries until it is as expected: what was applied a moment ago may still be on its way to a node. */
  async expect(expectations: readonly Expectation[]): Promise<void> {
    const results = await inParallel(
      expectations,
      4,
      async ({ wanted, attempt, answer = () => true }) => {
        let last: TrafficResult | undefined;
        const met = (result: TrafficResult): boolean =>
          result.outcome === wanted && answer(result.answer);
        await until(
          'expectation',
          async () => {
            last = await attempt(SILENCE_SECONDS);
            return met(last) ? undefined : last.outcome;
          },
          { timeoutMs: SETTLE_MS },
        ).catch(() => {});
        return last === undefined
          ? { met: false, detail: 'was not tried' }
          : { met: met(last), detail: words(last) };
      },
    );
    for (const [i, { met, detail }] of results.entries()) {
      const { what, wanted } = expectations[i]!;
      this.report.check(what, met, met ? detail : `wanted ${OUTCOME_WORDS[wanted]}, got ${detail}`);
    }
  }

  /** Applies files of examples/, as `causeway apply -f` does. */
  apply(...files: string[]): Promise<readonly Resource[]> {
    return this.applyIn(this.cluster, ...files);
  }

  async applyIn(cluster: LabClusterFace, ...files: string[]): Promise<readonly Resource[]> {
    const objects = files.flatMap((file) => manifests(file));
    const { results } = await (await cluster.store()).apply(objects);
    const where = this.lab.clusters.length === 1 ? '' : ` in ${cluster.plan.name}`;
    this.report.note(`applied ${files.map((file) => `examples/${file}`).join(', ')}${where}`);
    return results.map(({ object }) => object);
  }

  /** The text of a file of examples/. */
  example(file: string): string {
    return readFileSync(join(EXAMPLES, file), 'utf8');
  }

  /** Runs the command line against a cluster of the lab, shows what it says and wants it to succeed. */
  async causeway(cluster: LabClusterFace, ...argv: string[]): Promise<string> {
    const context = `lab:${this.lab.name}/${cluster.plan.name}`;
    const { code, stdout, stderr } = await this.run([CAUSEWAY, '--context', context, ...argv]);
    const all = (stdout || stderr).split('\n').filter((line) => line.trim() !== '');
    const lines = all.length > MOST_LINES ? [...all.slice(0, MOST_LINES), '...'] : all;
    this.report.note(
      [`causeway ${argv.join(' ')}`, ...lines.map((line) => `  ${line.trimEnd()}`)].join('\n'),
    );
    const words = argv.filter((word, i) => word !== '--node' && argv[i - 1] !== '--node');
    this.report.check(`causeway ${words.join(' ')} answers`, code === 0, '');
    return stdout;
  }
}

async function clusterIPs(cluster: LabClusterFace, name: string): Promise<Address[]> {
  const store = await cluster.store();
  const { spec } = await store.get('Service', { namespace: 'default', name });
  return (spec.clusterIPs ?? []).map(Address.parse);
}

export function manifests(file: string): unknown[] {
  return parseManifests(readFileSync(join(EXAMPLES, file), 'utf8')).map(({ value }) => value);
}

const OUTCOME_WORDS: Readonly<Record<Outcome, string>> = {
  answered: 'an answer',
  refused: 'a refusal at once',
  timeout: 'silence',
  unreachable: 'an ICMP error',
  failed: 'a failure',
};

function words({ outcome, answer, detail, milliseconds }: TrafficResult): string {
  const took = `${milliseconds.toFixed(0)} ms`;
  if (outcome === 'answered')
    return answer.startsWith('PING ') ? took : `${firstLine(answer) || 'answered'}, ${took}`;
  return outcome === 'failed' ? firstLine(detail) : `${OUTCOME_WORDS[outcome]}, ${took}`;
}

function firstLine(text: string): string {
  return text.split('\n', 1)[0] ?? '';
}
