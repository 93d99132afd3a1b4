import { Address, Prefix } from '@causeway/ip';

/** Which routers stand on which segment (rack or link), with their addresses there. */
export interface RouterGraph {
  readonly segments: ReadonlyMap<string, ReadonlyMap<string, readonly Address[]>>;
}

/** Something that lies on a segment: the segment's own prefix, or one behind a machine (`via`) on it. */
export interface Destination {
  readonly prefix: Prefix;
  readonly segment: string;
  readonly via: Address | undefined;
}

/**
 * The next hops of all shortest ways from a router to a destination, counted in routers; empty when
 * it is connected (the kernel knows it) or out of reach. Only segments with addresses of the
 * destination's family carry it.
 */
export function nextHops(graph: RouterGraph, from: string, to: Destination): Address[] {
  const family = Prefix.family(to.prefix);
  const attached = graph.segments.get(to.segment);
  const here = attached?.get(from);
  if (here?.some((address) => Address.family(address) === family))
    return to.via === undefined ? [] : [to.via];
  const distance = distancesTo(graph, family, [...(attached?.keys() ?? [])]);
  const own = distance.get(from);
  if (own === undefined) return [];
  const hops = new Set<Address>();
  for (const routers of graph.segments.values()) {
    if (!hasFamily(routers.get(from), family)) continue;
    for (const [neighbour, addresses] of routers) {
      if (distance.get(neighbour) !== own - 1) continue;
      const address = addresses.find((candidate) => Address.family(candidate) === family);
      if (address !== undefined) hops.add(address);
    }
  }
  return [...hops].sort(Address.compare);
}

/** Breadth first from the routers that are there already. */
function distancesTo(
  graph: RouterGraph,
  family: 'ipv4' | 'ipv6',
  goals: readonly string[],
): Map<string, number> {
  const distance = new Map(goals.map((router) => [router, 0]));
  let front = [...goals];
  for (let step = 1; front.length > 0; step++) {
    const next: string[] = [];
    for (const routers of graph.segments.values()) {
      if (!front.some((router) => hasFamily(routers.get(router), family))) continue;
      for (const [router, addresses] of routers)
        if (!distance.has(router) && hasFamily(addresses, family)) {
          distance.set(router, step);
          next.push(router);
        }
    }
    front = next;
  }
  return distance;
}

function hasFamily(addresses: readonly Address[] | undefined, family: 'ipv4' | 'ipv6'): boolean {
  return addresses?.some((address) => Address.family(address) === family) ?? false;
}
