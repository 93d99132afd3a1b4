import { RESERVED } from '@causeway/identity';
import { Address, type Family, Prefix, PrefixTrie } from '@causeway/ip';
import type { IpEntry, RoutingMode } from '@causeway/mesh';
import { type ClusterTables, type NodeRow, nodeAt, nodeKey, reachable } from '../cluster/tables.ts';
import type { NodeWays } from '../host/node-ways.ts';
import type { CidrIdentityTable } from '../policy/cidr-identities.ts';
import type { NodeIdentities, OtherNode } from '../policy/node-identities.ts';
import type { ProtectedTable } from './protected.ts';

/** A row of the kernel's ipcache. Identity 0 counts as world of the address's family. */
export interface IpcacheValue {
  readonly identity: number;
  readonly tunnelEndpoint: Address | undefined;
  readonly noMasquerade: boolean;
  readonly isProtected: boolean;
  /** A node's own address, whatever its identity. */
  readonly isNode: boolean;
}

/** What is to be done with what is for the entries of one host. */
export interface HostWay {
  readonly tunnelEndpoint: Address | undefined;
  /** The same as 16 bytes. */
  readonly endpointBytes: Uint8Array | undefined;
  readonly noMasquerade: boolean;
}

export interface ResolveContext {
  readonly cluster: string;
  readonly node: string;
  readonly mode: RoutingMode;
  readonly ways: Pick<NodeWays, 'tunnels'>;
  readonly underlayFamily: Family;
  readonly tables: ClusterTables;
  readonly cidrs: CidrIdentityTable;
  readonly nodeIdentities: Pick<NodeIdentities, 'of'>;
  readonly protectedSockets: ProtectedTable;
}

/**
 * What the kernel must say of a prefix, from everything that is known of it. A workload's own entry
 * comes first, then a node's address, then what policies and tunnels need of a prefix. One function
 * decides, whichever table a change came from, so that sources can overlap without knowing of it.
 */
export class IpcacheResolver implements Disposable {
  readonly #context: ResolveContext;
  /** Pod CIDRs of other nodes, for prefixes that lie inside one. */
  readonly #podCidrs = new PrefixTrie<string>();
  readonly #tracker;
  /** What was known of each node. */
  readonly #known = new Map<string, NodeRow>();
  /** Ways to hosts that were asked for; they are kept true, so that what changes can be told. */
  readonly #ways = new Map<Address, HostWay>();
  #moved = new Set<Address>();
  /** Hashes of nodes' addresses, with how many have each. */
  readonly #nodeHashes = new Map<number, number>();

  constructor(context: ResolveContext) {
    this.#context = context;
    this.#tracker = context.tables.nodes.changes('ipcache-pod-cidrs', 'start');
  }

