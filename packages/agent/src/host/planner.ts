import { Address, type Family, Prefix } from '@causeway/ip';
import { layout } from '@causeway/ipam';
import type { AgentConfig } from '../config/schema.ts';
import { type OwnNode, reachableAddresses } from '../node/own-node.ts';
import { addressesOf, chooseDevices, type DeviceView } from './devices.ts';
import { type MtuPlan, planMtu } from './mtu.ts';
import { HOST_DEVICE, HOST_PEER, VXLAN_DEVICE } from './names.ts';
import { RoutePlanner } from './route-planner.ts';
import type { DesiredRoute, MovedAddress, RoutedNode, RouteProblem } from './routes.ts';
import type { DesiredAddress, DesiredLink, DesiredSysctl } from './tables.ts';

export interface PlanInputs {
  readonly config: AgentConfig;
  /** Undefined until the store, or the run directory, has said who this node is. */
  readonly own: OwnNode | undefined;
  readonly observed: readonly DeviceView[];
  readonly remote: readonly RoutedNode[];
  /** Service addresses that this node announces to the network. */
  readonly attracted: readonly Prefix[];
  /** Addresses that are elsewhere than their CIDR. */
  readonly moved?: readonly MovedAddress[];
}

/** Everything that the node's network must be, and what is wrong with the inputs. */
export interface HostPlan {
  readonly devices: readonly DeviceView[];
  readonly nodeAddresses: readonly Address[];
  readonly gateways: readonly { readonly prefix: Prefix; readonly gateway: Address }[];
  readonly mtu: MtuPlan;
  readonly links: readonly DesiredLink[];
  readonly addresses: readonly DesiredAddress[];
  readonly routes: readonly DesiredRoute[];
  readonly sysctls: readonly DesiredSysctl[];
  readonly routeProblems: readonly RouteProblem[];
  /** Pod CIDRs of nodes that are reached directly: nobody may masquerade what goes there. */
  readonly directCIDRs: readonly Prefix[];
  /** What keeps pods from being served, each with what to do. */
  readonly problems: readonly string[];
}

/**
 * Pure: what is planned depends on the inputs and on nothing else.
 * @param routePlanner the one of earlier plans, which remembers what stands of them.
 */
export function planHost(inputs: PlanInputs, routePlanner = new RoutePlanner()): HostPlan {
  const { config, own, observed, remote, attracted, moved = [] } = inputs;
  const configured = config.node.addresses;
  const stored = own === undefined ? [] : reachableAddresses(own);
  const named = configured.length > 0 ? configured : stored;
  const { devices, unmatched } = chooseDevices(observed, config.devices, named);
  const nodeAddresses = named.length > 0 ? named : addressesOf(devices);
  const mtu = planMtu(
    config.routingMode,
    config.tunnel.underlayFamily,
    config.mtu,
    devices.map((device) => device.mtu),
  );
  const gateways = (own?.podCIDRs ?? []).map((prefix) => ({
    prefix,
    gateway: layout(prefix).gateway,
  }));
  const { routes, problems: routeProblems } = routePlanner.plan({
    cluster: config.cluster.name,
    direct: config.nativeRouting.mode,
    otherwise: config.routingMode === 'native' ? 'direct' : 'tunnel',
    families: config.families,
    local: gateways,
    remote,
    moved,
    // With translation per packet the node's own connections need a route before they are translated.
    attracted: config.socketLB.enabled ? attracted : [],
    devices,
    mtu,
  });
  return {
    devices,
    nodeAddresses,
    gateways,
    mtu,
    links: linksOf(config, mtu),
    addresses: gateways.map(({ gateway }) => ({ address: gateway, device: HOST_DEVICE })),
    routes,
    sysctls: sysctlsOf(config),
    routeProblems,
    directCIDRs: uncovered(
      config,
      remote.flatMap((node) => (node.way === 'direct' ? node.podCIDRs : [])),
    ),
    problems: problemsOf(config, own, devices, unmatched, nodeAddresses),
  };
}

/** What the ranges that the configuration names do not say already; usually nothing. */
function uncovered({ nativeRoutingCIDRs }: AgentConfig, prefixes: readonly Prefix[]): Prefix[] {
  return prefixes.filter((each) => !nativeRoutingCIDRs.some((range) => Prefix.covers(range, each)));
}

/** Whether pods of other nodes are, or may be, behind a tunnel. */
export const carriesTunnels = ({ routingMode }: AgentConfig): boolean => routingMode !== 'native';

/** Whether egress policies are carried out: pods reach their gateway by the tunnel device. */
export const carriesEgress = ({ egressGateway, routingMode }: AgentConfig): boolean =>
  egressGateway.enabled ?? routingMode !== 'native';

const hasTunnelDevice = (config: AgentConfig): boolean =>
  carriesTunnels(config) || carriesEgress(config);

function linksOf(config: AgentConfig, mtu: MtuPlan): DesiredLink[] {
  const host: DesiredLink = { type: 'veth', name: HOST_DEVICE, peer: HOST_PEER, mtu: mtu.device };
  if (!hasTunnelDevice(config)) return [host];
  return [host, { type: 'vxlan', name: VXLAN_DEVICE, port: config.tunnel.port, mtu: mtu.tunnel }];
}

function sysctlsOf(config: AgentConfig): DesiredSysctl[] {
  const value = (name: string, text: string): DesiredSysctl => ({
    type: 'value',
    name,
    value: text,
  });
  const settings: DesiredSysctl[] = [];
  if (config.families.includes('ipv4')) {
    settings.push(value('net/ipv4/ip_forward', '1'));
    const own = [HOST_DEVICE, HOST_PEER, ...(hasTunnelDevice(config) ? [VXLAN_DEVICE] : [])];
    // Replies of pods come in by other devices than the route back to the pod says.
    for (const device of own)
      settings.push({ type: 'reverse-path', name: `net/ipv4/conf/${device}/rp_filter` });
  }
  if (config.families.includes('ipv6')) settings.push(value('net/ipv6/conf/all/forwarding', '1'));
  if (config.masquerade.enabled) {
    const [first, last] = config.masquerade.ports;
    settings.push({ type: 'ports', name: 'net/ipv4/ip_local_reserved_ports', first, last });
  }
  return settings;
}

function problemsOf(
  config: AgentConfig,
  own: OwnNode | undefined,
  devices: readonly DeviceView[],
  unmatched: readonly string[],
  nodeAddresses: readonly Address[],
): string[] {
  const problems: string[] = [];
  if (own === undefined) {
    problems.push(
      `no CiliumNode named ${config.node.name} is known, neither from the store nor from an earlier run; create it, with its addresses`,
    );
  } else if (own.podCIDRs.length === 0 && !config.hostEndpoint.enabled) {
    problems.push(
      `the node has no pod CIDR of ${config.families.join(' or ')} yet; it is given one by the operator, of a CiliumPodIPPool, or by spec.ipam.podCIDRs of CiliumNode ${own.name}`,
    );
  }
  for (const pattern of unmatched)
    problems.push(`no device matches ${pattern}, which devices names`);
  if (devices.length === 0 && unmatched.length === 0) {
    problems.push(
      "no device has a default route or one of the node's addresses; name them in devices",
    );
  }
  const underlay: Family = config.tunnel.underlayFamily;
  const reachable = nodeAddresses.some((address) => Address.family(address) === underlay);
  if (own !== undefined && carriesTunnels(config) && !reachable) {
    problems.push(
      `the node has no ${underlay} address for the tunnel; give one in node.addresses or change tunnel.underlayFamily`,
    );
  }
  return problems;
}
