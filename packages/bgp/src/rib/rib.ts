import { Family, type FamilyKey } from '../types.ts';
import type { AttributeTable } from './attribute-table.ts';
import { Choice } from './choice.ts';
import { Decision } from './decision.ts';
import { Graveyard } from './graveyard.ts';
import { grown } from './grown.ts';
import { Journal } from './journal.ts';
import { PathFlag, PathTable } from './path-table.ts';
import type { PeerColumns } from './peer-columns.ts';
import { mostOfOne, type PeerCounts } from './peer-counts.ts';
import { PrefixFlag } from './prefix-flags.ts';
import { PrefixTable } from './prefix-table.ts';

/**
 * All paths of one family: Adj-RIB-Ins before and after policy, and the Loc-RIB, whose changes go into a journal
 * that update groups, the kernel and monitors read. Who stops using a prefix tells so by `mayFree`.
 */
export class Rib {
  readonly family: FamilyKey;
  readonly prefixes: PrefixTable;
  readonly paths = new PathTable();
  readonly sets: AttributeTable;
  readonly peers: PeerColumns;
  readonly decision: Decision;
  readonly choice: Choice;
  readonly graveyard: Graveyard;
  /** Prefixes whose best path, equal-cost set or anything that `noisy` readers need has changed. */
  readonly journal: Journal;
  /** Path slots that changed, while a monitor of Adj-RIB-Ins is there. */
  inJournal: Journal | undefined;
  head: Int32Array;
  /** Best path of each prefix, 0 for none. */
  best: Int32Array;
  /** `PrefixFlag`s. */
  flags: Uint8Array;
  /** Prefixes with a best path. */
  reachablePrefixes = 0;
  /** Readers that need every change of a candidate: ADD-PATH senders. */
  noisy = 0;
  /** No path is chosen yet (RFC 4724 section 4.1). */
  deferred = false;
  /** Nothing is told yet: choosing has begun, and is not done. */
  held = false;
  readonly #counts: PeerCounts[] = [];

  constructor(family: FamilyKey, sets: AttributeTable, peers: PeerColumns, seed = 0) {
    this.family = family;
    this.sets = sets;
    this.peers = peers;
    this.decision = new Decision(sets, peers);
    this.choice = new Choice(this);
    this.graveyard = new Graveyard(this);
    this.prefixes = new PrefixTable(Family.row(family).bits, seed);
    this.head = new Int32Array(this.prefixes.capacity);
    this.best = new Int32Array(this.prefixes.capacity);
    this.flags = new Uint8Array(this.prefixes.capacity);
    this.journal = new Journal(this.prefixes.capacity);
    this.prefixes.onGrow((capacity) => {
      this.head = grown(this.head, capacity);
      this.best = grown(this.best, capacity);
      this.flags = grown(this.flags, capacity);
      this.journal.resize(capacity);
    });
    this.paths.onGrow((capacity) => this.inJournal?.resize(capacity));
  }

  get bytes(): number {
    return (
      this.prefixes.bytes +
      this.paths.bytes +
      this.journal.bytes +
      (this.inJournal?.bytes ?? 0) +
      this.head.byteLength * 2 +
      this.flags.byteLength
    );
  }

  counts(peer: number): PeerCounts {
    let counts = this.#counts[peer];
    if (counts === undefined) {
      counts = { received: 0, accepted: 0, stale: 0, crowded: 'no' };
      this.#counts[peer] = counts;
    }
    return counts;
  }

  /** The peer's path in a prefix, 0 if there is none; tombstones do not count. */
  find(peer: number, prefix: number, id: number): number {
    const { paths } = this;
    for (let slot = this.head[prefix]!; slot !== 0; slot = paths.next[slot]!) {
      if (paths.peer[slot] === peer && paths.isId(slot, id)) {
        return (paths.flags[slot]! & PathFlag.gone) === 0 ? slot : 0;
      }
    }
    return 0;
  }

  /**
   * Takes a path in, or what it has become. References to both sets are taken. False: it is a new path, and
   * `limit` paths of the peer are there already, or `mostOfOne` in this prefix; nothing has changed.
   */
  announce(
    peer: number,
    prefix: number,
    id: number,
    received: number,
    accepted: number,
    why: number,
    limit: number,
  ): boolean {
    const { paths, sets } = this;
    let slot = this.head[prefix]!;
    let own = 0;
    while (slot !== 0 && !(paths.peer[slot] === peer && paths.isId(slot, id))) {
      if (paths.peer[slot] === peer) own++;
      slot = paths.next[slot]!;
    }
    const counts = this.#counts[peer] ?? this.counts(peer);
    if (slot === 0) {
      if (counts.received >= limit) return false;
      if (own >= mostOfOne && peer !== 0) {
        if (counts.crowded === 'no') counts.crowded = 'yes';
        return false;
      }
      slot = paths.add(prefix, peer, id);
      paths.next[slot] = this.head[prefix]!;
      this.head[prefix] = slot;
      counts.received++;
    } else if ((paths.flags[slot]! & PathFlag.gone) !== 0) {
      if (counts.received >= limit) return false;
      paths.flags[slot] = 0;
      counts.received++;
    } else {
      const flags = paths.flags[slot]!;
      if ((flags & (PathFlag.stale | PathFlag.llgr | PathFlag.unrefreshed)) !== 0) {
        if ((flags & (PathFlag.stale | PathFlag.llgr)) !== 0) counts.stale--;
        paths.flags[slot] = flags & PathFlag.multipath;
        if ((flags & PathFlag.llgr) !== 0) {
          // It counts as any other again, even if nothing else has changed.
          this.#replace(slot, received, accepted, why, counts);
          this.choice.decide(prefix, slot);
          return true;
        }
      }
      if (paths.received[slot] === received && paths.accepted[slot] === accepted) {
        paths.why[slot] = why;
        return true;
      }
      this.#replace(slot, received, accepted, why, counts);
      this.choice.decide(prefix, slot);
      return true;
    }
    sets.refs[received]!++;
    paths.received[slot] = received;
    paths.accepted[slot] = accepted;
    paths.why[slot] = why;
    if (accepted !== 0) {
      sets.refs[accepted]!++;
      counts.accepted++;
    }
    if (this.inJournal !== undefined) this.inJournal.append(slot);
    if (accepted !== 0) this.choice.decide(prefix, slot);
    return true;
  }

