import { type Address, Prefix } from '@causeway/ip';
import { giveInTurn, type Want, wantsOf } from './giving.ts';
import { type Entry, Ledger } from './ledger.ts';
import { PoolRangesIndex } from './ranges.ts';
import { drainOf, usageOf } from './report.ts';
import type {
  CidrRecord,
  Decision,
  DrainView,
  PlannerNode,
  PoolSpec,
  PoolUsage,
  RangeConflict,
  Refusal,
} from './types.ts';
import { Waiting } from './waiting.ts';

export interface PlanLimits {
  /** Decisions of one plan, about; a node that has begun is finished. Default 500. */
  readonly decisions?: number;
  /** May the blocks of a node that has no CiliumNode be taken? Default: yes. */
  readonly mayReclaim?: (node: string) => boolean;
  /** Is the address kept for an owner? A block is not given in which it would be the gateway. Default: none is. */
  readonly isClaimed?: (address: Address) => boolean;
}

/**
 * Which node has which blocks: the leader's view of nodes, records and pools, kept up by their watches, and from
 * it what to change. Hand in everything that the store holds before the first `plan`, for what is not known is
 * taken to be gone. A decision is counted as done until `settle` says that its transaction lost.
 */
export class PoolPlanner {
  readonly #nodes = new Map<string, PlannerNode>();
  readonly #ledger = new Ledger();
  #ranges = new PoolRangesIndex([], this.#ledger);
  readonly #waiting = new Waiting();
  readonly #refusals = new Map<string, readonly Refusal[]>();
  readonly #forced = new Set<string>();
  /** Nodes that name blocks of others as their own. */
  readonly #contested = new Set<string>();
  #dirty = new Set<string>();

