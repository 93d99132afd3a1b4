import { Address } from '@causeway/ip';
import type { BoundPolicy, PolicyBinder } from '../policy/bound.ts';
import type { CompiledPolicy } from '../policy/compile.ts';
import type { Gathered } from '../rib/chunk.ts';
import { type ExportContext, Exporter } from '../rib/export.ts';
import type { Rib } from '../rib/rib.ts';
import { type GroupEncoding, UpdateGroup } from '../rib/update-group.ts';
import { Family, RouterId } from '../types.ts';
import { encodeRouteRefresh } from '../wire/route-refresh.ts';
import type { SpeakerConfig } from './config.ts';
import { type LocalPaths, scopeNames } from './locals.ts';
import type { PeerFamily, SpeakerPeer } from './peer.ts';

/** What a neighbour's group follows from. */
interface Placement {
  readonly key: string;
  readonly context: ExportContext;
  readonly encoding: GroupEncoding;
  readonly policy: CompiledPolicy | undefined;
  readonly scopes: ReadonlySet<string>;
}

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
      const placements = members.map(({ peer, family }) => this.#placement(peer, family));
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
        group.setExporter(new Exporter(group.rib, first.context, next));
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
      group.setExporter(new Exporter(group.rib, group.exporter.context, bound));
      this.#entries.set(key, { group, bound });
    }
  }

  /** Brings groups up to date with the RIBs, as far as the budget goes, and wakes who has something to read. */
  flush(now: number, budget: number): void {
    let left = budget;
    for (const { group } of this.#entries.values()) {
      if (!group.isBehind || left <= 0) continue;
      if (now < group.quietUntil && group.evaluating === 0) continue;
      const before = group.journal.written;
      const wasEvaluating = group.evaluating !== 0;
      left = group.settle(left);
      if (group.journal.written === before && !(wasEvaluating && group.evaluating === 0)) continue;
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
      if (!group.isBehind || group.rib.held) continue;
      const at = group.evaluating === 0 ? group.quietUntil : 0;
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
      if (next.evaluating !== 0 || next.rib.held) continue;
      this.#moving.delete(move);
      group.leave(peer.index);
      family.group = next;
      family.next = undefined;
      family.member = next.joinFrom(group, member);
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

  #groupFor(peer: SpeakerPeer, family: PeerFamily): UpdateGroup {
    const placement = this.#placement(peer, family);
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

  #placement(peer: SpeakerPeer, family: PeerFamily): Placement {
    const speaker = this.#speaker();
    const negotiated = peer.negotiated!;
    const agreed = family.negotiated!;
    const external = negotiated.kind === 'external';
    const policy = this.#policy(family.config.export);
    const addPath = agreed.addPathSend ? (family.config.addPath?.send ?? 0) : 0;
    const maxMessage = negotiated.maxMessage;
    const self = selfNextHop(peer, family);
    const context: ExportContext = {
      family: family.family,
      external,
      client: !external && peer.config.routeReflectorClient === true,
      localAsn: negotiated.localAsn,
      clusterId: RouterId.toNumber(speaker.clusterId ?? speaker.routerId),
      routerId: RouterId.toNumber(speaker.routerId),
      nextHop: family.config.nextHop,
      self,
      extendedNextHop: agreed.extendedNextHop,
      sharedSubnets: external ? (peer.config.sharedSubnets ?? []) : [],
      llgr: agreed.llgr !== undefined,
      // Two octets an AS: AS4_PATH may come on top.
      room: (maxMessage - 120) / (negotiated.fourOctetAs ? 1 : 2),
    };
    const encoding: GroupEncoding = { fourOctetAs: negotiated.fourOctetAs, maxMessage, addPath };
    const scopes = [...this.#locals.scopes.keys()].filter((scope) =>
      scopeNames(scope).includes(peer.name),
    );
    const key = JSON.stringify([
      { ...context, self: self && [...self] },
      encoding,
      policy?.name,
      policy &&
        this.#binder.keyOf(policy, {
          family: family.family,
          neighbor: peer.name,
          neighborAsn: negotiated.peerAsn,
          localAsn: negotiated.localAsn,
        }),
      scopes,
    ]);
    return { key, context, encoding, policy, scopes: new Set(scopes) };
  }
}

/** Our address as the neighbour can use it in the family; undefined: there is none. */
function selfNextHop(peer: SpeakerPeer, family: PeerFamily): Uint8Array | undefined {
  const local = peer.negotiated!.endpoints.localAddress;
  const others = (peer.config.selfAddresses ?? []).flatMap((text) => Address.tryParse(text) ?? []);
  const v4 = [local, ...others].find(Address.isIPv4);
  const v6 = [local, ...others].find(Address.isIPv6);
  const wide = (address: Address): Uint8Array => {
    const bytes = Address.toBytes(address);
    if (!Address.isLinkLocal(address)) {
      if (!Address.isLinkLocal(local) || Address.isIPv4(local)) return bytes;
      // RFC 2545 section 3: on a shared link the link-local address comes along.
      return concat(bytes, Address.toBytes(local));
    }
    return concat(bytes, bytes);
  };
  if (family.family === 'ipv6-unicast') return v6 === undefined ? undefined : wide(v6);
  if (v4 !== undefined && Address.isIPv4(local)) return Address.toBytes(v4);
  if (family.negotiated!.extendedNextHop && v6 !== undefined) return wide(v6);
  return v4 === undefined ? undefined : Address.toBytes(v4);
}

function concat(a: Uint8Array, b: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(a.length + b.length);
  bytes.set(a);
  bytes.set(b, a.length);
  return bytes;
}
