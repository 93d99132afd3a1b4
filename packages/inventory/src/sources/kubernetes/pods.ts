import type { SourceItem } from '../../source.ts';
import type { KubeObject } from './api.ts';

interface PodObject extends KubeObject {
  readonly spec?: {
    readonly nodeName?: string;
    readonly hostNetwork?: boolean;
    readonly serviceAccountName?: string;
  };
  readonly status?: {
    readonly phase?: string;
    readonly podIP?: string;
    readonly podIPs?: readonly { readonly ip?: string }[];
    readonly hostIP?: string;
  };
}

/** A pod as an item, without what its namespace says; undefined for one that has no address of its own. */
export function podItem(object: KubeObject, tunnelToHosts: boolean): SourceItem | undefined {
  const { metadata, spec, status } = object as PodObject;
  const { name, namespace, uid } = metadata;
  if (uid === undefined || namespace === undefined) return undefined;
  // A host's own address is no pod's, and that of one which has ended may be another's already.
  if (spec?.hostNetwork || status?.phase === 'Succeeded' || status?.phase === 'Failed')
    return undefined;
  const given = status?.podIPs?.map(({ ip }) => ip) ?? [status?.podIP];
  const addresses = given.filter((ip) => typeof ip === 'string' && ip !== '') as string[];
  if (addresses.length === 0) return undefined;
  const owner = metadata.ownerReferences?.find(({ controller }) => controller);
  const attributes: Record<string, string> = {};
  if (spec?.nodeName) attributes.node = spec.nodeName;
  if (owner?.kind && owner.name) attributes.owner = `${owner.kind}/${owner.name}`;
  return {
    id: uid,
    name,
    addresses,
    platform: 'pod',
    labels: metadata.labels ?? {},
    attributes,
    namespace,
    ...(spec?.serviceAccountName ? { serviceAccount: spec.serviceAccountName } : {}),
    ...(tunnelToHosts && status?.hostIP ? { nodeAddress: status.hostIP } : {}),
  };
}