  /** The pools, the oldest first: of two that overlap the first has the range. */
  setPools(specs: readonly PoolSpec[]): void {
    this.#ranges = new PoolRangesIndex(specs, this.#ledger);
    for (const node of this.#nodes.keys()) this.#dirty.add(node);
  }

  upsertNode(node: PlannerNode): void {
    for (const cidr of this.#nodes.get(node.name)?.podCidrs ?? []) this.#freeOwn(cidr, node.name);
    this.#nodes.set(node.name, node);
    for (const cidr of node.podCidrs ?? []) {
      this.#ledger.addOwn(cidr, node.name);
      this.#ranges.take(cidr);
    }
    this.#dirty.add(node.name);
  }

  removeNode(name: string): void {
    for (const cidr of this.#nodes.get(name)?.podCidrs ?? []) this.#freeOwn(cidr, name);
    this.#nodes.delete(name);
    this.#refusals.delete(name);
    this.#waiting.delete(name);
    this.#dirty.add(name);
  }

  /** The CIDRs that are the node's own by its `podCIDRs`. */
  ownOf(name: string): readonly Prefix[] {
    return this.#nodes.get(name)?.podCidrs ?? [];
  }

  /** A record that the store has. */
  upsertRecord(record: CidrRecord): void {
    const { cidr, pool, node } = record;
    const before = this.#ledger.get(cidr);
    if (before?.node === node && before.pool === pool) {
      if (before.state === 'giving') before.state = 'held';
      return;
    }
    this.#ledger.set({ cidr, pool, node, state: 'held' });
    this.#ranges.take(cidr);
    this.#dirty.add(node);
    if (before !== undefined) this.#dirty.add(before.node);
  }

  deleteRecord(cidr: Prefix): void {
    const before = this.#ledger.delete(cidr);
    if (before === undefined) return;
    this.#freed(cidr);
    this.#dirty.add(before.node);
  }

  /**
   * Takes all blocks of the node, whatever it says: for one that cannot be reached and will not come back. Whoever
   * carries the decisions out clears the node's `requested` with them, so that it asks anew if it does come back.
   */
  forceRelease(node: string): void {
    this.#forced.add(node);
    this.#dirty.add(node);
  }

  /** What to do next, the names in order. An empty plan means that all is as asked, or refused. */
  plan({
    decisions: limit = 500,
    mayReclaim = () => true,
    isClaimed = () => false,
  }: PlanLimits = {}): Decision[] {
    for (const node of this.#waiting.wake(this.#ranges.all(), limit)) this.#dirty.add(node);
    const decisions: Decision[] = [];
    const wants: Want[] = [];
    const todo = [...this.#dirty].sort();
    const later = new Set<string>();
    for (const name of todo) {
      if (decisions.length + wants.length >= limit) {
        later.add(name);
        continue;
      }
      const node = this.#nodes.get(name);
      const forced = this.#forced.has(name) && this.#ledger.has(name);
      this.#waiting.delete(name);
      this.#refusals.delete(name);
      if (!forced) this.#forced.delete(name);
      if (node === undefined || forced) {
        if (forced || mayReclaim(name)) {
          decisions.push(...this.#reclaim(name, forced ? 'forced' : 'node-gone'));
        } else if (this.#ledger.has(name)) later.add(name);
        continue;
      }
      const refusals: Refusal[] = [];
      decisions.push(...this.#reconcile(node, refusals));
      wants.push(...wantsOf(node, this.#ranges, this.#ledger, refusals));
      if (refusals.length > 0) this.#refusals.set(name, refusals);
    }
    this.#dirty = later;
    const room = Math.max(0, limit - decisions.length);
    const { given, unserved, exhausted } = giveInTurn(wants, room, {
      ranges: this.#ranges,
      ledger: this.#ledger,
      isClaimed,
    });
    for (const node of unserved) this.#dirty.add(node);
    for (const refusal of exhausted) {
      const { node, pool, family, maskSize } = refusal;
      this.#refusals.set(node, [...(this.#refusals.get(node) ?? []), refusal]);
      this.#waiting.add(pool, family, node, maskSize);
    }
    return [...decisions, ...given];
  }

  /** The transaction of a decision won or lost. One that lost is planned again from what the watches say. */
  settle(decision: Decision, won: boolean): void {
    const { cidr, node, pool, type } = decision;
    const entry = this.#ledger.get(cidr);
    const mine = entry?.node === node;
    if (type === 'give' || type === 'adopt') {
      if (mine && entry.state === 'giving') {
        if (won) {
          entry.state = 'held';
          if (type === 'give') this.#allocated(node, pool, cidr, true);
        } else this.deleteRecord(cidr);
      }
    } else if (mine && entry.state === 'releasing') {
      if (won) {
        this.deleteRecord(cidr);
        if (type === 'reclaim') this.#allocated(node, pool, cidr, false);
      } else entry.state = 'held';
    }
    if (!won) this.#dirty.add(node);
  }

  /** Why nodes have not what they ask for. */
  refusals(): Refusal[] {
    return [...this.#refusals.values()].flat();
  }

  conflicts(): readonly RangeConflict[] {
    return this.#ranges.conflicts;
  }

  records(): Iterable<CidrRecord> {
    return this.#ledger.all();
  }

  usage(): PoolUsage[] {
    return Array.from(this.#ranges.all(), (one) =>
      usageOf(one, this.#ledger, this.#waiting.count(one.spec.name, one.family)),
    );
  }

  /** Whether the node has blocks. */
  holds(node: string): boolean {
    return this.#ledger.has(node);
  }

  /** What a drain of the prefix has left to wait for. */
  drain(cidr: Prefix): DrainView {
    return drainOf(cidr, this.#ranges, this.#ledger);
  }

  /** Closed ranges that nobody holds a part of: they can be taken out of their pools. */
  removable(): { readonly pool: string; readonly cidr: Prefix }[] {
    return Array.from(this.#ranges.all(), ({ spec, closed }) =>
      closed
        .filter((cidr) => this.#ledger.holders(cidr).next().done === true)
        .map((cidr) => ({ pool: spec.name, cidr })),
    ).flat();
  }

  #freeOwn(cidr: Prefix, node: string): void {
    this.#ledger.deleteOwn(cidr, node);
    this.#freed(cidr);
  }

  #freed(cidr: Prefix): void {
    for (const one of this.#ranges.release(cidr, this.#ledger)) this.#waiting.freed(one);
    for (const node of this.#contested) this.#dirty.add(node);
    this.#contested.clear();
  }

  /** What the node's own transaction has made of `allocated`, until the watch brings it. */
  #allocated(name: string, pool: string, cidr: Prefix, add: boolean): void {
    const node = this.#nodes.get(name);
    if (node === undefined) return;
    const allocated = node.allocated
      .map((one) => ({ pool: one.pool, cidrs: one.cidrs.filter((have) => have !== cidr) }))
      .filter((one) => one.cidrs.length > 0);
    if (add) allocated.push({ pool, cidrs: [cidr] });
    this.#nodes.set(name, { ...node, allocated });
  }

  #reclaim(node: string, why: 'node-gone' | 'forced'): Decision[] {
    return [...this.#ledger.of(node)]
      .filter((entry) => entry.state !== 'releasing')
      .map((entry) => ({ ...this.#releasing(entry), type: 'reclaim', why }));
  }

  #releasing(entry: Entry): Omit<Decision, 'type' | 'why'> {
    entry.state = 'releasing';
    const { cidr, node, pool } = entry;
    return { node, pool, family: Prefix.family(cidr), cidr };
  }

  /** Brings records and `allocated` together: what the node let go is free, what it names and nobody has is its own. */
  #reconcile(node: PlannerNode, refusals: Refusal[]): Decision[] {
    const decisions: Decision[] = [];
    const named = new Set<Prefix>();
    for (const { pool, cidrs } of node.allocated) {
      for (const cidr of cidrs) {
        if (named.has(cidr)) continue;
        named.add(cidr);
        if (this.#ledger.get(cidr)?.node === node.name) continue;
        const holder = this.#ledger.holders(cidr).next().value;
        if (holder) {
          this.#contested.add(node.name);
          refusals.push({
            type: 'cidr-taken',
            node: node.name,
            pool,
            cidr,
            holder: holder.node,
          });
          continue;
        }
        this.#ledger.set({ cidr, pool, node: node.name, state: 'giving' });
        this.#ranges.take(cidr);
        decisions.push({
          type: 'adopt',
          node: node.name,
          pool,
          family: Prefix.family(cidr),
          cidr,
        });
      }
    }
    for (const entry of this.#ledger.of(node.name)) {
      if (entry.state !== 'held' || named.has(entry.cidr)) continue;
      decisions.push({ ...this.#releasing(entry), type: 'release' });
    }
    return decisions;
  }
}
