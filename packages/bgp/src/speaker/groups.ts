import type { BoundPolicy, PolicyBinder } from '../policy/bound.ts';
import type { CompiledPolicy } from '../policy/compile.ts';
import type { Gathered } from '../rib/chunk.ts';
import { Exporter } from '../rib/export.ts';
import { moveMember } from '../rib/group-move.ts';
import type { Rib } from '../rib/rib.ts';
import { UpdateGroup } from '../rib/update-group.ts';
import { Family } from '../types.ts';
import { encodeRouteRefresh } from '../wire/route-refresh.ts';
import type { SpeakerConfig } from './config.ts';
import type { LocalPaths } from './locals.ts';
import type { PeerFamily, SpeakerPeer } from './peer.ts';
import { type Placement, placementOf } from './placement.ts';

interface Entry {
  readonly group: UpdateGroup;
  readonly bound: BoundPolicy | undefined;
}

/** Puts neighbours into update groups, moves them when what they are sent changes, and wakes who has something to read. */
export class Groups {
  readonly #speaker: () => SpeakerConfig;
  readonly #policy: (name: string | undefined) => CompiledPolicy | undefined;
  readonly #binder: PolicyBinder;
  readonly #locals: LocalPaths;
  readonly #wake: (peer: number) => void;
  readonly #entries = new Map<string, Entry>();
  #retired = 0;
  readonly #moving = new Set<{ readonly peer: SpeakerPeer; readonly family: PeerFamily }>();

  constructor(
    speaker: () => SpeakerConfig,
    policy: (name: string | undefined) => CompiledPolicy | undefined,
    binder: PolicyBinder,
    locals: LocalPaths,
    wake: (peer: number) => void,
  ) {
    this.#speaker = speaker;
    this.#policy = policy;
    this.#binder = binder;
    this.#locals = locals;
    this.#wake = wake;
  }

  get size(): number {
    return this.#entries.size;
  }

