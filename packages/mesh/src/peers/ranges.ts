import { Address, Prefix, PrefixTrie } from '@causeway/ip';
import { type NodeRow, nodeRowKey } from '../rows.ts';
import type { Guard } from '../sinks.ts';
import { type Allowed, Trust } from './trust.ts';

/** A range of the own cluster. */
export interface OwnRange {
  readonly prefix: Prefix;
  /** What it is, as a sentence goes on after "which is": `the pod CIDR of node n1`. */
  readonly what: string;
}

/** Addresses that no cluster's workload or node can have, for they mean another thing on every machine. */
const NOBODYS: ReadonlyMap<Prefix, string> = new Map(
  (
    [
      ['0.0.0.0/8', 'this host on this network'],
      ['127.0.0.0/8', 'loopback'],
      ['169.254.0.0/16', 'link-local'],
      ['224.0.0.0/3', 'multicast or reserved'],
      ['::/127', 'unspecified or loopback'],
      ['fe80::/10', 'link-local'],
      ['ff00::/8', 'multicast'],
    ] as const
  ).map(([text, what]) => [Prefix.parse(text), what] as const),
);

/** The shortest prefixes that one entry or pod CIDR may have: what is wider is a mistake, or worse. */
const LEAST_LENGTH = { ipv4: 8, ipv6: 16 } as const;

/**
 * What another cluster may not speak of: the own cluster's pod CIDRs, nodes and services, and what is nobody's.
 * Between other clusters the first to have a pod CIDR keeps it.
 */
export class Ranges {
  /** Whose ranges these are, as the sentence goes on behind the prefix: one question for each of a million entries. */
  readonly #barred = new PrefixTrie<string>();
  readonly #own = new Map<Prefix, OwnRange>();
  readonly #nodes = new Map<string, readonly Prefix[]>();
  /** Pod CIDRs of other clusters' nodes, by who has them. */
  readonly #others = new PrefixTrie<Map<string, number>>();
  readonly #trust = new Trust((cluster, at) =>
    this.#others.covering(at).some(({ value }) => value.has(cluster)),
  );

  constructor() {
    for (const [prefix, what] of NOBODYS) this.#barred.set(prefix, `: ${what}`);
  }

  /** The own cluster's ranges from now on. Returns those that are new, and whether some have gone. */
  setOwn(ranges: Iterable<OwnRange>): { readonly added: OwnRange[]; readonly removed: boolean } {
    const wanted = new Map<Prefix, OwnRange>();
    for (const range of ranges) if (!wanted.has(range.prefix)) wanted.set(range.prefix, range);
    const added = [...wanted.values()].filter(({ prefix }) => !this.#own.has(prefix));
    const gone = [...this.#own.keys()].filter((each) => !wanted.has(each));
    for (const prefix of gone) this.#barOwn(prefix, undefined);
    for (const range of wanted.values()) this.#barOwn(range.prefix, range);
    return { added, removed: gone.length > 0 };
  }

  #barOwn(prefix: Prefix, range: OwnRange | undefined): void {
    if (range === undefined) this.#own.delete(prefix);
    else this.#own.set(prefix, range);
    if (NOBODYS.has(prefix)) return;
    if (range === undefined) this.#barred.delete(prefix);
    else this.#barred.set(prefix, `, which is ${range.what} of this cluster`);
  }

  /** A node that is in force: what its cluster may speak of hangs on it. */
  setNode(row: NodeRow): void {
    // What it has of the Internet was taken when it was judged.
    this.#setCidrs(row.cluster, row.name, cidrsOf(row));
    this.#trust.setNode(row);
  }

  removeNode(cluster: string, name: string): void {
    if (!this.#nodes.has(nodeRowKey(cluster, name))) return;
    this.#setCidrs(cluster, name, undefined);
    this.#trust.removeNode(cluster, name);
  }

  #setCidrs(cluster: string, name: string, cidrs: readonly Prefix[] | undefined): void {
    const key = nodeRowKey(cluster, name);
    this.#removeCidrs(cluster, this.#nodes.get(key) ?? []);
    if (cidrs === undefined) {
      this.#nodes.delete(key);
    } else {
      this.#nodes.set(key, cidrs);
      this.#addCidrs(cluster, cidrs);
    }
  }

  #addCidrs(cluster: string, cidrs: readonly Prefix[]): void {
    for (const cidr of cidrs) {
      const holders = this.#others.get(cidr) ?? new Map<string, number>();
      holders.set(cluster, (holders.get(cluster) ?? 0) + 1);
      this.#others.set(cidr, holders);
    }
  }

  #removeCidrs(cluster: string, cidrs: readonly Prefix[]): void {
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
    const barred = touching(this.#barred, at);
    return barred && `${at} lies in or over ${barred.prefix}${barred.value}`;
  }

  /** @param allowed what the peer may speak of at all, where somebody has said it. */
  guard(cluster: string, allowed: () => Allowed | undefined = () => undefined): Guard {
    const trusted = { cluster, allowed };
    return {
      entry: (at, identity) => this.refusal(at) ?? this.#trust.entry(trusted, at, identity),
      node: (row) => this.#node(cluster, row) ?? this.#trust.node(trusted, row),
      backend: (address) => this.refusal(address) ?? this.#trust.inside(trusted, address),
      onNodes: (listener) => this.#trust.onNodes(cluster, listener),
    };
  }

  #node(cluster: string, row: NodeRow): string | undefined {
    for (const { type, ip } of row.addresses) {
      // Host names stand among them.
      const address = Address.tryParse(ip);
      const reason = address === undefined ? undefined : this.refusal(address);
      if (reason !== undefined) return `${type} ${reason}`;
    }
    for (const cidr of cidrsOf(row)) {
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

const cidrsOf = ({ podCIDRs }: NodeRow): Prefix[] => [...podCIDRs.ipv4, ...podCIDRs.ipv6];

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
