import type * as z from 'zod';
import { checkBgpFamilies } from './bgp-checks.ts';
import {
  type Check,
  checkCidrGroup,
  checkEndpointSlice,
  checkPod,
  checkPolicy,
  checkService,
} from './checks.ts';
import { type AddressPlan, addressPlan } from './schema/address-plan.ts';
import { type AddressReservation, addressReservation } from './schema/address-reservation.ts';
import {
  type BGPClusterOptions,
  type BGPPeerOptions,
  bgpClusterOptions,
  bgpPeerOptions,
} from './schema/causeway-bgp.ts';
import {
  type CiliumBGPAdvertisement,
  type CiliumBGPClusterConfig,
  type CiliumBGPPeerConfig,
  ciliumBgpAdvertisement,
  ciliumBgpClusterConfig,
  ciliumBgpPeerConfig,
} from './schema/cilium-bgp.ts';
import {
  type CiliumBGPNodeConfig,
  type CiliumBGPNodeConfigOverride,
  ciliumBgpNodeConfig,
  ciliumBgpNodeConfigOverride,
} from './schema/cilium-bgp-node.ts';
import {
  type CiliumCIDRGroup,
  type CiliumNode,
  ciliumCidrGroup,
  ciliumNode,
} from './schema/cilium-misc.ts';
import {
  type CiliumClusterwideNetworkPolicy,
  type CiliumNetworkPolicy,
  ciliumClusterwideNetworkPolicy,
  ciliumNetworkPolicy,
} from './schema/cilium-policy.ts';
import { type Namespace, type Node, namespace, node, type Pod, pod } from './schema/core.ts';
import {
  type CiliumEgressGatewayPolicy,
  ciliumEgressGatewayPolicy,
} from './schema/egress-gateway.ts';
import {
  type CiliumLoadBalancerIPPool,
  ciliumLoadBalancerIPPool,
} from './schema/load-balancer-pool.ts';
import { type MeshPeer, meshPeer } from './schema/mesh-peer.ts';
import { type NetworkPolicy, networkPolicy } from './schema/network-policy.ts';
import { type OutsideEndpoint, outsideEndpoint } from './schema/outside-endpoint.ts';
import {
  type CiliumPodIPPool,
  ciliumPodIPPool,
  type PodIPPoolOptions,
  podIPPoolOptions,
} from './schema/pod-pools.ts';
import { type Secret, secret } from './schema/secret.ts';
import { type EndpointSlice, endpointSlice, type Service, service } from './schema/service.ts';
import { type ServiceCIDR, serviceCidr } from './schema/service-cidr.ts';
import { STATEFUL_SET_ALIASES, type StatefulSet, statefulSet } from './schema/workload.ts';

/** The type of each kind; kinds' names are unique over all groups. */
export interface ResourceKinds {
  Namespace: Namespace;
  Pod: Pod;
  Node: Node;
  Service: Service;
  EndpointSlice: EndpointSlice;
  NetworkPolicy: NetworkPolicy;
  ServiceCIDR: ServiceCIDR;
  CiliumNetworkPolicy: CiliumNetworkPolicy;
  CiliumClusterwideNetworkPolicy: CiliumClusterwideNetworkPolicy;
  CiliumCIDRGroup: CiliumCIDRGroup;
  CiliumNode: CiliumNode;
  Secret: Secret;
  CiliumBGPClusterConfig: CiliumBGPClusterConfig;
  CiliumBGPPeerConfig: CiliumBGPPeerConfig;
  CiliumBGPAdvertisement: CiliumBGPAdvertisement;
  CiliumBGPNodeConfigOverride: CiliumBGPNodeConfigOverride;
  CiliumBGPNodeConfig: CiliumBGPNodeConfig;
  BGPClusterOptions: BGPClusterOptions;
  BGPPeerOptions: BGPPeerOptions;
  StatefulSet: StatefulSet;
  CiliumPodIPPool: CiliumPodIPPool;
  PodIPPoolOptions: PodIPPoolOptions;
  AddressReservation: AddressReservation;
  AddressPlan: AddressPlan;
  CiliumLoadBalancerIPPool: CiliumLoadBalancerIPPool;
  CiliumEgressGatewayPolicy: CiliumEgressGatewayPolicy;
  MeshPeer: MeshPeer;
  OutsideEndpoint: OutsideEndpoint;
}

