import { suggest } from '@causeway/daemon/words';
import {
  blocksOf,
  findKind,
  KIND_NAMES,
  KINDS,
  type KindDescriptor,
  type Resource,
} from '@causeway/resources';
import { CliError } from '../errors.ts';
import type { Column } from '../output/table.ts';

/** Throws `bad-input` with the kinds there are. */
export function kindOf(name: string): KindDescriptor {
  const kind = findKind(name);
  if (kind !== undefined) return kind;
  const names = KIND_NAMES.flatMap((each) => [KINDS[each].plural, ...KINDS[each].shortNames]);
  const meant = suggest(name, names);
  throw new CliError('bad-input', `there is no kind ${name}`, {
    field: 'kind',
    value: name,
    hint: `${meant === undefined ? '' : `did you mean ${meant}? `}kinds: ${KIND_NAMES.map((each) => [KINDS[each].plural, ...KINDS[each].shortNames].join('/')).join(', ')}`,
  });
}

type Cell = (object: Resource) => unknown;
interface KindColumn extends Column<Resource> {
  /** Only with `-o wide`. */
  readonly wide?: boolean;
}

const column = (heading: string, cell: Cell, wide = false): KindColumn => ({ heading, cell, wide });

/** What a list of objects of a kind shows, after namespace and name. */
export function columnsFor(kind: KindDescriptor, wide: boolean): Column<Resource>[] {
  return (COLUMNS[kind.kind] ?? []).filter((each) => wide || each.wide !== true);
}

const labels = column('LABELS', ({ metadata }) => metadata.labels, true);

