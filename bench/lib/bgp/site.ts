/** Two namespaces with a cable: the router under test on one side, the load with all its addresses on the other. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import { cable, Namespace, type RunningRouter, type Usage } from '@causeway/speaker/testing';
import { takeAwayOnInterrupt } from '../interrupt.ts';
import type { Contender } from './contenders.ts';
import type { LoadAnswer, LoadPeer, LoadRequest } from './load.ts';
import { MONITOR, peerAddress, ROUTER, type Scenario } from './scenario.ts';

const LOAD = join(import.meta.dirname, 'load.ts');

export class Load implements Disposable {
  readonly #child: ChildProcess;
  readonly #lines: Interface;
  readonly #next: AsyncIterator<string>;

  constructor(namespace: Namespace) {
    const [file = '', ...rest] = [
      ...namespace.prefix,
      process.execPath,
      '--max-semi-space-size=64',
      LOAD,
    ];
    this.#child = spawn(file, rest, { stdio: ['pipe', 'pipe', 'inherit'] });
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

  /** @param peers how many addresses the load needs beside the monitor's */
  constructor(peers: number) {
    this.routerNamespace = this.#stack.use(new Namespace('r'));
    const loadNamespace = this.#stack.use(new Namespace('l'));
    this.#directory = mkdtempSync(join(tmpdir(), `causeway-bench-${process.pid}-`));
    this.#stack.defer(() => rmSync(this.#directory, { recursive: true, force: true }));
    // Thousands of neighbours on one cable are more than the kernel's neighbour table holds by default.
    for (const namespace of [this.routerNamespace, loadNamespace])
      namespace.sysctl({ 'net.core.somaxconn': 8192, 'net.ipv4.tcp_max_syn_backlog': 8192 });
    cable(
      { namespace: this.routerNamespace, device: 'load', addresses: [`${ROUTER.address}/16`] },
      { namespace: loadNamespace, device: 'router', addresses: [`${MONITOR.address}/16`] },
    );
    loadNamespace.ip(
      ...Array.from(
        { length: peers },
        (_, index) => `address add ${peerAddress(index)}/16 dev router`,
      ),
    );
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
