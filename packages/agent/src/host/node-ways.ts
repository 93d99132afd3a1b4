import { type Log, messageWithCauses } from '@causeway/daemon';
import { type NodeRow, type NodeTable, nodeKey, reachable } from '../cluster/tables.ts';
import { type Way, type WayInputs, wayTo } from './ways.ts';

/** What carries a change of ways into the kernel. */
export interface WayCarrier {
  /** Makes the node's routes follow `routed` and resolves when that was attempted. */
  settleRoutes(): Promise<void>;
  /** Writes again what the kernel's ipcache says of these nodes and of what lives there. */
  rewriteNodes(nodes: readonly NodeRow[]): Promise<void>;
}

export interface NodeWaysOptions {
  readonly own: { readonly cluster: string; readonly name: string };
  readonly nodes: NodeTable;
  readonly inputs: () => WayInputs;
  readonly log: Log;
}

interface Carried {
  routes: Way['type'];
  ipcache: Way['type'];
}

/**
 * The way to each other node as it is in force. Where the wanted way changes under traffic, what leads there comes
 * before what leaves the old way: a direct route stands before the tunnel is forgotten, a tunnel is known before the
 * direct route goes. The other side may still, or already, use the other way: either is taken in.
 */
export class NodeWays implements Disposable {
  readonly #options: NodeWaysOptions;
  readonly #carried = new Map<string, Carried>();
  readonly #undo: () => void;
  #carrier: WayCarrier | undefined;
  #running = false;
  #again = false;
  #closed = false;

  constructor(options: NodeWaysOptions) {
    this.#options = options;
    this.#undo = options.nodes.onCommit(() => this.follow());
  }

  /** The way that labels and networks ask for. */
  wanted(node: NodeRow): Way {
    const addresses = reachable(node);
    return wayTo(this.#options.inputs(), { ...node, addresses });
  }

  /** For people: the way in force and why; undefined for this node itself. */
  explain(node: NodeRow): (Way & { readonly changing: boolean }) | undefined {
    if (this.#isOwn(node)) return undefined;
    const way = this.wanted(node);
    const { routes, ipcache } = this.#of(node);
    return { ...way, changing: routes !== way.type || ipcache !== way.type };
  }

  /** Which way the node's routes lead. */
  routed(node: NodeRow): Way['type'] {
    return this.#of(node).routes;
  }

  /** Whether the ipcache sends what is for this node's pods into a tunnel. */
  tunnels(node: NodeRow): boolean {
    return this.#of(node).ipcache === 'tunnel';
  }

  /** Changes from now on are carried out; until then ways are what is wanted. */
  start(carrier: WayCarrier): void {
    this.#carrier = carrier;
    this.follow();
  }

  /** Call it when this node's labels or networks have changed. */
  follow(): void {
    if (this.#options.inputs().mode !== 'hybrid') return;
    this.#again = true;
    if (this.#running || this.#closed || this.#carrier === undefined) return;
    this.#running = true;
    void this.#run(this.#carrier).finally(() => {
      this.#running = false;
    });
  }

  async #run(carrier: WayCarrier): Promise<void> {
    // One turn for a crowd of changes.
    await new Promise((resolve) => setImmediate(resolve));
    while (this.#again && !this.#closed) {
      this.#again = false;
      try {
        await this.#carry(carrier);
      } catch (error) {
        this.#options.log.error(
          { error: messageWithCauses(error) },
          'the ways to other nodes cannot be changed; tried again with the next change',
        );
      }
    }
  }

  async #carry(carrier: WayCarrier): Promise<void> {
    const { nodes, log } = this.#options;
    const direct: [NodeRow, Carried][] = [];
    const tunnelled: [NodeRow, Carried][] = [];
    const known = new Set<string>();
    for (const node of nodes.rows()) {
      if (this.#isOwn(node)) continue;
      const key = nodeKey(node.cluster, node.name);
      known.add(key);
      const carried = this.#of(node);
      const way = this.wanted(node);
      if (carried.routes === way.type && carried.ipcache === way.type) continue;
      log.info({ node: key, way: way.type, because: way.because }, 'the way to a node changes');
      (way.type === 'direct' ? direct : tunnelled).push([node, carried]);
    }
    for (const key of this.#carried.keys()) if (!known.has(key)) this.#carried.delete(key);
    if (direct.length === 0 && tunnelled.length === 0) return;

    for (const [, carried] of tunnelled) carried.ipcache = 'tunnel';
    await carrier.rewriteNodes(tunnelled.map(([node]) => node));
    for (const [, carried] of direct) carried.routes = 'direct';
    for (const [, carried] of tunnelled) carried.routes = 'tunnel';
    await carrier.settleRoutes();
    for (const [, carried] of direct) carried.ipcache = 'direct';
    await carrier.rewriteNodes(direct.map(([node]) => node));
  }

  #of(node: NodeRow): Carried {
    const { inputs } = this.#options;
    const { mode } = inputs();
    if (mode !== 'hybrid') {
      const type = mode === 'tunnel' ? 'tunnel' : 'direct';
      return { routes: type, ipcache: type };
    }
    const key = nodeKey(node.cluster, node.name);
    const known = this.#carried.get(key);
    if (known !== undefined) return known;
    const { type } = this.wanted(node);
    const carried: Carried = { routes: type, ipcache: type };
    this.#carried.set(key, carried);
    return carried;
  }

  #isOwn({ cluster, name }: NodeRow): boolean {
    const { own } = this.#options;
    return cluster === own.cluster && name === own.name;
  }

  [Symbol.dispose](): void {
    this.#closed = true;
    this.#undo();
  }
}