  resolve(prefix: Prefix): IpcacheValue | undefined {
    this.catchUp();
    const { tables, cidrs } = this.#context;
    const entry = tables.ipEntries.winner(prefix);
    const isProtected = this.#isProtected(prefix);
    if (entry !== undefined) {
      const { tunnelEndpoint, noMasquerade } = this.wayTo(entry.hostIP);
      const node = this.#nodeAt(prefix, entry.cluster);
      const identity =
        node === undefined || this.#isOwn(node)
          ? entry.identity
          : this.#context.nodeIdentities.of(prefix, node, entry.identity);
      const isNode = node !== undefined;
      return { identity, tunnelEndpoint, noMasquerade, isProtected, isNode };
    }
    if (Prefix.isHost(prefix)) {
      const address = Prefix.address(prefix);
      const node = nodeAt(tables.nodes, address, this.#context.cluster);
      if (node !== undefined) return { ...this.#nodeAddress(node, address), isProtected };
    }
    const own = cidrs.get(prefix)?.identity;
    const owner = this.#ownerOf(prefix);
    const tunnelEndpoint = owner === undefined ? undefined : this.#nodeTunnel(owner);
    const tunnelledCidr = tunnelEndpoint !== undefined && this.#podCidrs.has(prefix);
    if (own === undefined && !tunnelledCidr && !isProtected) return undefined;
    return {
      identity: own ?? (isProtected ? this.#coveringCidr(prefix) : 0),
      tunnelEndpoint,
      noMasquerade: false,
      isProtected,
      isNode: false,
    };
  }

  /** Every prefix that some table speaks of, for a full comparison. */
  *all(): Generator<Prefix> {
    this.catchUp();
    const { tables, cidrs, protectedSockets } = this.#context;
    for (const entry of tables.ipEntries.entries()) yield prefixOfEntry(entry);
    for (const node of tables.nodes.rows())
      yield* prefixesOfNode(node, this.#tunnelsExist && !this.#isOwn(node));
    for (const { prefix } of cidrs.rows()) yield prefix;
    for (const { address } of protectedSockets.rows()) yield Prefix.host(address);
  }

  #nodeAddress(node: NodeRow, address: Address): Omit<IpcacheValue, 'isProtected'> {
    if (this.#isOwn(node)) {
      const here = { identity: RESERVED.host, tunnelEndpoint: undefined } as const;
      return { ...here, noMasquerade: true, isNode: true };
    }
    const internal = node.addresses.some(
      (each) => each.type === 'CiliumInternalIP' && each.address === address,
    );
    const { nodeIdentities } = this.#context;
    return {
      identity: nodeIdentities.of(Prefix.host(address), node, RESERVED['remote-node']),
      // A node's gateway addresses lie in its pod CIDRs and are reached as its pods are.
      tunnelEndpoint: internal ? this.#nodeTunnel(node) : undefined,
      noMasquerade: true,
      isNode: true,
    };
  }

  #isOwn(node: NodeRow): boolean {
    return node.cluster === this.#context.cluster && node.name === this.#context.node;
  }

  /** Only by the word of the cluster that has the address: another could make a node of anybody's pod. */
  #nodeAt(prefix: Prefix, cluster: string): NodeRow | undefined {
    if (!Prefix.isHost(prefix)) return undefined;
    for (const node of this.#context.tables.nodes.by('address', Prefix.address(prefix)))
      if (node.cluster === cluster) return node;
    return undefined;
  }

  /** All addresses of other nodes, with the identities that they have without their Nodes' labels. */
  *others(): Generator<OtherNode> {
    const { ipEntries, nodes } = this.#context.tables;
    for (const node of nodes.rows()) {
      if (this.#isOwn(node)) continue;
      for (const { address } of node.addresses) {
        const entry = ipEntries.winner(Prefix.host(address));
        if (entry === undefined) yield { node, base: RESERVED['remote-node'] };
        else if (entry.cluster === node.cluster) yield { node, base: entry.identity };
      }
    }
  }

  /** Whether the 16 bytes may be a node's address: never wrongly false, and cheap to ask of a million entries. */
  mayBeNode(bytes: DataView, offset: number): boolean {
    return this.#nodeHashes.has(hashOf(bytes, offset));
  }

  #countNode(node: NodeRow, change: 1 | -1): void {
    for (const { address } of node.addresses) {
      const hash = hashOf(new DataView(Address.toBytes16(address).buffer), 0);
      const count = (this.#nodeHashes.get(hash) ?? 0) + change;
      if (count > 0) this.#nodeHashes.set(hash, count);
      else this.#nodeHashes.delete(hash);
    }
  }

  #isProtected(prefix: Prefix): boolean {
    return (
      Prefix.isHost(prefix) &&
      this.#context.protectedSockets.count('address', Prefix.address(prefix)) > 0
    );
  }

  /** The entry of a protected address hides the trie from it, so it has to carry what the trie says. */
  #coveringCidr(prefix: Prefix): number {
    let best: { length: number; identity: number } | undefined;
    for (const row of this.#context.cidrs.rows()) {
      const length = Prefix.length(row.prefix);
      if (Prefix.covers(row.prefix, prefix) && length >= (best?.length ?? 0))
        best = { length, identity: row.identity };
    }
    return best?.identity ?? 0;
  }

  #ownerOf(prefix: Prefix): NodeRow | undefined {
    const owner = this.#podCidrs.lookup(prefix)?.value;
    return owner === undefined ? undefined : this.#context.tables.nodes.get(owner);
  }

  #nodeTunnel(node: NodeRow): Address | undefined {
    if (this.#isOwn(node) || !this.#context.ways.tunnels(node)) return undefined;
    return reachable(node).find(
      (address) => Address.family(address) === this.#context.underlayFamily,
    );
  }

