import { z } from 'zod';
import { MeshError } from '../errors.ts';
import { isClusterName } from '../keys.ts';
import type { PeerState } from './types.ts';

/** `causeway/cache/peers/<c>`: what the operator says of its copy of a peer. Our own; others never look there. */
export const CACHE_RECORDS = 'causeway/cache/peers/';
/** Milliseconds between writings of a record: a record that stands still is nobody's. */
export const CACHE_RECORD_INTERVAL = 30_000;
export const CACHE_RECORD_TIMEOUT = 150_000;

const record = z.object({
  state: z.enum([
    'connecting',
    'handshake',
    'syncing',
    'ready',
    'stale',
    'withdrawing',
    'withdrawn',
    'refused',
    'suspended',
  ] satisfies PeerState[]),
  reason: z.string().optional(),
  /** RFC 3339; absent while it is ready, and for a peer that never was. */
  lastContact: z.string().optional(),
  endpoint: z.string(),
  /** The operator that keeps the copy. */
  operator: z.string(),
  /** When this was written. */
  at: z.string(),
});

export type CacheRecord = z.infer<typeof record>;

export const cacheRecordKey = (cluster: string): string => CACHE_RECORDS + cluster;

/** The cluster of a record's key; undefined for a key that is none. */
export function clusterOfRecord(key: string): string | undefined {
  const name = key.slice(CACHE_RECORDS.length);
  return key.startsWith(CACHE_RECORDS) && isClusterName(name) ? name : undefined;
}

export const encodeCacheRecord = (value: CacheRecord): string => JSON.stringify(value);

/** Throws MeshError `bad-value`. */
export function decodeCacheRecord(text: string): CacheRecord {
  try {
    return record.parse(JSON.parse(text));
  } catch (error) {
    throw new MeshError('bad-value', `not a record of the cache: ${String(error)}`, text);
  }
}
