import type { Log } from '@causeway/daemon';
import type { Prefix } from '@causeway/ip';
import type { RtSocket } from '@causeway/linux';
import {
  type Clock,
  type Database,
  type InitialSource,
  Reconciler,
  type ReconcilerOptions,
  type TableKey,
} from '@causeway/tables';
import type { HealthRow } from '../api/types.ts';
import type { AgentConfig } from '../config/schema.ts';
import { reconcilerHealth } from '../health.ts';
import type { OwnNodeTable } from '../node/own-node.ts';
import { addressOperations } from './address-reconciler.ts';
import { linkOperations } from './link-reconciler.ts';
import { HostObserver } from './observer.ts';
import { type HostPlan, planHost } from './planner.ts';
import { RoutePlanner } from './route-planner.ts';
import { routeOperations } from './route-reconciler.ts';
import type { MovedAddress, RoutedNode } from './routes.ts';
import { kernelSysctls, sysctlOperations } from './sysctls.ts';
import { type HostTables, hostTables } from './tables.ts';

/** A plan that takes longer is followed by a rest. */
const DEAR_MS = 25;
/** Longest rest between plans. */
const MAX_REST_MS = 2_000;
/** What nobody reports is looked for this often: an address or setting that somebody took away. */
const REFRESH_MS = 60_000;

export interface HostNetworkOptions {
  readonly config: AgentConfig;
  readonly database: Database;
  readonly ownNode: OwnNodeTable;
  /** Nodes of the cluster but this one; of a node that has not changed the same object. */
  readonly remoteNodes: () => readonly RoutedNode[];
  /** Addresses that are elsewhere than their CIDR. */
  readonly moved?: () => readonly MovedAddress[];
  /** Whether somebody will say what this node announces: its routes stay until they have. */
  readonly announces?: boolean;
  readonly socket: RtSocket;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
}

type AnyReconciler = Pick<
  Reconciler<never, never>,
  'name' | 'metrics' | 'failures' | 'refresh' | 'done'
> &
  AsyncDisposable;

/**
 * The node's own network: devices, addresses, routes and settings that are ours. The plan is made
 * anew whenever one of its inputs changes; reconcilers bring the kernel to it, and back to it.
 */
export class HostNetwork implements AsyncDisposable {
  readonly tables: HostTables;
  readonly #options: HostNetworkOptions;
  readonly #observer: HostObserver;
  readonly #reconcilers: AnyReconciler[];
  readonly #links: Reconciler<never, never>;
  readonly #routes: Reconciler<never, never>;
  readonly #undo: (() => void)[];
  readonly #listeners = new Set<(plan: HostPlan) => void>();
  readonly #routePlanner = new RoutePlanner();
  #plan: HostPlan;
  #attracted: readonly Prefix[] = [];
  #announcementsKnown: InitialSource | undefined;
  #scheduled = false;
  /** When the last plan was followed, and how long that took, milliseconds. */
  #made = 0;
  #took = 0;

