import { MeshError } from '../errors.ts';
import { GoObject, goJson } from './go-json.ts';

/** `cilium/cluster-config/<c>`: what a reader must know before it reads (section 1.3). */
export interface ClusterConfig {
  readonly id: number;
  /** The reader waits for the synced marker of each prefix. */
  readonly syncedCanaries: boolean;
  /** The data stand under `cilium/cache/`. */
  readonly cached: boolean;
  readonly maxConnectedClusters: 255 | 511;
  /** Undefined: no MCS. A value, even false, makes readers expect the marker of serviceexports. */
  readonly serviceExportsEnabled: boolean | undefined;
  /** What only Causeway understands; others ignore it. */
  readonly causeway?: CausewayCapabilities | undefined;
}

export interface CausewayCapabilities {
  /** Backends of global services stand in shards, with their states, beside the ordinary keys. */
  readonly serviceBackends: boolean;
}

export function encodeClusterConfig(config: ClusterConfig): string {
  return goJson({
    id: config.id,
    capabilities: {
      ...(config.syncedCanaries ? { syncedCanaries: true } : {}),
      ...(config.cached ? { cached: true } : {}),
      maxConnectedClusters: config.maxConnectedClusters,
      ...(config.serviceExportsEnabled === undefined
        ? {}
        : { serviceExportsEnabled: config.serviceExportsEnabled }),
      ...(config.causeway === undefined ? {} : { causeway: config.causeway }),
    },
  });
}

export function decodeClusterConfig(text: string): ClusterConfig {
  const object = GoObject.parse(text);
  const capabilities = object.object('capabilities');
  // Before 1.15 the field did not exist and 255 was the only number.
  const max = capabilities?.uint('maxConnectedClusters', 32) || 255;
  if (max !== 255 && max !== 511) {
    const field = 'capabilities.maxConnectedClusters';
    throw new MeshError('bad-value', `${field} ${max} is neither 255 nor 511`, max, field);
  }
  const id = object.uint('id', 32);
  if (id === 0 || id > max)
    throw new MeshError('bad-value', `id ${id} is not 1 to ${max}`, id, 'id');
  const exports = capabilities?.raw('serviceExportsEnabled');
  const causeway = capabilities?.object('causeway');
  return {
    id,
    maxConnectedClusters: max,
    syncedCanaries: capabilities?.boolean('syncedCanaries') ?? false,
    cached: capabilities?.boolean('cached') ?? false,
    serviceExportsEnabled:
      exports === undefined ? undefined : capabilities?.boolean('serviceExportsEnabled'),
    ...(causeway === undefined
      ? {}
      : { causeway: { serviceBackends: causeway.boolean('serviceBackends') } }),
  };
}

/** RFC 3339 in whole seconds, the text of heartbeats and synced markers. */
export const timeText = (ms: number): string => new Date(ms).toISOString().replace(/\.\d+Z$/, 'Z');
