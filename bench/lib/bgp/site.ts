/** Two namespaces with a cable: the router under test on one side, the load with all its addresses on the other. */
import type { ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import { cable, Namespace, type RunningRouter, type Usage } from '@causeway/speaker/testing';
import { startChild, takeAwayOnInterrupt, temporaryDirectory } from '../interrupt.ts';
import type { Contender } from './contenders.ts';
import type { LoadAnswer, LoadPeer, LoadRequest } from './load.ts';
import { CLIENT_RANGE, LINK, MONITOR, peerAddress, ROUTER, type Scenario } from './scenario.ts';

const LOAD = join(import.meta.dirname, 'load.ts');

export class Load implements Disposable {
  readonly #child: ChildProcess;
  readonly #lines: Interface;
  readonly #next: AsyncIterator<string>;

  constructor(namespace: Namespace) {
    const argv = [...namespace.prefix, process.execPath, '--max-semi-space-size=64', LOAD];
    this.#child = startChild(argv, { stdio: ['pipe', 'pipe', 'inherit'] });
    if (this.#child.stdout === null) throw new Error('the load has no standard output');
    this.#lines = createInterface({ input: this.#child.stdout });
    this.#next = this.#lines[Symbol.asyncIterator]();
  }

  async ask(request: LoadRequest): Promise<LoadAnswer> {
    this.#child.stdin?.write(`${JSON.stringify(request)}\n`);
    const { value, done } = await this.#next.next();
    if (done) throw new Error('the load has ended');
    return JSON.parse(value) as LoadAnswer;
  }

  [Symbol.dispose](): void {
    this.#child.kill('SIGKILL');
    this.#lines.close();
  }
}

export class BgpSite implements AsyncDisposable {
  readonly routerNamespace: Namespace;
  readonly load: Load;
  readonly #stack = new DisposableStack();
  readonly #directory: string;
  #started = 0;
  #router: RunningRouter | undefined;

  /**
   * @param peers how many addresses the load needs beside the monitor's
   * @param way `direct`: all on one link, as external neighbours must be. `routed`: behind one next hop, for thousands of
   *   neighbours on a link are more than the kernel keeps (net.ipv4.neigh.default.gc_thresh3, one for all namespaces).
   */
  constructor(peers: number, way: 'direct' | 'routed' = 'direct') {
    this.routerNamespace = this.#stack.use(new Namespace('r'));
    const loadNamespace = this.#stack.use(new Namespace('l'));
    this.#directory = this.#stack.use(temporaryDirectory()).path;
    for (const namespace of [this.routerNamespace, loadNamespace])
      namespace.sysctl({ 'net.core.somaxconn': 8192, 'net.ipv4.tcp_max_syn_backlog': 8192 });
    const direct = way === 'direct';
    cable(
      {
        namespace: this.routerNamespace,
        device: 'load',
        addresses: [direct ? `${ROUTER.address}/16` : `${LINK.router}/30`],
      },
      {
        namespace: loadNamespace,
        device: 'router',
        addresses: [direct ? `${MONITOR.address}/16` : `${LINK.load}/30`],
      },
    );
    const device = direct ? 'router' : 'lo';
    const length = direct ? 16 : 32;
    loadNamespace.ip(
      ...Array.from(
        { length: peers },
        (_, index) => `address add ${peerAddress(index)}/${length} dev ${device}`,
      ),
    );
    if (!direct) {
      this.routerNamespace.ip(
        `address add ${ROUTER.address}/32 dev lo`,
        `route add ${CLIENT_RANGE} via ${LINK.load}`,
      );
      loadNamespace.ip(`route add ${ROUTER.address}/32 via ${LINK.router}`);
    }
    this.load = this.#stack.use(new Load(loadNamespace));
    this.#stack.defer(takeAwayOnInterrupt(() => this[Symbol.asyncDispose]()));
  }

  async start(contender: Contender, scenario: Scenario): Promise<RunningRouter> {
    this.#started += 1;
    const directory = join(this.#directory, `${contender.name}-${this.#started}`);
    this.#router = await contender.start(this.routerNamespace, directory, scenario);
    return this.#router;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#router?.[Symbol.asyncDispose]();
    this.#stack.dispose();
  }
}

/** The load's peers for the scenario's testers, in their order, and the monitor after them. */
export function loadPeers(
  scenario: Scenario,
  table: (index: number) => LoadPeer['table'],
  monitorCounts = true,
): LoadPeer[] {
  const peers: LoadPeer[] = scenario.testers.map(({ address, asn }, index) => {
    const own = table(index);
    return { local: address, asn, ...(own === undefined ? {} : { table: own }) };
  });
  if (scenario.monitor !== undefined)
    peers.push({
      local: scenario.monitor.address,
      asn: scenario.monitor.asn,
      counts: monitorCounts,
    });
  return peers;
}

/** What the router's processes used, those besides BGP included. */
export function usageOf(router: RunningRouter): Usage {
  const all = router.processes.map((process) => process.usage());
  const sum = (pick: (usage: Usage) => number): number =>
    all.reduce((total, usage) => total + pick(usage), 0);
  return {
    cpuMs: sum((usage) => usage.cpuMs),
    peakKib: sum((usage) => usage.peakKib),
    residentKib: sum((usage) => usage.residentKib),
  };
}

/** The answer, unless the load says that it failed. */
export async function must(asked: Promise<LoadAnswer>): Promise<LoadAnswer> {
  const answer = await asked;
  if (answer.failure !== undefined) throw new Error(answer.failure);
  return answer;
}
