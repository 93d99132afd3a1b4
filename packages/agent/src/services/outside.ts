import type { Log } from '@causeway/daemon';
import type { Kv } from '@causeway/etcd';
import { serviceName } from '@causeway/loadbalancing';
import type { Labels } from '@causeway/resources';
import type { Clock, Database, Table } from '@causeway/tables';
import type { HealthRow } from '../api/types.ts';
import { type NodeTable, nodeKey, reachable } from '../cluster/tables.ts';
import { type Watched, watchedBy } from '../edge/echo-rounds.ts';
import { kernelEchoes, type OpenEcho } from '../edge/group-watch.ts';
import { Presence } from '../edge/presence.ts';
import { type EdgeRole, type EdgeView, edgeRole } from '../edge/role.ts';
import type { OpenWords } from '../edge/store-watch.ts';
import { udpWords } from '../edge/udp-words.ts';
import type { OwnNode } from '../node/own-node.ts';
import type { ServiceController } from './controller.ts';
import { BackendHealth } from './health/health.ts';
import { type Probe, probe } from './health/probe.ts';
import { type NodePortHealth, NodePortHealthServers } from './node-port-health.ts';

export interface OutsideServicesOptions {
  readonly node: string;
  readonly cluster: string;
  readonly kv: Kv;
  readonly database: Database;
  readonly services: ServiceController;
  readonly ownNode: Table<OwnNode>;
  readonly nodes: NodeTable;
  /** Whether this node speaks BGP at all. */
  readonly announces: boolean;
  /** For tests. */
  readonly probe?: Probe;
  readonly echoes?: OpenEcho;
  readonly words?: OpenWords;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
}

/**
 * What services need of a node beside its maps: health checks, the ports by which outer load balancers ask for this
 * node's health, and this node's role at the edge of its cluster.
 */
export class OutsideServices implements AsyncDisposable {
  readonly health: BackendHealth;
  readonly presence: Presence;
  readonly #options: OutsideServicesOptions;
  readonly #servers: NodePortHealthServers;
  readonly #listeners = new Set<() => void>();
  readonly #undo: (() => void)[];
  #gateway = false;
  #heldView: EdgeView | undefined;
  #heldWatch:
    | { readonly living: ReadonlySet<string>; readonly watched: readonly Watched[] }
    | undefined;

  constructor(options: OutsideServicesOptions) {
    this.#options = options;
    const { node, kv, database, services, ownNode, nodes, clock, random, log } = options;
    const shared = { node, kv, database, clock, random, log };
    this.presence = new Presence({
      ...shared,
      watch: {
        watched: (living) => this.#watched(living),
        open: options.echoes ?? kernelEchoes,
        words: options.words ?? udpWords,
      },
      onChange: () => this.#changed(),
    });
    this.health = new BackendHealth({
      ...shared,
      balancer: services,
      setFailing: (from, failing) => services.setFailing(from, failing),
      announces: () => options.announces && this.view().role !== 'excluded',
      onReach: () => this.#changed(),
      probe: options.probe ?? probe,
    });
    this.#servers = new NodePortHealthServers({ clock, log });
    const follow = () => this.#follow();
    this.#undo = [
      ownNode.onCommit(follow),
      nodes.onCommit(() => {
        this.#heldWatch = undefined;
        follow();
      }),
    ];
    services.onChange(follow);
  }

  /** Called when the role, the living edge nodes or the reach have changed. */
  onChange(listener: () => void): void {
    this.#listeners.add(listener);
  }

  /** This node among the edge nodes; the same object as long as it is the same. */
  view(): EdgeView {
    const { node, cluster, nodes } = this.#options;
    const others = [...this.presence.living].filter((name) => {
      if (name === node) return false;
      const labels = nodes.get(nodeKey(cluster, name))?.labels;
      return labels !== undefined && edgeRole(labels) === 'edge';
    });
    const view = { role: this.#role(), others: others.sort() };
    if (JSON.stringify(view) !== JSON.stringify(this.#heldView)) this.#heldView = view;
    return this.#heldView!;
  }

  /** Others send pods' traffic out by this node, or may have to. */
  setGateway(candidate: boolean): void {
    this.#gateway = candidate;
    this.#follow();
  }

  rows(): HealthRow[] {
    const problems = this.#servers.problems();
    const [first] = problems;
    return [
      ...this.health.health(),
      ...this.presence.health(),
      ...(first === undefined
        ? []
        : [{ name: 'health-check-ports', healthy: false, detail: first }]),
    ];
  }

  /** Asked in every round: all nodes are gone through only when they or the living are others. */
  #watched(living: ReadonlySet<string>): readonly Watched[] {
    if (this.#heldWatch?.living.symmetricDifference(living).size !== 0) {
      this.#heldWatch = { living, watched: this.#chooseWatched(living) };
    }
    return this.#heldWatch.watched;
  }

  /** By the addresses by which nodes reach each other. */
  #chooseWatched(living: ReadonlySet<string>): Watched[] {
    const { node, cluster, nodes } = this.#options;
    const known = [...nodes.rows()].flatMap((row) => {
      const [address] = reachable(row);
      return row.cluster === cluster && address !== undefined ? [{ name: row.name, address }] : [];
    });
    return watchedBy(node, known, living);
  }

  #role(): EdgeRole {
    return edgeRole(this.#labels());
  }

  #labels(): Labels {
    const { ownNode, node } = this.#options;
    return ownNode.get(node)?.labels ?? {};
  }

  #follow(): void {
    const { services, ownNode, node } = this.#options;
    if (ownNode.get(node) !== undefined) {
      const role = this.#role();
      this.presence.announce(this.#gateway || role === 'edge' || role === 'draining');
    }
    if (!services.synced) return;
    this.health.follow();
    this.#servers.set(this.#localHealth());
    this.#changed();
  }

  #localHealth(): NodePortHealth[] {
    const { services, node } = this.#options;
    return [...services.services()].flatMap((service) => {
      const { namespace, name, healthCheckNodePort: port, externalTrafficPolicy, type } = service;
      if (port === undefined || type !== 'LoadBalancer' || externalTrafficPolicy !== 'Local')
        return [];
      // As for announcements: what drains, or fails its check, is nothing to send new clients to.
      const local = new Set(
        services
          .frontendsOf(service)
          .flatMap(({ backends }) => backends)
          .filter((each) => each.node === node && each.state === 'active')
          .filter(({ excluded }) => excluded === undefined)
          .map(({ target, key }) => target ?? key),
      );
      return [{ namespace, name, port, localEndpoints: local.size }];
    });
  }

  /** Why this node reaches no backend of a service. */
  unreachable(namespace: string, name: string): string | undefined {
    return this.health.unreachable(serviceName({ namespace, name }));
  }

  #changed(): void {
    for (const listener of this.#listeners) listener();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const undo of this.#undo) undo();
    await this.health[Symbol.asyncDispose]();
    await this.presence[Symbol.asyncDispose]();
    await this.#servers[Symbol.asyncDispose]();
  }
}
