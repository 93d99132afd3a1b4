import { Address, Prefix } from '@causeway/ip';
import type { MeshTables, OwnRange, Peers, Ranges } from '@causeway/mesh';
import type { Clock, Table } from '@causeway/tables';
import type { PoolRow } from '../addresses/sources.ts';

/** Milliseconds until changes of our own ranges count: they come many at a time. */
const SETTLE_MS = 500;
/** Entries looked at before others may run. */
const CHUNK = 20_000;

export interface OwnRangesOptions {
  readonly cluster: string;
  readonly serviceCIDRs: readonly Prefix[];
  readonly tables: MeshTables;
  readonly pools: Table<PoolRow>;
  readonly ranges: Ranges;
  readonly peers: () => Peers | undefined;
  readonly clock: Clock;
}

/**
 * Keeps what peers may not speak of equal to what is ours, and pod CIDRs of peers with who has them. When
 * something new is ours, a peer that has spoken of it is read again, and loses it by that; the same when
 * something is ours no longer.
 */
export class OwnRanges implements AsyncDisposable {
  readonly #options: OwnRangesOptions;
  readonly #stop = new AbortController();
  readonly #tracker;
  readonly #undo: (() => void)[] = [];
  readonly #foreign = new Map<
    string,
    { readonly cluster: string; readonly cidrs: readonly Prefix[] }
  >();
  #scheduled: Promise<void> | undefined;

  constructor(options: OwnRangesOptions) {
    this.#options = options;
    const { tables, pools } = options;
    this.#tracker = tables.nodes.changes('mesh-ranges', 'start');
    const changed = () => {
      this.#followNodes();
      this.#schedule();
    };
    this.#undo.push(tables.nodes.onCommit(changed), pools.onCommit(changed));
    this.#followNodes();
    this.refresh();
  }

  /** What is ours counts at once, for peers have yet to speak. */
  refresh(): void {
    this.#options.ranges.setOwn(this.#own());
  }

  #followNodes(): void {
    const { ranges, cluster: own } = this.#options;
    while (this.#tracker.pending) {
      for (const change of this.#tracker.take()) {
        this.#foreign.delete(change.key);
        const { cluster: of, name } = change.row;
        if (change.type !== 'put') ranges.removeNode(of, name);
        if (change.type !== 'put' || of === own) continue;
        const { cluster, podCIDRs } = change.row;
        const cidrs = [...podCIDRs.ipv4, ...podCIDRs.ipv6];
        this.#foreign.set(change.key, { cluster, cidrs });
        ranges.setNode(change.row);
      }
    }
  }

  #schedule(): void {
    this.#scheduled ??= this.#settle().finally(() => {
      this.#scheduled = undefined;
    });
  }

  async #settle(): Promise<void> {
    const { clock, ranges, peers } = this.#options;
    const { signal } = this.#stop;
    await clock.sleep(SETTLE_MS, signal);
    if (signal.aborted) return;
    const { added, removed } = ranges.setOwn(this.#own());
    const all = peers();
    if (all === undefined) return;
    const hurt = new Set<string>(removed ? this.#refused() : []);
    if (added.length > 0) for (const name of await this.#speakers(added)) hurt.add(name);
    for (const name of hurt) all.get(name)?.reread('what is ours has changed');
  }

  /** Peers of which something was refused: it may be theirs now. */
  #refused(): Set<string> {
    return new Set(Array.from(this.#options.tables.rejected.rows(), ({ cluster }) => cluster));
  }

  /** Peers that speak of new ranges of ours. */
  async #speakers(added: readonly OwnRange[]): Promise<Set<string>> {
    const { tables, cluster: own } = this.#options;
    const found = new Set<string>();
    const touches = (at: Address | Prefix) => added.some(({ prefix }) => overlap(prefix, at));
    for (const { cluster, cidrs } of this.#foreign.values()) {
      if (!found.has(cluster) && cidrs.some(touches)) found.add(cluster);
    }
    let looked = 0;
    for (const name of this.#options.peers()?.names() ?? []) {
      if (found.has(name) || name === own) continue;
      for (const { address } of tables.ipEntries.entriesOf(name)) {
        if (touches(address)) {
          found.add(name);
          break;
        }
        if (++looked % CHUNK === 0) await new Promise((resolve) => setImmediate(resolve));
        if (this.#stop.signal.aborted) return found;
      }
    }
    for (const { cluster, backends } of tables.services.rows()) {
      if (found.has(cluster) || cluster === own) continue;
      const addresses = Object.keys(backends).flatMap((text) => Address.tryParse(text) ?? []);
      if (addresses.some(touches)) found.add(cluster);
    }
    return found;
  }

  *#own(): Generator<OwnRange> {
    const { tables, pools, cluster, serviceCIDRs } = this.#options;
    for (const prefix of serviceCIDRs) yield { prefix, what: 'a range of services' };
    for (const { name, cidrs = [] } of pools.rows()) {
      for (const prefix of cidrs) yield { prefix, what: `a range of the pool ${name}` };
    }
    for (const node of tables.nodes.rows()) {
      if (node.cluster !== cluster) continue;
      const { ipv4, ipv6 } = node.podCIDRs;
      for (const prefix of [...ipv4, ...ipv6]) {
        yield { prefix, what: `a pod CIDR of node ${node.name}` };
      }
      for (const { ip } of node.addresses) {
        const address = Address.tryParse(ip);
        if (address === undefined) continue;
        yield { prefix: Prefix.host(address), what: `an address of node ${node.name}` };
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    for (const undo of this.#undo) undo();
    await this.#scheduled;
    this.#tracker[Symbol.dispose]();
  }
}

const overlap = (prefix: Prefix, at: Address | Prefix): boolean =>
  at.includes('/') ? Prefix.overlaps(prefix, at as Prefix) : Prefix.contains(prefix, at as Address);