  constructor(options: HostNetworkOptions) {
    this.#options = options;
    this.tables = hostTables(options.database);
    const { socket, ownNode } = options;
    // Routes of nodes that are still there must survive the moment until they are heard of again.
    this.#routesKnown = this.tables.routes.source('nodes');
    if (options.announces) this.#announcementsKnown = this.tables.routes.source('announcements');
    this.#observer = new HostObserver({
      socket,
      devices: this.tables.devices,
      onDrift: () => this.#heal(),
      log: options.log,
    });
    this.#plan = this.#make();
    this.#apply();
    const links = this.#reconciler({
      name: 'links',
      table: this.tables.links,
      operations: linkOperations(socket),
    });
    this.#links = links as never;
    const routes = this.#reconciler({
      name: 'routes',
      table: this.tables.routes,
      operations: routeOperations(socket),
    });
    this.#routes = routes as never;
    this.#reconcilers = [
      links,
      this.#reconciler({
        name: 'addresses',
        table: this.tables.addresses,
        operations: addressOperations(socket),
      }),
      routes,
      this.#reconciler({
        name: 'sysctls',
        table: this.tables.sysctls,
        operations: sysctlOperations(kernelSysctls),
      }),
    ] as unknown as AnyReconciler[];
    this.#undo = [ownNode, this.tables.devices].map((table) => table.onCommit(() => this.replan()));
  }

  readonly #routesKnown;

  get plan(): HostPlan {
    return this.#plan;
  }

  /** Called after each new plan. */
  onPlan(listener: (plan: HostPlan) => void): void {
    this.#listeners.add(listener);
  }

  /** The nodes of the cluster have been read once: routes of others may go now. */
  nodesKnown(): void {
    this.replan();
    setImmediate(() => this.#routesKnown.done());
  }

  /** Service addresses that the network sends to this node. */
  setAttracted(prefixes: readonly Prefix[]): void {
    const same =
      prefixes.length === this.#attracted.length &&
      prefixes.every((prefix, index) => prefix === this.#attracted[index]);
    if (!same) {
      this.#attracted = prefixes;
      this.replan();
    }
    setImmediate(() => this.#announcementsKnown?.done());
  }

  /**
   * Makes a new plan soon; a crowd of changes makes one. With thousands of nodes a plan is dear, and plans
   * may take no more than a fifth of the time while nodes become known one by one.
   */
  replan(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    const make = () => {
      this.#scheduled = false;
      this.#now();
    };
    const pause = this.#took < DEAR_MS ? 0 : Math.min(4 * this.#took, MAX_REST_MS);
    const rest = this.#made + pause - performance.now();
    if (rest < 1) setImmediate(make);
    else setTimeout(make, rest).unref();
  }

  #now(): void {
    const began = performance.now();
    try {
      this.#follow();
    } finally {
      this.#made = performance.now();
      this.#took = this.#made - began;
    }
  }

  #follow(): void {
    this.#plan = this.#make();
    this.#apply();
    for (const listener of this.#listeners) listener(this.#plan);
  }

  /** A device that was made anew has another index: who was told the old one must hear of it. */
  #heal(): void {
    this.refresh();
    this.#links.attempted().then(
      () => this.replan(),
      () => {},
    );
  }

  /** Resolves when a new plan is made and its routes have been tried. */
  async settleRoutes(signal: AbortSignal): Promise<void> {
    this.#now();
    await this.#routes.attempted(signal);
  }

  /** Compares the kernel with every row again. */
  refresh(): void {
    for (const reconciler of this.#reconcilers) reconciler.refresh();
  }

  /** Resolves when the devices stand; rejects after a while with what keeps them. */
  async devicesReady(signal: AbortSignal): Promise<void> {
    await this.#links.settled(signal);
  }

  health(): HealthRow[] {
    const rows = this.#reconcilers.map((each) => reconcilerHealth(each));
    const [first] = this.#plan.routeProblems;
    if (first === undefined) return rows;
    const { length } = this.#plan.routeProblems;
    // What another subnet holds is somebody else's to route; what overlaps is nobody's.
    const healthy = this.#plan.routeProblems.every(({ type }) => type === 'elsewhere');
    const detail = `${length} prefixes have no route of ours; ${first.node} ${first.prefix}: ${first.reason}`;
    return [...rows, { name: 'direct-routes', healthy, detail }];
  }

  #make(): HostPlan {
    return planHost(
      {
        config: this.#options.config,
        own: this.#options.ownNode.get(this.#options.config.node.name),
        observed: [...this.tables.devices.rows()],
        remote: this.#options.remoteNodes(),
        attracted: this.#attracted,
        moved: this.#options.moved?.() ?? [],
      },
      this.#routePlanner,
    );
  }

  #apply(): void {
    const { links, addresses, routes, sysctls } = this.tables;
    this.#options.database.write(() => {
      links.replace(this.#plan.links);
      addresses.replace(this.#plan.addresses);
      routes.replace(this.#plan.routes);
      sysctls.replace(this.#plan.sysctls);
    });
  }

  #reconciler<Row, K extends TableKey>(
    options: Pick<ReconcilerOptions<Row, K>, 'name' | 'table' | 'operations' | 'batchSize'>,
  ): Reconciler<Row, K> {
    return new Reconciler<Row, K>({
      ...options,
      clock: this.#options.clock,
      random: this.#options.random,
      refreshInterval: REFRESH_MS,
      backoff: { min: 100, max: 10_000 },
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#observer[Symbol.dispose]();
    for (const undo of this.#undo) undo();
    for (const reconciler of this.#reconcilers.toReversed())
      await reconciler[Symbol.asyncDispose]();
  }
}
