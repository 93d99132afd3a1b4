import { type LabelFilter, type LabelSet, podLabels } from '@causeway/identity';
import type { NamedPort } from '@causeway/policy';
import type { PodReference } from '../endpoints/ports.ts';
import { type NamespaceTable, type PodTable, podKey } from '../sources/pods.ts';

/** Containers without a Kubernetes name count as of this namespace. */
const UNNAMED_NAMESPACE = 'default';

export interface LabelSources {
  readonly cluster: string;
  readonly filter: LabelFilter;
  readonly pods: PodTable;
  readonly namespaces: NamespaceTable;
}

/** What is known of a pod's labels at this moment. */
export type KnownLabels =
  | { readonly type: 'known'; readonly labels: LabelSet; readonly namedPorts: readonly NamedPort[] }
  | { readonly type: 'unknown'; readonly reason: string };

/**
 * The security labels of a pod from its resource and its namespace. A caller's own labels count only
 * for containers of which the store knows nothing by nature: those without a pod's name.
 */
export function labelsOf(pod: PodReference, sources: LabelSources): KnownLabels {
  const { cluster, filter, pods, namespaces } = sources;
  if (pod.podName === undefined) {
    const all = podLabels({
      cluster,
      namespace: pod.podNamespace ?? UNNAMED_NAMESPACE,
      labels: pod.callerLabels,
      namespaceLabels: namespaces.get(pod.podNamespace ?? UNNAMED_NAMESPACE)?.labels,
    });
    return { type: 'known', labels: filter.split(all).identity, namedPorts: [] };
  }
  const key = podKey(pod.podNamespace, pod.podName);
  const row = pods.get(key);
  if (row === undefined) return { type: 'unknown', reason: `the store has no pod ${key}` };
  if (pod.podUid && row.uid && pod.podUid !== row.uid) {
    return {
      type: 'unknown',
      reason: `the store's pod ${key} is another one, with uid ${row.uid}`,
    };
  }
  const namespace = namespaces.get(row.namespace);
  if (namespace === undefined && !namespaces.initialized) {
    return { type: 'unknown', reason: `the labels of namespace ${row.namespace} are not read yet` };
  }
  const all = podLabels({
    cluster,
    namespace: row.namespace,
    labels: row.labels,
    namespaceLabels: namespace?.labels,
    serviceAccount: row.serviceAccount,
  });
  return { type: 'known', labels: filter.split(all).identity, namedPorts: row.ports };
}
