import { Address, Prefix } from '@causeway/ip';
import { NetlinkError, type Route, type RouteSpec, speakerProtocol } from '@causeway/linux';
import type { Hop } from './plan.ts';

/** Routes of ours as the kernel has them and takes them: one a prefix, metric and table. */
export interface OwnRoute {
  readonly prefix: Prefix;
  readonly table: number;
  readonly metric: number;
  /** Equal for equal sets of hops. */
  readonly hops: string;
}

export const hopsKey = (hops: readonly Hop[]): string =>
  hops
    .map(({ via, ifindex }) => `${via}%${ifindex}`)
    .sort()
    .join(' ');

export function ownRouteOf(route: Route): OwnRoute {
  const zero = new Uint8Array(route.family === 4 ? 4 : 16);
  const listed =
    route.nextHops.length > 0 ? route.nextHops : [{ via: route.via, ifindex: route.ifindex }];
  return {
    prefix: Prefix.from(Address.fromBytes(route.destination ?? zero), route.prefixLength),
    table: route.table,
    metric: route.metric ?? 0,
    hops: listed
      .map(({ via, ifindex }) => `${via && Address.fromBytes(via)}%${ifindex}`)
      .sort()
      .join(' '),
  };
}

/** Everything that says which route is meant; with `hops` also what it does. */
export function specOf(
  { prefix, table, metric }: Omit<OwnRoute, 'hops'>,
  hops: readonly Hop[] = [],
): RouteSpec {
  const [first, second] = hops;
  const ways =
    second !== undefined
      ? {
          nextHops: hops.map(({ via, ifindex }) => ({ via: Address.toBytes(via), ifindex })),
        }
      : first !== undefined
        ? { via: Address.toBytes(first.via), ifindex: first.ifindex }
        : {};
  return {
    family: Prefix.family(prefix) === 'ipv4' ? 4 : 6,
    destination: Address.toBytes(Prefix.address(prefix)),
    prefixLength: Prefix.length(prefix),
    table,
    metric,
    protocol: speakerProtocol,
    ...ways,
  };
}

/** Gone already: what we wanted. ESRCH for routes. */
export const isGone = (error: unknown): boolean =>
  error instanceof NetlinkError && (error.code === 'not-found' || error.errno === 3);
