import type { KvEntry } from '@causeway/etcd';
import { Prefix } from '@causeway/ip';
import * as z from 'zod';

/** One record per pod CIDR that a node holds: `causeway/allocations/pod-cidrs/<family>/<cidr>`. */
export const POD_CIDRS = 'causeway/allocations/pod-cidrs/';

/**
 * One key a pool, written in every transaction that gives of the pool. Who takes ranges away from a pool
 * compares it, so that nothing is given of them meanwhile.
 */
export const POOL_USE = 'causeway/allocations/pool-use/';

export const podCidrKey = (cidr: Prefix): string => `${POD_CIDRS}${Prefix.family(cidr)}/${cidr}`;

export const poolUseKey = (pool: string): string => POOL_USE + pool;

const schema = z.object({
  pool: z.string().min(1).max(253),
  node: z.string().min(1).max(253),
  nodeUid: z.string().max(64).optional(),
  since: z.string().max(64),
  state: z.enum(['given', 'adopted']),
});

/** Who holds a pod CIDR. Written by the leading operator only. */
export interface PodCidrRecord {
  readonly cidr: Prefix;
  readonly pool: string;
  readonly node: string;
  /** The CiliumNode's uid, which tells a node from a later one of its name. */
  readonly nodeUid?: string;
  /** RFC 3339, for people. */
  readonly since: string;
  /** Adopted: the node named it as its own, and it was free. */
  readonly state: 'given' | 'adopted';
}

export function encodePodCidr({ cidr: _, ...value }: PodCidrRecord): string {
  return JSON.stringify(value);
}

/** Undefined for a key or value that is none of ours: whoever reads goes on without it. */
export function decodePodCidr({ key, text }: KvEntry): PodCidrRecord | undefined {
  const cidr = podCidrOfKey(key);
  if (cidr === undefined) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  const parsed = schema.safeParse(value);
  if (!parsed.success) return undefined;
  const { nodeUid, ...record } = parsed.data;
  return { cidr, ...record, ...(nodeUid === undefined ? {} : { nodeUid }) };
}

/** The CIDR that a record's key names; undefined for another key. */
export function podCidrOfKey(key: string): Prefix | undefined {
  const rest = key.slice(POD_CIDRS.length);
  const cidr = Prefix.tryParse(rest.slice(rest.indexOf('/') + 1));
  return cidr !== undefined && key === podCidrKey(cidr) ? cidr : undefined;
}
