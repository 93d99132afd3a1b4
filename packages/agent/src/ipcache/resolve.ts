import { RESERVED } from '@causeway/identity';
import { Address, type Family, Prefix, PrefixTrie } from '@causeway/ip';
import type { IpEntryRow } from '@causeway/mesh';
import { type ClusterTables, type NodeRow, nodeKey, reachable } from '../cluster/tables.ts';
import type { NodeWays } from '../host/node-ways.ts';
import type { RoutingMode } from '../host/ways.ts';
import type { CidrIdentityTable } from '../policy/cidr-identities.ts';
import type { ProtectedTable } from './protected.ts';

/** A row of the kernel's ipcache. Identity 0 counts as world of the address's family. */
export interface IpcacheValue {
  readonly identity: number;
  readonly tunnelEndpoint: Address | undefined;
  readonly noMasquerade: boolean;
  readonly isProtected: boolean;
}

export interface ResolveContext {
  readonly cluster: string;
  readonly node: string;
  readonly mode: RoutingMode;
  readonly ways: Pick<NodeWays, 'tunnels'>;
  readonly underlayFamily: Family;
  readonly tables: ClusterTables;
  readonly cidrs: CidrIdentityTable;
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
  readonly #owned = new Map<string, readonly Prefix[]>();

  constructor(context: ResolveContext) {
    this.#context = context;
    this.#tracker = context.tables.nodes.changes('ipcache-pod-cidrs', 'start');
  }

  resolve(prefix: Prefix): IpcacheValue | undefined {
    this.#catchUp();
    const { tables, cidrs } = this.#context;
    const entry = this.#entry(prefix);
    const isProtected = this.#isProtected(prefix);
    if (entry !== undefined) {
      return { identity: entry.identity, ...this.#wayToHost(entry.hostIP), isProtected };
    }
    if (Prefix.isHost(prefix)) {
      const address = Prefix.address(prefix);
      const node = tables.nodes.first('address', address);
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
    };
  }

  /** Every prefix that some table speaks of, for a full comparison. */
  *all(): Generator<Prefix> {
    this.#catchUp();
    const { tables, cidrs, protectedSockets } = this.#context;
    for (const row of tables.ipEntries.rows()) yield prefixOfEntry(row);
    for (const node of tables.nodes.rows())
      yield* prefixesOfNode(node, this.#tunnelsExist && !this.#isOwn(node));
    for (const { prefix } of cidrs.rows()) yield prefix;
    for (const { address } of protectedSockets.rows()) yield Prefix.host(address);
  }

  /** Of several clusters that claim an address the own one has it. */
  #entry(prefix: Prefix): IpEntryRow | undefined {
    const { cluster, tables } = this.#context;
    const keys = Prefix.isHost(prefix) ? [Prefix.address(prefix), prefix] : [prefix];
    let found: IpEntryRow | undefined;
    for (const key of keys) {
      for (const row of tables.ipEntries.by('address', key)) {
        if (row.cluster === cluster) return row;
        found ??= row;
      }
    }
    return found;
  }

  #nodeAddress(node: NodeRow, address: Address): Omit<IpcacheValue, 'isProtected'> {
    if (this.#isOwn(node)) {
      return { identity: RESERVED.host, tunnelEndpoint: undefined, noMasquerade: true };
    }
    const internal = node.addresses.some(
      (each) => each.type === 'CiliumInternalIP' && each.address === address,
    );
    return {
      identity: RESERVED['remote-node'],
      // A node's gateway addresses lie in its pod CIDRs and are reached as its pods are.
      tunnelEndpoint: internal ? this.#nodeTunnel(node) : undefined,
      noMasquerade: true,
    };
  }

  #isOwn(node: NodeRow): boolean {
    return node.cluster === this.#context.cluster && node.name === this.#context.node;
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
  #wayToHost(host: Address | undefined): Pick<IpcacheValue, 'tunnelEndpoint' | 'noMasquerade'> {
    const node = host && this.#context.tables.nodes.first('address', host);
    if (node !== undefined) return { tunnelEndpoint: this.#nodeTunnel(node), noMasquerade: true };
    const ends = host !== undefined && Address.family(host) === this.#context.underlayFamily;
    return { tunnelEndpoint: this.#tunnelsExist && ends ? host : undefined, noMasquerade: false };
  }

  get #tunnelsExist(): boolean {
    return this.#context.mode !== 'native';
  }

  /** Every prefix whose row depends on what is known of these nodes. */
  *behind(nodes: readonly NodeRow[]): Generator<Prefix> {
    const hosts = new Set<Address>();
    for (const node of nodes) {
      yield* prefixesOfNode(node, true);
      for (const { address } of node.addresses) hosts.add(address);
    }
    for (const row of this.#context.tables.ipEntries.rows())
      if (row.hostIP !== undefined && hosts.has(row.hostIP)) yield prefixOfEntry(row);
  }

  #catchUp(): void {
    while (this.#tracker.pending) {
      for (const change of this.#tracker.take()) {
        for (const prefix of this.#owned.get(change.key) ?? []) this.#podCidrs.delete(prefix);
        this.#owned.delete(change.key);
        if (change.type !== 'put' || !this.#tunnelsExist || this.#isOwn(change.row)) continue;
        this.#owned.set(change.key, change.row.podCIDRs);
        for (const prefix of change.row.podCIDRs) {
          this.#podCidrs.set(prefix, nodeKey(change.row.cluster, change.row.name));
        }
      }
    }
  }

  [Symbol.dispose](): void {
    this.#tracker[Symbol.dispose]();
  }
}

export const prefixOfEntry = ({ address }: IpEntryRow): Prefix =>
  address.includes('/') ? (address as Prefix) : Prefix.host(address as Address);

/** Prefixes for which a node has something to say: its addresses and, behind a tunnel, its pod CIDRs. */
export function prefixesOfNode(node: NodeRow, withPodCidrs: boolean): Prefix[] {
  return [
    ...node.addresses.map(({ address }) => Prefix.host(address)),
    ...(withPodCidrs ? node.podCIDRs : []),
  ];
}
