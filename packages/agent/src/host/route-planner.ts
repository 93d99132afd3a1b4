import { Address, type Family, Prefix, PrefixTrie } from '@causeway/ip';
import { type DeviceView, deviceReaching } from './devices.ts';
import type { DesiredRoute, RoutedNode, RouteInputs, RouteProblem } from './routes.ts';

export interface RoutePlan {
  readonly routes: DesiredRoute[];
  readonly problems: RouteProblem[];
}

/**
 * Every route of ours. Local pod CIDRs and those of nodes behind a tunnel go to cw_host, where the from_host
 * program takes the packets up; CIDRs of nodes that are reached directly go straight to the node when it shares a
 * layer 2 with us, and are somebody else's to route when it does not. Where the network routes pods (`bgp`) none
 * of these nodes has a route here.
 *
 * A plan follows from its inputs alone. Where they differ from the last ones in nothing but nodes that have come
 * behind the others, what was planned for the others stands: the first to have a prefix keeps it. So a mesh of
 * thousands of nodes costs a plan of each, not of all for each.
 */
export class RoutePlanner {
  #base: BasePlan | undefined;
  #setting = '';

  plan(inputs: RouteInputs): RoutePlan {
    const setting = settingOf(inputs);
    const stands = setting === this.#setting && this.#base?.leads(inputs.remote);
    const base = stands && this.#base !== undefined ? this.#base : new BasePlan(inputs);
    this.#base = base;
    this.#setting = setting;
    base.extend(inputs.remote);
    return withMoved(inputs, base);
  }
}

/** What routes of nodes depend on but the nodes. */
const settingOf = (inputs: RouteInputs): string => {
  const { direct, families, local, attracted, devices, mtu } = inputs;
  const macs = devices.map(({ mac }) => [...mac]);
  return JSON.stringify([direct, families, local, attracted, devices, macs, mtu]);
};

/** All routes but those of moved addresses. */
class BasePlan {
  readonly routes = new PrefixTrie<DesiredRoute>();
  readonly list: DesiredRoute[] = [];
  readonly problems: RouteProblem[] = [];
  /** A gateway of ours for each family: what goes into a tunnel has it as its source. */
  readonly gateways = new Map<Family, Address>();
  readonly #inputs: RouteInputs;
  readonly #nodes: RoutedNode[] = [];

  constructor(inputs: RouteInputs) {
    this.#inputs = inputs;
    for (const { prefix, gateway } of inputs.local) {
      this.#add({ prefix, device: 'cw_host', source: gateway, ...localMtu(inputs) });
      const family = Address.family(gateway);
      if (!this.gateways.has(family)) this.gateways.set(family, gateway);
    }
    for (const prefix of inputs.attracted) {
      if (!inputs.families.includes(Prefix.family(prefix))) continue;
      if (overlapping(this.routes, prefix) !== undefined) continue;
      if (!ofNode(inputs.devices, prefix)) this.#add({ prefix, device: 'unreachable' });
    }
  }

  /** Whether these nodes begin with the ones that are planned for. */
  leads(nodes: readonly RoutedNode[]): boolean {
    return (
      this.#nodes.length <= nodes.length && this.#nodes.every((node, at) => node === nodes[at])
    );
  }

  extend(nodes: readonly RoutedNode[]): void {
    for (let at = this.#nodes.length; at < nodes.length; at++) this.#addNode(nodes[at]!);
  }

  #add(route: DesiredRoute): void {
    this.routes.set(route.prefix, route);
    this.list.push(route);
  }

  #addNode(node: RoutedNode): void {
    this.#nodes.push(node);
    const { direct, families, devices } = this.#inputs;
    if (node.way === 'direct' && direct === 'bgp') return;
    for (const prefix of node.podCIDRs) {
      const family = Prefix.family(prefix);
      if (!families.includes(family)) continue;
      const refuse = (type: RouteProblem['type'], reason: string) =>
        this.problems.push({ cluster: node.cluster, node: node.name, prefix, type, reason });
      const clash = overlapping(this.routes, prefix);
      if (clash !== undefined) {
        refuse(
          'overlap',
          `overlaps ${clash}, which is routed already; give each node CIDRs of its own`,
        );
        continue;
      }
      if (node.way === 'tunnel') {
        this.#add(tunnelled(prefix, this.#inputs, this.gateways));
        continue;
      }
      const path = directPath(node, family, devices);
      if (path === undefined) {
        refuse(
          'elsewhere',
          `no ${family} address of the node (${node.addresses.join(', ') || 'none known'}) is on a subnet of this node's devices; ` +
            'the network between the nodes must route the prefix (static routes or BGP), or use routingMode tunnel or hybrid',
        );
        continue;
      }
      this.#add({ prefix, device: path.device.index, via: path.via });
    }
  }
}

