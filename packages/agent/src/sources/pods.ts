import { Address } from '@causeway/ip';
import type { NamedPort } from '@causeway/policy';
import { protocolNumber } from '@causeway/policy';
import type { Namespace, ObjectMeta, Pod } from '@causeway/resources';
import type { Database, Table } from '@causeway/tables';

/** The parts of a Pod that the agent uses; the rest of the object is let go, for a cluster has many. */
export interface PodRow {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Only those that this agent reads. */
  readonly annotations: Readonly<Record<string, string>>;
  /** What made it, such as a StatefulSet. */
  readonly owner:
    | { readonly apiVersion: string | undefined; readonly kind: string; readonly name: string }
    | undefined;
  readonly serviceAccount: string | undefined;
  readonly node: string | undefined;
  readonly hostNetwork: boolean;
  readonly ports: readonly NamedPort[];
  readonly addresses: readonly Address[];
  readonly ready: boolean;
  readonly terminating: boolean;
  readonly phase: string | undefined;
}

export interface NamespaceRow {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Only those that this agent reads. */
  readonly annotations: Readonly<Record<string, string>>;
}

export type PodTable = Table<PodRow, string, 'namespace' | 'node'>;
export type NamespaceTable = Table<NamespaceRow>;

export const podKey = (namespace: string | undefined, name: string): string =>
  `${namespace ?? 'default'}/${name}`;

export function podTable(database: Database): PodTable {
  return database.table({
    name: 'pods',
    key: (row: PodRow) => podKey(row.namespace, row.name),
    indexes: { namespace: { keys: (row) => row.namespace }, node: { keys: (row) => row.node } },
  });
}

export function namespaceTable(database: Database): NamespaceTable {
  return database.table({ name: 'namespaces', key: (row: NamespaceRow) => row.name });
}

export function podRow(pod: Pod): PodRow {
  const { metadata, spec, status } = pod;
  const ips =
    status?.podIPs?.map(({ ip }) => ip) ?? (status?.podIP === undefined ? [] : [status.podIP]);
  return {
    namespace: metadata.namespace ?? 'default',
    name: metadata.name,
    uid: metadata.uid ?? '',
    labels: metadata.labels ?? {},
    annotations: readAnnotations(metadata),
    owner: ownerOf(metadata),
    serviceAccount: spec.serviceAccountName,
    node: spec.nodeName,
    hostNetwork: spec.hostNetwork ?? false,
    ports: namedPorts(pod),
    addresses: ips.map(Address.tryParse).filter((address) => address !== undefined),
    ready:
      status?.conditions?.some(({ type, status: is }) => type === 'Ready' && is === 'True') ??
      false,
    terminating: metadata.deletionTimestamp !== undefined,
    phase: status?.phase,
  };
}

/** Named container ports; of two with one name the first counts, as in Kubernetes. */
function namedPorts({ spec }: Pod): NamedPort[] {
  const ports = new Map<string, NamedPort>();
  for (const container of spec.containers) {
    for (const { name, containerPort, protocol } of container.ports ?? []) {
      if (name === undefined || ports.has(name)) continue;
      ports.set(name, { name, port: containerPort, protocol: protocolNumber(protocol) ?? 6 });
    }
  }
  return [...ports.values()];
}

export function namespaceRow(namespace: Namespace): NamespaceRow {
  const { name, labels = {} } = namespace.metadata;
  return { name, labels, annotations: readAnnotations(namespace.metadata) };
}

const READ = /^(ipam\.cilium\.io|causeway\.io)\//;

/** Annotations may be large, and others' are none of our business. */
export function readAnnotations({
  annotations = {},
}: ObjectMeta): Readonly<Record<string, string>> {
  return Object.fromEntries(Object.entries(annotations).filter(([key]) => READ.test(key)));
}

function ownerOf({ ownerReferences = [] }: ObjectMeta): PodRow['owner'] {
  const owner = ownerReferences.find(({ controller }) => controller === true) ?? ownerReferences[0];
  if (owner === undefined) return undefined;
  const { apiVersion, kind, name } = owner;
  return kind === undefined || name === undefined ? undefined : { apiVersion, kind, name };
}

/** The row as a manifest again, for the load balancer, which reads Pods as the API has them. */
export function podManifest(row: PodRow): unknown {
  const protocol = (number: number) => (number === 17 ? 'UDP' : number === 132 ? 'SCTP' : 'TCP');
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      namespace: row.namespace,
      name: row.name,
      labels: row.labels,
      annotations: row.annotations,
      ...(row.terminating ? { deletionTimestamp: '1970-01-01T00:00:00Z' } : {}),
    },
    spec: {
      ...(row.node === undefined ? {} : { nodeName: row.node }),
      containers: [
        {
          name: 'all',
          ports: row.ports.map(({ name, port, protocol: number }) => ({
            name,
            containerPort: port,
            protocol: protocol(number),
          })),
        },
      ],
    },
    status: {
      ...(row.phase === undefined ? {} : { phase: row.phase }),
      podIPs: row.addresses.map((ip) => ({ ip })),
      conditions: [{ type: 'Ready', status: row.ready ? 'True' : 'False' }],
    },
  };
}
