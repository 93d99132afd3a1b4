import { type NumericIdentity, RESERVED, reservedName } from '@causeway/identity';
import { Address, Prefix } from '@causeway/ip';
import type { NodeRow } from '../rows.ts';

/** What somebody said a peer may speak of at all: pods, nodes and backends. */
export interface Allowed {
  readonly ranges: readonly Prefix[];
  /** Who said it, as a sentence goes on after "outside". */
  readonly by: string;
}

/** A peer, and what it may speak of, where that was said. */
export interface Trusted {
  readonly cluster: string;
  readonly allowed: () => Allowed | undefined;
}

/** Reserved identities that clusters' stores carry: what they mean is the same everywhere, and opens little. */
const CARRIED: ReadonlySet<number> = new Set([
  RESERVED['remote-node'],
  RESERVED.health,
  RESERVED.ingress,
]);

/** Addresses that no host of the Internet has: pods' CIDRs from them take nothing from the world. */
const PRIVATE = [
  '10.0.0.0/8',
  '172.16.0.0/12',
  '192.168.0.0/16',
  '100.64.0.0/10',
  '198.18.0.0/15',
  'fc00::/7',
].map((text) => Prefix.parse(text));

/** What all pod CIDRs of a peer may take of the Internet's addresses together: so much as one prefix of this length. */
const PUBLIC_LENGTH = { ipv4: 16, ipv6: 32 } as const;

/**
 * What a peer is believed beyond what is ours. A host's address may be any: whoever is let into a mesh names workloads.
 * A range may only be what its nodes have for pods, for a range takes everybody in it, and those take little of the
 * Internet's. Where somebody names its ranges (`allowedCIDRs` of its MeshPeer, else an AddressPlan) these are believed whole, and
 * nothing outside is believed at all.
 */
export class Trust {
  readonly #hasCidr: (cluster: string, at: Prefix) => boolean;
  /** Nodes' own addresses. */
  readonly #addresses = new Map<string, NodeAddresses>();
  /** Shares of what a cluster may have of the Internet's addresses, by node; of those alone that have some. */
  readonly #public = new Map<string, Shares>();
  readonly #listeners = new Map<string, Set<() => void>>();

  /** @param hasCidr whether a prefix lies in a pod CIDR of the cluster's nodes. */
  constructor(hasCidr: (cluster: string, at: Prefix) => boolean) {
    this.#hasCidr = hasCidr;
  }

  setNode({ cluster, name, addresses }: NodeRow): void {
    const known = this.#addresses.get(cluster) ?? new NodeAddresses();
    this.#addresses.set(cluster, known);
    known.set(
      name,
      addresses.map(({ ip }) => ip),
    );
    this.#tell(cluster);
  }

  removeNode(cluster: string, name: string): void {
    this.#addresses.get(cluster)?.set(name, []);
    this.#public.get(cluster)?.set(name, 0);
    this.#tell(cluster);
  }

  /** Called after each change of a cluster's nodes. Returns its undoing. */
  onNodes(cluster: string, listener: () => void): () => void {
    const listeners = this.#listeners.get(cluster) ?? new Set();
    this.#listeners.set(cluster, listeners);
    listeners.add(listener);
    return () => listeners.delete(listener);
  }

  #tell(cluster: string): void {
    for (const listener of this.#listeners.get(cluster) ?? []) listener();
  }

