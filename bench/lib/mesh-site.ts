/** One node with a real agent, its cluster's etcd and an etcd that presents many peers, in one namespace. */
import { type ChildProcess, execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { AgentStatus } from '@causeway/agent';
import { ApiClient } from '@causeway/daemon';
import { connectKv, type Kv } from '@causeway/etcd';
import { BpfMap } from '@causeway/linux';
import { announceHeartbeat, type MeshPeerRow } from '@causeway/mesh';
import { startChild, takeAwayOnInterrupt, temporaryDirectory } from './interrupt.ts';
import { type MeshShape, peersOf, TXN_OPS } from './mesh-generator.ts';
import { namespaces } from './namespaces.ts';

const CAUSEWAY = join(import.meta.dirname, '../../packages/cli/bin/causeway');
/** Of the node's cluster: no peer has it. */
const OWN_ID = 256;
const HEARTBEAT_MS = 30_000;
const WAIT_MS = 300_000;

export const sleep = (ms: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, ms));

/** What an agent needs at a moment. */
export interface Needs {
  /** Bytes. */
  readonly resident: number;
  /** Bytes of the kernel's map of addresses. */
  readonly kernel: number;
}

export class MeshSite implements AsyncDisposable {
  readonly #stack = new AsyncDisposableStack();
  readonly #shape: MeshShape;
  readonly #directory: string;
  readonly #namespace: string;
  readonly #heartbeat: NodeJS.Timeout;
  #hub: Kv | undefined;
  #agent: ChildProcess | undefined;

  private constructor(shape: MeshShape) {
    this.#shape = shape;
    this.#directory = this.#stack.use(temporaryDirectory()).path;
    const tag = `cwm${process.pid}-`;
    this.#stack.use(namespaces(tag, 1));
    this.#namespace = `${tag}0`;
    this.#heartbeat = setInterval(() => void this.beat().catch(() => {}), HEARTBEAT_MS);
  }

