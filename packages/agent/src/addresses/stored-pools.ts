import type { Prefix } from '@causeway/ip';
import { Prefix as Prefixes } from '@causeway/ip';
import type { PoolRequest } from '@causeway/ipam';
import type { CiliumNode } from '@causeway/resources';

/** What this node wants its CiliumNode to say of pools. */
export interface PoolWish {
  /** Addresses of each pool; a pool that is not named is not asked of. */
  readonly requested: readonly PoolRequest[];
  /** CIDRs that the node gives back: nobody sends for them here any more. */
  readonly returned: ReadonlySet<Prefix>;
  /** CIDRs that pods use although they were taken out: named, so that the operator gives them if they are free. */
  readonly named: readonly { readonly pool: string; readonly cidr: Prefix }[];
}

/** The CiliumNode with the wish in it; undefined if it says so already. Everything else stays as it is. Pure. */
export function withWish(node: CiliumNode, wish: PoolWish): CiliumNode | undefined {
  const { ipam = {} } = node.spec;
  const { pools = {} } = ipam;
  const requested = wish.requested
    .toSorted((a, b) => (a.pool < b.pool ? -1 : 1))
    .map(({ pool, ipv4, ipv6 }) => ({
      pool,
      needed: {
        ...(ipv4 > 0 ? { 'ipv4-addrs': ipv4 } : {}),
        ...(ipv6 > 0 ? { 'ipv6-addrs': ipv6 } : {}),
      },
    }));
  const isReturned = (text: string): boolean => {
    const cidr = Prefixes.tryParse(text, { hostBits: 'clear' });
    return cidr !== undefined && wish.returned.has(cidr);
  };
  const before = pools.allocated ?? [];
  const allocated = before.flatMap((each) => {
    const cidrs = (each.cidrs ?? []).filter((text) => !isReturned(text));
    if (cidrs.length === each.cidrs?.length) return [each];
    return cidrs.length === 0 ? [] : [{ ...each, cidrs }];
  });
  for (const { pool, cidr } of wish.named) {
    const at = allocated.findIndex((each) => each.pool === pool);
    const cidrs = at < 0 ? [] : (allocated[at]?.cidrs ?? []);
    if (cidrs.some((text) => Prefixes.tryParse(text, { hostBits: 'clear' }) === cidr)) continue;
    if (at < 0) allocated.push({ pool, cidrs: [cidr] });
    else allocated[at] = { ...allocated[at]!, cidrs: [...cidrs, cidr] };
  }
  const same =
    JSON.stringify(pools.requested ?? []) === JSON.stringify(requested) &&
    allocated.length === before.length &&
    allocated.every((each, index) => each === before[index]);
  if (same) return undefined;
  return {
    ...node,
    spec: { ...node.spec, ipam: { ...ipam, pools: { ...pools, requested, allocated } } },
  };
}
