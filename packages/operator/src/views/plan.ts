import { type Address, Prefix } from '@causeway/ip';
import { type PlanNode, type PlanRange, planTree } from '@causeway/ipam';
import { rangesOf } from '@causeway/resources';
import type { World } from './world.ts';

/** The plan with what this cluster uses of it. Nodes' addresses are counted, not drawn one by one. */
export function planView(world: World): PlanNode[] {
  const { cluster } = world;
  const ranges = [...world.plans, ...world.pools, ...world.serviceCidrs, ...world.vipPools].flatMap(
    (object) => rangesOf(object, cluster),
  );
  const own = world.nodes.flatMap(({ name, podCidrs }) =>
    podCidrs.map(
      (cidr): PlanRange => ({
        cidr,
        use: 'pods',
        scope: cluster === undefined ? {} : { cluster },
        owner: `CiliumNode/${name}`,
        level: 'object',
      }),
    ),
  );
  const used: Readonly<Record<string, readonly Address[]>> = {
    pods: world.pods.flatMap(({ addresses }) => addresses),
    services: world.serviceIps.map(({ address }) => address),
    vips: world.vips.map(({ address }) => address),
    nodes: world.nodes.flatMap(({ addresses }) => addresses),
  };
  return planTree([...ranges, ...own], ({ cidr, use, scope }) => {
    // Of other clusters nothing is known here.
    if (use === 'vpc' || (scope.cluster !== undefined && scope.cluster !== cluster))
      return undefined;
    return BigInt((used[use] ?? []).filter((address) => Prefix.contains(cidr, address)).length);
  });
}