  get bytes(): number {
    let bytes = 0;
    for (const { group } of this.#entries.values()) bytes += group.bytes;
    return bytes;
  }

  join(peer: SpeakerPeer, family: PeerFamily): void {
    const group = this.#groupFor(peer, family);
    family.group = group;
    family.member = group.join(peer.index, peer.name);
    this.#rouse(group);
  }

  leave(peer: SpeakerPeer, family: PeerFamily): void {
    const { group } = family;
    for (const move of this.#moving) {
      if (move.family === family) this.#moving.delete(move);
    }
    const { next } = family;
    family.next = undefined;
    family.group = undefined;
    family.member = undefined;
    if (group !== undefined) {
      group.leave(peer.index);
      this.#closeIfEmpty(group);
    }
    if (next !== undefined) this.#closeIfEmpty(next);
  }

  /** Configuration, policy or scopes have changed: another group may be the right one. True: it moves. */
  place(peer: SpeakerPeer, family: PeerFamily): boolean {
    if (family.group === undefined) return false;
    const group = this.#groupFor(peer, family);
    const before = family.next;
    if (group === (before ?? family.group)) return false;
    family.next = group === family.group ? undefined : group;
    for (const move of this.#moving) if (move.family === family) this.#moving.delete(move);
    if (family.next !== undefined) this.#moving.add({ peer, family });
    if (before !== undefined) this.#closeIfEmpty(before);
    return true;
  }

  /**
   * A policy has another content under its name. Groups whose members it still treats alike keep them, and look at
   * the table again; `peersOf` gives the neighbour of a member.
   */
  policyChanged(
    names: ReadonlySet<string>,
    peerOf: (index: number) => SpeakerPeer | undefined,
  ): void {
    for (const [key, { group, bound }] of [...this.#entries]) {
      if (bound === undefined || !names.has(bound.policy.name)) continue;
      const members = [...group.members.values()].flatMap(({ peer }) => {
        const found = peerOf(peer);
        return found === undefined
          ? []
          : [{ peer: found, family: found.families.get(group.rib.family)! }];
      });
      const placements = members.map(({ peer, family }) => this.#placementOf(peer, family));
      const first = placements[0];
      if (
        first !== undefined &&
        placements.every((one) => one.key === first.key) &&
        this.#isFree(first.key, key)
      ) {
        this.#entries.delete(key);
        const next = this.#bind(first, members[0]!.peer, group.rib);
        group.key = first.key;
        this.#entries.set(first.key, { group, bound: next });
        group.evaluation.setExporter(new Exporter(group.rib, first.context, next));
        this.#binder.release(bound);
        continue;
      }
      // It cannot stay as it is: out of the way with it, and its members go where they belong.
      this.#entries.delete(key);
      group.key = `${key} until ${++this.#retired}`;
      this.#entries.set(group.key, { group, bound });
      for (const { peer, family } of members) this.place(peer, family);
      // Those who were on their way to it go elsewhere as well.
      for (const { peer, family } of [...this.#moving]) this.place(peer, family);
      this.#closeIfEmpty(group);
    }
  }

  #isFree(key: string, own: string): boolean {
    return key === own || !this.#entries.has(key);
  }

  /** The rules of export know something by heart that has changed (who is a reflector's client). */
  reexamine(): void {
    for (const [key, { group, bound }] of [...this.#entries]) {
      group.evaluation.setExporter(
        new Exporter(group.rib, group.evaluation.exporter.context, bound),
      );
      this.#entries.set(key, { group, bound });
    }
  }

  /** Brings groups up to date with the RIBs, as far as the budget goes, and wakes who has something to read. */
  flush(now: number, budget: number): void {
    let left = budget;
    for (const { group } of this.#entries.values()) {
      if (!group.evaluation.isBehind || left <= 0) continue;
      if (now < group.quietUntil && group.evaluation.evaluating === 0) continue;
      const before = group.journal.written;
      const wasEvaluating = group.evaluation.evaluating !== 0;
      left = group.evaluation.settle(left);
      if (group.journal.written === before && !(wasEvaluating && group.evaluation.evaluating === 0))
        continue;
      // Many neighbours: rather a few larger messages each than many small ones.
      const pause = Math.min(100, group.members.size * 0.04);
      if (pause > 1) group.quietUntil = now + pause;
      this.#rouse(group);
    }
    this.#move();
  }

  /** ms at which `flush` has something to do; undefined: nothing. */
  get deadline(): number | undefined {
    let first: number | undefined;
    for (const { group } of this.#entries.values()) {
      if (!group.evaluation.isBehind || group.rib.held) continue;
      const at = group.evaluation.evaluating === 0 ? group.quietUntil : 0;
      if (first === undefined || at < first) first = at;
    }
    if (first === undefined && this.#moving.size > 0) return 0;
    return first;
  }

  /** All who can read now: choosing has begun. */
  rouseAll(): void {
    for (const { group } of this.#entries.values()) this.#rouse(group);
  }

  #rouse(group: UpdateGroup): void {
    for (const member of group.members.values()) {
      if (!member.asleep || !group.isReady(member)) continue;
      member.asleep = false;
      this.#wake(member.peer);
    }
  }

  #move(): void {
    for (const move of this.#moving) {
      const { peer, family } = move;
      const { group, member, next } = family;
      if (group === undefined || member === undefined || next === undefined) {
        this.#moving.delete(move);
        continue;
      }
      if (next.evaluation.evaluating !== 0 || next.rib.held) continue;
      this.#moving.delete(move);
      group.leave(peer.index);
      family.group = next;
      family.next = undefined;
      family.member = moveMember(group, next, member);
      this.#closeIfEmpty(group);
      this.#rouse(next);
    }
  }

  refresh(peer: SpeakerPeer, family: PeerFamily, framed: boolean): void {
    const { group } = family;
    if (group === undefined) return;
    group.refresh(peer.index, framed);
    this.#rouse(group);
  }

  produce(family: PeerFamily, maxBytes: number, into: Gathered): void {
    const { group, member } = family;
    if (group === undefined || member === undefined) return;
    const { afi, safi } = Family.row(family.family);
    group.produce(member, maxBytes, into, (subtype) =>
      encodeRouteRefresh({ family: { afi, safi }, subtype }),
    );
    if (into.bytes < maxBytes) member.asleep = true;
  }

  #placementOf(peer: SpeakerPeer, family: PeerFamily): Placement {
    return placementOf(peer, family, {
      speaker: this.#speaker(),
      policy: this.#policy(family.config.export),
      binder: this.#binder,
      scopes: this.#locals.scopes.keys(),
    });
  }

  #groupFor(peer: SpeakerPeer, family: PeerFamily): UpdateGroup {
    const placement = this.#placementOf(peer, family);
    const known = this.#entries.get(placement.key);
    if (known !== undefined) return known.group;
    const { rib } = family;
    const bound = this.#bind(placement, peer, rib);
    const { scopes } = placement;
    const { paths } = rib;
    const local = (path: number) =>
      paths.peer[path] === 0 ? this.#locals.byId.get(paths.idOf(path)) : undefined;
    const group = new UpdateGroup(
      placement.key,
      rib,
      new Exporter(rib, placement.context, bound),
      placement.encoding,
      (path) => {
        const scope = local(path)?.scope;
        return scope === undefined || scopes.has(scope);
      },
      (path) => local(path)?.path.tag,
    );
    this.#entries.set(placement.key, { group, bound });
    return group;
  }

  #bind(placement: Placement, peer: SpeakerPeer, rib: Rib): BoundPolicy | undefined {
    if (placement.policy === undefined) return undefined;
    return this.#binder.bind(placement.policy, {
      family: rib.family,
      neighbor: peer.name,
      neighborAsn: peer.negotiated!.peerAsn,
      localAsn: placement.context.localAsn,
    });
  }

  #closeIfEmpty(group: UpdateGroup): void {
    if (group.members.size > 0) return;
    for (const { family } of this.#moving)
      if (family.next === group || family.group === group) return;
    const entry = this.#entries.get(group.key);
    if (entry?.group !== group) return;
    this.#entries.delete(group.key);
    group.close();
    if (entry.bound !== undefined) this.#binder.release(entry.bound);
  }
}
