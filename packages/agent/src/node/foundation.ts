import path from 'node:path';
import { type Log, StateDirectory } from '@causeway/daemon';
import type { Kv } from '@causeway/etcd';
import { Mac } from '@causeway/ip';
import { RtSocket } from '@causeway/linux';
import { etcdStore, type ResourceStore } from '@causeway/resources';
import { type Clock, Database } from '@causeway/tables';
import { askForFirstCidrs } from '../addresses/first-cidrs.ts';
import { heldBlocksRecord } from '../addresses/held.ts';
import { BlockKeeper } from '../addresses/keeper.ts';
import { type ClusterTables, clusterTables, type NodeRow, reachable } from '../cluster/tables.ts';
import type { AgentConfig } from '../config/schema.ts';
import type { DatapathSettings } from '../datapath/ports.ts';
import { AgentError } from '../errors.ts';
import { HOST_DEVICE, VXLAN_DEVICE } from '../host/names.ts';
import { HostNetwork } from '../host/network.ts';
import { NodeWays } from '../host/node-ways.ts';
import { carriesEgress, carriesTunnels, type HostPlan } from '../host/planner.ts';
import type { MovedAddress, RoutedNode } from '../host/routes.ts';
import { StoreSources, type StoreTables, storeTables } from '../sources/store.ts';
import { StoreTrust } from '../sources/trust.ts';
import { gatewaysOf } from './gateways.ts';
import {
  OwnNodeKeeper,
  type OwnNodeTable,
  ownNodeTable,
  type StoredNodeTable,
  storedNodeRecord,
  storedNodeTable,
} from './own-node.ts';

const DEVICES_MS = 20_000;
const OWN_NODE_MS = 2_000;
/** How long a node without a CIDR waits for the operator before it goes on without one. */
const FIRST_CIDRS_MS = 5_000;

/**
 * What has to stand before programs can be loaded: the tables, and the node's own devices, whose
 * indexes the programs are told.
 */
export class Foundation implements AsyncDisposable {
  readonly database = new Database();
  readonly store: StoreTables;
  readonly cluster: ClusterTables;
  /** What the store says of this node, or said last. */
  readonly knownNode: StoredNodeTable;
  readonly ownNode: OwnNodeTable;
  /** The node's pod CIDRs. */
  readonly blocks: BlockKeeper;
  readonly sources: StoreSources;
  readonly host: HostNetwork;
  readonly trust: StoreTrust;
  /** How packets go to the pods of other nodes. */
  readonly ways: NodeWays;
  /** Addresses that are elsewhere than their CIDR; set once there is somebody who knows. */
  moved: () => readonly MovedAddress[] = () => [];
  readonly #config: AgentConfig;
  readonly #stop = new AbortController();
  readonly #socket = RtSocket.open();
  readonly #keeper: OwnNodeKeeper;
  readonly resources: ResourceStore;
  readonly #clock: Clock;
  readonly #log: Log;
  /** Other nodes as the routes were planned for them last. */
  #routed = new Map<NodeRow, RoutedNode>();

