import type { MultipathConfig } from '../speaker/config.ts';
import type { RefusedWhy } from '../speaker/types.ts';
import { Family, type FamilyKey } from '../types.ts';
import type { AttributeTable } from './attribute-table.ts';
import { Decision } from './decision.ts';
import { Journal } from './journal.ts';
import { PathFlag, PathTable } from './path-table.ts';
import { type PeerColumns, PeerKind } from './peer-columns.ts';
import { grown, PrefixTable } from './prefix-table.ts';

/** Why a path is no candidate, as the column has it. */
export const refusedNames: readonly (RefusedWhy | undefined)[] = [
  undefined,
  'policy',
  'no-policy',
  'as-loop',
  'originator-loop',
  'cluster-loop',
  'own-next-hop',
  'no-llgr',
];

export const refusedCode = (why: RefusedWhy): number => refusedNames.indexOf(why);

/**
 * Paths of one peer in one prefix (RFC 7911). A prefix's paths are a chain that every change walks, so that a neighbour
 * with a hundred thousand identifiers for one prefix would hold everybody up.
 */
export const mostOfOne = 256;
const PrefixFlag = Object.freeze({ limbo: 1, scoped: 2 } as const);

/** Who may still have to tell about a prefix that has no paths any more. */
export interface PrefixHolder {
  /** Before a round of questions. */
  prepare(): void;
  holds(prefix: number): boolean;
  /** The number means nothing any more. */
  freed(prefix: number): void;
}

