import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { LabError } from '../errors.ts';
import { nodeCgroup } from '../host/enter.ts';
import { nodePaths } from '../host/names.ts';
import { launch, runningProcess, signalProcess } from '../host/process.ts';
import { until } from '../host/wait.ts';
import type { ClusterPlan, NodePlan } from '../plan/types.ts';
import { type AgentAnswer, askAgent } from './agent-api.ts';
import type { LabContext } from './context.ts';
import type { LabEtcd } from './etcd.ts';

const PROGRAM = join(import.meta.dirname, '../../../cli/bin/causeway');
const END_MS = 15_000;

/** One node's agent: the real program, in the node's namespaces. */
export class LabAgent {
  readonly node: NodePlan;
  readonly #context: LabContext;
  readonly #cluster: ClusterPlan;

  constructor(context: LabContext, cluster: ClusterPlan, node: NodePlan) {
    this.#context = context;
    this.#cluster = cluster;
    this.node = node;
  }

  get socket(): string {
    return this.#paths.agentSocket;
  }

  get log(): string {
    return this.#paths.agentLog;
  }

  get pid(): number | undefined {
    return runningProcess(this.#paths.agentPid)?.pid;
  }

  /** Writes its configuration file. */
  configure(etcd: LabEtcd): void {
    writeFileSync(this.#paths.agentConfig, stringify(this.configuration(etcd.endpoints)));
  }

  /** The agent's configuration file, as an administrator would write it for this node. */
  configuration(endpoints: readonly string[]): Record<string, unknown> {
    const { settings } = this.#cluster;
    const podCIDRs = [settings.podCIDRs.ipv4, settings.podCIDRs.ipv6].filter(
      (cidr) => cidr !== undefined,
    );
    return {
      cluster: { name: this.#cluster.name, id: this.#cluster.id },
      node: { name: this.node.name },
      etcd: { endpoints },
      routingMode: settings.routing.mode,
      tunnel: {
        port: settings.routing.tunnelPort,
        underlayFamily: settings.routing.underlayFamily,
      },
      families: settings.families,
      nativeRoutingCIDRs: podCIDRs,
      masquerade: settings.masquerade,
      devices: ['eth0'],
      socketLB: settings.socketLB,
      serviceCIDRs: settings.serviceCIDRs,
      runDir: '/run/causeway',
      bpffs: '/sys/fs/bpf/causeway',
      cgroup: this.#cgroup,
      ...settings.agent,
    };
  }

  /** Starts the program; it is ready when `/v1/status` says so, not when this returns. */
  async start(): Promise<void> {
    if (this.pid !== undefined) return;
    const { agentConfig, agentLog, agentPid } = this.#paths;
    const place = this.#context.find(this.node.name);
    const argv = [PROGRAM, 'agent', '--config', agentConfig];
    await launch([...this.#context.prefix(place), ...argv], agentLog, agentPid);
  }

  /** Sends a signal and, for those that end it, waits until it is gone. */
  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    if (
      !signalProcess(this.#paths.agentPid, signal) ||
      signal === 'SIGSTOP' ||
      signal === 'SIGCONT'
    )
      return;
    await until(
      `end of the agent on ${this.node.name}`,
      () => (this.pid === undefined ? undefined : 'it runs'),
      { timeoutMs: END_MS, hint: `its log is ${this.log}` },
    );
  }

  async restart(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    await this.kill(signal);
    await this.start();
  }

  ask(
    method: 'GET' | 'POST' | 'PATCH' | 'DELETE',
    path: string,
    body?: unknown,
  ): Promise<AgentAnswer> {
    return askAgent(this.socket, method, path, body);
  }

  /** The body of a GET; an answer that is no success is a LabError `agent-failed`. */
  async get(path: string): Promise<unknown> {
    const { status, body } = await this.ask('GET', path);
    if (status >= 200 && status < 300) return body;
    throw new LabError(
      'agent-failed',
      `the agent on ${this.node.name} answers ${path} with ${status}`,
      {
        value: body,
        hint: `its log is ${this.log}`,
      },
    );
  }

  /** What keeps it from being ready, in words; throws when the program has ended. */
  async missing(): Promise<string | undefined> {
    if (this.pid === undefined)
      throw new LabError(
        'agent-failed',
        `the agent on ${this.node.name} ended: ${lastWords(this.log)}`,
        { value: this.node.name, hint: `its log is ${this.log}` },
      );
    let status: { ready?: unknown; reasons?: unknown };
    try {
      status = (await this.get('/v1/status')) as typeof status;
    } catch (error) {
      if (error instanceof LabError) return 'its API does not answer';
      throw error;
    }
    if (status.ready === true) return undefined;
    return Array.isArray(status.reasons) && status.reasons.length > 0
      ? status.reasons.join('; ')
      : 'it is not ready';
  }

  get #cgroup(): string {
    return nodeCgroup(this.#context.state.cgroupRoot, this.#context.names, this.node.name);
  }

  get #paths() {
    return nodePaths(this.#context.state.name, this.node.name);
  }
}

/** The program's own last word if it had one, else the end of its log. */
function lastWords(log: string): string {
  try {
    const lines = readFileSync(log, 'utf8').trimEnd().split('\n');
    const word = lines.findLastIndex((line) => line.startsWith('causeway: '));
    const words = word < 0 ? lines.slice(-3) : lines.slice(word, word + 4);
    return words.join(' | ').slice(0, 800);
  } catch {
    return '(no log)';
  }
}
