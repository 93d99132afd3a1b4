import { Address, Prefix } from '@causeway/ip';
import { selects } from '@causeway/resources';
import { edgeObstacle } from '../edge/role.ts';
import type { BgpInputs, PodRange, ServiceAddress, ServiceView } from './inputs.ts';
import type { PlanMemo } from './memo.ts';
import type { Rule } from './rules.ts';

/** Load balancer classes whose addresses are ours to announce, besides none at all. */
const OWN_CLASSES: ReadonlySet<string> = new Set(['io.cilium/bgp-control-plane']);

/** Something that might be announced, with the rules that want it and what speaks against it. */
export interface Candidate {
  /** `pod CIDR`, `Service shop/web ClusterIP 10.96.0.1`, `interface lo 192.0.2.9`. */
  readonly source: string;
  /** What is announced for it: with aggregation, one for each length. */
  readonly prefix: Prefix;
  /** Ids of the rules that select it. */
  readonly rules: readonly string[];
  /** Absent: it may be announced. */
  readonly obstacle?: string;
}

/** Everything that this node could announce. Pure. */
export function candidatesOf(
  inputs: Pick<BgpInputs, 'podCIDRs' | 'services' | 'interfaces' | 'egress' | 'families'>,
  rules: ReadonlyMap<string, Rule>,
  memo: PlanMemo,
): Candidate[] {
  const all = [...rules.values()];
  const found = [
    ...podCidrs(inputs, all),
    ...inputs.services.flatMap((service) =>
      memo.candidates(service, rules, () => serviceAddresses(service, all)),
    ),
    ...interfaceAddresses(inputs, all),
    ...egressAddresses(inputs, all),
  ];
  return found.filter(({ prefix }) => inputs.families.includes(Prefix.family(prefix)));
}

/** The namespace that a pool's labels get with Cilium, where pools could be namespaced once. */
const POOL_NAMESPACE = 'kube-system';

/**
 * `PodCIDR` means all of them, those of pools included; with Cilium, CIDRs of pools are announced by `CiliumPodIPPool`
 * alone, which here chooses among them.
 */
function podCidrs({ podCIDRs }: Pick<BgpInputs, 'podCIDRs'>, rules: readonly Rule[]): Candidate[] {
  const all = rules.filter(({ what }) => what.advertisementType === 'PodCIDR');
  const byPool = rules.filter(({ what }) => what.advertisementType === 'CiliumPodIPPool');
  return podCIDRs.map(({ prefix, pool }) => {
    const selecting =
      pool === undefined
        ? []
        : byPool.filter(
            ({ what: { selector } }) => selector !== undefined && selects(selector, labelsOf(pool)),
          );
    const wanting = [...all, ...selecting].map(({ id }) => id);
    const why =
      pool === undefined || byPool.length === 0
        ? 'no CiliumBGPAdvertisement has an entry of type PodCIDR'
        : `no CiliumBGPAdvertisement has an entry of type PodCIDR, or one that selects the pool ${pool.name}`;
    return {
      source: Prefix.isHost(prefix) ? 'pod address' : 'pod CIDR',
      prefix,
      rules: wanting,
      ...(wanting.length === 0 ? { obstacle: why } : {}),
    };
  });
}

const labelsOf = ({ name, labels }: NonNullable<PodRange['pool']>) => ({
  ...labels,
  'io.cilium.podippool.namespace': POOL_NAMESPACE,
  'io.cilium.podippool.name': name,
});

function serviceAddresses(service: ServiceView, rules: readonly Rule[]): Candidate[] {
  const { namespace, name } = service;
  // Keys by which Cilium selects what is not a label.
  const labels = {
    ...service.labels,
    'io.kubernetes.service.namespace': namespace,
    'io.kubernetes.service.name': name,
  };
  const selecting = rules.filter(
    ({ what }) =>
      what.advertisementType === 'Service' &&
      what.selector !== undefined &&
      selects(what.selector, labels),
  );
  return service.addresses.flatMap((each) => {
    const source = `Service ${namespace}/${name} ${each.type} ${each.address}`;
    const wanting = selecting.filter(({ what }) => what.service?.addresses.includes(each.type));
    const obstacle = obstacleOf(service, each);
    if (wanting.length === 0) {
      // A ClusterIP that nobody asked to announce is the rule, not worth a line.
      if (each.type === 'ClusterIP' && selecting.length === 0) return [];
      const why =
        selecting.length === 0
          ? 'no CiliumBGPAdvertisement selects the Service'
          : `${names(selecting)} selects the Service, but not its ${each.type}`;
      return [{ source, prefix: Prefix.host(each.address), rules: [], obstacle: why }];
    }
    const byPrefix = Map.groupBy(wanting, ({ what }) => prefixOf(each, what.service!));
    return Array.from(byPrefix, ([prefix, group]) => ({
      source,
      prefix,
      rules: group.map(({ id }) => id),
      ...(obstacle === undefined ? {} : { obstacle }),
    }));
  });
}

