import { Prefix } from '@causeway/ip';
import type { PlanRange } from '@causeway/ipam';
import { rangesOf } from '@causeway/resources';
import type { OperatorTables } from '../sources.ts';

/** Who has which ranges in this cluster, and what the plans say of all. */
export function planRanges(tables: OperatorTables, cluster: string): PlanRange[] {
  const { plans, pools, serviceCidrs, vipPools, nodes } = tables;
  return [
    ...[...plans, ...pools, ...serviceCidrs, ...vipPools].flatMap((object) =>
      rangesOf(object, cluster),
    ),
    ...[...nodes].flatMap(({ name, addresses, podCidrs }) => {
      const about = { scope: { cluster }, owner: `CiliumNode/${name}`, level: 'object' } as const;
      return [
        ...addresses.map((each) => ({ ...about, use: 'nodes' as const, cidr: Prefix.host(each) })),
        ...podCidrs.map((cidr) => ({ ...about, use: 'pods' as const, cidr })),
      ];
    }),
  ];
}
