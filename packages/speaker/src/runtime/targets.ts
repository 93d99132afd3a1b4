import { Address, type Family, Prefix } from '@causeway/ip';
import { type Neighbour, NeighbourState } from '@causeway/linux';
import type { Neighbor } from '../config/settings.ts';
import type { Fib } from '../kernel/fib.ts';

/** Where a neighbour is, as far as it is known. */
export interface Target {
  readonly address?: Address;
  readonly device?: string;
}

const LINK_LOCAL = Prefix.parse('fe80::/10');
export const isLinkLocal = (address: Address): boolean =>
  Address.isIPv6(address) && Prefix.contains(LINK_LOCAL, address);

/** Two already make a link ambiguous. */
const MOST_ON_LINK = 16;

/** States of the kernel's neighbour table in which nobody answers, or never will. */
const NOBODY = NeighbourState.failed | NeighbourState.incomplete | NeighbourState.noarp;

/**
 * Finds the neighbours whose address the configuration leaves open. A neighbour on a link (unnumbered) is
 * the router that announced itself there, or the one link-local address that the kernel knows there; the
 * default gateway is where the kernel's default route goes. What was found stays for as long as it can be
 * true: a second router on a link moves no session.
 */
export class TargetFinder {
  readonly #fib: Fib;
  /** Link-local neighbours by link. */
  readonly #seen = new Map<number, Set<Address>>();

  constructor(fib: Fib, neighbours: readonly Neighbour[]) {
    this.#fib = fib;
    for (const each of neighbours) this.observed('new', each);
  }

  /** True if the link-local neighbours of a link are not what they were. */
  observed(change: 'new' | 'deleted', neighbour: Neighbour): boolean {
    if (neighbour.family !== 6 || neighbour.address === undefined) return false;
    const address = Address.fromBytes(neighbour.address);
    if (!isLinkLocal(address)) return false;
    const known = this.#seen.get(neighbour.ifindex) ?? new Set();
    const before = known.size;
    if (change === 'deleted' || (neighbour.state & NOBODY) !== 0) known.delete(address);
    else known.add(address);
    if (known.size === 0) this.#seen.delete(neighbour.ifindex);
    else this.#seen.set(neighbour.ifindex, known);
    return known.size !== before;
  }

  /**
   * A router on a link told of itself. True if that is news. What the kernel makes of the address when it is spoken to
   * decides from then on.
   */
  heard(ifindex: number, address: Address): boolean {
    const known = this.#seen.get(ifindex) ?? new Set();
    if (known.has(address) || known.size >= MOST_ON_LINK) return false;
    this.#seen.set(ifindex, known.add(address));
    return true;
  }

  /** `before` is what was found last time, `connected` the address that a session has now. */
  find(peer: Neighbor['peer'], before: Target, connected: Address | undefined): Target {
    if ('address' in peer)
      return peer.interface === undefined
        ? { address: peer.address }
        : { address: peer.address, device: peer.interface };
    if ('interface' in peer) return this.#onLink(peer.interface, before.address, connected);
    return this.#gateway(peer.defaultGateway, before, connected);
  }

  #onLink(device: string, before: Address | undefined, connected: Address | undefined): Target {
    const link = this.#fib.link(device);
    if (link === undefined) return { device };
    if (connected !== undefined) return { device, address: connected };
    const routers = this.#fib
      .defaultGateways('ipv6')
      .filter(({ ifindex }) => ifindex === link.index)
      .map(({ address }) => address);
    const seen = this.#seen.get(link.index) ?? new Set<Address>();
    if (before !== undefined && (routers.includes(before) || seen.has(before)))
      return { device, address: before };
    const [only, second] = routers.length > 0 ? routers : seen;
    // Of several hosts on a link, none is the neighbour for sure.
    return only === undefined || second !== undefined ? { device } : { device, address: only };
  }

  #gateway(family: Family, before: Target, connected: Address | undefined): Target {
    const gateways = this.#fib.defaultGateways(family);
    const still = gateways.find(({ address }) => address === (connected ?? before.address));
    const chosen = still ?? gateways[0];
    if (chosen === undefined) return {};
    const device = this.#fib.linkName(chosen.ifindex);
    return isLinkLocal(chosen.address) && device !== undefined
      ? { address: chosen.address, device }
      : { address: chosen.address };
  }
}
