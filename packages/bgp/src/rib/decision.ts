import type { DecisionConfig } from '../speaker/config.ts';
import type { Comparison, DecisionStep } from '../speaker/types.ts';
import { AttributeType } from '../wire/attribute-table.ts';
import { findAttribute, SetFlag } from './attribute-bytes.ts';
import type { AttributeTable } from './attribute-table.ts';
import type { PathTable } from './path-table.ts';
import { PathFlag } from './path-table.ts';
import { type PeerColumns, PeerKind } from './peer-columns.ts';

const originNames = ['igp', 'egp', 'incomplete'] as const;

/**
 * The decision process (RFC 4271 section 9.1.2.2) between two candidates, and between all of a prefix. `compare`
 * is the fast form, `explain` the one that gives step and values; a test holds them together.
 */
export class Decision {
  readonly #sets: AttributeTable;
  readonly #peers: PeerColumns;
  #alwaysCompareMed = false;
  #deterministicMed = true;
  #missingMedWorst = false;

  constructor(sets: AttributeTable, peers: PeerColumns) {
    this.#sets = sets;
    this.#peers = peers;
  }

  configure(config: DecisionConfig): void {
    this.#alwaysCompareMed = config.alwaysCompareMed ?? false;
    this.#deterministicMed = config.deterministicMed ?? true;
    this.#missingMedWorst = config.missingMedWorst ?? false;
  }

  /** Is the better of two always better, whatever else there is? Not so while MED counts for some pairs only. */
  get isTotalOrder(): boolean {
    return this.#alwaysCompareMed || (this.#sets.withMed === 0 && !this.#missingMedWorst);
  }

  get isDeterministic(): boolean {
    return this.#deterministicMed;
  }

  isCandidate(paths: PathTable, path: number): boolean {
    const set = paths.accepted[path]!;
    return set !== 0 && this.#sets.nextHops.reachable[this.#sets.nextHop[set]!] === 1;
  }

  #isLlgr(paths: PathTable, path: number, set: number): boolean {
    return (
      (paths.flags[path]! & PathFlag.llgr) !== 0 ||
      (this.#sets.flags[set]! & SetFlag.llgrStale) !== 0
    );
  }

  #med(set: number): number {
    if (this.#missingMedWorst && (this.#sets.flags[set]! & SetFlag.hasMed) === 0) return 0xffffffff;
    return this.#sets.med[set]!;
  }

