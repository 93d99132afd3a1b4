import { Address, Prefix } from '@causeway/ip';
import type { VipBlock, VipClaim, VipPool, VipService, VipWorld } from '@causeway/ipam';
import {
  blocksOf,
  type CiliumLoadBalancerIPPool,
  type Service,
  selects,
} from '@causeway/resources';
import type { OperatorConfig } from '../config.ts';
import type { OperatorTables } from '../sources.ts';

/** Classes that are ours; a service of another class is another controller's. */
const CLASSES: ReadonlySet<string> = new Set([
  'causeway.io/bgp',
  'io.cilium/bgp-control-plane',
  'io.cilium/node',
]);

const IPS = ['lbipam.cilium.io/ips', 'io.cilium/lb-ipam-ips'];
const SHARING_KEY = ['lbipam.cilium.io/sharing-key', 'io.cilium/lb-ipam-sharing-key'];
const SHARING_NAMESPACES = [
  'lbipam.cilium.io/sharing-cross-namespace',
  'io.cilium/lb-ipam-sharing-cross-namespace',
];
/** Cilium's synthetic labels, which a pool's selector may ask for. */
const NAME_LABEL = 'io.kubernetes.service.name';
const NAMESPACE_LABEL = 'io.kubernetes.service.namespace';

/** Whether the service's addresses are ours to give. */
export function isOurs({ spec }: Service, classless: boolean): boolean {
  if (spec.type !== 'LoadBalancer') return false;
  const { loadBalancerClass } = spec;
  return loadBalancerClass === undefined ? classless : CLASSES.has(loadBalancerClass);
}

/** Everything that decides about VIPs, from the tables. */
export function vipWorld(
  tables: OperatorTables,
  claims: readonly VipClaim[],
  settings: OperatorConfig['loadBalancer'],
): VipWorld {
  const { vipPools, services, nodes, serviceCidrs, pools } = tables;
  return {
    // The oldest first: of two that overlap it has the range.
    pools: [...vipPools].toSorted((a, b) => born(a) - born(b) || order(a, b)).map(vipPool),
    services: [...services]
      .filter((service) => isOurs(service, settings.classless))
      .map(vipService),
    claims,
    reserved: [
      ...settings.reserved.map(({ cidr, owner }) => ({ cidr: Prefix.parseLoose(cidr), owner })),
      ...[...nodes].flatMap(({ name, addresses, podCidrs }) => [
        ...addresses.map((address) => ({ cidr: Prefix.host(address), owner: `node ${name}` })),
        ...podCidrs.map((cidr) => ({ cidr, owner: `the pods of node ${name}` })),
      ]),
      ...[...serviceCidrs].flatMap(({ metadata, spec }) =>
        spec.cidrs.map((text) => ({
          cidr: Prefix.parse(text, { hostBits: 'clear' }),
          owner: `ServiceCIDR ${metadata.name}`,
        })),
      ),
      ...[...pools].flatMap(({ metadata, spec }) =>
        [...(spec.ipv4?.cidrs ?? []), ...(spec.ipv6?.cidrs ?? [])].map((text) => ({
          cidr: Prefix.parse(text, { hostBits: 'clear' }),
          owner: `CiliumPodIPPool ${metadata.name}`,
        })),
      ),
    ],
  };
}

type Named = { metadata: { name: string; creationTimestamp?: string } };
const born = ({ metadata }: Named): number => Date.parse(metadata.creationTimestamp ?? '') || 0;
const order = (a: Named, b: Named): number => (a.metadata.name < b.metadata.name ? -1 : 1);

function vipPool(pool: CiliumLoadBalancerIPPool): VipPool {
  const { serviceSelector, disabled, allowFirstLastIPs } = pool.spec;
  return {
    name: pool.metadata.name,
    blocks: blocksOf(pool).map(
      ({ first, last, prefix }): VipBlock =>
        prefix === undefined
          ? { type: 'range', start: first, stop: last }
          : { type: 'cidr', cidr: prefix },
    ),
    ...(serviceSelector === undefined
      ? {}
      : {
          selects: ({ labels, namespace, name }) =>
            selects(serviceSelector, {
              ...labels,
              [NAME_LABEL]: name,
              [NAMESPACE_LABEL]: namespace,
            }),
        }),
    disabled: disabled ?? false,
    allowFirstLast: allowFirstLastIPs === 'Yes',
  };
}

function vipService(service: Service): VipService {
  const { metadata, spec } = service;
  const annotation = (names: readonly string[]): string | undefined =>
    names.map((name) => metadata.annotations?.[name]).find((value) => value !== undefined);
  const sharingKey = annotation(SHARING_KEY);
  const requested = annotation(IPS) ?? spec.loadBalancerIP ?? '';
  return {
    namespace: metadata.namespace ?? 'default',
    name: metadata.name,
    labels: metadata.labels ?? {},
    families: (spec.ipFamilies ?? ['IPv4']).map((each) => (each === 'IPv4' ? 'ipv4' : 'ipv6')),
    preferDual: spec.ipFamilyPolicy === 'PreferDualStack',
    requested: requested.split(',').flatMap((text) => Address.tryParse(text.trim()) ?? []),
    ...(sharingKey === undefined || sharingKey === '' ? {} : { sharingKey }),
    sharingNamespaces: (annotation(SHARING_NAMESPACES) ?? '')
      .split(',')
      .map((text) => text.trim())
      .filter((text) => text !== ''),
    ports: (spec.ports ?? []).map(({ protocol, port }) => `${protocol}/${port}`),
    local: spec.externalTrafficPolicy === 'Local',
    selector: JSON.stringify(Object.entries(spec.selector ?? {}).sort()),
  };
}
