import { existsSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { Address } from '@causeway/ip';
import { LabError } from '../errors.ts';
import { storePaths } from '../host/names.ts';
import { forget, launch, must, run, runningProcess, signalProcess } from '../host/process.ts';
import { until } from '../host/wait.ts';
import type { ClusterPlan } from '../plan/types.ts';
import type { LabContext } from './context.ts';
import { setCable } from './links.ts';
import { CLIENT_PORT, StoreGuard } from './store-guard.ts';
import { StoreProxies } from './store-proxies.ts';

/** Health and metrics, for the store's own machine only. */
const METRICS_PORT = 2381;
const START_MS = 20_000;

/** Leads from a Unix socket to a store that takes client certificates; the client of the socket need not have one. */
const TLS_FORWARDER = `
const [socket, port, ca, cert, key] = process.argv.slice(1);
const { readFileSync } = require('node:fs');
const tls = require('node:tls');
const files = { ca: readFileSync(ca), cert: readFileSync(cert), key: readFileSync(key) };
require('node:net').createServer((near) => {
  const far = tls.connect({ ...files, host: '127.0.0.1', port, ALPNProtocols: ['h2'] });
  for (const [one, other] of [[near, far], [far, near]]) {
    one.on('error', () => {}).on('close', () => other.destroy());
    one.pipe(other);
  }
}).listen(socket);`;

/** A cluster's etcd: a real one, in a namespace of its own on one of the racks. */
export class LabEtcd {
  readonly #context: LabContext;
  readonly #cluster: ClusterPlan;
  /** Certificates, users and rights; undefined for a store that takes everybody's word. */
  readonly guard: StoreGuard | undefined;
  readonly #proxies: StoreProxies | undefined;

  constructor(context: LabContext, cluster: ClusterPlan) {
    this.#context = context;
    this.#cluster = cluster;
    this.guard = cluster.mesh === undefined ? undefined : new StoreGuard(context, cluster);
    if (this.guard !== undefined && cluster.settings.etcd.proxy)
      this.#proxies = new StoreProxies(context, cluster, this.guard);
  }

  /** Whose store it is. */
  get cluster(): string {
    return this.#cluster.name;
  }

  /** URLs for those who stand in the lab's network: the agents. */
  get endpoints(): string[] {
    return this.#urls(CLIENT_PORT);
  }

  /** URLs for the nodes of a peer: of its own proxy where there is one. */
  endpointsFor(peer: string): string[] {
    return this.#urls(this.#proxies?.port(peer) ?? CLIENT_PORT);
  }

  /** A Unix socket for those outside the lab's network: the CLI, tests. */
  get socket(): string {
    return this.#paths.socket;
  }

  /** Starts the store and the way to it, and waits until it answers. Nothing happens when it runs. */
  async start(): Promise<void> {
    const { directory, data, log, pid } = this.#paths;
    mkdirSync(directory, { recursive: true });
    const fresh = !existsSync(data);
    if (runningProcess(pid) === undefined) {
      const listen = [`${this.#scheme}://127.0.0.1:${CLIENT_PORT}`, ...this.endpoints].join(',');
      const argv = [
        'etcd',
        ...['--data-dir', data],
        ...['--listen-client-urls', listen, '--advertise-client-urls', listen],
        ...['--listen-peer-urls', 'http://127.0.0.1:2380'],
        ...this.#member,
        ...['--listen-metrics-urls', `http://127.0.0.1:${METRICS_PORT}`],
        ...((await this.guard?.serverArguments()) ?? []),
        ...['--logger', 'zap', '--log-level', 'warn', '--auto-compaction-retention', '1h'],
      ];
      await launch([...this.#prefix(), ...argv], log, pid);
    }
    await this.#startForwarder();
    await until(`etcd of cluster ${this.#cluster.name}`, () => this.#missing(), {
      timeoutMs: START_MS,
      hint: `its log is ${log}`,
    });
    if (fresh) await this.guard?.setUp(this.socket, this.#admitted);
    await this.#proxies?.start();
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

  /** Ends its proxies, which cuts peers off, and starts them with the certificates of now. */
  async restartProxies(): Promise<void> {
    this.#proxies?.stop();
    await this.#proxies?.start();
  }

  /** Ends it, and its proxies with it, as who restarts a machine does; `start` brings all of it back. */
  async stopAll(): Promise<void> {
    await this.stop('SIGKILL');
    this.#proxies?.stop();
    // It reads the root's certificate once.
    const { forwarderPid } = this.#paths;
    if (signalProcess(forwarderPid, 'SIGKILL')) forget(forwarderPid);
  }

  /** Stops it, throws away everything it knows, and starts it empty. */
  async wipe(): Promise<void> {
    await this.stop('SIGKILL');
    rmSync(this.#paths.data, { recursive: true, force: true });
    await this.start();
  }

  /** Writes down everything that it knows now, for `restore`. */
  async snapshot(): Promise<void> {
    rmSync(this.#snapshot, { force: true });
    await this.ctl(['snapshot', 'save', this.#snapshot]);
  }

  /** Stops it and starts it as it was at the last snapshot. Throws `command-failed` when there is none. */
  async restore(): Promise<void> {
    if (!existsSync(this.#snapshot))
      throw new LabError('command-failed', `there is no snapshot of ${this.#cluster.name}`, {
        value: this.#snapshot,
        hint: `causeway lab etcd ${this.#context.state.name}/${this.#cluster.name} snapshot takes one`,
      });
    await this.stop('SIGKILL');
    const { data } = this.#paths;
    rmSync(data, { recursive: true, force: true });
    await this.ctl([
      ...['snapshot', 'restore', this.#snapshot, '--data-dir', data, ...this.#member],
    ]);
    await this.start();
  }

  /** `etcdctl` with every right, on the store's own machine; what it says. */
  async ctl(argv: readonly string[]): Promise<string> {
    const endpoint = ['--endpoints', `${this.#scheme}://127.0.0.1:${CLIENT_PORT}`];
    const root = await this.guard?.root();
    const tls =
      root === undefined
        ? []
        : ['--cacert', root.caFile, '--cert', root.certFile, '--key', root.keyFile];
    const command = ['etcdctl', ...endpoint, ...tls, ...argv];
    return must([...this.#prefix(), ...command], { env: { ETCDCTL_API: '3' } });
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

  /** Peers that need not join. */
  get #admitted(): readonly string[] {
    const { mesh, inventories } = this.#cluster;
    return mesh?.by === 'files' || inventories.length > 0 ? (mesh?.readBy ?? []) : [];
  }

  /** One member that talks to nobody: its peer address is only for itself. */
  get #member(): string[] {
    return [
      ...['--name', this.#cluster.name],
      ...['--initial-advertise-peer-urls', 'http://127.0.0.1:2380'],
      ...['--initial-cluster', `${this.#cluster.name}=http://127.0.0.1:2380`],
    ];
  }

  get #scheme(): 'http' | 'https' {
    return this.guard === undefined ? 'http' : 'https';
  }

  get #snapshot(): string {
    return join(this.#paths.directory, 'snapshot.db');
  }

  #urls(port: number): string[] {
    const { addresses } = this.#cluster.etcd;
    return addresses.map((address) => `${this.#scheme}://${bracketed(address)}:${port}`);
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
    const plain = [
      'socat',
      `UNIX-LISTEN:${socket},fork,backlog=64`,
      `TCP:127.0.0.1:${CLIENT_PORT}`,
    ];
    const secure = [process.execPath, '-e', TLS_FORWARDER, socket, String(CLIENT_PORT)];
    const root = await this.guard?.root();
    const argv = root === undefined ? plain : [...secure, root.caFile, root.certFile, root.keyFile];
    await launch([...this.#prefix(), ...argv], log, forwarderPid);
  }

  async #missing(): Promise<string | undefined> {
    if (!this.running) throw this.#ended();
    if (!existsSync(this.socket)) return 'it has no socket';
    const url = `http://127.0.0.1:${METRICS_PORT}/health`;
    const { stdout } = await run([...this.#prefix(), 'busybox', 'wget', '-q', '-O-', url]);
    return stdout.includes('"health":"true"') ? undefined : 'it says it is not healthy';
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

function bracketed(address: Address): string {
  return Address.isIPv6(address) ? `[${address}]` : address;
}
