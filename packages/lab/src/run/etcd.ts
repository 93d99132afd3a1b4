import { existsSync, mkdirSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { Address } from '@causeway/ip';
import { LabError } from '../errors.ts';
import { storePaths } from '../host/names.ts';
import { forget, launch, must, runningProcess, signalProcess } from '../host/process.ts';
import { until } from '../host/wait.ts';
import type { ClusterPlan } from '../plan/types.ts';
import type { LabContext } from './context.ts';
import { setCable } from './links.ts';

const CLIENT_PORT = 2379;
const START_MS = 20_000;

/** A cluster's etcd: a real one, in a namespace of its own on one of the racks. */
export class LabEtcd {
  readonly #context: LabContext;
  readonly #cluster: ClusterPlan;

  constructor(context: LabContext, cluster: ClusterPlan) {
    this.#context = context;
    this.#cluster = cluster;
  }

  /** URLs for those who stand in the lab's network: the agents. */
  get endpoints(): string[] {
    return this.#cluster.etcd.addresses.map(
      (address) => `http://${bracketed(address)}:${CLIENT_PORT}`,
    );
  }

  /** A Unix socket for those outside the lab's network: the CLI, tests. */
  get socket(): string {
    return this.#paths.socket;
  }

  /** Starts the store and the way to it, and waits until it answers. Nothing happens when it runs. */
  async start(): Promise<void> {
    const { directory, data, log, pid } = this.#paths;
    mkdirSync(directory, { recursive: true });
    if (runningProcess(pid) === undefined) {
      const listen = [`http://127.0.0.1:${CLIENT_PORT}`, ...this.endpoints].join(',');
      const argv = [
        'etcd',
        ...['--name', this.#cluster.name, '--data-dir', data],
        ...['--listen-client-urls', listen, '--advertise-client-urls', listen],
        // One member that talks to nobody: its peer address is only for itself.
        ...['--listen-peer-urls', 'http://127.0.0.1:2380'],
        ...['--initial-advertise-peer-urls', 'http://127.0.0.1:2380'],
        ...['--initial-cluster', `${this.#cluster.name}=http://127.0.0.1:2380`],
        ...['--logger', 'zap', '--log-level', 'warn', '--auto-compaction-retention', '1h'],
      ];
      await launch([...this.#prefix(), ...argv], log, pid);
    }
    await this.#startForwarder();
    await until(`etcd of cluster ${this.#cluster.name}`, () => this.#missing(), {
      timeoutMs: START_MS,
      hint: `its log is ${log}`,
    });
  }

  /** Ends the store: SIGTERM lets it close its files, SIGKILL does not. Waits until it is gone. */
  async stop(signal: 'SIGTERM' | 'SIGKILL' = 'SIGTERM'): Promise<void> {
    const { pid } = this.#paths;
    if (!signalProcess(pid, signal)) return;
    await until(
      `end of etcd of cluster ${this.#cluster.name}`,
      () => (runningProcess(pid) === undefined ? undefined : 'it runs'),
      { timeoutMs: START_MS },
    );
    forget(pid);
  }

  /** Stops it, throws away everything it knows, and starts it empty. */
  async wipe(): Promise<void> {
    await this.stop('SIGKILL');
    rmSync(this.#paths.data, { recursive: true, force: true });
    await this.start();
  }

  /** It holds its connections and answers nothing, until `resume`. */
  pause(): void {
    this.#mustSignal('SIGSTOP');
  }

  resume(): void {
    this.#mustSignal('SIGCONT');
  }

  /** Cuts its cable; the socket for the CLI stays. */
  partition(): Promise<void> {
    return setCable(this.#context, this.#cluster.etcd.place, 'eth0', 'down');
  }

  heal(): Promise<void> {
    return setCable(this.#context, this.#cluster.etcd.place, 'eth0', 'up');
  }

  /** Answers through a token bucket of so many kbit/s, so that everything is late; 0 ends that. */
  async slow(kilobits: number): Promise<void> {
    const place = this.#context.find(this.#cluster.etcd.place);
    const prefix = this.#context.prefix(place);
    if (kilobits === 0) await must([...prefix, 'tc', 'qdisc', 'delete', 'dev', 'eth0', 'root']);
    else
      await must([
        ...[...prefix, 'tc', 'qdisc', 'replace', 'dev', 'eth0', 'root', 'tbf'],
        ...['rate', `${kilobits}kbit`, 'burst', '3000', 'limit', '1000000'],
      ]);
  }

  get running(): boolean {
    return runningProcess(this.#paths.pid) !== undefined;
  }

  get #paths() {
    return storePaths(this.#context.state.name, this.#cluster.name);
  }

  #prefix(): string[] {
    return this.#context.prefix(this.#context.find(this.#cluster.etcd.place));
  }

  #mustSignal(signal: NodeJS.Signals): void {
    if (!signalProcess(this.#paths.pid, signal))
      throw new LabError('command-failed', `etcd of cluster ${this.#cluster.name} does not run`, {
        value: this.#cluster.name,
        hint: 'start it first',
      });
  }

  async #startForwarder(): Promise<void> {
    const { socket, forwarderPid, log } = this.#paths;
    if (runningProcess(forwarderPid) !== undefined) return;
    rmSync(socket, { force: true });
    const argv = ['socat', `UNIX-LISTEN:${socket},fork,backlog=64`, `TCP:127.0.0.1:${CLIENT_PORT}`];
    await launch([...this.#prefix(), ...argv], log, forwarderPid);
  }

  /** Asks /health through the forwarder: both must work. */
  async #missing(): Promise<string | undefined> {
    if (!this.running) throw this.#ended();
    if (!existsSync(this.socket)) return 'it has no socket';
    const answer = await askHealth(this.socket);
    return answer.includes('"health":"true"') ? undefined : 'it says it is not healthy';
  }

  #ended(): LabError {
    return new LabError(
      'command-failed',
      `etcd of cluster ${this.#cluster.name} ended while it started`,
      {
        value: this.#cluster.name,
        hint: `its log is ${this.#paths.log}`,
      },
    );
  }
}

/** Whatever goes wrong gives an empty answer: the caller asks again. */
function askHealth(socket: string): Promise<string> {
  return new Promise((resolve) => {
    let text = '';
    const connection = connect(socket);
    connection.setTimeout(2000, () => connection.destroy());
    connection.on('connect', () => {
      connection.write('GET /health HTTP/1.0\r\nHost: etcd\r\n\r\n');
    });
    connection.on('data', (chunk) => {
      text += chunk.toString();
    });
    connection.on('error', () => {});
    connection.on('close', () => resolve(text));
  });
}

function bracketed(address: Address): string {
  return Address.isIPv6(address) ? `[${address}]` : address;
}
