import { Address, Prefix, rangeToPrefixes } from '@causeway/ip';
import type { PlanOverlap, PlanRange, PlanScope, PlanUse } from '@causeway/ipam';
import type { KindName, Resource } from '../kinds.ts';
import type { AddressPlan } from '../schema/address-plan.ts';
import type { CiliumNode } from '../schema/cilium-misc.ts';
import { blocksOf } from '../schema/load-balancer-pool.ts';

/** Kinds that take part of the address space; whoever writes one of them changes the guard. */
export const PLANNED_KINDS = [
  'AddressPlan',
  'CiliumPodIPPool',
  'ServiceCIDR',
  'CiliumLoadBalancerIPPool',
] as const satisfies readonly KindName[];

const NODE_ADDRESSES: ReadonlySet<string> = new Set(['InternalIP', 'ExternalIP']);

/** Host bits are taken and mean nothing, as in Cilium. */
const prefixOf = (text: string): Prefix => Prefix.parse(text, { hostBits: 'clear' });

export const ownerOf = ({ kind, metadata }: Resource): string => `${kind}/${metadata.name}`;

/**
 * What an object takes of the address space; nothing for kinds that take none.
 * @param cluster this cluster's name, where it is known: objects are then held against the plan's entries for it.
 */
export function rangesOf(object: Resource, cluster?: string): PlanRange[] {
  const owner = ownerOf(object);
  const scope: PlanScope = cluster === undefined ? {} : { cluster };
  const taken = (use: PlanUse, cidrs: readonly Prefix[]): PlanRange[] =>
    cidrs.map((cidr) => ({ cidr, use, scope, owner, level: 'object' }));
  switch (object.kind) {
    case 'AddressPlan':
      return planRanges(object, owner);
    case 'CiliumPodIPPool': {
      const { ipv4, ipv6 } = object.spec;
      return taken('pods', [...(ipv4?.cidrs ?? []), ...(ipv6?.cidrs ?? [])].map(prefixOf));
    }
    case 'ServiceCIDR':
      return taken('services', object.spec.cidrs.map(prefixOf));
    case 'CiliumLoadBalancerIPPool':
      return taken(
        'vips',
        blocksOf(object).flatMap(({ first, last }) => rangeToPrefixes(first, last)),
      );
    case 'CiliumNode':
      return [
        ...taken('nodes', addressesOf(object)),
        ...taken('pods', (object.spec.ipam?.podCIDRs ?? []).map(prefixOf)),
      ];
    default:
      return [];
  }
}

function planRanges({ spec }: AddressPlan, owner: string): PlanRange[] {
  const found: PlanRange[] = [];
  const add = (use: PlanUse, scope: PlanScope, cidrs: readonly string[] = []): void => {
    for (const text of cidrs) {
      found.push({ cidr: Prefix.parse(text), use, scope, owner, level: 'plan' });
    }
  };
  for (const { name: region, vpcs = [] } of spec.regions) {
    for (const { name: vpc, cidrs, clusters = [] } of vpcs) {
      add('vpc', { region, vpc }, cidrs);
      for (const { name: cluster, pods, services, nodes, vips } of clusters) {
        const scope = { region, vpc, cluster };
        add('pods', scope, pods);
        add('services', scope, services);
        add('nodes', scope, nodes);
        add('vips', scope, vips);
      }
    }
  }
  return found;
}

const addressesOf = ({ spec }: CiliumNode): Prefix[] =>
  (spec.addresses ?? []).flatMap(({ type, ip }) => {
    const address = NODE_ADDRESSES.has(type) ? Address.tryParse(ip) : undefined;
    return address === undefined ? [] : [Prefix.host(address)];
  });

/**
 * Overlaps that are no mistake: a node's own podCIDRs inside a pool (the operator gives nothing of them), and VIP
 * pools among themselves, which Cilium takes, gives nothing of the later one, and says so in its status.
 */
export function isTolerated({ range, other }: PlanOverlap): boolean {
  if (range.level !== 'object' || other.level !== 'object') return false;
  const kinds = new Set(
    [range.owner, other.owner].map((owner) => owner.slice(0, owner.indexOf('/'))),
  );
  if (range.use === 'vips' && other.use === 'vips') return true;
  if (range.use !== 'pods' || other.use !== 'pods') return false;
  return kinds.has('CiliumNode');
}
