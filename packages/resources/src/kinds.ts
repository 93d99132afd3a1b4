import type * as z from 'zod';
import {
  type Check,
  checkCidrGroup,
  checkEndpointSlice,
  checkPod,
  checkPolicy,
  checkService,
} from './checks.ts';
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
import { type NetworkPolicy, networkPolicy } from './schema/network-policy.ts';
import { type EndpointSlice, endpointSlice, type Service, service } from './schema/service.ts';
import { type ServiceCIDR, serviceCidr } from './schema/service-cidr.ts';

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
  more: Partial<Pick<KindDescriptor, 'shortNames' | 'versions' | 'check'>> = {},
): KindDescriptor<K> {
  return {
    kind,
    group,
    plural,
    namespaced,
    schema,
    versions: more.versions ?? ['v1'],
    shortNames: more.shortNames ?? [],
    check: more.check ?? (() => []),
  };
}

const v2 = { versions: ['v2'] as const };

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
