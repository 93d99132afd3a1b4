import type { Gathered } from '../rib/chunk.ts';
import { Journal, type JournalReader } from '../rib/journal.ts';
import { PathFlag } from '../rib/path-table.ts';
import type { PeerColumns } from '../rib/peer-columns.ts';
import { PeerKind } from '../rib/peer-columns.ts';
import type { PrefixFields } from '../rib/prefix-table.ts';
import type { Rib } from '../rib/rib.ts';
import type { Member, UpdateGroup } from '../rib/update-group.ts';
import { type FamilyKey, familyTable } from '../types.ts';
import { encodeRouteRefresh } from '../wire/route-refresh.ts';
import { UpdateEncoder } from '../wire/update-encoder.ts';
import type { LocalPaths } from './locals.ts';
import type { SpeakerPeer } from './peer.ts';
import type { BestNextHop, FeedId, FeedItem, FeedSpec } from './types.ts';

export interface FeedContext {
  readonly ribs: Readonly<Record<FamilyKey, Rib>>;
  readonly columns: PeerColumns;
  readonly peers: ReadonlyMap<string, SpeakerPeer>;
  readonly byIndex: readonly (SpeakerPeer | undefined)[];
  readonly locals: LocalPaths;
  readonly wake: (feed: FeedId) => void;
}

/** One feed: positions in journals, and where a first walk over the table stands. */
interface Feed {
  asleep: boolean;
  hasMore(): boolean;
  read(limit: number, into: FeedItem[]): void;
  peerUp(peer: SpeakerPeer): void;
  peerDown(peer: SpeakerPeer): void;
  overrun(rib: Rib): void;
  close(): void;
}

/** Items of journals looked at in one read: the event loop goes on even if none of them is told. */
const mostLooks = 50_000;
/** Gone paths remembered for monitors, above which the monitors start anew. */
const mostTombs = 65_536;
const bytesPerItem = 32_768;

/** Pull feeds over the RIBs, for the kernel and for monitors. */
export class Feeds {
  readonly #context: FeedContext;
  readonly #feeds = new Map<FeedId, Feed>();
  #next = 1;

  constructor(context: FeedContext) {
    this.#context = context;
  }

  open(spec: FeedSpec): FeedId {
    const id = this.#next++;
    this.#feeds.set(id, this.#make(spec));
    return id;
  }

