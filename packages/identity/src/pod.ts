import { LABEL_KEYS, LABEL_SOURCES, type Label, LabelSet, label } from './labels.ts';

/** What a pod's labels come from. */
export interface PodLabelSource {
  readonly cluster: string;
  readonly namespace: string;
  readonly labels?: Readonly<Record<string, string>> | undefined;
  readonly namespaceLabels?: Readonly<Record<string, string>> | undefined;
  readonly serviceAccount?: string | undefined;
}

/**
 * All labels of a pod, unfiltered, as Cilium 1.19 gathers them (clustermesh-kvstore.md, section 2).
 * What the pod claims under `io.cilium.k8s` is dropped, and namespace and cluster are written last:
 * a pod's own labels must not put it into another namespace.
 */
export function podLabels(pod: PodLabelSource): LabelSet {
  const k8s = (key: string, value: string): Label => label(LABEL_SOURCES.k8s, key, value);
  const labels: Label[] = [];
  for (const [key, value] of Object.entries(pod.labels ?? {})) {
    if (!key.startsWith('io.cilium.k8s')) labels.push(k8s(key, value));
  }
  const prefix = LABEL_KEYS.namespaceLabelPrefix;
  for (const [key, value] of Object.entries(pod.namespaceLabels ?? {})) {
    labels.push(k8s(prefix + key, value));
  }
  labels.push(k8s(prefix + LABEL_KEYS.namespaceName, pod.namespace));
  labels.push(k8s(LABEL_KEYS.podNamespace, pod.namespace));
  labels.push(k8s(LABEL_KEYS.cluster, pod.cluster));
  if (pod.serviceAccount) labels.push(k8s(LABEL_KEYS.serviceAccount, pod.serviceAccount));
  return LabelSet.of(labels);
}