/** Routes of moved addresses come last, in place of those that have the same prefix. */
function withMoved(inputs: RouteInputs, base: BasePlan): RoutePlan {
  const problems = [...base.problems];
  const moves = new Map<Prefix, DesiredRoute>();
  const nodes = new Map(
    inputs.moved.length === 0
      ? []
      : inputs.remote
          .filter(({ cluster }) => cluster === inputs.cluster)
          .map((node) => [node.name, node]),
  );
  for (const moved of inputs.moved) {
    const { address } = moved;
    const family = Address.family(address);
    if (!inputs.families.includes(family)) continue;
    const prefix = Prefix.host(address);
    const node = moved.type === 'here' ? undefined : nodes.get(moved.node);
    if (moved.type === 'here') {
      const { mtu: _, ...route } = tunnelled(prefix, inputs, base.gateways);
      moves.set(prefix, { ...route, ...localMtu(inputs) });
      continue;
    }
    if ((node?.way ?? inputs.otherwise) === 'tunnel') {
      moves.set(prefix, tunnelled(prefix, inputs, base.gateways));
      continue;
    }
    // Where the network routes pods it knows the way by itself, but for what a CIDR of ours keeps from it.
    if (inputs.direct === 'bgp' && moved.type === 'there') continue;
    const direct = node && directPath(node, family, inputs.devices);
    if (direct !== undefined) {
      moves.set(prefix, { prefix, device: direct.device.index, via: direct.via });
      continue;
    }
    const way =
      inputs.direct === 'bgp' && moved.type === 'forward' && moved.announced
        ? defaultPath(family, inputs.devices)
        : undefined;
    if (way !== undefined) {
      moves.set(prefix, { prefix, ...way });
      continue;
    }
    problems.push({
      cluster: inputs.cluster,
      node: moved.node,
      prefix,
      type: 'elsewhere',
      reason: `${address} is with ${moved.node}, which is on no subnet of this node; it is reached once the network routes it there`,
    });
  }
  const kept = moves.size === 0 ? base.list : base.list.filter(({ prefix }) => !moves.has(prefix));
  return { routes: [...kept, ...moves.values()], problems };
}

const localMtu = ({ mtu }: RouteInputs): { mtu?: number } =>
  mtu.pod < mtu.device ? { mtu: mtu.pod } : {};

/** To cw_host, from where it goes into a tunnel. */
function tunnelled(
  prefix: Prefix,
  { mtu }: RouteInputs,
  gateways: ReadonlyMap<Family, Address>,
): DesiredRoute {
  const source = gateways.get(Prefix.family(prefix));
  const from = source === undefined ? {} : { source };
  return { prefix, device: 'cw_host', ...from, mtu: mtu.tunnel };
}

/** To the network, which knows the way. */
function defaultPath(
  family: Family,
  devices: readonly DeviceView[],
): { device: number; via: Address } | undefined {
  for (const device of devices) {
    const via = device.defaultGateways?.find((each) => Address.family(each) === family);
    if (via !== undefined) return { device: device.index, via };
  }
  return undefined;
}

function directPath(
  node: RoutedNode,
  family: Family,
  devices: readonly DeviceView[],
): { device: DeviceView; via: Address } | undefined {
  for (const via of node.addresses) {
    if (Address.family(via) !== family) continue;
    const device = deviceReaching(devices, via);
    if (device !== undefined) return { device, via };
  }
  return undefined;
}

/** Whether a prefix takes in an address of the node or a network that it is on. */
function ofNode(devices: readonly DeviceView[], prefix: Prefix): boolean {
  return devices.some((device) =>
    device.addresses.some(({ address, prefixLength }) => {
      const subnet = Prefix.from(address, prefixLength);
      return Prefix.contains(prefix, address) || Prefix.overlaps(prefix, subnet);
    }),
  );
}

/** A prefix in the trie that shares addresses with this one. */
function overlapping(routes: PrefixTrie<DesiredRoute>, prefix: Prefix): Prefix | undefined {
  const [outer] = routes.covering(prefix);
  if (outer !== undefined) return outer.prefix;
  const [inner] = routes.covered(prefix);
  return inner?.prefix;
}