export type KindName = keyof ResourceKinds;
export type Resource = ResourceKinds[KindName];

/** What the store, the CLI and the documentation know of a kind. */
export interface KindDescriptor<K extends KindName = KindName> {
  readonly kind: K;
  /** `core` for v1. */
  readonly group: string;
  /** Versions that are taken; the first is stored. */
  readonly versions: readonly [string, ...string[]];
  /** Whole apiVersions of other groups that are taken for the same kind. */
  readonly aliases: readonly string[];
  readonly plural: string;
  readonly shortNames: readonly string[];
  readonly namespaced: boolean;
  readonly schema: z.ZodType<ResourceKinds[K]>;
  readonly check: Check;
}

function describe<K extends KindName>(
  kind: K,
  group: string,
  plural: string,
  namespaced: boolean,
  schema: z.ZodType<ResourceKinds[K]>,
  more: Partial<Pick<KindDescriptor, 'shortNames' | 'versions' | 'aliases' | 'check'>> = {},
): KindDescriptor<K> {
  return {
    kind,
    group,
    plural,
    namespaced,
    schema,
    versions: more.versions ?? ['v1'],
    aliases: more.aliases ?? [],
    shortNames: more.shortNames ?? [],
    check: more.check ?? (() => []),
  };
}

const v2 = { versions: ['v2'] as const };
const v2alpha1 = { versions: ['v2', 'v2alpha1'] as const };

