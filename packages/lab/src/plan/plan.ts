import { Address, Prefix } from '@causeway/ip';
import { countedNames, podNames } from '../file/counted.ts';
import type { LabCluster, LabFile, LabRack } from '../file/schema.ts';
import { segmentOf } from '../file/segments.ts';
import { RackAddresses } from './addresses.ts';
import { planMesh } from './mesh.ts';
import { planRouters, type RouterPort } from './routers.ts';
import { type Destination, nextHops, type RouterGraph } from './routes.ts';
import type {
  CablePlan,
  ClusterPlan,
  DeviceAddress,
  DevicePlan,
  HostPlan,
  LabPlan,
  NodePlan,
  PlacePlan,
  PodPlan,
} from './types.ts';

/** Interface names hold 15 bytes (IFNAMSIZ less the end). */
const MAX_DEVICE_NAME = 15;
const FAMILIES = ['ipv4', 'ipv6'] as const;
/** A node's own default route, for the time before a session has given it one: any other goes before it. */
const LAST_RESORT_METRIC = 20_000;

/**
 * Decides names, addresses, cables and routes of a lab. Pure and deterministic: the same file gives
 * the same plan. The order of giving addresses is routers, nodes, hosts, stores, each in file order.
 */
export function planLab(file: LabFile): LabPlan {
  const builder = new Builder(file);
  builder.addRouters();
  const clusters = builder.addClusters();
  const hosts = builder.addHosts();
  const stores = builder.addStores(clusters);
  builder.routeEverything(stores);
  const routers = planRouters(file, builder.ports);
  return { places: builder.places(), cables: builder.cables, hosts, clusters: stores, routers };
}

interface DraftPlace {
  readonly place: string;
  readonly kind: PlacePlan['kind'];
  readonly devices: DevicePlan[];
  readonly routes: PlacePlan['routes'][number][];
}

type ClusterDraft = Omit<ClusterPlan, 'etcd' | 'operators' | 'inventories'>;

class Builder {
  readonly cables: CablePlan[] = [];
  readonly #file: LabFile;
  readonly #drafts = new Map<string, DraftPlace>();
  readonly #racks: ReadonlyMap<string, { readonly rack: LabRack; readonly free: RackAddresses }>;
  /** Routers' ends by segment (rack or link): who a machine there can send through. */
  readonly ports = new Map<string, Map<string, RouterPort>>();

  constructor(file: LabFile) {
    this.#file = file;
    const fixed = new Map<string, Address[]>();
    for (const entry of [...file.hosts, ...file.clusters.flatMap((cluster) => cluster.nodes)])
      for (const family of FAMILIES) {
        const text = entry.addresses[family];
        if (text !== undefined)
          fixed.set(this.#segment(entry.rack), [
            ...(fixed.get(this.#segment(entry.rack)) ?? []),
            Address.parse(text),
          ]);
      }
    this.#racks = new Map(
      file.racks.map((rack) => [
        rack.name,
        { rack, free: new RackAddresses(rack, fixed.get(rack.name) ?? []) },
      ]),
    );
    for (const rack of file.racks) this.#draft(rack.name, 'rack');
    for (const { name, uplink, mtu } of file.racks)
      if (uplink !== undefined) {
        const [a, b] = [this.#port(name, mtu), this.#port(uplink, mtu)];
        this.cables.push({ a, b });
      }
  }

  addRouters(): void {
    for (const router of this.#file.routers) {
      this.#draft(router.name, 'router');
      for (const name of router.racks) this.#plugIn(router.name, name, {}, name);
    }
    for (const [i, link] of this.#file.links.entries()) {
      const [a, b] = link.between;
      const ends = [a, b].map((router, side) => {
        const other = side === 0 ? b : a;
        const addresses = FAMILIES.flatMap((family): DeviceAddress[] => {
          const text = link[family];
          if (text === undefined) return [];
          const prefix = Prefix.parse(text);
          return [{ address: Prefix.nth(prefix, side + 1), length: Prefix.length(prefix) }];
        });
        const device = this.#deviceName(router, `to-${other}`);
        this.#place(router).devices.push({ name: device, mtu: link.mtu, addresses });
        this.#record(`link ${i}`, router, device, addresses);
        return { place: router, device };
      });
      this.cables.push({ a: ends[0]!, b: ends[1]! });
    }
    for (const { free } of this.#racks.values()) free.leaveRouterRoom();
  }

  addClusters(): ClusterDraft[] {
    return this.#file.clusters.map((cluster) => {
      let index = 0;
      const nodes = cluster.nodes.flatMap((entry) =>
        countedNames([entry]).map((name): NodePlan => {
          this.#draft(name, 'node');
          const addresses = this.#plugIn(name, entry.rack, entry.addresses, 'eth0');
          const podCIDRs = podPrefixes(cluster, index++);
          const labels = { ...this.#rackLabels(entry.rack), ...entry.labels };
          const { agent, serve } = entry;
          return { name, rack: entry.rack, addresses, podCIDRs, labels, agent, serve };
        }),
      );
      return {
        name: cluster.name,
        id: cluster.id,
        settings: cluster,
        mesh: planMesh(this.#file, cluster.name),
        nodes,
        pods: placePods(cluster, nodes),
      };
    });
  }

  addHosts(): HostPlan[] {
    return this.#file.hosts.map((host) => {
      this.#draft(host.name, 'host');
      const addresses = this.#plugIn(host.name, host.rack, host.addresses, 'eth0');
      return { name: host.name, addresses, serve: host.serve };
    });
  }