  /**
   * The end of the tunnel in the underlay's family; a host of the other family is looked up among the nodes. What a
   * node of the mesh holds is never masqueraded: it is to be known by its address, and can answer ours.
   */
  wayTo(host: Address | undefined): HostWay {
    if (host === undefined) return NO_WAY;
    let way = this.#ways.get(host);
    if (way === undefined) {
      way = this.#findWay(host);
      this.#ways.set(host, way);
    }
    return way;
  }

  #findWay(host: Address): HostWay {
    const { tables, cluster } = this.#context;
    const node = nodeAt(tables.nodes, host, cluster);
    if (node !== undefined) return hostWay(this.#nodeTunnel(node), true);
    const ends = Address.family(host) === this.#context.underlayFamily;
    return hostWay(this.#tunnelsExist && ends ? host : undefined, false);
  }

  /** Looks anew at the ways to these nodes, whose choice is not in the tables. */
  forgetWays(nodes: readonly NodeRow[]): void {
    for (const node of nodes) this.#look(node);
  }

  /** Hosts to which the way has changed since this was asked last: what lives there is to be written again. */
  takeMoved(): ReadonlySet<Address> {
    const moved = this.#moved;
    if (moved.size > 0) this.#moved = new Set();
    this.#forgetUnused();
    return moved;
  }

  #look(node: NodeRow): void {
    for (const { address } of node.addresses) {
      const before = this.#ways.get(address);
      if (before === undefined) continue;
      const after = this.#findWay(address);
      if (sameWay(before, after)) continue;
      this.#ways.set(address, after);
      this.#moved.add(address);
    }
  }

  /** Hosts come and go with the entries. */
  #forgetUnused(): void {
    const { ipEntries } = this.#context.tables;
    if (this.#ways.size <= 2 * ipEntries.hosts + 1024) return;
    for (const host of this.#ways.keys()) if (!ipEntries.hasHost(host)) this.#ways.delete(host);
  }

  get #tunnelsExist(): boolean {
    return this.#context.mode !== 'native';
  }

  /** Takes in what the nodes' table tells. */
  catchUp(): void {
    while (this.#tracker.pending) {
      for (const change of this.#tracker.take()) {
        const before = this.#known.get(change.key);
        if (before !== undefined && this.#isTunnelled(before)) {
          for (const prefix of before.podCIDRs) this.#podCidrs.delete(prefix);
        }
        if (change.type === 'put') this.#known.set(change.key, change.row);
        else this.#known.delete(change.key);
        if (before !== undefined) this.#countNode(before, -1);
        if (change.type === 'put') this.#countNode(change.row, 1);
        if (change.type === 'put' && this.#isTunnelled(change.row)) {
          for (const prefix of change.row.podCIDRs) {
            this.#podCidrs.set(prefix, nodeKey(change.row.cluster, change.row.name));
          }
        }
        if (before !== undefined) this.#look(before);
        if (change.type === 'put') this.#look(change.row);
      }
    }
  }

  #isTunnelled(node: NodeRow): boolean {
    return this.#tunnelsExist && !this.#isOwn(node);
  }

  [Symbol.dispose](): void {
    this.#tracker[Symbol.dispose]();
  }
}

const hostWay = (tunnelEndpoint: Address | undefined, noMasquerade: boolean): HostWay => ({
  tunnelEndpoint,
  endpointBytes: tunnelEndpoint && Address.toBytes16(tunnelEndpoint),
  noMasquerade,
});

const hashOf = (bytes: DataView, at: number): number =>
  Math.imul(bytes.getUint32(at) ^ Math.imul(bytes.getUint32(at + 4), 0x9e3779b1), 0x85ebca6b) ^
  Math.imul(bytes.getUint32(at + 8), 0xc2b2ae35) ^
  bytes.getUint32(at + 12);

const NO_WAY = hostWay(undefined, false);

const sameWay = (a: HostWay, b: HostWay): boolean =>
  a.tunnelEndpoint === b.tunnelEndpoint && a.noMasquerade === b.noMasquerade;

const prefixOfEntry = ({ address }: IpEntry): Prefix =>
  address.includes('/') ? (address as Prefix) : Prefix.host(address as Address);

/** Prefixes for which a node has something to say: its addresses and, behind a tunnel, its pod CIDRs. */
export function prefixesOfNode(node: NodeRow, withPodCidrs: boolean): Prefix[] {
  return [
    ...node.addresses.map(({ address }) => Prefix.host(address)),
    ...(withPodCidrs ? node.podCIDRs : []),
  ];
}