/** Every kind, by name. */
export const KINDS: { readonly [K in KindName]: KindDescriptor<K> } = Object.freeze({
  Namespace: describe('Namespace', 'core', 'namespaces', false, namespace, { shortNames: ['ns'] }),
  Pod: describe('Pod', 'core', 'pods', true, pod, { shortNames: ['po'], check: checkPod }),
  Node: describe('Node', 'core', 'nodes', false, node, { shortNames: ['no'] }),
  Service: describe('Service', 'core', 'services', true, service, {
    shortNames: ['svc'],
    check: checkService,
  }),
  EndpointSlice: describe(
    'EndpointSlice',
    'discovery.k8s.io',
    'endpointslices',
    true,
    endpointSlice,
    { check: checkEndpointSlice },
  ),
  NetworkPolicy: describe(
    'NetworkPolicy',
    'networking.k8s.io',
    'networkpolicies',
    true,
    networkPolicy,
    { shortNames: ['netpol'], check: checkPolicy },
  ),
  ServiceCIDR: describe('ServiceCIDR', 'networking.k8s.io', 'servicecidrs', false, serviceCidr),
  CiliumNetworkPolicy: describe(
    'CiliumNetworkPolicy',
    'cilium.io',
    'ciliumnetworkpolicies',
    true,
    ciliumNetworkPolicy,
    { shortNames: ['cnp', 'ciliumnp'], check: checkPolicy, ...v2 },
  ),
  CiliumClusterwideNetworkPolicy: describe(
    'CiliumClusterwideNetworkPolicy',
    'cilium.io',
    'ciliumclusterwidenetworkpolicies',
    false,
    ciliumClusterwideNetworkPolicy,
    { shortNames: ['ccnp'], check: checkPolicy, ...v2 },
  ),
  CiliumCIDRGroup: describe(
    'CiliumCIDRGroup',
    'cilium.io',
    'ciliumcidrgroups',
    false,
    ciliumCidrGroup,
    { shortNames: ['ccg'], versions: ['v2', 'v2alpha1'], check: checkCidrGroup },
  ),
  CiliumNode: describe('CiliumNode', 'cilium.io', 'ciliumnodes', false, ciliumNode, {
    shortNames: ['cn', 'ciliumn'],
    ...v2,
  }),
  Secret: describe('Secret', 'core', 'secrets', true, secret as unknown as z.ZodType<Secret>),
  CiliumBGPClusterConfig: describe(
    'CiliumBGPClusterConfig',
    'cilium.io',
    'ciliumbgpclusterconfigs',
    false,
    ciliumBgpClusterConfig,
    { shortNames: ['cbgpcluster'], ...v2alpha1 },
  ),
  CiliumBGPPeerConfig: describe(
    'CiliumBGPPeerConfig',
    'cilium.io',
    'ciliumbgppeerconfigs',
    false,
    ciliumBgpPeerConfig,
    { shortNames: ['cbgppeer'], check: checkBgpFamilies, ...v2alpha1 },
  ),
  CiliumBGPAdvertisement: describe(
    'CiliumBGPAdvertisement',
    'cilium.io',
    'ciliumbgpadvertisements',
    false,
    ciliumBgpAdvertisement,
    { shortNames: ['cbgpadvert'], ...v2alpha1 },
  ),
  CiliumBGPNodeConfigOverride: describe(
    'CiliumBGPNodeConfigOverride',
    'cilium.io',
    'ciliumbgpnodeconfigoverrides',
    false,
    ciliumBgpNodeConfigOverride,
    { shortNames: ['cbgpnodeoverride'], ...v2alpha1 },
  ),
  CiliumBGPNodeConfig: describe(
    'CiliumBGPNodeConfig',
    'cilium.io',
    'ciliumbgpnodeconfigs',
    false,
    ciliumBgpNodeConfig,
    { shortNames: ['cbgpnode'], ...v2alpha1 },
  ),
  BGPClusterOptions: describe(
    'BGPClusterOptions',
    'causeway.io',
    'bgpclusteroptions',
    false,
    bgpClusterOptions,
  ),
  BGPPeerOptions: describe(
    'BGPPeerOptions',
    'causeway.io',
    'bgppeeroptions',
    false,
    bgpPeerOptions,
    { check: checkBgpFamilies },
  ),
  StatefulSet: describe('StatefulSet', 'apps', 'statefulsets', true, statefulSet, {
    shortNames: ['sts'],
    aliases: STATEFUL_SET_ALIASES,
  }),
  CiliumPodIPPool: describe(
    'CiliumPodIPPool',
    'cilium.io',
    'ciliumpodippools',
    false,
    ciliumPodIPPool,
    { shortNames: ['cpip'], versions: ['v2alpha1'] },
  ),
  PodIPPoolOptions: describe(
    'PodIPPoolOptions',
    'causeway.io',
    'podippooloptions',
    false,
    podIPPoolOptions,
  ),
  AddressReservation: describe(
    'AddressReservation',
    'causeway.io',
    'addressreservations',
    true,
    addressReservation,
    { shortNames: ['ares'] },
  ),
  AddressPlan: describe('AddressPlan', 'causeway.io', 'addressplans', false, addressPlan),
  CiliumLoadBalancerIPPool: describe(
    'CiliumLoadBalancerIPPool',
    'cilium.io',
    'ciliumloadbalancerippools',
    false,
    ciliumLoadBalancerIPPool,
    { shortNames: ['ippools', 'ippool', 'lbippool', 'lbippools'], ...v2alpha1 },
  ),
  CiliumEgressGatewayPolicy: describe(
    'CiliumEgressGatewayPolicy',
    'cilium.io',
    'ciliumegressgatewaypolicies',
    false,
    ciliumEgressGatewayPolicy,
    { shortNames: ['cegp'], ...v2 },
  ),
  MeshPeer: describe('MeshPeer', 'causeway.io', 'meshpeers', false, meshPeer, {
    shortNames: ['mp'],
  }),
  OutsideEndpoint: describe(
    'OutsideEndpoint',
    'causeway.io',
    'outsideendpoints',
    false,
    outsideEndpoint,
    { shortNames: ['oe', 'oep'] },
  ),
});

export const KIND_NAMES: readonly KindName[] = Object.freeze(Object.keys(KINDS) as KindName[]);

const byName = new Map<string, KindDescriptor>();
for (const name of KIND_NAMES) {
  const kind = KINDS[name];
  const singular = kind.kind.toLowerCase();
  for (const alias of [singular, kind.plural, `${kind.plural}.${kind.group}`, ...kind.shortNames]) {
    byName.set(alias, kind);
  }
}

/** Finds a kind as people type it: `svc`, `services`, `Service`, `ciliumnetworkpolicies.cilium.io`. */
export function findKind(name: string): KindDescriptor | undefined {
  return byName.get(name.toLowerCase());
}

/** The `apiVersion` that is stored for a kind. */
export function apiVersionOf({ group, versions }: KindDescriptor): string {
  return group === 'core' ? versions[0] : `${group}/${versions[0]}`;
}
