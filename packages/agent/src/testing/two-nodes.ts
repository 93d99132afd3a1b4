import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import fs from 'node:fs';
import http from 'node:http';
import os from 'node:os';
import path from 'node:path';
import { connectKv } from '@causeway/etcd';
import { etcdStore, type ResourceStore } from '@causeway/resources';
import { stringify } from 'yaml';

/** `c` is there when asked for. */
export type NodeName = 'a' | 'b' | 'c';

export interface Answer {
  readonly status: number;
  // biome-ignore lint/suspicious/noExplicitAny: answers have many shapes
  readonly body: any;
}

const sh = (command: string): string =>
  execFileSync('sh', ['-ec', command], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });

/**
 * Two nodes on one switch with a real etcd, in the namespaces of the calling test: node `a` is
 * 192.0.2.1 and 2001:db8::1, node `b` 192.0.2.2 and 2001:db8::2; `out` at 192.0.2.9 is no node and
 * routes nothing to pods. Node `c`, if asked for, is behind a router that knows no pods: 198.51.100.3 and
 * 2001:db8:1::3.
 */
export class TwoNodes implements AsyncDisposable {
  readonly directory = fs.mkdtempSync(path.join(os.tmpdir(), `cw-nodes-${process.pid}-`));
  readonly kv = connectKv({ endpoints: ['http://192.0.2.100:2379'] });
  readonly store: ResourceStore = etcdStore(this.kv);
  readonly #names: string[] = [];
  readonly #agents = new Map<string, ChildProcess>();
  readonly #cgroup = `/sys/fs/cgroup/unified/cw-${process.pid}`;
  #etcd: ChildProcess | undefined;
  #operator: ChildProcess | undefined;

  constructor(more: { readonly behindRouter?: boolean } = {}) {
    sh(`ip link set lo up; ip link add br0 type bridge; ip link set br0 up
        ip addr add 192.0.2.100/24 dev br0; ip addr add 2001:db8::100/64 dev br0 nodad
        mkdir -p ${this.#cgroup}/a ${this.#cgroup}/b ${this.#cgroup}/c`);
    for (const [name, number] of [
      ['a', 1],
      ['b', 2],
      ['out', 9],
    ] as const) {
      const ns = this.namespace(name);
      sh(`ip link add sw-${name} type veth peer name eth0 netns ${ns}
          ip link set sw-${name} master br0 up
          ip -n ${ns} link set lo up; ip -n ${ns} link set eth0 up
          ip -n ${ns} addr add 192.0.2.${number}/24 dev eth0
          ip -n ${ns} addr add 2001:db8::${number}/64 dev eth0 nodad
          ip -n ${ns} route add default via 192.0.2.100
          ip -n ${ns} -6 route add default via 2001:db8::100`);
    }
    if (more.behindRouter === true) this.#addBehindRouter();
  }

