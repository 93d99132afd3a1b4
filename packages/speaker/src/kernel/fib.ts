import { Address, type Family, Prefix, PrefixTrie } from '@causeway/ip';
import type { InterfaceAddress, Link, Route } from '@causeway/linux';

/** Where packets to an address go, by the kernel's own routes. */
export interface Resolution {
  readonly ifindex: number;
  /** The router on the link; absent: the address itself is on the link. */
  readonly gateway?: Address;
  readonly metric: number;
  /** The route that says so. */
  readonly prefix: Prefix;
}

export interface Gateway {
  readonly address: Address;
  readonly ifindex: number;
  readonly metric: number;
}

interface Entry {
  readonly metric: number;
  readonly hops: readonly { readonly ifindex: number; readonly gateway?: Address }[];
}

/**
 * The kernel's main table as others made it, its links and addresses: what next hops are resolved by. Routes
 * that we learned by BGP and gave to the kernel are left out, or a next hop could come to be reached by
 * itself. No I/O: the observer feeds it.
 */
export class Fib {
  readonly #routes: Readonly<Record<Family, PrefixTrie<readonly Entry[]>>> = {
    ipv4: new PrefixTrie(),
    ipv6: new PrefixTrie(),
  };
  readonly #links = new Map<number, Link>();
  readonly #byName = new Map<string, number>();
  readonly #addresses = new Map<
    string,
    { readonly address: Address; readonly subnet: Prefix; readonly ifindex: number }
  >();

  clear(): void {
    this.#routes.ipv4.clear();
    this.#routes.ipv6.clear();
    this.#links.clear();
    this.#byName.clear();
    this.#addresses.clear();
  }

  setLink(link: Link): void {
    const before = this.#links.get(link.index);
    if (before !== undefined && before.name !== link.name) this.#byName.delete(before.name);
    this.#links.set(link.index, link);
    this.#byName.set(link.name, link.index);
  }

  deleteLink(index: number): void {
    const link = this.#links.get(index);
    this.#links.delete(index);
    if (link !== undefined && this.#byName.get(link.name) === index) this.#byName.delete(link.name);
  }

  setAddress(row: InterfaceAddress): void {
    const address = Address.fromBytes(row.address);
    const subnet = Prefix.from(address, row.prefixLength);
    this.#addresses.set(addressKey(row), { address, subnet, ifindex: row.ifindex });
  }

  deleteAddress(row: InterfaceAddress): void {
    this.#addresses.delete(addressKey(row));
  }

  setRoute(route: Route): void {
    const entry = entryOf(route);
    if (entry === undefined) return;
    const [trie, prefix] = this.#place(route);
    const others = (trie.get(prefix) ?? []).filter(({ metric }) => metric !== entry.metric);
    trie.set(
      prefix,
      [...others, entry].sort((a, b) => a.metric - b.metric),
    );
  }

  deleteRoute(route: Route): void {
    const [trie, prefix] = this.#place(route);
    const metric = route.metric ?? 0;
    const others = (trie.get(prefix) ?? []).filter((each) => each.metric !== metric);
    if (others.length === 0) trie.delete(prefix);
    else trie.set(prefix, others);
  }

  #place(route: Route): [PrefixTrie<readonly Entry[]>, Prefix] {
    const family: Family = route.family === 4 ? 'ipv4' : 'ipv6';
    const zero = new Uint8Array(route.family === 4 ? 4 : 16);
    const prefix = Prefix.from(Address.fromBytes(route.destination ?? zero), route.prefixLength);
    return [this.#routes[family], prefix];
  }

  /** Longest match, then lowest metric, of the routes whose link has a carrier. */
  resolve(address: Address): Resolution | undefined {
    const matches = this.#routes[Address.family(address)].covering(address);
    // Longest last.
    for (let i = matches.length - 1; i >= 0; i--) {
      const match = matches[i];
      for (const entry of match?.value ?? []) {
        const hop = entry.hops.find(({ ifindex }) => this.#links.get(ifindex)?.running !== false);
        if (hop !== undefined && match !== undefined)
          return { ...hop, metric: entry.metric, prefix: match.prefix };
      }
    }
    return undefined;
  }

  /** Of the default route with the lowest metric that works. */
  defaultGateways(family: Family): Gateway[] {
    const entries = this.#routes[family].get(DEFAULT[family]) ?? [];
    for (const { metric, hops } of entries) {
      const usable = hops.flatMap(({ ifindex, gateway }) =>
        gateway !== undefined && this.#links.get(ifindex)?.running !== false
          ? [{ address: gateway, ifindex, metric }]
          : [],
      );
      if (usable.length > 0) return usable;
    }
    return [];
  }

  /** Every router that a default route goes to, working or not. */
  isDefaultGateway(address: Address): boolean {
    const families: readonly Family[] = ['ipv4', 'ipv6'];
    return families.some((family) =>
      (this.#routes[family].get(DEFAULT[family]) ?? []).some(({ hops }) =>
        hops.some(({ gateway }) => gateway === address),
      ),
    );
  }

  /** The subnet of ours that an address is in. */
  subnetOf(address: Address): Prefix | undefined {
    let best: Prefix | undefined;
    for (const { subnet } of this.#addresses.values()) {
      if (Prefix.family(subnet) !== Address.family(address) || !Prefix.contains(subnet, address))
        continue;
      if (best === undefined || Prefix.length(subnet) > Prefix.length(best)) best = subnet;
    }
    return best;
  }

  /**
   * A global address of ours of the other family, for routes of that family over a session of this one: one
   * on the link that leads to the neighbour, else any that is not the loopback's own.
   */
  ownBeside(remote: Address): Address[] {
    const other = Address.family(remote) === 'ipv4' ? 'ipv6' : 'ipv4';
    const ifindex = this.#linkTo(remote);
    const usable = Array.from(this.#addresses.values()).filter(
      ({ address }) =>
        Address.family(address) === other &&
        !Address.isLoopback(address) &&
        !Address.isLinkLocal(address),
    );
    const near = usable.filter((each) => each.ifindex === ifindex);
    const all = (near.length > 0 ? near : usable).map(({ address }) => address);
    return all.sort().slice(0, 1);
  }

  /** Our global addresses on a link. */
  ownOn(device: string): Address[] {
    const index = this.#byName.get(device);
    return Array.from(this.#addresses.values())
      .filter(({ address, ifindex }) => ifindex === index && !Address.isLinkLocal(address))
      .map(({ address }) => address)
      .sort();
  }

  #linkTo(remote: Address): number | undefined {
    for (const { address, subnet, ifindex } of this.#addresses.values()) {
      if (address === remote) continue;
      if (Prefix.family(subnet) === Address.family(remote) && Prefix.contains(subnet, remote))
        return ifindex;
    }
    return this.resolve(remote)?.ifindex;
  }

  isOwnAddress(address: Address): boolean {
    for (const each of this.#addresses.values()) if (each.address === address) return true;
    return false;
  }

  link(name: string): Link | undefined {
    const index = this.#byName.get(name);
    return index === undefined ? undefined : this.#links.get(index);
  }

  linkName(ifindex: number): string | undefined {
    return this.#links.get(ifindex)?.name;
  }
}

const DEFAULT: Readonly<Record<Family, Prefix>> = {
  ipv4: Prefix.parse('0.0.0.0/0'),
  ipv6: Prefix.parse('::/0'),
};

const addressKey = ({ ifindex, address, prefixLength }: InterfaceAddress): string =>
  `${ifindex} ${Buffer.from(address).toString('hex')}/${prefixLength}`;

/** Undefined for what forwards nothing to anybody: blackholes, local and broadcast routes. */
function entryOf(route: Route): Entry | undefined {
  if (route.type !== 'unicast') return undefined;
  const listed =
    route.nextHops.length > 0 ? route.nextHops : [{ via: route.via, ifindex: route.ifindex }];
  const hops = listed.flatMap(({ via, ifindex }) =>
    ifindex === undefined
      ? []
      : [{ ifindex, ...(via === undefined ? {} : { gateway: Address.fromBytes(via) }) }],
  );
  return hops.length === 0 ? undefined : { metric: route.metric ?? 0, hops };
}