  static async open(shape: MeshShape): Promise<MeshSite> {
    const site = new MeshSite(shape);
    try {
      const setUp = [
        'ip link set lo up',
        'ip link add eth0 type veth peer name wire',
        'ip link set eth0 up',
        'ip link set wire up',
        'ip addr add 192.0.2.1/24 dev eth0',
        'ip addr add 2001:db8:ffff::1/64 dev eth0 nodad',
        'ip route add default via 192.0.2.254',
        'ip -6 route add default via 2001:db8:ffff::fe',
      ];
      execFileSync('nsenter', [...site.#inside, 'sh', '-ec', setUp.join('\n')]);
      site.#startEtcd('own', 2379, 2380);
      site.#startEtcd('hub', 2479, 2480);
      site.#hub = site.#stack.use(await connected(site.#socket('hub')));
      await site.beat();
      return site;
    } catch (error) {
      await site[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** The store that presents the peers. */
  get hub(): Kv {
    if (this.#hub === undefined) throw new Error('the hub is not connected');
    return this.#hub;
  }

  get pid(): number {
    const pid = this.#agent?.pid;
    if (pid === undefined) throw new Error('the agent does not run');
    return pid;
  }

  async beat(): Promise<void> {
    const { key, value } = announceHeartbeat(Date.now());
    await this.hub.put(key, value);
  }

  get #inside(): string[] {
    return [`--net=/run/netns/${this.#namespace}`];
  }

  /** A Unix socket's name is a host and a port to etcd, and stands where it was started. */
  #socket(name: string): string {
    return join(this.#directory, `${name}:0`);
  }

  #startEtcd(name: string, port: number, peerPort: number): void {
    const client = `http://127.0.0.1:${port}`;
    const peer = `http://127.0.0.1:${peerPort}`;
    const argv = [
      ...['nsenter', ...this.#inside, 'etcd', '--name', name],
      ...['--data-dir', join(this.#directory, `${name}-data`)],
      ...['--listen-client-urls', `${client},unix://${name}:0`, '--advertise-client-urls', client],
      ...['--listen-peer-urls', peer, '--initial-advertise-peer-urls', peer],
      ...['--initial-cluster', `${name}=${peer}`, '--unsafe-no-fsync'],
      ...['--max-txn-ops', String(TXN_OPS), '--quota-backend-bytes', String(2 ** 33)],
      ...['--snapshot-count', '10000'],
    ];
    this.#adopt(startChild(argv, { stdio: 'ignore', cwd: this.#directory }));
  }

  #adopt(child: ChildProcess): void {
    this.#stack.defer(() => ended(child, 'SIGKILL'));
  }

  /** Starts the agent; with `peers` it finds a file for each peer. What an earlier one left is gone. */
  async startAgent(peers: boolean): Promise<void> {
    await this.stopAgent();
    const runDir = join(this.#directory, 'agent');
    const bpffs = join(this.#directory, 'bpf');
    const configDir = join(this.#directory, 'peers');
    rmSync(runDir, { recursive: true, force: true });
    rmSync(configDir, { recursive: true, force: true });
    mkdirSync(configDir, { recursive: true });
    if (peers) {
      for (const { name } of peersOf(this.#shape)) {
        writeFileSync(join(configDir, name), 'endpoints:\n- http://127.0.0.1:2479\n');
      }
    }
    const config = {
      cluster: {
        name: 'own',
        id: OWN_ID,
        maxConnectedClusters: this.#shape.maxConnectedClusters,
      },
      node: { name: 'bench' },
      etcd: { endpoints: ['http://127.0.0.1:2379'] },
      mesh: { configDir },
      devices: ['eth0'],
      routingMode: 'tunnel',
      socketLB: { enabled: false },
      runDir,
      stateDir: join(runDir, 'lasting'),
      bpffs,
      limits: {
        conntrack: 16_384,
        nat: 16_384,
        ipcache: Math.ceil(this.#shape.endpoints * 2.2 + this.#shape.nodes * 4 + 10_000),
      },
      log: { level: 'warn' },
    };
    const file = join(this.#directory, 'agent.json');
    writeFileSync(file, JSON.stringify(config));
    const child = startChild(['nsenter', ...this.#inside, CAUSEWAY, 'agent', '--config', file], {
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    this.#agent = child;
    const undo = takeAwayOnInterrupt(() => unmount(bpffs));
    child.once('exit', undo);
  }

  /** Ends it and takes its maps and programs away. */
  async stopAgent(): Promise<void> {
    const child = this.#agent;
    this.#agent = undefined;
    if (child !== undefined) await ended(child, 'SIGTERM');
    unmount(join(this.#directory, 'bpf'));
    const devices = ['cw_host', 'cw_vxlan'].map(
      (name) => `ip link del ${name} 2>/dev/null || true`,
    );
    execFileSync('nsenter', [...this.#inside, 'sh', '-c', devices.join('\n')]);
  }

  get #api(): ApiClient {
    return new ApiClient('agent', join(this.#directory, 'agent/agent.sock'));
  }

  #requireAgent(): void {
    if (this.#agent?.exitCode !== null) throw new Error('the agent has ended');
  }

  async status(): Promise<AgentStatus | undefined> {
    this.#requireAgent();
    return (await this.#api.ask('GET', '/v1/status').catch(() => undefined)) as never;
  }

  /** Resolves when every peer is read and everything of it is in the kernel. */
  async inStep(): Promise<void> {
    await this.#until('every peer is read', async () => {
      this.#requireAgent();
      const rows = (await this.#api.ask('GET', '/v1/tables/mesh-peers').catch(() => [])) as Pick<
        MeshPeerRow,
        'state'
      >[];
      return rows.filter(({ state }) => state === 'ready').length === this.#shape.peers;
    });
    await this.kernelInStep();
  }

  async kernelInStep(): Promise<void> {
    await this.#until('the kernel has what the tables say', async () => {
      const rows = (await this.status())?.reconcilers ?? [];
      const mine = rows.filter(({ name }) => name.startsWith('ipcache'));
      return mine.length > 0 && mine.every(({ detail }) => detail.startsWith('in step'));
    });
  }

  async #until(what: string, condition: () => Promise<boolean>): Promise<void> {
    const end = performance.now() + WAIT_MS;
    while (!(await condition())) {
      if (performance.now() > end) throw new Error(`not after ${WAIT_MS / 1000} s: ${what}`);
      // Each question costs the agent some milliseconds.
      await sleep(250);
    }
  }

  openMap(): BpfMap {
    return BpfMap.openPinned(join(this.#directory, 'bpf/maps/ipcache'));
  }

  needs(): Needs {
    const map = this.openMap();
    try {
      const info = readFileSync(`/proc/self/fdinfo/${map.fd.number}`, 'utf8');
      const status = readFileSync(`/proc/${this.pid}/status`, 'utf8');
      return {
        resident: field(status, /^VmRSS:\s+(\d+) kB/m) * 1024,
        kernel: field(info, /^memlock:\s+(\d+)/m),
      };
    } finally {
      map.close();
    }
  }

  /** Waits until the agent's memory no longer falls: what a start took comes back after a while. */
  async settled(): Promise<Needs> {
    let low = this.needs();
    for (let still = 0; still < 5; ) {
      await sleep(2000);
      const now = this.needs();
      still = now.resident < low.resident * 0.99 ? 0 : still + 1;
      if (now.resident < low.resident) low = now;
    }
    return low;
  }

  /** Nanoseconds that all threads of the agent have run, as the scheduler counts them. */
  ranNs(): number {
    return readdirSync(`/proc/${this.pid}/task`)
      .map((task) => readFileSync(`/proc/${this.pid}/task/${task}/schedstat`, 'utf8'))
      .reduce((sum, text) => sum + Number(text.split(' ')[0]), 0);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#heartbeat);
    await this.stopAgent();
    await this.#stack.disposeAsync();
  }
}

function field(text: string, form: RegExp): number {
  const value = form.exec(text)?.[1];
  if (value === undefined) throw new Error(`no ${form} in ${text}`);
  return Number(value);
}

async function ended(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = new Promise((resolve) => child.once('exit', resolve));
  child.kill(signal);
  await exited;
}

function unmount(directory: string): void {
  try {
    execFileSync('umount', [directory], { stdio: 'ignore' });
  } catch {
    // Nothing was mounted.
  }
}

async function connected(socket: string): Promise<Kv> {
  const kv = connectKv({ endpoints: [`unix:${socket}`], deadline: 60_000 });
  const end = performance.now() + 20_000;
  while (!kv.health().connected) {
    if (performance.now() > end) {
      await kv[Symbol.asyncDispose]();
      throw new Error(`no contact with the store at ${socket}`);
    }
    await sleep(20);
  }
  return kv;
}