  addStores(clusters: readonly ClusterDraft[]): ClusterPlan[] {
    return clusters.map((cluster) => {
      const place = `${cluster.name}/etcd`;
      this.#draft(place, 'etcd');
      const rack = cluster.settings.etcd.rack ?? cluster.nodes[0]!.rack;
      const etcd = { place, addresses: this.#plugIn(place, rack, {}, 'eth0') };
      const beside = (kind: 'operator' | 'inventory', length: number) =>
        Array.from({ length }, (_, i) => {
          const machine = `${cluster.name}/${kind}-${i + 1}`;
          this.#draft(machine, kind);
          return { place: machine, addresses: this.#plugIn(machine, rack, {}, 'eth0') };
        });
      const operators = beside('operator', cluster.settings.operators);
      const inventories = beside('inventory', cluster.settings.inventory?.instances ?? 0);
      return { ...cluster, etcd, operators, inventories };
    });
  }

  /**
   * Routers without a daemon that fills the kernel know every prefix. Everything else has a default
   * route: to all routers of its rack whose daemons do, side by side, or to the first of the others.
   */
  routeEverything(clusters: readonly ClusterPlan[]): void {
    const addressesOf = (routers: ReadonlyMap<string, RouterPort>) =>
      new Map([...routers].map(([router, port]) => [router, port.addresses]));
    const graph: RouterGraph = {
      segments: new Map([...this.ports].map(([name, routers]) => [name, addressesOf(routers)])),
    };
    const destinations = this.#destinations(clusters);
    const learning = new Set(
      this.#file.routers
        .filter(({ routing }) => routing.type === 'bird' || routing.type === 'frr')
        .map(({ name }) => name),
    );
    for (const router of this.#file.routers) {
      if (learning.has(router.name)) continue;
      for (const destination of destinations) {
        const via = nextHops(graph, router.name, destination);
        if (via.length > 0)
          this.#place(router.name).routes.push({ destination: destination.prefix, via });
      }
    }
    for (const { kind, place, routes } of this.#drafts.values()) {
      if (kind === 'rack' || kind === 'router') continue;
      const here = [...(this.ports.get(this.#segment(this.#rackOf(place))) ?? [])];
      const equal = here.filter(([router]) => learning.has(router));
      for (const family of FAMILIES) {
        const via = (equal.length > 0 ? equal : here)
          .flatMap(([, port]) => port.addresses)
          .filter((address) => Address.family(address) === family)
          .slice(0, equal.length > 0 ? undefined : 1);
        const metric = kind === 'node' && equal.length > 0 ? { metric: LAST_RESORT_METRIC } : {};
        if (via.length > 0) routes.push({ destination: 'default', via, ...metric });
      }
    }
  }

  places(): PlacePlan[] {
    return [...this.#drafts.values()];
  }

  #destinations(clusters: readonly ClusterPlan[]): Destination[] {
    const destinations: Destination[] = [];
    for (const rack of this.#file.racks)
      for (const family of FAMILIES)
        if (rack[family] !== undefined)
          destinations.push({
            prefix: Prefix.parse(rack[family]),
            segment: rack.name,
            via: undefined,
          });
    for (const [i, link] of this.#file.links.entries())
      for (const family of FAMILIES)
        if (link[family] !== undefined)
          destinations.push({
            prefix: Prefix.parse(link[family]),
            segment: `link ${i}`,
            via: undefined,
          });
    // In native mode the routers carry pod addresses, and static routers must be told where they are.
    for (const cluster of clusters)
      if (cluster.settings.routing.mode === 'native' && !cluster.settings.routing.bgp)
        for (const node of cluster.nodes)
          for (const prefix of node.podCIDRs) {
            const via = node.addresses.find(
              (address) => Address.family(address) === Prefix.family(prefix),
            );
            if (via !== undefined)
              destinations.push({ prefix, segment: this.#segment(node.rack), via });
          }
    return destinations;
  }

  #draft(place: string, kind: DraftPlace['kind']): void {
    this.#drafts.set(place, { place, kind, devices: [], routes: [] });
  }

  #place(place: string): DraftPlace {
    return this.#drafts.get(place)!;
  }

  #rackOf(place: string): string {
    return this.cables.find((cable) => cable.a.place === place)!.b.place;
  }

  /** A cable from a machine to its rack, with the machine's addresses there. */
  #plugIn(
    place: string,
    rackName: string,
    fixed: { readonly ipv4?: string | undefined; readonly ipv6?: string | undefined },
    wanted: string,
  ): Address[] {
    const { rack, free } = this.#racks.get(this.#segment(rackName))!;
    const addresses = free.take(place, fixed);
    const device = this.#deviceName(place, wanted);
    this.#place(place).devices.push({ name: device, mtu: rack.mtu, addresses });
    this.cables.push({ a: { place, device }, b: this.#port(rackName, rack.mtu) });
    if (this.#place(place).kind === 'router') this.#record(rackName, place, device, addresses);
    return addresses.map((entry) => entry.address);
  }

  /** A new port of a rack's bridge. */
  #port(rack: string, mtu: number): CablePlan['b'] {
    const { devices } = this.#place(rack);
    const device = `p${devices.length + 1}`;
    devices.push({ name: device, mtu, addresses: [] });
    return { place: rack, device };
  }

  /** By which manifests choose a rack's nodes: to tell them their rack switches, for one. */
  #rackLabels(name: string): Record<string, string> {
    const zone = this.#file.racks.find((rack) => rack.name === name)?.zone;
    return { rack: name, ...(zone === undefined ? {} : { 'topology.kubernetes.io/zone': zone }) };
  }

  #segment(rack: string): string {
    return segmentOf(this.#file.racks, rack)!.name;
  }

  #record(
    segment: string,
    router: string,
    device: string,
    addresses: readonly DeviceAddress[],
  ): void {
    const on = this.ports.get(segment) ?? new Map<string, RouterPort>();
    this.ports.set(segment, on);
    on.set(router, { device, addresses: addresses.map((entry) => entry.address) });
  }

  /** The wished name if it fits and is free, else `ifN`. */
  #deviceName(place: string, wanted: string): string {
    const devices = this.#place(place).devices;
    const free = wanted !== 'lo' && devices.every((device) => device.name !== wanted);
    return wanted.length <= MAX_DEVICE_NAME && free ? wanted : `if${devices.length}`;
  }
}

function podPrefixes(cluster: LabCluster, index: number): Prefix[] {
  if (cluster.ipam === 'pools') return [];
  return FAMILIES.flatMap((family) => {
    const text = cluster.podCIDRs[family];
    if (text === undefined) return [];
    return [Prefix.subnetAt(Prefix.parse(text), cluster.podCIDRs.nodeLength[family], index)];
  });
}

/** Pods without a node go round the nodes, each entry on from where the last one stopped. */
function placePods(cluster: LabCluster, nodes: readonly NodePlan[]): PodPlan[] {
  let turn = 0;
  return cluster.pods.flatMap((pod) =>
    podNames(pod).map((name, ordinal) => ({
      cluster: cluster.name,
      namespace: pod.namespace,
      name,
      node: pod.node ?? nodes[turn++ % nodes.length]!.name,
      labels: pod.labels,
      annotations: pod.annotations,
      statefulSet: pod.statefulSet ? { name: pod.name, ordinal } : undefined,
      runtime: pod.runtime,
      serve: pod.serve,
    })),
  );
}