  #make(spec: FeedSpec): Feed {
    switch (spec.type) {
      case 'best':
        return new LocFeed(this.#context, spec.families, bestItem);
      case 'loc-rib':
        return new LocFeed(this.#context, undefined, undefined);
      case 'adj-rib-in':
        return new InFeed(this.#context, spec.policy, spec.peers && new Set(spec.peers));
      case 'adj-rib-out':
        return new OutFeed(this.#context, spec.peers && new Set(spec.peers));
      default:
        return spec satisfies never;
    }
  }

  close(id: FeedId): void {
    this.#feeds.get(id)?.close();
    this.#feeds.delete(id);
  }

  read(id: FeedId, limit: number): FeedItem[] {
    const feed = this.#feeds.get(id);
    const items: FeedItem[] = [];
    if (feed === undefined) return items;
    // A read may look at much and tell nothing: that is not yet dry.
    for (let rounds = 0; items.length < limit && feed.hasMore() && rounds < 4; rounds++) {
      feed.read(limit - items.length, items);
    }
    feed.asleep = !feed.hasMore();
    if (!feed.asleep && items.length < limit) this.#context.wake(id);
    return items;
  }

  rouse(): void {
    for (const [id, feed] of this.#feeds) {
      if (!feed.asleep || !feed.hasMore()) continue;
      feed.asleep = false;
      this.#context.wake(id);
    }
  }

  peerUp(peer: SpeakerPeer): void {
    for (const feed of this.#feeds.values()) feed.peerUp(peer);
  }

  peerDown(peer: SpeakerPeer): void {
    for (const feed of this.#feeds.values()) feed.peerDown(peer);
  }

  /** Whoever makes us remember too much starts anew. */
  limit(rib: Rib): void {
    if (
      rib.tombs <= mostTombs + rib.paths.size / 4 &&
      rib.limbo <= mostTombs + (rib.prefixes.size - rib.limbo) / 2
    )
      return;
    for (const feed of this.#feeds.values()) feed.overrun(rib);
  }
}

function encoderFor(family: FamilyKey, addPath: boolean): UpdateEncoder {
  return new UpdateEncoder({ family, addPath, fourOctetAs: true, maxMessage: 4096 });
}

const unspecified = { 32: new Uint8Array(4), 128: new Uint8Array(16) } as const;

/** Writes one path's or prefix's present state; messages are counted as they are opened. */
class Monitor {
  readonly #rib: Rib;
  readonly #encoder: UpdateEncoder;
  readonly #fields: PrefixFields = { length: 0, w0: 0, w1: 0, w2: 0, w3: 0 };
  #set = -1;

  constructor(rib: Rib, addPath: boolean) {
    this.#rib = rib;
    this.#encoder = encoderFor(rib.family, addPath);
  }

  get length(): number {
    return this.#encoder.length;
  }

  /** `set` 0: withdrawn. */
  put(prefix: number, set: number, pathId: number): void {
    const { sets, prefixes } = this.#rib;
    if (set !== this.#set) {
      this.#set = set;
      if (set === 0) this.#encoder.withdraw();
      else {
        const hop = sets.nextHops.bytes(sets.nextHop[set]!);
        this.#encoder.announce(
          sets.bytes,
          sets.start(set),
          sets.end(set),
          hop.length === 0 ? unspecified[prefixes.bits] : hop,
        );
      }
    }
    const fields = this.#fields;
    prefixes.read(prefix, fields);
    this.#encoder.prefix(pathId, fields.length, fields.w0, fields.w1, fields.w2, fields.w3);
  }

  take(): Uint8Array {
    this.#set = -1;
    return this.#encoder.take();
  }
}

/** Sets that go to a monitor must fit one classic message. */
const fits = (rib: Rib, set: number): boolean => rib.sets.length[set]! < 3900;

function countMessages(bytes: Uint8Array): number {
  let count = 0;
  for (let at = 0; at < bytes.length; count++) at += (bytes[at + 16]! << 8) | bytes[at + 17]!;
  return count;
}

interface LocPart {
  readonly rib: Rib;
  readonly reader: JournalReader;
  /** Next prefix of the walk; 0: done. */
  walk: number;
  readonly monitor: Monitor;
}

/** Best paths: for the kernel as items, for monitors as messages. */
class LocFeed implements Feed {
  asleep = true;
  readonly #context: FeedContext;
  readonly #parts: LocPart[];
  readonly #item: typeof bestItem | undefined;
  #lost = false;

  constructor(
    context: FeedContext,
    families: readonly FamilyKey[] | undefined,
    item: typeof bestItem | undefined,
  ) {
    this.#context = context;
    this.#item = item;
    this.#parts = familyTable
      .filter(({ key }) => families === undefined || families.includes(key))
      .map(({ key }) => {
        const rib = context.ribs[key];
        const reader = rib.journal.open();
        return { rib, reader, walk: 1, monitor: new Monitor(rib, false) };
      });
  }

  hasMore(): boolean {
    return (
      this.#lost ||
      this.#parts.some(
        ({ rib, reader, walk }) => !rib.held && (walk !== 0 || reader.position < rib.journal.end),
      )
    );
  }

  read(limit: number, into: FeedItem[]): void {
    if (this.#lost) {
      this.#lost = false;
      into.push({ type: 'overrun' });
    }
    const before = into.length;
    for (const part of this.#parts) {
      if (part.rib.held) continue;
      this.#walk(part, before + limit, into);
      if (part.walk === 0) this.#follow(part, before + limit, into);
    }
  }

  #walk(part: LocPart, end: number, into: FeedItem[]): void {
    const { rib } = part;
    if (part.walk === 0) return;
    let looks = 0;
    while (part.walk < rib.prefixes.end && into.length < end && looks++ < mostLooks) {
      const prefix = part.walk++;
      if (rib.best[prefix] !== 0 && rib.prefixes.has(prefix)) this.#tell(part, prefix, into);
    }
    this.#flush(part, into);
    if (part.walk < rib.prefixes.end) return;
    part.walk = 0;
    into.push({ type: 'synced', family: rib.family });
  }

  #follow(part: LocPart, end: number, into: FeedItem[]): void {
    const { rib, reader } = part;
    const { journal } = rib;
    let at = reader.position;
    for (let looks = 0; at < journal.end && into.length < end && looks < mostLooks; looks++) {
      const prefix = journal.at(at++);
      if (prefix !== 0) this.#tell(part, prefix, into);
    }
    this.#flush(part, into);
    journal.advance(reader, at);
  }

  #tell(part: LocPart, prefix: number, into: FeedItem[]): void {
    const { rib, monitor } = part;
    if (this.#item !== undefined) {
      into.push(this.#item(rib, prefix, this.#context));
      return;
    }
    const best = rib.best[prefix]!;
    const set = best === 0 ? 0 : rib.paths.accepted[best]!;
    monitor.put(prefix, fits(rib, set) ? set : 0, 0);
    if (monitor.length >= bytesPerItem) this.#flush(part, into);
  }

  #flush(part: LocPart, into: FeedItem[]): void {
    const messages = part.monitor.take();
    if (messages.length > 0)
      into.push({ type: 'monitor', messages, count: countMessages(messages) });
  }

  peerUp(): void {}
  peerDown(): void {}

  overrun(rib: Rib): void {
    const part = this.#parts.find((one) => one.rib === rib);
    if (part === undefined || rib.journal.end - part.reader.position < mostTombs) return;
    for (const one of this.#parts) {
      one.walk = 1;
      one.rib.journal.advance(one.reader, one.rib.journal.end);
    }
    this.#lost = true;
  }

  close(): void {
    for (const { rib, reader } of this.#parts) rib.journal.close(reader);
  }
}

function bestItem(rib: Rib, prefix: number, context: FeedContext): FeedItem {
  const { paths, sets } = rib;
  const best = rib.best[prefix]!;
  const text = rib.prefixes.text(prefix);
  if (best === 0)
    return { type: 'best', family: rib.family, prefix: text, nextHops: [], local: false };
  const nextHops: BestNextHop[] = [];
  for (let path = rib.head[prefix]!; path !== 0; path = paths.next[path]!) {
    if (path !== best && (paths.flags[path]! & PathFlag.multipath) === 0) continue;
    if (paths.accepted[path] === 0) continue;
    const hop = sets.nextHop[paths.accepted[path]!]!;
    const peer = context.byIndex[paths.peer[path]!];
    const device = peer?.negotiated?.endpoints.device ?? peer?.config.target.device;
    // Without its link a link-local address says nothing; the global one beside it does (RFC 2545, 3).
    const linkLocal = device === undefined ? undefined : sets.nextHops.linkLocal(hop);
    const address = linkLocal ?? sets.nextHops.address(hop);
    if (address === undefined) continue;
    const isLinkLocal = linkLocal !== undefined || address.startsWith('fe80:');
    nextHops.push({
      address,
      ...(isLinkLocal && device !== undefined ? { device } : {}),
      peer: context.columns.name[paths.peer[path]!] ?? '',
    });
  }
  const kind = context.columns.kind[paths.peer[best]!]!;
  const set = paths.accepted[best]!;
  return {
    type: 'best',
    family: rib.family,
    prefix: text,
    nextHops,
    local: kind === PeerKind.local,
    source: kind === PeerKind.local ? 'local' : kind === PeerKind.ebgp ? 'ebgp' : 'ibgp',
    med: sets.med[set]!,
  };
}

interface InPart {
  readonly rib: Rib;
  readonly reader: JournalReader;
  /** Peers whose paths are to be walked over: next slot each. */
  readonly walks: Map<number, number>;
}

/** Adj-RIB-Ins, before or after policy. */
class InFeed implements Feed {
  asleep = true;
  readonly #context: FeedContext;
  readonly #post: boolean;
  readonly #only: ReadonlySet<string> | undefined;
  readonly #parts: InPart[];
  readonly #monitors = new Map<string, Monitor>();
  #lost = false;

  constructor(context: FeedContext, policy: 'pre' | 'post', only: ReadonlySet<string> | undefined) {
    this.#context = context;
    this.#post = policy === 'post';
    this.#only = only;
    this.#parts = Object.values(context.ribs).map((rib) => {
      rib.inJournal ??= new Journal(rib.paths.capacity);
      return { rib, reader: rib.inJournal.open(), walks: new Map() };
    });
    for (const peer of context.peers.values()) if (peer.negotiated !== undefined) this.peerUp(peer);
  }

