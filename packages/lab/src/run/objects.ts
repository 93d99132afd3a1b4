import { parseManifests } from '@causeway/resources';
import { LabError } from '../errors.ts';
import type { Serve } from '../file/schema.ts';
import type { ClusterPlan, PodPlan } from '../plan/types.ts';

export interface ManifestText {
  readonly path: string;
  readonly text: string;
}

/** What the manifests of a lab file hold: pods for the lab to start, the rest for the registry. */
export interface ClusterManifests {
  readonly objects: readonly unknown[];
  readonly pods: readonly PodPlan[];
}

/** The registry as a cluster's installation leaves it: namespaces, service ranges, nodes with their pod CIDRs. */
export function clusterObjects(cluster: ClusterPlan, pods: readonly PodPlan[]): unknown[] {
  const { settings } = cluster;
  const labelled = new Map(settings.namespaces.map(({ name, labels }) => [name, labels]));
  const names = new Set([
    'default',
    'kube-system',
    ...labelled.keys(),
    ...pods.map((pod) => pod.namespace),
  ]);
  return [
    ...[...names].map((name) => ({
      apiVersion: 'v1',
      kind: 'Namespace',
      // Kubernetes labels every namespace with its own name.
      metadata: { name, labels: { 'kubernetes.io/metadata.name': name, ...labelled.get(name) } },
    })),
    ...(settings.serviceCIDRs.length === 0
      ? []
      : [
          {
            apiVersion: 'networking.k8s.io/v1',
            kind: 'ServiceCIDR',
            metadata: { name: 'kubernetes' },
            spec: { cidrs: settings.serviceCIDRs },
          },
        ]),
    ...statefulSets(pods),
    ...cluster.nodes.flatMap((node) => {
      const labels = { 'kubernetes.io/hostname': node.name, ...node.labels };
      const addresses = node.addresses.map((ip) => ({ type: 'InternalIP', ip }));
      return [
        {
          apiVersion: 'cilium.io/v2',
          kind: 'CiliumNode',
          metadata: { name: node.name, labels },
          spec: {
            addresses,
            ...(settings.ipam === 'static' ? { ipam: { podCIDRs: node.podCIDRs } } : {}),
          },
        },
        {
          apiVersion: 'v1',
          kind: 'Node',
          metadata: { name: node.name, labels },
          spec:
            settings.ipam === 'static'
              ? { podCIDR: node.podCIDRs[0], podCIDRs: node.podCIDRs }
              : {},
          status: { addresses: addresses.map(({ type, ip }) => ({ type, address: ip })) },
        },
      ];
    }),
  ];
}

/** What pods with ordinals belong to, as far as anybody reads it. */
function statefulSets(pods: readonly PodPlan[]): unknown[] {
  const sets = new Map<string, PodPlan[]>();
  for (const pod of pods) {
    if (pod.statefulSet === undefined) continue;
    const key = `${pod.namespace}/${pod.statefulSet.name}`;
    sets.set(key, [...(sets.get(key) ?? []), pod]);
  }
  return [...sets.values()].map((members) => ({
    apiVersion: 'apps/v1',
    kind: 'StatefulSet',
    metadata: { name: members[0]!.statefulSet!.name, namespace: members[0]!.namespace },
    spec: {
      replicas: members.length,
      selector: { matchLabels: members[0]!.labels },
      template: { metadata: { labels: members[0]!.labels } },
    },
  }));
}

/**
 * Splits manifests: a Pod becomes a pod of the lab (a bare namespace: its image is not run, a server
 * that answers with the pod's name stands on each of its container ports), everything else goes to the registry as it stands.
 */
export function loadClusterManifests(
  cluster: ClusterPlan,
  manifests: readonly ManifestText[],
): ClusterManifests {
  const objects: unknown[] = [];
  const pods: PodPlan[] = [];
  for (const { path, text } of manifests)
    for (const { value, where } of parseManifests(text)) {
      if (value.kind === 'Pod') pods.push(podOf(cluster, value, `${path}, ${where}`, pods.length));
      else objects.push(value);
    }
  return { objects, pods };
}

function podOf(
  cluster: ClusterPlan,
  value: Readonly<Record<string, unknown>>,
  where: string,
  index: number,
): PodPlan {
  const { metadata, spec } = value as {
    metadata?: {
      name?: unknown;
      namespace?: unknown;
      labels?: Record<string, string>;
      annotations?: Record<string, string>;
      ownerReferences?: readonly { kind?: string; name?: string }[];
    };
    spec?: { nodeName?: unknown };
  };
  if (typeof metadata?.name !== 'string')
    throw new LabError('lab-file-invalid', `${where}: a Pod without metadata.name`, { value });
  const nodes = cluster.nodes.map((node) => node.name);
  const node = spec?.nodeName ?? nodes[index % nodes.length];
  if (typeof node !== 'string' || !nodes.includes(node))
    throw new LabError(
      'lab-file-invalid',
      `${where}: spec.nodeName ${JSON.stringify(node)} is not a node of cluster ${cluster.name}`,
      {
        value: node,
        hint: `its nodes: ${nodes.join(', ')}`,
      },
    );
  return {
    cluster: cluster.name,
    namespace: typeof metadata.namespace === 'string' ? metadata.namespace : 'default',
    name: metadata.name,
    node,
    labels: metadata.labels ?? {},
    annotations: metadata.annotations ?? {},
    statefulSet: statefulSetOf(metadata.name, metadata.ownerReferences),
    runtime: 'netns',
    serve: serversOf(spec),
  };
}

function statefulSetOf(
  pod: string,
  owners: readonly { kind?: string; name?: string }[] = [],
): PodPlan['statefulSet'] {
  const name = owners.find(({ kind }) => kind === 'StatefulSet')?.name;
  const ordinal = /-(\d+)$/.exec(pod)?.[1];
  return name === undefined || ordinal === undefined
    ? undefined
    : { name, ordinal: Number(ordinal) };
}

/** HTTP on TCP ports that are named for it or are its usual ones, else a server that sends back. */
function serversOf(spec: object | undefined): Serve[] {
  const containers =
    (spec as { containers?: { ports?: unknown[] }[] } | undefined)?.containers ?? [];
  return containers.flatMap((container) =>
    (container.ports ?? []).flatMap((port): Serve[] => {
      const { name, containerPort, protocol } = port as {
        name?: string;
        containerPort?: number;
        protocol?: string;
      };
      if (typeof containerPort !== 'number' || protocol === 'SCTP') return [];
      const http = name?.startsWith('http') ?? [80, 8080].includes(containerPort);
      const type = protocol === 'UDP' ? 'udp' : http ? 'http' : 'tcp';
      return [{ port: containerPort, type, ...(name === undefined ? {} : { name }) }];
    }),
  );
}