  constructor(config: AgentConfig, kv: Kv, clock: Clock, random: () => number, log: Log) {
    this.#config = config;
    this.resources = etcdStore(kv);
    this.#clock = clock;
    this.#log = log;
    this.store = storeTables(this.database);
    this.trust = new StoreTrust(kv, clock);
    const { cluster } = config;
    const seed = Math.floor(random() * 2 ** 32);
    const { signal } = this.#stop;
    this.cluster = clusterTables(this.database, this.trust, signal, cluster.name, seed);
    this.ownNode = ownNodeTable(this.database);
    this.knownNode = storedNodeTable(this.database, 'known-node');
    this.#keeper = new OwnNodeKeeper({
      name: config.node.name,
      stored: this.store.storedNode,
      kept: this.knownNode,
      cache: new StateDirectory(path.join(config.runDir, 'state/node'), storedNodeRecord),
      log,
    });
    this.blocks = new BlockKeeper({
      node: config.node.name,
      known: this.knownNode,
      ownNode: this.ownNode,
      state: new StateDirectory(path.join(config.runDir, 'state/pod-cidrs'), heldBlocksRecord),
      log,
    });
    this.ways = new NodeWays({
      own: { cluster: config.cluster.name, name: config.node.name },
      nodes: this.cluster.nodes,
      inputs: () => ({
        mode: config.routingMode,
        families: config.families,
        labels: this.ownNode.get(config.node.name)?.labels ?? {},
        devices: this.host?.plan?.devices ?? [],
      }),
      log,
    });
    this.host = new HostNetwork({
      config,
      database: this.database,
      ownNode: this.ownNode,
      remoteNodes: () => this.#remoteNodes(),
      moved: () => this.moved(),
      announces: config.bgp.enabled,
      socket: this.#socket,
      clock,
      random,
      log,
    });
    const { name } = config.node;
    this.sources = new StoreSources(
      this.resources,
      this.store,
      {
        name,
        families: config.families,
        secretsNamespace: config.bgp.enabled ? config.bgp.secretsNamespace : undefined,
      },
      clock,
      log,
    );
  }

  /**
   * Resolves when the devices stand, and when it is known who this node is or the store is slow to say.
   * @throws AgentError `kernel-failed` when the kernel refuses the devices.
   */
  async ready(signal: AbortSignal): Promise<void> {
    try {
      await this.host.devicesReady(AbortSignal.any([signal, AbortSignal.timeout(DEVICES_MS)]));
    } catch (cause) {
      const [first] = this.host.health().filter(({ healthy }) => !healthy);
      throw new AgentError(
        'kernel-failed',
        `the node's own devices cannot be made: ${first?.detail ?? 'no answer'}`,
        {
          hint: 'remove what stands in the way; the agent retries when it is started again',
          cause,
        },
      );
    }
    // The programs are told the gateways: loading them before those are known means loading them twice.
    if (this.blocks.blocks.length > 0) return;
    const patience = AbortSignal.any([signal, AbortSignal.timeout(OWN_NODE_MS)]);
    await this.store.storedNode.whenInitialized(patience).catch(() => {});
    const given = AbortSignal.any([signal, AbortSignal.timeout(FIRST_CIDRS_MS)]);
    await askForFirstCidrs(
      {
        store: this.resources,
        node: this.#config.node.name,
        families: this.#config.families,
        known: this.knownNode,
        tables: this.store.addressing,
        clock: this.#clock,
        log: this.#log,
      },
      given,
    ).catch(() => {});
    // One turn for the plan that follows from it.
    await new Promise((resolve) => setTimeout(resolve, 5));
  }

  /** What the programs are told of this plan. */
  settings(plan: HostPlan): DatapathSettings {
    const config = this.#config;
    const hostDevice = this.#device(HOST_DEVICE);
    return {
      families: config.families,
      hostDevice: { index: hostDevice.index, mac: Mac.fromBytes(hostDevice.mac) },
      tunnel: carriesTunnels(config)
        ? { index: this.#device(VXLAN_DEVICE).index, mtu: plan.mtu.tunnel }
        : undefined,
      egressTunnel:
        !carriesTunnels(config) && carriesEgress(config)
          ? { index: this.#device(VXLAN_DEVICE).index, mtu: plan.mtu.tunnel }
          : undefined,
      // Of a CIDR that is about to be published, too: the programs are not loaded again for it.
      gateways: gatewaysOf(this.blocks.serving()),
      masquerade: config.masquerade.enabled,
      natPorts: config.masquerade.ports,
      socketLB: config.socketLB,
      allowLocalhost: config.policy.allowLocalhost === 'always',
    };
  }

  ownDevice(name: string): { readonly index: number; readonly name: string } | undefined {
    const index = this.#socket.link({ name })?.index;
    return index === undefined ? undefined : { index, name };
  }

  #device(name: string) {
    const link = this.#socket.link({ name });
    if (link === undefined) throw new AgentError('kernel-failed', `the device ${name} is missing`);
    return link;
  }

  #remoteNodes(): RoutedNode[] {
    const { cluster, node } = this.#config;
    const remote: RoutedNode[] = [];
    const before = this.#routed;
    this.#routed = new Map();
    for (const row of this.cluster.nodes.rows()) {
      if (row.cluster === cluster.name && row.name === node.name) continue;
      const way = this.ways.routed(row);
      let known = before.get(row);
      if (known?.way !== way) {
        const { name, podCIDRs } = row;
        known = { cluster: row.cluster, name, way, addresses: reachable(row), podCIDRs };
      }
      this.#routed.set(row, known);
      remote.push(known);
    }
    return remote;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    this.trust[Symbol.dispose]();
    this.ways[Symbol.dispose]();
    await this.sources[Symbol.asyncDispose]();
    await this.host[Symbol.asyncDispose]();
    this.blocks[Symbol.dispose]();
    this.#keeper[Symbol.dispose]();
    this.#socket.close();
  }
}
