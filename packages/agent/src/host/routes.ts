import { Address, type Family, Prefix, PrefixTrie } from '@causeway/ip';
import type { DeviceView } from './devices.ts';
import { deviceReaching } from './devices.ts';
import type { MtuPlan } from './mtu.ts';
import type { Way } from './ways.ts';

/** One route that the node should have; `device` is a name, or the index of a foreign device. */
export interface DesiredRoute {
  readonly prefix: Prefix;
  /** `unreachable`: what comes for it and was not taken up before is answered, not sent on. */
  readonly device: 'cw_host' | 'unreachable' | number;
  readonly via?: Address;
  readonly source?: Address;
  readonly mtu?: number;
}

/** A node of this or another cluster as the routes see it. */
export interface RoutedNode {
  readonly cluster: string;
  readonly name: string;
  readonly way: Way['type'];
  /** By which it is reached, best first. */
  readonly addresses: readonly Address[];
  readonly podCIDRs: readonly Prefix[];
}

export interface RouteProblem {
  readonly cluster: string;
  readonly node: string;
  readonly prefix: Prefix;
  /** `elsewhere`: the node is not on our layer 2. `overlap`: the prefix is another's already. */
  readonly type: 'elsewhere' | 'overlap';
  readonly reason: string;
}

/** An address that is elsewhere than in the CIDR that holds it, or in none. */
export type MovedAddress = { readonly address: Address } & (
  | /** On this node. */ { readonly type: 'here' }
  | /** It was here, or is of a CIDR of this node. */ {
      readonly type: 'forward';
      readonly node: string;
      /** The network sends for it there. */
      readonly announced: boolean;
    }
  | /** Neither is of this node. */ { readonly type: 'there'; readonly node: string }
);

export interface RouteInputs {
  /** Whose nodes have the moved addresses. */
  readonly cluster: string;
  /** `bgp`: the network knows the direct ways to other nodes' pods; the default route leads there. */
  readonly direct: 'l2' | 'bgp';
  /** The way to a node that is not known yet. */
  readonly otherwise: Way['type'];
  readonly families: readonly Family[];
  /** Own pod CIDRs with their gateways. */
  readonly local: readonly { readonly prefix: Prefix; readonly gateway: Address }[];
  readonly remote: readonly RoutedNode[];
  readonly moved: readonly MovedAddress[];
  /** Service addresses that this node announces: the network sends them here, the default route back. */
  readonly attracted: readonly Prefix[];
  readonly devices: readonly DeviceView[];
  readonly mtu: MtuPlan;
}

/**
 * Every route of ours. Local pod CIDRs and those of nodes behind a tunnel go to cw_host, where the from_host
 * program takes the packets up; CIDRs of nodes that are reached directly go straight to the node when it shares a
 * layer 2 with us, and are somebody else's to route when it does not. Where the network routes pods (`bgp`) none
 * of these nodes has a route here.
 */
export function planRoutes(inputs: RouteInputs): {
  routes: DesiredRoute[];
  problems: RouteProblem[];
} {
  const routes = new PrefixTrie<DesiredRoute>();
  const problems: RouteProblem[] = [];
  const { mtu } = inputs;
  const local = mtu.pod < mtu.device ? { mtu: mtu.pod } : {};
  const tunnelled = { mtu: mtu.tunnel };

  for (const { prefix, gateway } of inputs.local) {
    routes.set(prefix, { prefix, device: 'cw_host', source: gateway, ...local });
  }
  const gateways = new Map<Family, Address>();
  for (const { gateway } of inputs.local) {
    const family = Address.family(gateway);
    if (!gateways.has(family)) gateways.set(family, gateway);
  }

  for (const prefix of inputs.attracted) {
    if (!inputs.families.includes(Prefix.family(prefix))) continue;
    if (overlapping(routes, prefix) !== undefined || ofNode(inputs.devices, prefix)) continue;
    routes.set(prefix, { prefix, device: 'unreachable' });
  }

  for (const node of inputs.remote) {
    if (node.way === 'direct' && inputs.direct === 'bgp') continue;
    for (const prefix of node.podCIDRs) {
      const family = Prefix.family(prefix);
      if (!inputs.families.includes(family)) continue;
      const refuse = (type: RouteProblem['type'], reason: string) =>
        problems.push({ cluster: node.cluster, node: node.name, prefix, type, reason });
      const clash = overlapping(routes, prefix);
      if (clash !== undefined) {
        refuse(
          'overlap',
          `overlaps ${clash}, which is routed already; give each node CIDRs of its own`,
        );
        continue;
      }
      if (node.way === 'tunnel') {
        const source = gateways.get(family);
        const from = source === undefined ? {} : { source };
        routes.set(prefix, { prefix, device: 'cw_host', ...from, ...tunnelled });
        continue;
      }
      const direct = directPath(node, family, inputs.devices);
      if (direct === undefined) {
        refuse(
          'elsewhere',
          `no ${family} address of the node (${node.addresses.join(', ') || 'none known'}) is on a subnet of this node's devices; ` +
            'the network between the nodes must route the prefix (static routes or BGP), or use routingMode tunnel or hybrid',
        );
        continue;
      }
      routes.set(prefix, { prefix, device: direct.device.index, via: direct.via });
    }
  }
  const nodes = new Map(
    inputs.remote
      .filter(({ cluster }) => cluster === inputs.cluster)
      .map((node) => [node.name, node]),
  );
  for (const moved of inputs.moved) {
    const { address } = moved;
    const family = Address.family(address);
    if (!inputs.families.includes(family)) continue;
    const prefix = Prefix.host(address);
    const node = moved.type === 'here' ? undefined : nodes.get(moved.node);
    const here = moved.type === 'here';
    if (here || (node?.way ?? inputs.otherwise) === 'tunnel') {
      const source = gateways.get(family);
      const from = source === undefined ? {} : { source };
      routes.set(prefix, { prefix, device: 'cw_host', ...from, ...(here ? local : tunnelled) });
      continue;
    }
    // Where the network routes pods it knows the way by itself, but for what a CIDR of ours keeps from it.
    if (inputs.direct === 'bgp' && moved.type === 'there') continue;
    const direct = node && directPath(node, family, inputs.devices);
    if (direct !== undefined) {
      routes.set(prefix, { prefix, device: direct.device.index, via: direct.via });
      continue;
    }
    const way =
      inputs.direct === 'bgp' && moved.type === 'forward' && moved.announced
        ? defaultPath(family, inputs.devices)
        : undefined;
    if (way !== undefined) {
      routes.set(prefix, { prefix, ...way });
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
  return { routes: Array.from(routes, ({ value }) => value), problems };
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
