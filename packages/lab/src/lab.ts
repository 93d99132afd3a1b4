import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { constants } from 'node:os';
import type { Kv } from '@causeway/etcd';
import type { ResourceStore } from '@causeway/resources';
import { LabError } from './errors.ts';
import { type CommandOptions, type CommandResult, run } from './host/process.ts';
import { inParallel } from './host/wait.ts';
import type { ClusterPlan, PodPlan } from './plan/types.ts';
import { LabAgent } from './run/agents.ts';
import { LabContext, type Place, podPlace } from './run/context.ts';
import { LabEtcd } from './run/etcd.ts';
import { LabInventory } from './run/inventories.ts';
import { Kubelet, type StartOptions } from './run/kubelet.ts';
import { setCable, setDevice, setFrozen } from './run/links.ts';
import { LabOperator } from './run/operators.ts';
import { Partitions } from './run/partitions.ts';
import type { LabProgram } from './run/program.ts';
import {
  agentsReady,
  operatorsReady,
  peersReady,
  routersReady,
  speakersReady,
  tablesComplete,
} from './run/ready.ts';
import { LabRouter } from './run/routers.ts';
import { type OpenStore, openStore } from './run/store.ts';
import { Traffic } from './run/traffic.ts';
import { isBeingBuilt, type LabState, requireState, writeState } from './state.ts';

const READY_MS = 60_000;

/** One cluster of a running lab. */
export interface LabClusterFace {
  readonly plan: ClusterPlan;
  readonly etcd: LabEtcd;
  readonly agents: readonly LabAgent[];
  readonly operators: readonly LabOperator[];
  readonly inventories: readonly LabInventory[];
  /** The cluster's registry, connected at the first call and closed with the lab's face. */
  store(): Promise<ResourceStore>;
  /** What the registry stands in. */
  kv(): Promise<Kv>;
  kubelet(): Promise<Kubelet>;
}

/** Of what one cluster sends to another, what the other sends to it, or both. */
export type PartitionWay = 'to' | 'from' | 'both';

/** A running lab in a program's hands. Disposing of it closes connections; the lab stays up. */
export class Lab implements AsyncDisposable {
  readonly context: LabContext;
  readonly clusters: readonly LabClusterFace[];
  /** Routers that run a routing daemon. */
  readonly routers: readonly LabRouter[];
  readonly traffic: Traffic;
  readonly #partitions: Partitions;
  readonly #stores = new Map<string, Promise<OpenStore>>();