  /** Why an entry is not believed. */
  entry(trusted: Trusted, at: Address | Prefix, identity: number): string | undefined {
    const outside = this.inside(trusted, at);
    if (outside !== undefined) return outside;
    if (identity < 256 && !CARRIED.has(identity)) {
      const name = `identity ${identity} (reserved:${reservedName(identity as NumericIdentity) ?? 'none'})`;
      if (identity !== RESERVED['kube-apiserver'])
        return `${name} is not another cluster's to give`;
      if (!this.#isNode(trusted.cluster, at)) {
        return `${name} is for addresses of its own nodes, and ${at} is none`;
      }
    }
    if (!at.includes('/') || trusted.allowed() !== undefined) return undefined;
    if (this.#hasCidr(trusted.cluster, at as Prefix)) return undefined;
    return `${at} lies in no pod CIDR of its nodes, and its MeshPeer has no spec.allowedCIDRs that name it`;
  }

  /** Why something lies outside of what the peer may speak of. */
  inside({ allowed }: Trusted, at: Address | Prefix): string | undefined {
    const said = allowed();
    if (said === undefined || said.ranges.some((range) => covers(range, at))) return undefined;
    return `${at} lies outside ${said.by}`;
  }

  /** Why a node is not believed. What is believed counts at once: its cluster says many at a time. */
  node(trusted: Trusted, row: NodeRow): string | undefined {
    for (const { ip } of row.addresses) {
      const address = Address.tryParse(ip);
      const outside = address === undefined ? undefined : this.inside(trusted, address);
      if (outside !== undefined) return outside;
    }
    let share = 0;
    for (const cidr of [...row.podCIDRs.ipv4, ...row.podCIDRs.ipv6]) {
      const outside = this.inside(trusted, cidr);
      if (outside !== undefined) return outside;
      share += shareOf(cidr);
    }
    return trusted.allowed() === undefined ? this.#takePublic(row, share) : undefined;
  }

  #takePublic({ cluster, name }: NodeRow, share: number): string | undefined {
    const shares = this.#public.get(cluster) ?? new Shares();
    if (shares.without(name) + share > 1) {
      return `with the pod CIDRs of node ${name} it would have more of the Internet's addresses than a /${PUBLIC_LENGTH.ipv4} (IPv6: /${PUBLIC_LENGTH.ipv6}); name them in spec.allowedCIDRs of its MeshPeer`;
    }
    shares.set(name, share);
    this.#public.set(cluster, shares);
    return undefined;
  }

  #isNode(cluster: string, at: Address | Prefix): boolean {
    return this.#addresses.get(cluster)?.has(at) ?? false;
  }
}

/** Which addresses nodes have, each counted: a peer may say one of several nodes. */
class NodeAddresses {
  readonly #nodes = new Map<string, readonly string[]>();
  readonly #counts = new Map<string, number>();

  has(address: string): boolean {
    return this.#counts.has(address);
  }

  set(node: string, addresses: readonly string[]): void {
    for (const each of this.#nodes.get(node) ?? []) {
      const left = this.#counts.get(each)! - 1;
      if (left > 0) this.#counts.set(each, left);
      else this.#counts.delete(each);
    }
    for (const each of addresses) this.#counts.set(each, (this.#counts.get(each) ?? 0) + 1);
    if (addresses.length > 0) this.#nodes.set(node, addresses);
    else this.#nodes.delete(node);
  }
}

/** Numbers by node, with their sum at hand. */
class Shares {
  readonly #nodes = new Map<string, number>();
  #sum = 0;

  without(node: string): number {
    return this.#sum - (this.#nodes.get(node) ?? 0);
  }

  set(node: string, share: number): void {
    this.#sum = this.without(node) + share;
    if (share === 0) this.#nodes.delete(node);
    else this.#nodes.set(node, share);
    // What small numbers have left behind by rounding goes with the last of them.
    if (this.#nodes.size === 0) this.#sum = 0;
  }
}

function shareOf(cidr: Prefix): number {
  if (PRIVATE.some((range) => covers(range, cidr))) return 0;
  return 2 ** (PUBLIC_LENGTH[Prefix.family(cidr)] - Prefix.length(cidr));
}

function covers(range: Prefix, at: Address | Prefix): boolean {
  if (!at.includes('/')) return Prefix.contains(range, at as Address);
  const prefix = at as Prefix;
  return (
    Prefix.length(prefix) >= Prefix.length(range) && Prefix.contains(range, Prefix.address(prefix))
  );
}
