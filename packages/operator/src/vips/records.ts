import type { KvEntry } from '@causeway/etcd';
import { Address } from '@causeway/ip';
import type { VipClaim } from '@causeway/ipam';
import { z } from 'zod';

/** One record per address of Services of type LoadBalancer. Written by the leading operator only. */
export const VIPS = 'causeway/allocations/vips/';

export const vipKey = (address: Address): string => VIPS + address;

const schema = z.object({
  pool: z.string().nullable(),
  services: z.array(z.string().max(512)).min(1).max(10_000),
  sharingKey: z.string().nullable(),
});

export function encodeVip({ address: _, ...value }: VipClaim): string {
  return JSON.stringify(value);
}

/** Undefined for a record that is none of ours. */
export function decodeVip({ key, text }: Pick<KvEntry, 'key' | 'text'>): VipClaim | undefined {
  const address = vipOfKey(key);
  if (address === undefined) return undefined;
  try {
    return { address, ...schema.parse(JSON.parse(text)) };
  } catch {
    return undefined;
  }
}

/** The address that a record's key names; undefined for another key. */
export function vipOfKey(key: string): Address | undefined {
  const address = Address.tryParse(key.slice(VIPS.length));
  return address !== undefined && key === vipKey(address) ? address : undefined;
}