  constructor(state: LabState) {
    this.context = new LabContext(state);
    this.traffic = new Traffic(this.context);
    this.#partitions = new Partitions(this.context);
    this.routers = state.plan.routers.map((plan) => new LabRouter(this.context, plan));
    this.clusters = state.plan.clusters.map((plan) => this.#face(plan));
  }

  get name(): string {
    return this.context.state.name;
  }

  get pods(): readonly PodPlan[] {
    return this.context.state.pods;
  }

  places(): Place[] {
    return this.context.places();
  }

  /** Throws `place-unknown`. Without a name, the only cluster there is. */
  cluster(name?: string): LabClusterFace {
    const found = name === undefined && this.clusters.length === 1 ? this.clusters[0] : undefined;
    const named = found ?? this.clusters.find((cluster) => cluster.plan.name === name);
    if (named !== undefined) return named;
    throw new LabError(
      'place-unknown',
      `lab ${this.name} has ${name === undefined ? 'more than one cluster' : `no cluster ${name}`}; its clusters: ${this.clusters.map((cluster) => cluster.plan.name).join(', ')}`,
      { value: name },
    );
  }

  /** The agent of a node, whatever its cluster. Throws `place-unknown`. */
  agent(node: string): LabAgent {
    const agents = this.clusters.flatMap((cluster) => cluster.agents);
    const found = agents.find((agent) => agent.node.name === node);
    if (found !== undefined) return found;
    throw new LabError(
      'place-unknown',
      `lab ${this.name} has no node ${node}; its nodes: ${agents.map((agent) => agent.node.name).join(', ')}`,
      { value: node },
    );
  }

  /** An operator by its place, `CLUSTER/operator-N`. Throws `place-unknown`. */
  operator(place: string): LabOperator {
    return this.#machine('operator', place, (cluster) => cluster.operators);
  }

  /** An instance of the inventory by its place, `CLUSTER/inventory-N`. Throws `place-unknown`. */
  inventory(place: string): LabInventory {
    return this.#machine('inventory', place, (cluster) => cluster.inventories);
  }

  /** A router that runs a daemon. Throws `place-unknown`. */
  router(name: string): LabRouter {
    const found = this.routers.find((router) => router.name === name);
    if (found !== undefined) return found;
    const known = this.routers.map((router) => router.name).join(', ') || '(none)';
    throw new LabError(
      'place-unknown',
      `lab ${this.name} has no router ${name} with a daemon; it has ${known}`,
      { value: name },
    );
  }

  /** What to put before a command so that it runs in a place. */
  prefix(place: string): string[] {
    return this.context.prefix(this.context.find(place));
  }

  exec(
    place: string,
    argv: readonly string[],
    options: CommandOptions = {},
  ): Promise<CommandResult> {
    return run([...this.prefix(place), ...argv], options);
  }

  /** Starts a command that goes on: a server, a stream. The caller ends it; `down` ends it in any case. */
  spawn(place: string, argv: readonly string[], options: SpawnOptions = {}): ChildProcess {
    const [file, ...rest] = [...this.prefix(place), ...argv];
    return spawn(file!, rest, options);
  }

  /** Runs a command on this process's own terminal; gives its exit status, or 128 and the signal that ended it. */
  async attach(place: string, argv: readonly string[]): Promise<number> {
    const child = this.spawn(place, argv, { stdio: 'inherit' });
    // The terminal signals the whole group; whether to end is the command's own decision.
    const ignore = (): void => {};
    const pass = (): void => {
      child.kill('SIGTERM');
    };
    process.on('SIGINT', ignore).on('SIGQUIT', ignore).on('SIGTERM', pass);
    try {
      return await new Promise<number>((resolve, reject) => {
        child.on('error', reject);
        child.on('close', (code, signal) =>
          resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal])),
        );
      });
    } finally {
      process.off('SIGINT', ignore).off('SIGQUIT', ignore).off('SIGTERM', pass);
    }
  }

  /** Pulls or puts back a place's cable: carrier goes, addresses and routes stay. */
  cable(place: string, state: 'up' | 'down', device = 'eth0'): Promise<void> {
    return setCable(this.context, place, device, state);
  }

  /** Takes a place's own device down or up. */
  device(place: string, state: 'up' | 'down', device = 'eth0'): Promise<void> {
    return setDevice(this.context, place, device, state);
  }

  /**
   * Cuts a machine off in silence: its cable leaves the rack's bridge, so that neither it nor anybody
   * else sees a carrier go. What is left is that nothing comes any more.
   */
  freeze(place: string): Promise<void> {
    return setFrozen(this.context, place, true);
  }

  thaw(place: string): Promise<void> {
    return setFrozen(this.context, place, false);
  }

  /**
   * Lets nothing through from one cluster's machines and pods to another's, both ways unless told otherwise.
   * Throws `place-unknown`.
   */
  async partition(a: string, b: string, way: PartitionWay = 'both'): Promise<void> {
    for (const [from, to] of this.#ways(a, b, way)) await this.#partitions.cut(from, to);
  }

  /** The other way round; nothing happens where nothing is cut. */
  async mend(a: string, b: string, way: PartitionWay = 'both'): Promise<void> {
    for (const [from, to] of this.#ways(a, b, way)) await this.#partitions.mend(from, to);
  }

  /** A pod's addresses as its resource says them, a machine's as planned. Throws `place-unknown`. */
  async addresses(place: string): Promise<string[]> {
    const pod = this.pods.find((candidate) => podPlace(candidate) === place);
    if (pod === undefined) {
      this.context.find(place);
      const machine = this.context.state.plan.places.find((each) => each.place === place);
      return (machine?.devices ?? []).flatMap((device) =>
        device.addresses.map(({ address }) => address),
      );
    }
    const store = await this.cluster(pod.cluster).store();
    const object = await store.get('Pod', pod);
    return (object.status?.podIPs ?? []).map(({ ip }) => ip);
  }

  /** Starts further pods and remembers them. */
  async addPods(pods: readonly PodPlan[], options: StartOptions = {}): Promise<string[][]> {
    const addresses: string[][] = [];
    this.#remember([...this.pods, ...pods]);
    for (const cluster of this.clusters) {
      const own = pods.filter((pod) => pod.cluster === cluster.plan.name);
      if (own.length > 0) addresses.push(...(await (await cluster.kubelet()).start(own, options)));
    }
    return addresses;
  }

  async removePod(place: string, graceMs = 0): Promise<void> {
    const pod = this.#pod(place);
    await (await this.cluster(pod.cluster).kubelet()).stop(pod, graceMs);
    this.#remember(this.pods.filter((candidate) => candidate !== pod));
  }

  /**
   * Takes a pod away and starts it again under its name on another node, as a StatefulSet's controller
   * does after a drain; its new addresses.
   */
  async movePod(place: string, node: string): Promise<string[]> {
    const pod = this.#pod(place);
    this.agent(node);
    await this.removePod(place);
    const [addresses = []] = await this.addPods([{ ...pod, node }]);
    return addresses;
  }

  async setReady(place: string, ready: boolean): Promise<void> {
    const pod = this.#pod(place);
    await (await this.cluster(pod.cluster).kubelet()).setReady(pod, ready);
  }

  /**
   * Waits until every agent is ready and every node knows every other and every pod, of peers too unless told
   * otherwise: while they are cut off they are not to be waited for.
   */
  async settled(
    options: {
      readonly timeoutMs?: number;
      readonly signal?: AbortSignal;
      readonly peers?: boolean;
    } = {},
  ): Promise<void> {
    const timeoutMs = options.timeoutMs ?? READY_MS;
    await routersReady(this.routers, timeoutMs, options.signal);
    for (const cluster of this.clusters) {
      await operatorsReady(cluster.operators, timeoutMs, options.signal);
      await agentsReady(cluster.agents, timeoutMs, options.signal);
      const store = await cluster.store();
      if (cluster.plan.settings.routing.bgp) {
        const configs = await store.list('CiliumBGPClusterConfig');
        const selectors = configs.items.map(({ spec }) => spec.nodeSelector);
        await speakersReady(
          cluster.agents,
          selectors,
          (remote) => this.#hasBfd(remote),
          timeoutMs,
          options.signal,
        );
      }
      const peers = options.peers === false ? [] : (cluster.plan.mesh?.reads ?? []);
      await peersReady(cluster.agents, peers, timeoutMs, options.signal);
      const known = [cluster, ...peers.map((peer) => this.cluster(peer))];
      const nodes = known.flatMap((each) => each.agents.map((agent) => agent.node.name));
      const addresses = (await inParallel(known, 4, podAddresses)).flat();
      await tablesComplete(cluster.agents, nodes, addresses, timeoutMs, options.signal);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const stores = [...this.#stores.values()];
    this.#stores.clear();
    for (const store of await Promise.allSettled(stores))
      if (store.status === 'fulfilled') await store.value[Symbol.asyncDispose]();
  }

  #face(plan: ClusterPlan): LabClusterFace {
    const etcd = new LabEtcd(this.context, plan);
    const agents = plan.nodes.map((node) => new LabAgent(this.context, plan, node));
    const operators = plan.operators.map((each) => new LabOperator(this.context, plan, each));
    const inventories = plan.inventories.map((each) => new LabInventory(this.context, plan, each));
    const opened = (): Promise<OpenStore> => {
      const open = this.#stores.get(plan.name) ?? openStore(etcd.socket);
      this.#stores.set(plan.name, open);
      return open;
    };
    const store = async (): Promise<ResourceStore> => (await opened()).store;
    const agentSocket = (node: string): string => this.agent(node).socket;
    return {
      plan,
      etcd,
      agents,
      operators,
      inventories,
      store,
      kv: async () => (await opened()).kv,
      kubelet: async () =>
        new Kubelet({ context: this.context, store: await store(), agentSocket }),
    };
  }

  #machine<T extends LabProgram>(
    what: string,
    place: string,
    of: (cluster: LabClusterFace) => readonly T[],
  ): T {
    const all = this.clusters.flatMap(of);
    const found = all.find((each) => each.place === place);
    if (found !== undefined) return found;
    const known = all.map((each) => each.place).join(', ') || '(none)';
    throw new LabError(
      'place-unknown',
      `lab ${this.name} has no ${what} ${place}; it has ${known}`,
      { value: place },
    );
  }

  #ways(a: string, b: string, way: PartitionWay): [ClusterPlan, ClusterPlan][] {
    const [left, right] = [this.cluster(a).plan, this.cluster(b).plan];
    const there: [ClusterPlan, ClusterPlan] = [left, right];
    const back: [ClusterPlan, ClusterPlan] = [right, left];
    return way === 'both' ? [there, back] : [way === 'to' ? there : back];
  }

  /** Whether an address is of a router that runs BFD. */
  #hasBfd(address: string): boolean {
    const { places, routers } = this.context.state.plan;
    return routers.some(
      ({ name, bfd }) =>
        bfd !== undefined &&
        places
          .find(({ place }) => place === name)
          ?.devices.some((device) => device.addresses.some((each) => each.address === address)),
    );
  }

  #pod(place: string): PodPlan {
    const pod = this.pods.find((candidate) => podPlace(candidate) === place);
    if (pod !== undefined) return pod;
    throw new LabError('place-unknown', `lab ${this.name} has no pod ${place}`, {
      value: place,
      hint: `its pods: ${this.pods.map(podPlace).join(', ') || '(none)'}`,
    });
  }

  #remember(pods: readonly PodPlan[]): void {
    this.context.state = { ...this.context.state, pods };
    writeState(this.context.state);
  }
}

async function podAddresses(cluster: LabClusterFace): Promise<string[]> {
  const pods = await (await cluster.store()).list('Pod');
  return pods.items.flatMap((pod) => (pod.status?.podIPs ?? []).map(({ ip }) => ip));
}

/** The face of a lab that is up. Throws `lab-not-found`, `lab-busy`, `lab-incomplete` or `state-unreadable`. */
export function openLab(name: string): Lab {
  const state = requireState(name);
  if (isBeingBuilt(state))
    throw new LabError('lab-busy', `lab ${name} is being built by process ${state.builder.pid}`, {
      value: name,
      hint: 'wait for it, or end that process and run causeway lab down',
    });
  // A lab that failed and was kept is there to be looked at.
  if (state.phase === 'building')
    throw new LabError('lab-incomplete', `lab ${name} did not come up whole`, {
      value: name,
      hint: `causeway lab down ${name}, then up again`,
    });
  return new Lab(state);
}