  #addBehindRouter(): void {
    const ns = this.namespace('c');
    sh(`ip link add far0 type veth peer name eth0 netns ${ns}
        ip link set far0 up
        ip addr add 198.51.100.100/24 dev far0; ip addr add 2001:db8:1::100/64 dev far0 nodad
        echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding
        ip -n ${ns} link set lo up; ip -n ${ns} link set eth0 up
        ip -n ${ns} addr add 198.51.100.3/24 dev eth0
        ip -n ${ns} addr add 2001:db8:1::3/64 dev eth0 nodad
        ip -n ${ns} route add default via 198.51.100.100
        ip -n ${ns} -6 route add default via 2001:db8:1::100`);
  }

  /** Whether the node's cable is in the switch; its own end has a carrier in any case. */
  plug(node: 'a' | 'b', inSwitch: boolean): void {
    sh(`ip link set sw-${node} ${inSwitch ? 'master br0' : 'nomaster'}`);
  }

  /** Makes a network namespace and gives its name. */
  namespace(of: string): string {
    const name = `cw2-${process.pid}-${of}`;
    sh(`ip netns add ${name}`);
    this.#names.push(name);
    return name;
  }

  name(of: string): string {
    return `cw2-${process.pid}-${of}`;
  }

  async startEtcd(): Promise<void> {
    this.#etcd = spawn(
      'etcd',
      [
        '--data-dir',
        path.join(this.directory, 'etcd'),
        '--listen-client-urls',
        'http://0.0.0.0:2379',
        '--advertise-client-urls',
        'http://192.0.2.100:2379',
        '--listen-peer-urls',
        'http://127.0.0.1:2380',
        '--unsafe-no-fsync',
      ],
      { stdio: 'ignore' },
    );
    await until(
      'etcd',
      async () =>
        await this.kv.get('x').then(
          () => true,
          () => false,
        ),
    );
  }

  async startAgent(node: NodeName, config: Record<string, unknown> = {}): Promise<void> {
    const runDir = path.join(this.directory, node);
    const file = `${runDir}.yaml`;
    fs.writeFileSync(
      file,
      stringify({
        cluster: { name: 'two', id: 7 },
        node: { name: node },
        etcd: { endpoints: ['http://192.0.2.100:2379'] },
        devices: ['eth0'],
        nativeRoutingCIDRs: ['10.7.0.0/16', 'fd00:7::/32'],
        runDir,
        stateDir: `${runDir}-state`,
        bpffs: `${runDir}-bpf`,
        cgroup: `${this.#cgroup}/${node}`,
        limits: { conntrack: 16384, nat: 16384 },
        log: { level: 'info' },
        ...config,
      }),
    );
    const log = fs.openSync(`${runDir}.log`, 'a');
    const child = spawn(
      'nsenter',
      [
        `--net=/run/netns/${this.name(node)}`,
        process.execPath,
        path.join(import.meta.dirname, 'agent-process.ts'),
        file,
      ],
      { stdio: ['ignore', log, log] },
    );
    fs.closeSync(log);
    this.#agents.set(node, child);
    await until(`agent ${node} listens`, async () => {
      if (child.exitCode !== null) throw new Error(`agent ${node} ended: ${this.log(node)}`);
      return (await this.ask(node, 'GET', '/v1/status').catch(() => undefined)) !== undefined;
    }).catch((error: Error) => {
      throw new Error(`${error.message}: ${this.log(node)}`);
    });
  }

  async ready(node: NodeName): Promise<void> {
    let last = '';
    await until(`agent ${node} is ready`, async () => {
      const { body } = await this.ask(node, 'GET', '/v1/status');
      last = body.reasons.join('; ');
      return body.ready;
    }).catch((error) => {
      throw new Error(`${error.message}: ${last}\n${this.log(node)}`);
    });
  }

  async killAgent(node: NodeName, signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    const child = this.#agents.get(node);
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill(signal);
    await ended;
    this.#agents.delete(node);
  }

  /** Runs the clean-up as the node's administrator would. */
  cleanup(node: NodeName) {
    const script = `import('${path.join(import.meta.dirname, '../cleanup.ts')}').then(async (m) => console.log(JSON.stringify(await m.cleanupNode('${path.join(this.directory, `${node}.yaml`)}'))))`;
    return JSON.parse(
      execFileSync(
        'nsenter',
        [`--net=/run/netns/${this.name(node)}`, process.execPath, '-e', script],
        { encoding: 'utf8' },
      ),
    );
  }

  agentPid(node: NodeName): number {
    // nsenter has become the agent.
    return this.#agents.get(node)!.pid!;
  }

  log(node: string): string {
    return fs.readFileSync(path.join(this.directory, `${node}.log`), 'utf8').slice(-6000);
  }

  ask(node: string, method: string, target: string, body?: unknown): Promise<Answer> {
    const socketPath = path.join(this.directory, node, 'agent.sock');
    return new Promise((resolve, reject) => {
      const call = http.request({ agent: false, socketPath, method, path: target }, (response) => {
        let text = '';
        response.on('data', (chunk) => {
          text += chunk;
        });
        response.on('end', () =>
          resolve({
            status: response.statusCode ?? 0,
            body: text === '' ? undefined : JSON.parse(text),
          }),
        );
      });
      call.on('error', reject);
      call.end(body === undefined ? undefined : JSON.stringify(body));
    });
  }

  /** Adds a pod; its namespace is `name(pod)`, or that of another container of the same pod. */
  async addPod(
    node: NodeName,
    pod: string,
    labels: Record<string, string> = {},
    more: {
      readonly annotations?: Record<string, string>;
      readonly metadata?: Record<string, unknown>;
      readonly container?: string;
    } = {},
  ): Promise<Answer['body']> {
    const { annotations = {}, metadata = {}, container = `c-${pod}` } = more;
    await this.store.apply([podObject(node, pod, { labels, annotations, ...metadata })]);
    const { status, body } = await this.attach(node, pod, container);
    if (status !== 201)
      throw new Error(`ADD of ${pod}: ${status} ${JSON.stringify(body)}\n${this.log(node)}`);
    const ips = Object.values(body.addresses);
    await this.store.patchStatus(
      'Pod',
      { namespace: 'shop', name: pod },
      {
        phase: 'Running',
        podIPs: ips.map((ip) => ({ ip })),
        conditions: [{ type: 'Ready', status: 'True' }],
      },
    );
    return body;
  }

  /** Asks for a pod's interface, and gives the answer, whatever it is. */
  async tryPod(
    node: NodeName,
    pod: string,
    annotations: Record<string, string> = {},
    stored = true,
  ): Promise<Answer> {
    if (stored) await this.store.apply([podObject(node, pod, { annotations })]);
    return this.attach(node, pod, `c-${pod}`);
  }

  attach(node: NodeName, pod: string, containerId: string): Promise<Answer> {
    const place = containerId === `c-${pod}` ? pod : containerId;
    return this.ask(node, 'POST', '/v1/endpoints', {
      containerId,
      ifname: 'eth0',
      netns: `/run/netns/${this.#names.includes(this.name(place)) ? this.name(place) : this.namespace(place)}`,
      podNamespace: 'shop',
      podName: pod,
    });
  }

  /** Takes a pod's interface away, and the pod out of the store if it is there. */
  async removePod(
    node: NodeName,
    pod: string,
    container = `c-${pod}`,
    stored = true,
  ): Promise<void> {
    await this.ask(node, 'DELETE', `/v1/endpoints/by-container/${container}/eth0`);
    if (stored) await this.store.delete('Pod', { namespace: 'shop', name: pod }).catch(() => {});
  }

  async startOperator(): Promise<void> {
    const runDir = path.join(this.directory, 'operator');
    const file = `${runDir}.yaml`;
    fs.writeFileSync(
      file,
      stringify({
        cluster: { name: 'two', id: 7 },
        name: 'operator',
        etcd: { endpoints: ['http://192.0.2.100:2379'] },
        runDir,
      }),
    );
    const log = fs.openSync(`${runDir}.log`, 'a');
    this.#operator = spawn(
      process.execPath,
      [path.join(import.meta.dirname, 'operator-process.ts'), file],
      { stdio: ['ignore', log, log] },
    );
    fs.closeSync(log);
  }

  async stopOperator(): Promise<void> {
    const child = this.#operator;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await ended;
  }

  /** The store stops answering, as behind a broken network. */
  pauseEtcd(): void {
    this.#etcd?.kill('SIGSTOP');
  }
  resumeEtcd(): void {
    this.#etcd?.kill('SIGCONT');
  }

  /** Runs a command in a namespace, with the node's cgroup; the output, or undefined if it failed. */
  run(place: string, command: string, cgroup?: NodeName): string | undefined {
    const enter = cgroup === undefined ? '' : `echo $$ > ${this.#cgroup}/${cgroup}/cgroup.procs; `;
    try {
      return execFileSync(
        'sh',
        ['-c', `${enter}exec nsenter --net=/run/netns/${this.name(place)} ${command}`],
        {
          encoding: 'utf8',
          stdio: ['ignore', 'pipe', 'pipe'],
          timeout: 10_000,
        },
      );
    } catch {
      return undefined;
    }
  }

  /** Runs a command in a namespace beside the test; its output when it ends. */
  async background(place: string, command: string, enough?: AbortSignal): Promise<string> {
    const child = spawn(
      'sh',
      ['-c', `exec nsenter --net=/run/netns/${this.name(place)} ${command}`],
      {
        stdio: ['ignore', 'pipe', 'pipe'],
      },
    );
    this.#servers.push(child);
    // As a person ends it: what it has to say at its end is said.
    enough?.addEventListener('abort', () => child.kill('SIGINT'));
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (chunk) => {
        output += chunk;
      });
    }
    await new Promise((resolve) => child.on('close', resolve));
    return output;
  }

  /** Starts a program in a namespace that ends with the test. */
  serve(place: string, command: string): void {
    const child = spawn(
      'sh',
      ['-c', `exec nsenter --net=/run/netns/${this.name(place)} ${command}`],
      { stdio: 'ignore' },
    );
    this.#servers.push(child);
  }
  readonly #servers: ChildProcess[] = [];

  ping(from: string, to: string): boolean {
    return this.run(from, `busybox ping -c1 -W2 ${to}`) !== undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.#servers) child.kill('SIGKILL');
    for (const node of [...this.#agents.keys()]) await this.killAgent(node as 'a');
    await this.stopOperator();
    await this.kv[Symbol.asyncDispose]();
    this.#etcd?.kill('SIGKILL');
    for (const name of this.#names) sh(`ip netns del ${name} || true`);
    sh(
      `for d in ${this.directory}/*-bpf; do umount $d 2>/dev/null || true; done; rmdir ${this.#cgroup}/a ${this.#cgroup}/b ${this.#cgroup}/c ${this.#cgroup} 2>/dev/null || true`,
    );
    fs.rmSync(this.directory, { recursive: true, force: true });
  }
}

export async function until(
  what: string,
  condition: () => boolean | Promise<boolean>,
  ms = 120_000,
): Promise<void> {
  const end = Date.now() + ms;
  while (Date.now() < end) {
    if (await condition()) return;
    await new Promise((resolve) => setTimeout(resolve, 30));
  }
  throw new Error(`still not after ${ms} ms: ${what}`);
}

export const nodeObject = (
  name: string,
  number: number,
  labels: Readonly<Record<string, string>> = {},
  addresses: readonly string[] = [`192.0.2.${number}`, `2001:db8::${number}`],
): unknown => ({
  apiVersion: 'cilium.io/v2',
  kind: 'CiliumNode',
  metadata: { name, labels },
  spec: {
    addresses: addresses.map((ip) => ({ type: 'InternalIP', ip })),
    ipam: { podCIDRs: [`10.7.${number}.0/24`, `fd00:7:${number}::/64`] },
  },
});

const podObject = (node: string, pod: string, metadata: Record<string, unknown>): unknown => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { ...metadata, name: pod, namespace: 'shop' },
  spec: {
    nodeName: node,
    containers: [{ name: 'c', ports: [{ name: 'web', containerPort: 8080 }] }],
  },
});