function obstacleOf(service: ServiceView, address: ServiceAddress): string | undefined {
  if (service.terminating) return 'the Service is being deleted';
  const { loadBalancerClass } = service;
  if (
    address.type === 'LoadBalancerIP' &&
    loadBalancerClass !== undefined &&
    !OWN_CLASSES.has(loadBalancerClass)
  ) {
    return `loadBalancerClass ${loadBalancerClass} is another's to announce`;
  }
  if (address.policy === 'Local' && !address.localReady) {
    const policy = address.type === 'ClusterIP' ? 'internal' : 'external';
    return `${policy}TrafficPolicy is Local and this node has no ready backend`;
  }
  if (address.type === 'ClusterIP') return undefined;
  if (address.policy === 'Cluster') {
    if (service.unreachable !== undefined) {
      return `this node reaches no backend of it: ${service.unreachable}`;
    }
    return edgeObstacle(service.edge);
  }
  // Where backends are is what counts with policy Local; a node lets go only of what another can take.
  const { edge } = service;
  if (edge.role === 'excluded') return edgeObstacle(edge);
  if (edge.role === 'draining' && address.readyElsewhere) {
    return 'the node drains, and backends on other nodes are ready';
  }
  return undefined;
}

/**
 * Aggregation is passed over with policy Local, as in Cilium: nodes without a backend of one address would draw
 * traffic for it by the shorter prefix.
 */
function prefixOf(
  { address, policy }: ServiceAddress,
  {
    aggregationLengthIPv4,
    aggregationLengthIPv6,
  }: { readonly aggregationLengthIPv4?: number; readonly aggregationLengthIPv6?: number },
): Prefix {
  const length = Address.family(address) === 'ipv4' ? aggregationLengthIPv4 : aggregationLengthIPv6;
  if (length === undefined || policy === 'Local') return Prefix.host(address);
  return Prefix.from(address, length);
}

function interfaceAddresses(
  { interfaces }: Pick<BgpInputs, 'interfaces'>,
  rules: readonly Rule[],
): Candidate[] {
  const byName = Map.groupBy(
    rules.filter(({ what }) => what.advertisementType === 'Interface'),
    ({ what }) => what.interface!.name,
  );
  return interfaces.flatMap(({ name, up, addresses }) => {
    const wanting = byName.get(name);
    if (wanting === undefined) return [];
    return addresses.filter(announceable).map((address) => ({
      source: `interface ${name} ${address}`,
      prefix: Prefix.host(address),
      rules: wanting.map(({ id }) => id),
      ...(up ? {} : { obstacle: `the interface ${name} is down` }),
    }));
  });
}

/** By which the world answers the pods that leave by this node. */
function egressAddresses(
  { egress }: Pick<BgpInputs, 'egress'>,
  rules: readonly Rule[],
): Candidate[] {
  const wanting = rules.filter(({ what }) => what.advertisementType === 'EgressGateway');
  return egress.map(({ policy, labels, address }) => {
    const selecting = wanting.filter(
      ({ what: { selector } }) => selector !== undefined && selects(selector, labels),
    );
    return {
      source: `CiliumEgressGatewayPolicy ${policy} ${address}`,
      prefix: Prefix.host(address),
      rules: selecting.map(({ id }) => id),
      ...(selecting.length > 0
        ? {}
        : { obstacle: 'no CiliumBGPAdvertisement of type EgressGateway selects the policy' }),
    };
  });
}

const announceable = (address: Address): boolean =>
  !Address.isLoopback(address) &&
  !Address.isMulticast(address) &&
  !Address.isUnspecified(address) &&
  !(Address.family(address) === 'ipv6' && Address.isLinkLocal(address)) &&
  !address.startsWith('::ffff:');

const names = (rules: readonly Rule[]): string =>
  [...new Set(rules.map(({ advertisement }) => advertisement))].join(', ');
