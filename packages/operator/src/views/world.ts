import type { CallOptions, Kv } from '@causeway/etcd';
import { Address } from '@causeway/ip';
import { CLAIMS, type Claim, decodeClaim, type VipClaim } from '@causeway/ipam';
import {
  type AddressPlan,
  type CiliumLoadBalancerIPPool,
  type CiliumPodIPPool,
  clusterOfGuard,
  decodePodCidr,
  type KindName,
  PLAN_GUARD,
  POD_CIDRS,
  type PodCidrRecord,
  type PodIPPoolOptions,
  type ResourceKinds,
  type ResourceStore,
  type Service,
  type ServiceCIDR,
} from '@causeway/resources';
import { type NodeFacts, type NodeRow, nodeFacts, nodeRow } from '../nodes.ts';
import { decodeVip, VIPS } from '../vips/records.ts';
import { VIP_SATISFIED } from '../vips/status.ts';

const SERVICE_IPS = 'causeway/allocations/service-ips/';

/** A pod with an address of its own. */
export interface PodRow {
  readonly namespace: string;
  readonly name: string;
  readonly node: string | undefined;
  readonly addresses: readonly Address[];
  /** `StatefulSet shop/db`, if a controller made it. */
  readonly owner: string | undefined;
}

/** Everything about addresses that the store holds, at about one moment. */
export interface World {
  /** As the operator has written it; undefined where none has led yet. */
  readonly cluster: string | undefined;
  readonly pools: readonly CiliumPodIPPool[];
  readonly options: ReadonlyMap<string, PodIPPoolOptions>;
  readonly nodes: readonly NodeRow[];
  readonly facts: ReadonlyMap<string, NodeFacts>;
  readonly records: readonly PodCidrRecord[];
  readonly claims: readonly Claim[];
  readonly vips: readonly VipClaim[];
  /** Services of type LoadBalancer that lack an address, and why. */
  readonly vipsWaiting: readonly { readonly service: string; readonly why: string }[];
  readonly vipPools: readonly CiliumLoadBalancerIPPool[];
  readonly serviceCidrs: readonly ServiceCIDR[];
  readonly serviceIps: readonly { readonly address: Address; readonly owner: string }[];
  readonly plans: readonly AddressPlan[];
  readonly pods: readonly PodRow[];
}

/** Reads it all. What cannot be read is left out, as everywhere. Throws KvError. */
export async function readWorld(
  kv: Kv,
  store: ResourceStore,
  options: CallOptions = {},
): Promise<World> {
  const list = async <K extends KindName>(kind: K): Promise<readonly ResourceKinds[K][]> =>
    (await store.list(kind, options)).items;
  const pods = await list('Pod');
  return {
    cluster: clusterOfGuard(await kv.get(PLAN_GUARD, options)),
    pools: await list('CiliumPodIPPool'),
    options: new Map((await list('PodIPPoolOptions')).map((each) => [each.metadata.name, each])),
    nodes: (await list('CiliumNode')).map(nodeRow),
    facts: new Map((await list('Node')).map((each) => [each.metadata.name, nodeFacts(each)])),
    records: await entries(kv, POD_CIDRS, options, (entry) => decodePodCidr(entry)),
    claims: await entries(kv, CLAIMS, options, ({ text }) => decodeClaim(text)),
    vips: await entries(kv, VIPS, options, (entry) => decodeVip(entry)),
    vipsWaiting: (await list('Service')).flatMap(vipWaiting),
    vipPools: await list('CiliumLoadBalancerIPPool'),
    serviceCidrs: await list('ServiceCIDR'),
    serviceIps: await entries(kv, SERVICE_IPS, options, ({ key, text }) => {
      const address = Address.tryParse(key.slice(SERVICE_IPS.length));
      const { owner } = JSON.parse(text) as { owner?: unknown };
      return address && { address, owner: String(owner) };
    }),
    plans: await list('AddressPlan'),
    pods: pods.flatMap(({ metadata, spec, status }): PodRow[] => {
      const addresses = (status?.podIPs ?? []).flatMap(({ ip }) => Address.tryParse(ip) ?? []);
      if (spec.hostNetwork || addresses.length === 0) return [];
      const namespace = metadata.namespace ?? 'default';
      const owners = metadata.ownerReferences ?? [];
      const owner = owners.find(({ controller }) => controller) ?? owners[0];
      return [
        {
          namespace,
          name: metadata.name,
          node: spec.nodeName,
          addresses,
          owner: owner?.kind && owner.name ? `${owner.kind} ${namespace}/${owner.name}` : undefined,
        },
      ];
    }),
  };
}

async function entries<T>(
  kv: Kv,
  prefix: string,
  options: CallOptions,
  read: (
    entry: { key: string; text: string } & Parameters<typeof decodePodCidr>[0],
  ) => T | undefined,
): Promise<T[]> {
  const found: T[] = [];
  for await (const page of kv.pages(prefix, options)) {
    for (const entry of page.entries) {
      try {
        const value = read(entry);
        if (value !== undefined) found.push(value);
      } catch {
        // Not ours, or from another version.
      }
    }
  }
  return found;
}

/** Pods with an address within a range. */
export const podsIn = (world: World, contains: (address: Address) => boolean): PodRow[] =>
  world.pods.filter(({ addresses }) => addresses.some(contains));

export const podName = ({ namespace, name }: PodRow): string => `${namespace}/${name}`;

/** In the words of whoever gives the addresses; where nobody has looked yet, that. */
function vipWaiting({ metadata, spec, status }: Service): { service: string; why: string }[] {
  if (spec.type !== 'LoadBalancer') return [];
  const service = `${metadata.namespace}/${metadata.name}`;
  const told = status?.conditions?.find(({ type }) => type === VIP_SATISFIED);
  if (told?.status === 'True') return [];
  if (told !== undefined) return [{ service, why: told.message ?? told.reason ?? told.status }];
  if ((status?.loadBalancer?.ingress ?? []).length > 0) return [];
  const by = spec.loadBalancerClass === undefined ? '' : ` of class ${spec.loadBalancerClass}`;
  return [{ service, why: `no operator${by} has looked at it yet` }];
}
