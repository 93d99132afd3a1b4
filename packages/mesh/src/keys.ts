import type { ClusterConfig } from './codec/cluster-config.ts';
import { MeshError } from './errors.ts';

/** Keys of Cilium's shared state; clustermesh-kvstore.md, section 1. No key here is a bare prefix. */

export const HEARTBEAT_KEY = 'cilium/.heartbeat';
const CLUSTER_CONFIG = 'cilium/cluster-config/';
const SYNCED = 'cilium/synced/';

/** What a cluster publishes, each under a prefix of its own. */
export type StateKind = 'nodes' | 'services' | 'ip' | 'identities' | 'service-backends';

/** What every cluster has, in Cilium's form. */
export const STATE_KINDS: readonly StateKind[] = Object.freeze([
  'nodes',
  'services',
  'identities',
  'ip',
]);

/**
 * What to read of a cluster by its config: where it says so, backends of services come by shards and nothing is left to
 * learn from the whole values, which are rewritten with every change.
 */
export const stateKindsOf = ({
  causeway,
}: Pick<ClusterConfig, 'causeway'>): readonly StateKind[] =>
  causeway?.serviceBackends
    ? STATE_KINDS.map((kind) => (kind === 'services' ? 'service-backends' : kind))
    : STATE_KINDS;

/**
 * Stands in a cluster's own store while its operator tells all shared services in shards too: by it the cluster's config
 * says that it does.
 */
export const SHARDS_EXPORTED_KEY = 'causeway/exported/service-backends';

/** Where a cluster's state is read: its own etcd, or the copy that another etcd caches of it. */
export type StateTree = 'state' | 'cache';

/** Section 1.1: lower case letters, digits and inner dashes, at most 32. */
export const isClusterName = (name: string): boolean =>
  name.length <= 32 && /^([a-z0-9][-a-z0-9]*)?[a-z0-9]$/.test(name);

export const clusterConfigKey = (cluster: string): string => CLUSTER_CONFIG + part(cluster);

/** The prefix of all of a cluster's markers. */
export const syncedPrefix = (cluster: string): string => `${SYNCED}${part(cluster)}/`;

/** `cilium/synced/<c>/cilium/state/nodes/v1`: says that the first list of a prefix is complete. */
export function syncedKey(
  cluster: string,
  kind: StateKind | 'serviceexports',
  tree: StateTree = 'state',
): string {
  const space = kind === 'service-backends' ? 'causeway' : 'cilium';
  return `${SYNCED}${part(cluster)}/${space}/${tree}/${kind}/v1`;
}

/** The prefix that a reader watches for one cluster and kind; it ends with `/`. */
export function statePrefix(kind: StateKind, cluster: string, tree: StateTree = 'state'): string {
  const c = part(cluster);
  switch (kind) {
    case 'nodes':
    case 'services':
      return `cilium/${tree}/${kind}/v1/${c}/`;
    case 'ip':
      // The address space of the state tree is always the word "default".
      return tree === 'state' ? 'cilium/state/ip/v1/default/' : `cilium/cache/ip/v1/${c}/`;
    case 'identities':
      return tree === 'state'
        ? 'cilium/state/identities/v1/id/'
        : `cilium/cache/identities/v1/${c}/id/`;
    case 'service-backends':
      // Our own extension, where Cilium never looks.
      return `causeway/${tree}/service-backends/v1/${c}/`;
    default:
      return kind satisfies never;
  }
}

export const nodeKey = (cluster: string, node: string): string =>
  statePrefix('nodes', cluster) + part(node);

/** @param address canonical address, or prefix for an entry with a mask. */
export const ipKey = (address: string): string => `cilium/state/ip/v1/default/${address}`;

export const serviceKey = (cluster: string, namespace: string, name: string): string =>
  `${statePrefix('services', cluster)}${part(namespace)}/${part(name)}`;

export const serviceShardKey = (
  cluster: string,
  namespace: string,
  name: string,
  shard: number,
): string => `${statePrefix('service-backends', cluster)}${part(namespace)}/${part(name)}/${shard}`;

export const IDENTITY_IDS = 'cilium/state/identities/v1/id/';
export const IDENTITY_VALUES = 'cilium/state/identities/v1/value/';

export const identityKey = (id: number): string => `${IDENTITY_IDS}${id}`;

/** The prefix under which every node that uses the label set has a key. */
export function identityValuePrefix(labels: string): string {
  // Cilium cleans the key like a path; what that would change cannot be found again.
  if (/\/\/|\/\.{1,2}\/|^\.{0,2}\//.test(labels) || labels === '') {
    throw new MeshError('bad-labels', `label set ${labels} cannot stand in a key`, labels);
  }
  return `${IDENTITY_VALUES}${labels}/`;
}

/** @param suffix the node's address, as Cilium has it. */
export const identityValueKey = (labels: string, suffix: string): string =>
  identityValuePrefix(labels) + part(suffix);

function part(text: string): string {
  if (text === '' || text.includes('/')) {
    throw new MeshError('bad-key', `${JSON.stringify(text)} cannot be part of a key`, text);
  }
  return text;
}
