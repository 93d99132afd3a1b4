import { Address, Prefix, PrefixTrie } from '@causeway/ip';
import type { NodeRow } from '../rows.ts';
import type { Guard } from '../sinks.ts';

/** A range of the own cluster. */
export interface OwnRange {
  readonly prefix: Prefix;
  /** What it is, as a sentence goes on after "which is": `the pod CIDR of node n1`. */
  readonly what: string;
}

/** Addresses that no cluster's workload or node can have, for they mean another thing on every machine. */
const NOBODYS: readonly (readonly [string, string])[] = [
  ['0.0.0.0/8', 'this host on this network'],
  ['127.0.0.0/8', 'loopback'],
  ['169.254.0.0/16', 'link-local'],
  ['224.0.0.0/3', 'multicast or reserved'],
  ['::/127', 'unspecified or loopback'],
  ['fe80::/10', 'link-local'],
  ['ff00::/8', 'multicast'],
];

/** The shortest prefixes that one entry or pod CIDR may have: what is wider is a mistake, or worse. */
const LEAST_LENGTH = { ipv4: 8, ipv6: 16 } as const;

/**
 * What another cluster may not speak of: the own cluster's pod CIDRs, nodes and services, and what is nobody's.
 * Between other clusters the first to have a pod CIDR keeps it.
 */
export class Ranges {
  readonly #nobodys = new PrefixTrie<string>();
  readonly #own = new PrefixTrie<string>();
  /** Pod CIDRs of other clusters' nodes, by who has them. */
  readonly #others = new PrefixTrie<Map<string, number>>();

  constructor() {
    for (const [text, what] of NOBODYS) this.#nobodys.set(Prefix.parse(text), what);
  }

  /** The own cluster's ranges from now on. Returns those that are new, and whether some have gone. */
  setOwn(ranges: Iterable<OwnRange>): { readonly added: OwnRange[]; readonly removed: boolean } {
    const wanted = new Map<Prefix, OwnRange>();
    for (const range of ranges) if (!wanted.has(range.prefix)) wanted.set(range.prefix, range);
    const added = [...wanted.values()].filter(({ prefix }) => !this.#own.has(prefix));
    const gone = Array.from(this.#own, ({ prefix }) => prefix).filter((each) => !wanted.has(each));
    for (const prefix of gone) this.#own.delete(prefix);
    for (const { prefix, what } of wanted.values()) this.#own.set(prefix, what);
    return { added, removed: gone.length > 0 };
  }

  addCidrs(cluster: string, cidrs: Iterable<Prefix>): void {
    for (const cidr of cidrs) {
      const holders = this.#others.get(cidr) ?? new Map<string, number>();
      holders.set(cluster, (holders.get(cluster) ?? 0) + 1);
      this.#others.set(cidr, holders);
    }
  }

  removeCidrs(cluster: string, cidrs: Iterable<Prefix>): void {
    for (const cidr of cidrs) {
      const holders = this.#others.get(cidr);
      const left = (holders?.get(cluster) ?? 0) - 1;
      if (holders === undefined) continue;
      if (left > 0) holders.set(cluster, left);
      else holders.delete(cluster);
      if (holders.size === 0) this.#others.delete(cidr);
    }
  }

  /** Why an address or prefix cannot be another cluster's; undefined if it can. */
  refusal(at: Address | Prefix): string | undefined {
    const prefix = at.includes('/') ? (at as Prefix) : undefined;
    if (prefix !== undefined) {
      const least = LEAST_LENGTH[Prefix.family(prefix)];
      if (Prefix.length(prefix) < least) return `${prefix} is wider than a /${least}`;
    }
    const nobodys = touching(this.#nobodys, at);
    if (nobodys !== undefined) return `${at} lies in or over ${nobodys.prefix}: ${nobodys.value}`;
    const own = touching(this.#own, at);
    if (own === undefined) return undefined;
    return `${at} lies in or over ${own.prefix}, which is ${own.value} of this cluster`;
  }

  guard(cluster: string): Guard {
    return {
      entry: (at) => this.refusal(at),
      node: (row) => this.#node(cluster, row),
      service: (row) => this.backends(Object.keys(row.backends)),
    };
  }

  /** Why a service may not have such backends. */
  backends(addresses: Iterable<string>): string | undefined {
    for (const text of addresses) {
      const address = Address.tryParse(text);
      const reason = address === undefined ? undefined : this.refusal(address);
      if (reason !== undefined) return `backend ${reason}`;
    }
    return undefined;
  }

  #node(cluster: string, row: NodeRow): string | undefined {
    for (const { type, ip } of row.addresses) {
      // Host names stand among them.
      const address = Address.tryParse(ip);
      const reason = address === undefined ? undefined : this.refusal(address);
      if (reason !== undefined) return `${type} ${reason}`;
    }
    for (const cidr of [...row.podCIDRs.ipv4, ...row.podCIDRs.ipv6]) {
      const reason = this.refusal(cidr) ?? this.#othersClaim(cluster, cidr);
      if (reason !== undefined) return `pod CIDR ${reason}`;
    }
    return undefined;
  }

  #othersClaim(cluster: string, cidr: Prefix): string | undefined {
    for (const { prefix, value } of [
      ...this.#others.covering(cidr),
      ...this.#others.covered(cidr),
    ]) {
      for (const holder of value.keys()) {
        if (holder !== cluster) {
          return `${cidr} lies in or over ${prefix}, which cluster ${holder} had first`;
        }
      }
    }
    return undefined;
  }
}

/** The closest prefix of a trie that shares addresses with this one. */
function touching<V>(
  trie: PrefixTrie<V>,
  at: Address | Prefix,
): { readonly prefix: Prefix; readonly value: V } | undefined {
  const outer = trie.lookup(at);
  if (outer !== undefined || !at.includes('/')) return outer;
  const [inner] = trie.covered(at as Prefix);
  return inner;
}