const COLUMNS: Partial<Record<string, readonly KindColumn[]>> = {
  Pod: [
    column(
      'READY',
      (object) =>
        of(object, 'Pod')?.status?.conditions?.find(({ type }) => type === 'Ready')?.status ??
        'Unknown',
    ),
    column('STATUS', (object) =>
      object.metadata.deletionTimestamp === undefined
        ? (of(object, 'Pod')?.status?.phase ?? 'Pending')
        : 'Terminating',
    ),
    column('IP', (object) => of(object, 'Pod')?.status?.podIPs?.map(({ ip }) => ip)),
    column('NODE', (object) => of(object, 'Pod')?.spec.nodeName),
    labels,
  ],
  Namespace: [labels],
  Node: [
    column('ADDRESSES', (object) =>
      of(object, 'Node')?.status?.addresses?.map(({ address }) => address),
    ),
    column('POD-CIDRS', (object) => of(object, 'Node')?.spec?.podCIDRs),
    labels,
  ],
  CiliumNode: [
    column('ADDRESSES', (object) => of(object, 'CiliumNode')?.spec.addresses?.map(({ ip }) => ip)),
    column('POD-CIDRS', (object) => of(object, 'CiliumNode')?.spec.ipam?.podCIDRs),
    labels,
  ],
  Service: [
    column('TYPE', (object) => of(object, 'Service')?.spec.type ?? 'ClusterIP'),
    column('CLUSTER-IPS', (object) => of(object, 'Service')?.spec.clusterIPs),
    column('EXTERNAL-IP', externalIps),
    column('PORTS', (object) =>
      of(object, 'Service')?.spec.ports?.map(
        ({ port, protocol }) => `${port}/${protocol ?? 'TCP'}`,
      ),
    ),
    column('SELECTOR', (object) => of(object, 'Service')?.spec.selector, true),
    labels,
  ],
  EndpointSlice: [
    column('FAMILY', (object) => of(object, 'EndpointSlice')?.addressType),
    column('PORTS', (object) => of(object, 'EndpointSlice')?.ports?.map(({ port }) => port)),
    column('ENDPOINTS', (object) =>
      of(object, 'EndpointSlice')?.endpoints?.flatMap(({ addresses }) => addresses),
    ),
    labels,
  ],
  NetworkPolicy: [
    column('POD-SELECTOR', (object) => selectorText(of(object, 'NetworkPolicy')?.spec.podSelector)),
    column('TYPES', (object) => of(object, 'NetworkPolicy')?.spec.policyTypes),
    labels,
  ],
  CiliumPodIPPool: [
    column('CIDRS', (object) => {
      const { ipv4, ipv6 } = of(object, 'CiliumPodIPPool')?.spec ?? {};
      return [...(ipv4?.cidrs ?? []), ...(ipv6?.cidrs ?? [])];
    }),
    labels,
  ],
  PodIPPoolOptions: [
    column('NODES', (object) => {
      const { nodeSelector } = of(object, 'PodIPPoolOptions')?.spec ?? {};
      return nodeSelector === undefined ? '(all)' : selectorText(nodeSelector);
    }),
    column('CLOSED', (object) => of(object, 'PodIPPoolOptions')?.spec.closed),
  ],
  AddressReservation: [
    column('FOR', (object) => {
      const { podName, workload } = of(object, 'AddressReservation')?.spec ?? {};
      return podName === undefined ? workload && `${workload.kind} ${workload.name}` : podName;
    }),
    column('ADDRESSES', (object) =>
      of(object, 'AddressReservation')?.spec.addresses?.flatMap(({ ipv4, ipv6 }) =>
        [ipv4, ipv6].filter((each) => each !== undefined),
      ),
    ),
    column('STATUS', (object) =>
      of(object, 'AddressReservation')?.status?.error?.replaceAll('\n', '; '),
    ),
  ],
  CiliumLoadBalancerIPPool: [
    column('BLOCKS', (object) => {
      const pool = of(object, 'CiliumLoadBalancerIPPool');
      return pool && blocksOf(pool).map((block) => block.prefix ?? `${block.first}-${block.last}`);
    }),
    column(
      'FREE',
      (object) =>
        of(object, 'CiliumLoadBalancerIPPool')?.status?.conditions?.find(({ type }) =>
          type.endsWith('/IPsAvailable'),
        )?.message,
    ),
  ],
  CiliumEgressGatewayPolicy: [
    column('TO', (object) => of(object, 'CiliumEgressGatewayPolicy')?.spec.destinationCIDRs),
    column('EGRESS-IPS', (object) => {
      const { egressGateway, egressGateways } = of(object, 'CiliumEgressGatewayPolicy')?.spec ?? {};
      const all = [egressGateway, ...(egressGateways ?? [])];
      return [...new Set(all.flatMap((each) => each?.egressIP ?? []))];
    }),
  ],
  MeshPeer: [
    column('ID', (object) => of(object, 'MeshPeer')?.spec.id),
    column('ENDPOINTS', (object) => of(object, 'MeshPeer')?.spec.endpoints),
  ],
  OutsideEndpoint: [
    column('ADDRESSES', (object) => of(object, 'OutsideEndpoint')?.spec.addresses),
    column('PLATFORM', (object) => of(object, 'OutsideEndpoint')?.spec.platform),
    column('LABELS', (object) => of(object, 'OutsideEndpoint')?.spec.labels),
  ],
  CiliumNetworkPolicy: [labels],
  CiliumClusterwideNetworkPolicy: [labels],
  CiliumCIDRGroup: [column('CIDRS', (object) => of(object, 'CiliumCIDRGroup')?.spec.externalCIDRs)],
  ServiceCIDR: [column('CIDRS', (object) => of(object, 'ServiceCIDR')?.spec.cidrs)],
  Secret: [column('KEYS', (object) => Object.keys(of(object, 'Secret')?.data ?? {})), labels],
  CiliumBGPClusterConfig: [
    column('NODES', (object) =>
      selectorText(of(object, 'CiliumBGPClusterConfig')?.spec.nodeSelector),
    ),
    column('ASNS', (object) =>
      of(object, 'CiliumBGPClusterConfig')?.spec.bgpInstances.map(
        ({ localASN }) => localASN ?? '-',
      ),
    ),
    column('PEERS', (object) =>
      of(object, 'CiliumBGPClusterConfig')?.spec.bgpInstances.flatMap(({ peers = [] }) =>
        peers.map(({ name }) => name),
      ),
    ),
    labels,
  ],
  CiliumBGPPeerConfig: [
    column('FAMILIES', (object) =>
      of(object, 'CiliumBGPPeerConfig')?.spec.families?.map(({ afi, safi }) => `${afi}/${safi}`),
    ),
    labels,
  ],
  CiliumBGPNodeConfig: [
    column('CONFIG', ({ metadata }) => metadata.ownerReferences?.[0]?.name),
    column('ASNS', (object) =>
      of(object, 'CiliumBGPNodeConfig')?.spec.bgpInstances.map(({ localASN }) => localASN ?? '-'),
    ),
    column('ESTABLISHED', (object) => {
      const wanted = of(object, 'CiliumBGPNodeConfig')?.spec.bgpInstances ?? [];
      const told = of(object, 'CiliumBGPNodeConfig')?.status?.bgpInstances;
      const up = told?.flatMap(({ peers = [] }) =>
        peers.filter(({ peeringState }) => peeringState === 'established'),
      );
      return `${up?.length ?? '-'}/${wanted.flatMap(({ peers = [] }) => peers).length}`;
    }),
    column(
      'PEERS',
      (object) =>
        of(object, 'CiliumBGPNodeConfig')?.status?.bgpInstances?.flatMap(({ peers = [] }) =>
          peers.map(({ name, peeringState }) => `${name}=${peeringState ?? 'unknown'}`),
        ),
      true,
    ),
    labels,
  ],
  CiliumBGPAdvertisement: [
    column('TYPES', (object) => [
      ...new Set(
        of(object, 'CiliumBGPAdvertisement')?.spec.advertisements.map(
          ({ advertisementType }) => advertisementType,
        ),
      ),
    ]),
    column('LABELS', ({ metadata }) => metadata.labels),
  ],
};

