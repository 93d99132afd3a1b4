import { type Address, type Family, Prefix } from '@causeway/ip';
import { layout } from '../layout.ts';
import type { PlannerNode, PoolSpec } from './types.ts';

/** How many pods the block has addresses for: without the gateway and what is reserved. At most 2^53 - 1. */
export function blockCapacity(cidr: Prefix): number {
  if (Prefix.isHost(cidr)) return 0;
  const { size, reserved } = layout(cidr);
  const count = size - BigInt(reserved.length);
  return count > BigInt(Number.MAX_SAFE_INTEGER) ? Number.MAX_SAFE_INTEGER : Number(count);
}

/** Addresses of the block that no pod can have: the gateway, and what the family reserves. */
export function reservedOf(cidr: Prefix): Address[] {
  const { reserved, addressAt } = layout(cidr);
  return reserved.map(addressAt);
}

/**
 * Lengths of the blocks that this node is given of the pool, in the order in which they are tried. A length that
 * leaves no room for a pod beside the gateway is left out.
 */
export function blockLengths(pool: PoolSpec, family: Family, node: PlannerNode): number[] {
  const common = pool[family]?.maskSize;
  if (common === undefined) return [];
  const rule = pool.blockSizes?.find(
    ({ matches, minPods, ipv4MaskSize, ipv6MaskSize }) =>
      (family === 'ipv4' ? ipv4MaskSize : ipv6MaskSize) !== undefined &&
      (matches === undefined || matches(node.labels)) &&
      (minPods === undefined || (node.pods !== undefined && node.pods >= minPods)),
  );
  const own = family === 'ipv4' ? rule?.ipv4MaskSize : rule?.ipv6MaskSize;
  const width = family === 'ipv4' ? 32 : 128;
  // A larger block that no longer fits anywhere is made up of common ones; a smaller one is the rule's wish.
  const lengths =
    own === undefined || own === common ? [common] : own < common ? [own, common] : [own];
  return lengths.filter((length) => Number.isInteger(length) && length >= 0 && length < width);
}
