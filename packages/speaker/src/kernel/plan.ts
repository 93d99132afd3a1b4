import type { BestNextHop } from '@causeway/bgp';
import { Address, Prefix } from '@causeway/ip';
import type { KernelConfig } from '../config/settings.ts';
import type { Fib } from './fib.ts';

/** The best path of a prefix, as the core's feed tells it. */
export interface Best {
  readonly prefix: Prefix;
  /** With the equal-cost set, in the core's order. */
  readonly nextHops: readonly BestNextHop[];
}

/** One way out, as the kernel takes it. */
export interface Hop {
  readonly via: Address;
  readonly ifindex: number;
}

/** Why a route is not in the kernel, for `why`. */
export type NotInstalled =
  | 'mode-none'
  | 'outside-prefixes'
  | 'next-hop-unreachable'
  | 'next-hop-own'
  /** Mode same-rack: the next hop is no neighbour on a link of ours. */
  | 'not-on-link'
  /** Mode same-rack: the next hop is the router that told us, or the default route's; the default route serves. */
  | 'next-hop-is-router';

export type Plan =
  | { readonly type: 'install'; readonly hops: readonly Hop[] }
  | { readonly type: 'leave'; readonly why: NotInstalled };

/** What the plan needs to know of the neighbour that told a path. */
export interface PeerFacts {
  readonly external: boolean;
  readonly address: Address;
}

/**
 * Whether and how a best path is installed. Next hops that are behind a router are replaced by that router;
 * equal ones become one.
 */
export function planRoute(
  best: Best,
  config: KernelConfig,
  fib: Fib,
  peer: (name: string) => PeerFacts | undefined,
): Plan {
  const leave = (why: NotInstalled): Plan => ({ type: 'leave', why });
  if (config.mode === 'none') return leave('mode-none');
  if (config.prefixes !== undefined && !config.prefixes.some((each) => covers(each, best.prefix)))
    return leave('outside-prefixes');

  const hops = new Map<string, Hop>();
  let why: NotInstalled = 'next-hop-unreachable';
  for (const { address: text, device, peer: from } of best.nextHops) {
    const address = Address.parse(text);
    if (fib.isOwnAddress(address)) {
      why = 'next-hop-own';
      continue;
    }
    const hop = hopOf(address, device, fib);
    if (hop === undefined) continue;
    if (config.mode === 'same-rack') {
      if (hop.via !== address) {
        why = 'not-on-link';
        continue;
      }
      // A rack switch that puts itself in between has nothing to say that the default route does not.
      const facts = peer(from);
      if (fib.isDefaultGateway(address) || (facts?.external && facts.address === address)) {
        why = 'next-hop-is-router';
        continue;
      }
    }
    hops.set(`${hop.via}%${hop.ifindex}`, hop);
  }
  if (hops.size === 0) return leave(why);
  return { type: 'install', hops: [...hops.values()] };
}

const LINK_LOCAL = Prefix.parse('fe80::/10');

function hopOf(address: Address, device: string | undefined, fib: Fib): Hop | undefined {
  if (Address.isIPv6(address) && Prefix.contains(LINK_LOCAL, address)) {
    const link = device === undefined ? undefined : fib.link(device);
    return link?.running ? { via: address, ifindex: link.index } : undefined;
  }
  const found = fib.resolve(address);
  return found && { via: found.gateway ?? address, ifindex: found.ifindex };
}

const covers = (outer: Prefix, inner: Prefix): boolean =>
  Prefix.family(outer) === Prefix.family(inner) &&
  Prefix.length(outer) <= Prefix.length(inner) &&
  Prefix.contains(outer, Prefix.address(inner));