/** What the world outside reaches it by; a service that waits for an address says so, as `ipam vips` says why. */
function externalIps(object: Resource): unknown {
  const service = of(object, 'Service');
  const given = (service?.status?.loadBalancer?.ingress ?? []).map(
    ({ ip, hostname }) => ip ?? hostname,
  );
  const all = [...given, ...(service?.spec.externalIPs ?? [])];
  return all.length === 0 && service?.spec.type === 'LoadBalancer' ? '<pending>' : all;
}

function of<K extends Resource['kind']>(
  object: Resource,
  kind: K,
): Extract<Resource, { kind: K }> | undefined {
  return object.kind === kind ? (object as Extract<Resource, { kind: K }>) : undefined;
}

function selectorText(selector: unknown): unknown {
  const { matchLabels, matchExpressions } = (selector ?? {}) as {
    matchLabels?: object;
    matchExpressions?: unknown[];
  };
  if (matchExpressions !== undefined && matchExpressions.length > 0)
    return JSON.stringify(selector);
  return matchLabels === undefined || Object.keys(matchLabels).length === 0 ? '(all)' : matchLabels;
}

/** `3m12s`, `5d2h`: the two greatest units. */
export function ageText(created: string | undefined, now: number): string {
  const seconds =
    created === undefined ? Number.NaN : Math.floor((now - Date.parse(created)) / 1000);
  if (Number.isNaN(seconds)) return '-';
  const units: [string, number][] = [
    ['d', Math.floor(seconds / 86_400)],
    ['h', Math.floor(seconds / 3600) % 24],
    ['m', Math.floor(seconds / 60) % 60],
    ['s', seconds % 60],
  ];
  const first = units.findIndex(([, count]) => count > 0);
  if (first < 0) return '0s';
  return units
    .slice(first, first + 2)
    .filter(([, count]) => count > 0)
    .map(([unit, count]) => `${count}${unit}`)
    .join('');
}