  hasMore(): boolean {
    return (
      this.#lost ||
      this.#parts.some(
        ({ rib, reader, walks }) => walks.size > 0 || reader.position < rib.inJournal!.end,
      )
    );
  }

  peerUp(peer: SpeakerPeer): void {
    if (this.#only?.has(peer.name) === false) return;
    for (const { rib, walks } of this.#parts) {
      if (peer.families.get(rib.family)?.negotiated !== undefined) walks.set(peer.index, 1);
    }
  }

  peerDown(peer: SpeakerPeer): void {
    // Peer Down says it all (RFC 7854 section 4.9).
    for (const { walks } of this.#parts) walks.delete(peer.index);
  }

  read(limit: number, into: FeedItem[]): void {
    if (this.#lost) {
      this.#lost = false;
      into.push({ type: 'overrun' });
    }
    const end = into.length + limit;
    for (const part of this.#parts) {
      for (const [peer, from] of part.walks) {
        if (into.length >= end) return;
        this.#walk(part, peer, from, into);
      }
      if (into.length < end) this.#follow(part, into);
    }
  }

  #walk(part: InPart, peer: number, from: number, into: FeedItem[]): void {
    const { rib } = part;
    const { paths } = rib;
    const end = Math.min(paths.end, from + mostLooks);
    for (let slot = from; slot < end; slot++) {
      if (paths.prefix[slot] === 0 || paths.peer[slot] !== peer) continue;
      if ((paths.flags[slot]! & PathFlag.gone) !== 0) continue;
      this.#tell(rib, slot, true, into);
    }
    this.#flush(rib, peer, into);
    if (end < paths.end) {
      part.walks.set(peer, end);
      return;
    }
    part.walks.delete(peer);
    into.push({ type: 'synced', peer: this.#context.columns.name[peer]!, family: rib.family });
  }

  #follow(part: InPart, into: FeedItem[]): void {
    const { rib, reader } = part;
    const journal = rib.inJournal!;
    const touched = new Set<number>();
    let at = reader.position;
    for (let looks = 0; at < journal.end && looks < mostLooks; looks++) {
      const slot = journal.at(at++);
      if (slot === 0 || rib.paths.prefix[slot] === 0) continue;
      const peer = rib.paths.peer[slot]!;
      // A neighbour that is down has been told of as such, and one that is being walked over will be.
      if (peer === 0 || this.#context.byIndex[peer]?.negotiated === undefined) continue;
      if (part.walks.has(peer) || this.#only?.has(this.#context.columns.name[peer]!) === false)
        continue;
      touched.add(peer);
      this.#tell(rib, slot, false, into);
    }
    for (const peer of touched) this.#flush(rib, peer, into);
    journal.advance(reader, at);
  }

  #tell(rib: Rib, slot: number, fresh: boolean, into: FeedItem[]): void {
    const { paths } = rib;
    const peer = paths.peer[slot]!;
    const gone = (paths.flags[slot]! & PathFlag.gone) !== 0;
    const set = gone ? 0 : this.#post ? paths.accepted[slot]! : paths.received[slot]!;
    if (set === 0 && fresh) return;
    const monitor = this.#monitor(rib, peer);
    monitor.put(paths.prefix[slot]!, fits(rib, set) ? set : 0, paths.idOf(slot) | 0);
    if (monitor.length >= bytesPerItem) this.#flush(rib, peer, into);
  }

  #monitor(rib: Rib, peer: number): Monitor {
    const addPath =
      this.#context.byIndex[peer]?.families.get(rib.family)?.negotiated?.addPathReceive === true;
    const key = `${rib.family} ${addPath} ${peer}`;
    let monitor = this.#monitors.get(key);
    if (monitor === undefined) {
      monitor = new Monitor(rib, addPath);
      this.#monitors.set(key, monitor);
    }
    return monitor;
  }

  #flush(rib: Rib, peer: number, into: FeedItem[]): void {
    const messages = this.#monitor(rib, peer).take();
    if (messages.length === 0) return;
    const name = this.#context.columns.name[peer]!;
    into.push({ type: 'monitor', peer: name, messages, count: countMessages(messages) });
  }

  overrun(rib: Rib): void {
    const part = this.#parts.find((one) => one.rib === rib);
    const journal = rib.inJournal!;
    if (part === undefined || journal.end - part.reader.position < mostTombs) return;
    for (const one of this.#parts) {
      one.rib.inJournal!.advance(one.reader, one.rib.inJournal!.end);
    }
    for (const peer of this.#context.peers.values())
      if (peer.negotiated !== undefined) this.peerUp(peer);
    this.#lost = true;
  }

  close(): void {
    for (const { rib, reader } of this.#parts) {
      rib.inJournal!.close(reader);
      if (rib.inJournal!.readers > 0) continue;
      // Nobody needs to know what is gone any more.
      rib.collect();
      rib.inJournal = undefined;
    }
  }
}

interface OutPart {
  readonly peer: SpeakerPeer;
  readonly family: FamilyKey;
  group: UpdateGroup;
  member: Member;
}

/** What neighbours are sent: a second reader of the same chunks, in the neighbour's place. */
class OutFeed implements Feed {
  asleep = true;
  readonly #only: ReadonlySet<string> | undefined;
  readonly #parts = new Map<string, OutPart>();

  constructor(context: FeedContext, only: ReadonlySet<string> | undefined) {
    this.#only = only;
    for (const peer of context.peers.values()) if (peer.negotiated !== undefined) this.peerUp(peer);
  }

  hasMore(): boolean {
    for (const part of this.#parts.values()) {
      if (this.#current(part).isReady(part.member)) return true;
    }
    return false;
  }

  /** A neighbour that moved to another group: the feed goes along, and tells everything once more. */
  #current(part: OutPart): UpdateGroup {
    const group = part.peer.families.get(part.family)?.group;
    if (group !== undefined && group !== part.group) {
      part.group.dropShadow(part.member);
      part.group = group;
      part.member = group.shadow(part.peer.index, part.peer.name);
    }
    return part.group;
  }

  read(limit: number, into: FeedItem[]): void {
    const end = into.length + limit;
    for (const part of this.#parts.values()) {
      if (into.length >= end) return;
      const group = this.#current(part);
      if (!group.isReady(part.member)) continue;
      const wasSynced = part.member.endOfRibSent;
      const gathered: Gathered = { parts: [], bytes: 0, messages: 0, announced: 0 };
      group.produce(part.member, bytesPerItem, gathered, (subtype) =>
        encodeRouteRefresh({ family: { afi: 1, safi: 1 }, subtype }),
      );
      const { name } = part.peer;
      for (const messages of gathered.parts) {
        into.push({ type: 'monitor', peer: name, messages, count: countMessages(messages) });
      }
      if (!wasSynced && part.member.endOfRibSent) {
        into.push({ type: 'synced', peer: name, family: part.family });
      }
    }
  }

  peerUp(peer: SpeakerPeer): void {
    if (this.#only?.has(peer.name) === false) return;
    for (const { family, group } of peer.families.values()) {
      if (group === undefined) continue;
      const member = group.shadow(peer.index, peer.name);
      this.#parts.set(`${peer.index} ${family}`, { peer, family, group, member });
    }
  }

  peerDown(peer: SpeakerPeer): void {
    for (const family of peer.families.keys()) {
      const key = `${peer.index} ${family}`;
      const part = this.#parts.get(key);
      if (part === undefined) continue;
      part.group.dropShadow(part.member);
      this.#parts.delete(key);
    }
  }

  /** Who lags here holds the group's journal as a slow neighbour would: it starts again. */
  overrun(rib: Rib): void {
    for (const part of this.#parts.values()) {
      if (part.group.rib !== rib || part.group.pending(part.member) < mostTombs) continue;
      part.group.dropShadow(part.member);
      part.member = part.group.shadow(part.peer.index, part.peer.name);
    }
  }

  close(): void {
    for (const part of this.#parts.values()) part.group.dropShadow(part.member);
    this.#parts.clear();
  }
}