/** Per peer. */
export interface PeerCounts {
  received: number;
  accepted: number;
  stale: number;
  /** A path was not taken because the prefix had too many of this peer. `told`: that has been said. */
  crowded: 'no' | 'yes' | 'told';
}

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
  /** Prefixes whose best path, equal-cost set or anything that `noisy` readers need has changed. */
  readonly journal: Journal;
  /** Path slots that changed, while a monitor of Adj-RIB-Ins is there. */
  inJournal: Journal | undefined;
  head: Int32Array;
  /** Best path of each prefix, 0 for none. */
  best: Int32Array;
  #flags: Uint8Array;
  /** Prefixes with a best path. */
  reachablePrefixes = 0;
  /** Readers that need every change of a candidate: ADD-PATH senders. */
  noisy = 0;
  /** No path is chosen yet (RFC 4724 section 4.1). */
  deferred = false;
  /** Nothing is told yet: choosing has begun, and is not done. */
  held = false;
  readonly #counts: PeerCounts[] = [];
  /** Asked before a prefix's number is freed: does somebody still have to tell about it? */
  readonly holders = new Set<PrefixHolder>();
  /** Prefixes and paths that are gone; those that must stay until the next round. */
  #limbo: number[] = [];
  #keptLimbo: number[] = [];
  #tombs: number[] = [];
  #keptTombs: number[] = [];
  #maxEbgp = 1;
  #maxIbgp = 1;
  #sameAsPath = false;
  #multipath = false;
  #scratch = new Int32Array(64);

  constructor(family: FamilyKey, sets: AttributeTable, peers: PeerColumns, seed = 0) {
    this.family = family;
    this.sets = sets;
    this.peers = peers;
    this.decision = new Decision(sets, peers);
    this.prefixes = new PrefixTable(Family.row(family).bits, seed);
    this.head = new Int32Array(this.prefixes.capacity);
    this.best = new Int32Array(this.prefixes.capacity);
    this.#flags = new Uint8Array(this.prefixes.capacity);
    this.journal = new Journal(this.prefixes.capacity);
    this.prefixes.onGrow((capacity) => {
      this.head = grown(this.head, capacity);
      this.best = grown(this.best, capacity);
      this.#flags = grown(this.#flags, capacity);
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
      this.#flags.byteLength
    );
  }

  configureMultipath(config: MultipathConfig): void {
    this.#maxEbgp = config.ebgp ?? 1;
    this.#maxIbgp = config.ibgp ?? 1;
    this.#sameAsPath = config.sameAsPath ?? false;
    this.#multipath = this.#maxEbgp > 1 || this.#maxIbgp > 1;
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
          this.#decide(prefix, slot);
          return true;
        }
      }
      if (paths.received[slot] === received && paths.accepted[slot] === accepted) {
        paths.why[slot] = why;
        return true;
      }
      this.#replace(slot, received, accepted, why, counts);
      this.#decide(prefix, slot);
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
    if (accepted !== 0) this.#decide(prefix, slot);
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
    this.#decide(paths.prefix[slot]!, slot);
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
      this.#tombs.push(slot);
      if (accepted !== 0) this.#decide(prefix, slot);
      paths.flags[slot] = PathFlag.gone;
      return;
    }
    this.#unchain(prefix, slot);
    if (accepted !== 0) this.#decide(prefix, slot);
    paths.remove(slot);
    if (this.head[prefix] === 0) this.mayFree(prefix);
  }

  #unchain(prefix: number, slot: number): void {
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
      this.#decide(paths.prefix[slot]!, slot);
    } else if ((flag & PathFlag.llgr) !== 0 && (old & PathFlag.llgr) === 0) {
      this.#decide(paths.prefix[slot]!, slot);
    }
  }

  /** Chooses anew: a next hop, a peer or a rule of decision has changed. */
  decide(prefix: number): void {
    this.#decide(prefix, -1);
  }

  /** A prefix whose groups must look at it again, though its best path is the same. */
  touch(prefix: number): void {
    if (!this.deferred) this.journal.append(prefix);
  }

  /** Some of the prefix's paths go to some neighbours only: its changes are all told. */
  setScoped(prefix: number): void {
    this.#flags[prefix]! |= PrefixFlag.scoped;
  }

  isScoped(prefix: number): boolean {
    return (this.#flags[prefix]! & PrefixFlag.scoped) !== 0;
  }

  /** `changed`: the path whose content is another, or which is gone; -1 if none. */
  #decide(prefix: number, changed: number): void {
    if (this.deferred) return;
    const { paths, decision } = this;
    const old = this.best[prefix]!;
    const first = this.head[prefix]!;
    // One path and no other before: what most of a table is.
    if (first === changed && paths.next[first] === 0 && (old === 0 || old === changed)) {
      const best = decision.isCandidate(paths, first) ? first : 0;
      this.best[prefix] = best;
      if (best !== old) this.reachablePrefixes += best === 0 ? -1 : 1;
      if (best !== 0 && this.#multipath) paths.flags[first]! |= PathFlag.multipath;
      else paths.flags[first]! &= ~PathFlag.multipath;
      if (best !== 0 || old !== 0) this.journal.append(prefix);
      return;
    }
    const isNoisy = this.noisy > 0 || (this.#flags[prefix]! & PrefixFlag.scoped) !== 0;
    // A newcomer or a loser against the best, when the better of two is the better of all.
    if (
      changed > 0 &&
      old !== 0 &&
      old !== changed &&
      !this.#multipath &&
      decision.isTotalOrder &&
      paths.prefix[changed] === prefix
    ) {
      const wins =
        decision.isCandidate(paths, changed) && decision.compare(paths, changed, old) < 0;
      if (wins) this.best[prefix] = changed;
      if (wins || isNoisy) this.journal.append(prefix);
      return;
    }
    const count = this.#candidates(prefix);
    const best = decision.best(paths, this.#scratch, count);
    this.best[prefix] = best;
    if (old === 0 && best !== 0) this.reachablePrefixes++;
    else if (old !== 0 && best === 0) this.reachablePrefixes--;
    let differs = best !== old || (best === changed && best !== 0);
    if (this.#multipath && this.#markEqual(prefix, best, count, changed)) differs = true;
    if (differs || isNoisy) this.journal.append(prefix);
  }

  #candidates(prefix: number): number {
    const { paths, decision } = this;
    let count = 0;
    for (let slot = this.head[prefix]!; slot !== 0; slot = paths.next[slot]!) {
      if (!decision.isCandidate(paths, slot)) continue;
      if (count === this.#scratch.length) this.#scratch = grown(this.#scratch, count * 2);
      this.#scratch[count++] = slot;
    }
    return count;
  }

  /** Sets the marks of the equal-cost set; true if it is another than before. */
  #markEqual(prefix: number, best: number, count: number, changed: number): boolean {
    const { paths, decision } = this;
    let differs = false;
    const slots = this.#scratch;
    let equal = 0;
    if (best !== 0) {
      const kind = this.peers.kind[paths.peer[best]!]!;
      const limit =
        kind === PeerKind.ebgp ? this.#maxEbgp : kind === PeerKind.ibgp ? this.#maxIbgp : 1;
      for (let i = 0; i < count; i++) {
        const slot = slots[i]!;
        const isEqual =
          slot === best ||
          (limit > 1 &&
            this.peers.kind[paths.peer[slot]!] === kind &&
            decision.compareCost(paths, slot, best, true) === 0 &&
            (!this.#sameAsPath || decision.sameAsPath(paths, slot, best)));
        if (!isEqual) continue;
        slots[i] = slots[equal]!;
        slots[equal++] = slot;
      }
      if (equal > limit) {
        // As many as may be, the best first.
        for (let i = 0; i < limit; i++) {
          let least = i;
          for (let j = i + 1; j < equal; j++) {
            if (decision.compareTie(paths, slots[j]!, slots[least]!) < 0) least = j;
          }
          const swap = slots[i]!;
          slots[i] = slots[least]!;
          slots[least] = swap;
        }
        equal = limit;
      }
    }
    for (let slot = this.head[prefix]!; slot !== 0; slot = paths.next[slot]!) {
      let is = false;
      for (let i = 0; i < equal && !is; i++) is = slots[i] === slot;
      const was = (paths.flags[slot]! & PathFlag.multipath) !== 0;
      if (is !== was) {
        differs = true;
        paths.flags[slot]! ^= PathFlag.multipath;
      } else if (is && slot === changed) {
        differs = true;
      }
    }
    // A path that was unchained took its mark along.
    if (
      changed > 0 &&
      paths.prefix[changed] === prefix &&
      (paths.flags[changed]! & PathFlag.multipath) !== 0
    ) {
      differs = true;
    }
    return differs;
  }

  /** Candidates of a prefix, best first, at most `limit`; for ADD-PATH and explanations. */
  ranked(prefix: number, limit: number, into: number[]): void {
    into.length = 0;
    let count = this.#candidates(prefix);
    const slots = this.#scratch;
    while (count > 0 && into.length < limit) {
      const best = this.decision.best(this.paths, slots, count);
      into.push(best);
      let at = 0;
      while (slots[at] !== best) at++;
      slots[at] = slots[--count]!;
    }
  }

  /** The number is given back once nobody has to tell about the prefix any more. */
  mayFree(prefix: number): void {
    if ((this.#flags[prefix]! & PrefixFlag.limbo) !== 0) return;
    this.#flags[prefix]! |= PrefixFlag.limbo;
    this.#limbo.push(prefix);
  }

  get limbo(): number {
    return this.#limbo.length + this.#keptLimbo.length;
  }

  get tombs(): number {
    return this.#tombs.length + this.#keptTombs.length;
  }

  /**
   * Frees what can be freed of paths and prefixes that are gone, looking at `most` of them. True: there are others
   * that have not been looked at in this round.
   */
  collect(most = Number.POSITIVE_INFINITY): boolean {
    const looked = this.#collectTombs(most);
    if (this.#limbo.length > 0) {
      for (const holder of this.holders) holder.prepare();
      const floor = this.journal.floor();
      for (let n = looked; n < most; n++) {
        const prefix = this.#limbo.pop();
        if (prefix === undefined) break;
        this.#collectPrefix(prefix, floor);
      }
    }
    if (this.#limbo.length > 0 || this.#tombs.length > 0) return true;
    [this.#limbo, this.#keptLimbo] = [this.#keptLimbo, this.#limbo];
    [this.#tombs, this.#keptTombs] = [this.#keptTombs, this.#tombs];
    return false;
  }

  #collectPrefix(prefix: number, floor: number): void {
    if (this.head[prefix] !== 0) {
      this.#flags[prefix]! &= ~PrefixFlag.limbo;
    } else if (this.journal.isPending(prefix, floor) || this.#isHeld(prefix)) {
      this.#keptLimbo.push(prefix);
    } else {
      this.journal.forget(prefix);
      this.#flags[prefix] = 0;
      this.best[prefix] = 0;
      for (const holder of this.holders) holder.freed(prefix);
      this.prefixes.remove(prefix);
    }
  }

  #isHeld(prefix: number): boolean {
    for (const holder of this.holders) if (holder.holds(prefix)) return true;
    return false;
  }

  #collectTombs(most: number): number {
    const { paths, inJournal } = this;
    const floor = inJournal?.floor() ?? 0;
    let looked = 0;
    for (; looked < most; looked++) {
      const slot = this.#tombs.pop();
      if (slot === undefined) break;
      if (paths.prefix[slot] === 0 || (paths.flags[slot]! & PathFlag.gone) === 0) continue;
      if (inJournal?.isPending(slot, floor)) {
        this.#keptTombs.push(slot);
        continue;
      }
      inJournal?.forget(slot);
      const prefix = paths.prefix[slot]!;
      this.#unchain(prefix, slot);
      paths.remove(slot);
      if (this.head[prefix] === 0) this.mayFree(prefix);
    }
    return looked;
  }
}
