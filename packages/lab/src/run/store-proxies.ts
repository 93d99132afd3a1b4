import { join } from 'node:path';
import { storePaths } from '../host/names.ts';
import { forget, launch, runningProcess, signalProcess } from '../host/process.ts';
import type { ClusterPlan } from '../plan/types.ts';
import type { LabContext } from './context.ts';
import type { StoreGuard } from './store-guard.ts';

const FIRST_PORT = 23_790;

/** An `etcd grpc-proxy` for each peer, beside the store: all nodes of a peer together cost the store one watch. */
export class StoreProxies {
  readonly #context: LabContext;
  readonly #cluster: ClusterPlan;
  readonly #guard: StoreGuard;

  constructor(context: LabContext, cluster: ClusterPlan, guard: StoreGuard) {
    this.#context = context;
    this.#cluster = cluster;
    this.#guard = guard;
  }

  port(peer: string): number | undefined {
    const index = this.#peers.indexOf(peer);
    return index < 0 ? undefined : FIRST_PORT + index;
  }

  /** Nothing happens to those that run. */
  async start(): Promise<void> {
    const { directory } = storePaths(this.#context.state.name, this.#cluster.name);
    const prefix = this.#context.prefix(this.#context.find(this.#cluster.etcd.place));
    for (const peer of this.#peers) {
      const pid = join(directory, `proxy-${peer}.pid`);
      if (runningProcess(pid) !== undefined) continue;
      const data = join(directory, `proxy-${peer}`);
      const argv = await this.#guard.proxyArguments(peer, `:${this.port(peer)}`, data);
      await launch([...prefix, 'etcd', ...argv], join(directory, `proxy-${peer}.log`), pid);
    }
  }

  /** Ends all of them at once, and with them their readers' connections. */
  stop(): void {
    const { directory } = storePaths(this.#context.state.name, this.#cluster.name);
    for (const peer of this.#peers) {
      const pid = join(directory, `proxy-${peer}.pid`);
      if (signalProcess(pid, 'SIGKILL')) forget(pid);
    }
  }

  get #peers(): readonly string[] {
    return this.#cluster.mesh?.readBy ?? [];
  }
}