  #replace(
    slot: number,
    received: number,
    accepted: number,
    why: number,
    counts: PeerCounts,
  ): void {
    const { paths, sets } = this;
    const oldReceived = paths.received[slot]!;
    const oldAccepted = paths.accepted[slot]!;
    sets.refs[received]!++;
    if (accepted !== 0) {
      sets.refs[accepted]!++;
      counts.accepted++;
    }
    paths.received[slot] = received;
    paths.accepted[slot] = accepted;
    paths.why[slot] = why;
    sets.release(oldReceived);
    if (oldAccepted !== 0) {
      counts.accepted--;
      sets.release(oldAccepted);
    }
    if (this.inJournal !== undefined) this.inJournal.append(slot);
  }

  /** What import policy makes of a path now; `received` stays. */
  reconsider(slot: number, accepted: number, why: number): void {
    const { paths } = this;
    paths.why[slot] = why;
    if (paths.accepted[slot] === accepted) return;
    const counts = this.counts(paths.peer[slot]!);
    this.#replace(slot, paths.received[slot]!, accepted, why, counts);
    this.choice.decide(paths.prefix[slot]!, slot);
  }

  /** False: there was no such path. */
  withdraw(peer: number, prefix: number, id: number): boolean {
    const slot = this.find(peer, prefix, id);
    if (slot === 0) return false;
    this.remove(slot);
    return true;
  }

  remove(slot: number): void {
    const { paths, sets } = this;
    const prefix = paths.prefix[slot]!;
    const counts = this.counts(paths.peer[slot]!);
    const accepted = paths.accepted[slot]!;
    const flags = paths.flags[slot]!;
    counts.received--;
    if ((flags & (PathFlag.stale | PathFlag.llgr)) !== 0) counts.stale--;
    sets.release(paths.received[slot]!);
    paths.accepted[slot] = 0;
    if (accepted !== 0) {
      counts.accepted--;
      sets.release(accepted);
    }
    if (this.inJournal !== undefined) {
      paths.flags[slot] = (flags & PathFlag.multipath) | PathFlag.gone;
      this.inJournal.append(slot);
      this.graveyard.bury(slot);
      if (accepted !== 0) this.choice.decide(prefix, slot);
      paths.flags[slot] = PathFlag.gone;
      return;
    }
    this.unchain(prefix, slot);
    if (accepted !== 0) this.choice.decide(prefix, slot);
    paths.remove(slot);
    if (this.head[prefix] === 0) this.graveyard.mayFree(prefix);
  }

  unchain(prefix: number, slot: number): void {
    const { next } = this.paths;
    if (this.head[prefix] === slot) {
      this.head[prefix] = next[slot]!;
      return;
    }
    let before = this.head[prefix]!;
    while (next[before] !== slot) before = next[before]!;
    next[before] = next[slot]!;
  }

  /** Marks all paths of a peer as stale, in one go: what comes from now on is told apart from them. */
  markStale(peer: number): void {
    const counts = this.counts(peer);
    const { peer: peers, prefix, flags, end } = this.paths;
    let left = counts.received;
    for (let slot = 1; slot < end && left > 0; slot++) {
      if (peers[slot] !== peer || prefix[slot] === 0 || (flags[slot]! & PathFlag.gone) !== 0)
        continue;
      flags[slot]! |= PathFlag.stale;
      left--;
    }
    counts.stale = counts.received;
  }

  /** Marks a path; a change of the long-lived mark is a change of the route. */
  mark(
    slot: number,
    flag: number,
    accepted = this.paths.accepted[slot]!,
    why = this.paths.why[slot]!,
  ): void {
    const { paths } = this;
    const old = paths.flags[slot]!;
    const both = PathFlag.stale | PathFlag.llgr;
    if ((old & both) === 0 && (flag & both) !== 0) this.counts(paths.peer[slot]!).stale++;
    paths.flags[slot] = old | flag;
    if (accepted !== paths.accepted[slot]) {
      this.#replace(slot, paths.received[slot]!, accepted, why, this.counts(paths.peer[slot]!));
      this.choice.decide(paths.prefix[slot]!, slot);
    } else if ((flag & PathFlag.llgr) !== 0 && (old & PathFlag.llgr) === 0) {
      this.choice.decide(paths.prefix[slot]!, slot);
    }
  }

  /** Chooses anew: a next hop, a peer or a rule of decision has changed. */
  decide(prefix: number): void {
    this.choice.decide(prefix, -1);
  }

  /** A prefix whose groups must look at it again, though its best path is the same. */
  touch(prefix: number): void {
    if (!this.deferred) this.journal.append(prefix);
  }

  /** Some of the prefix's paths go to some neighbours only: its changes are all told. */
  setScoped(prefix: number): void {
    this.flags[prefix]! |= PrefixFlag.scoped;
  }

  isScoped(prefix: number): boolean {
    return (this.flags[prefix]! & PrefixFlag.scoped) !== 0;
  }
}