  /** Negative: `a` is better. Up to the metric of the next hop; 0 makes them equal cost. */
  compareCost(paths: PathTable, a: number, b: number, withMed: boolean): number {
    const sets = this.#sets;
    const x = paths.accepted[a]!;
    const y = paths.accepted[b]!;
    // RFC 9494 section 4.3: least preferred, below every route that is not.
    const staleX = this.#isLlgr(paths, a, x);
    if (staleX !== this.#isLlgr(paths, b, y)) return staleX ? 1 : -1;
    const preference = sets.localPreference[y]! - sets.localPreference[x]!;
    if (preference !== 0) return preference;
    const kindA = this.#peers.kind[paths.peer[a]!]!;
    const kindB = this.#peers.kind[paths.peer[b]!]!;
    if (kindA !== kindB) {
      if (kindA === PeerKind.local) return -1;
      if (kindB === PeerKind.local) return 1;
    }
    const length = sets.asPathLength[x]! - sets.asPathLength[y]!;
    if (length !== 0) return length;
    const origin = sets.origin[x]! - sets.origin[y]!;
    if (origin !== 0) return origin;
    if (withMed && (this.#alwaysCompareMed || sets.neighborAs[x] === sets.neighborAs[y])) {
      const med = this.#med(x) - this.#med(y);
      if (med !== 0) return med;
    }
    if (kindA !== kindB) return kindA === PeerKind.ebgp ? -1 : 1;
    const nextHops = sets.nextHops;
    return nextHops.metric[sets.nextHop[x]!]! - nextHops.metric[sets.nextHop[y]!]!;
  }

  #identifier(paths: PathTable, path: number): number {
    const set = paths.accepted[path]!;
    // RFC 4456 section 9: ORIGINATOR_ID stands for the identifier of the speaker.
    return (this.#sets.flags[set]! & SetFlag.hasOriginator) !== 0
      ? this.#sets.originatorId[set]!
      : this.#peers.routerId[paths.peer[path]!]!;
  }

  compareTie(paths: PathTable, a: number, b: number): number {
    const id = this.#identifier(paths, a) - this.#identifier(paths, b);
    if (id !== 0) return id;
    const sets = this.#sets;
    const clusters =
      sets.clusterListLength[paths.accepted[a]!]! - sets.clusterListLength[paths.accepted[b]!]!;
    if (clusters !== 0) return clusters;
    const peer = paths.peer[a]! - paths.peer[b]!;
    if (peer !== 0) return this.#peers.compareAddress(paths.peer[a]!, paths.peer[b]!);
    return paths.idOf(a) - paths.idOf(b);
  }

  compare(paths: PathTable, a: number, b: number, withMed = true): number {
    return this.compareCost(paths, a, b, withMed) || this.compareTie(paths, a, b);
  }

  /** The best of the candidates `slots[0..count)`; 0 if there are none. */
  best(paths: PathTable, slots: Int32Array, count: number): number {
    if (count <= 1) return count === 0 ? 0 : slots[0]!;
    if (this.isTotalOrder || !this.#deterministicMed) {
      let best = slots[0]!;
      for (let i = 1; i < count; i++)
        if (this.compare(paths, slots[i]!, best) < 0) best = slots[i]!;
      return best;
    }
    // Best of each neighbour AS first, MED included; then between those, where MED does not count.
    let best = 0;
    const sets = this.#sets;
    for (let i = 0; i < count; i++) {
      const as = sets.neighborAs[paths.accepted[slots[i]!]!]!;
      let seen = false;
      for (let j = 0; j < i && !seen; j++) {
        seen = sets.neighborAs[paths.accepted[slots[j]!]!] === as;
      }
      if (seen) continue;
      let winner = slots[i]!;
      for (let j = i + 1; j < count; j++) {
        const other = slots[j]!;
        if (sets.neighborAs[paths.accepted[other]!] !== as) continue;
        if (this.compare(paths, other, winner) < 0) winner = other;
      }
      if (best === 0 || this.compare(paths, winner, best, false) < 0) best = winner;
    }
    return best;
  }

  sameAsPath(paths: PathTable, a: number, b: number): boolean {
    const x = this.#asPath(paths.accepted[a]!);
    const y = this.#asPath(paths.accepted[b]!);
    return x.length === y.length && x.every((byte, i) => byte === y[i]);
  }

  #asPath(set: number): Uint8Array {
    const found = { start: 0, end: 0 };
    const sets = this.#sets;
    return findAttribute(sets.bytes, sets.start(set), sets.end(set), AttributeType.asPath, found)
      ? sets.bytes.subarray(found.start, found.end)
      : new Uint8Array(0);
  }

  /** The comparison that `winner` won against `loser`, both accepted. */
  explain(paths: PathTable, winner: number, loser: number, withMed = true): Comparison {
    const sets = this.#sets;
    const x = paths.accepted[winner]!;
    const y = paths.accepted[loser]!;
    const nextHops = sets.nextHops;
    const peers = this.#peers;
    const kind = (path: number): number => peers.kind[paths.peer[path]!]!;
    const med = withMed && (this.#alwaysCompareMed || sets.neighborAs[x] === sets.neighborAs[y]);
    const steps: readonly (readonly [
      DecisionStep,
      string | number | boolean,
      string | number | boolean,
    ])[] = [
      [
        'reachable',
        nextHops.reachable[sets.nextHop[x]!] === 1,
        nextHops.reachable[sets.nextHop[y]!] === 1,
      ],
      ['not-llgr-stale', !this.#isLlgr(paths, winner, x), !this.#isLlgr(paths, loser, y)],
      ['local-preference', sets.localPreference[x]!, sets.localPreference[y]!],
      ['local-origin', kind(winner) === PeerKind.local, kind(loser) === PeerKind.local],
      ['as-path-length', sets.asPathLength[x]!, sets.asPathLength[y]!],
      [
        'origin',
        originNames[sets.origin[x]!] ?? 'incomplete',
        originNames[sets.origin[y]!] ?? 'incomplete',
      ],
      ['med', med ? this.#med(x) : 0, med ? this.#med(y) : 0],
      ['external', kind(winner) === PeerKind.ebgp, kind(loser) === PeerKind.ebgp],
      ['igp-metric', nextHops.metric[sets.nextHop[x]!]!, nextHops.metric[sets.nextHop[y]!]!],
      [
        'router-id',
        dotted(this.#identifier(paths, winner)),
        dotted(this.#identifier(paths, loser)),
      ],
      ['cluster-list-length', sets.clusterListLength[x]!, sets.clusterListLength[y]!],
      ['peer-address', this.#address(paths, winner), this.#address(paths, loser)],
    ];
    for (const [step, a, b] of steps) if (a !== b) return { step, winner: a, loser: b };
    return { step: 'path-id', winner: paths.idOf(winner), loser: paths.idOf(loser) };
  }

  #address(paths: PathTable, path: number): string {
    const peer = paths.peer[path]!;
    return this.#peers.address[peer] ?? this.#peers.name[peer] ?? '';
  }
}

const dotted = (id: number): string =>
  `${id >>> 24}.${(id >>> 16) & 255}.${(id >>> 8) & 255}.${id & 255}`;
