import { encodeEndOfRib, UpdateEncoder } from '../wire/update-encoder.ts';
import { type Chunk, ChunkBuilder, cut, type Gathered, gather } from './chunk.ts';
import type { Exporter } from './export.ts';
import { Journal, type JournalReader } from './journal.ts';
import { OutTable } from './out-table.ts';
import type { Rib } from './rib.ts';

/** What of the bytes on the wire depends on the neighbour; part of a group's key. */
export interface GroupEncoding {
  readonly fourOctetAs: boolean;
  readonly maxMessage: number;
  /** Paths per prefix sent with ADD-PATH; 0: without. */
  readonly addPath: number;
}

/** One neighbour in a group. */
export interface Member extends JournalReader {
  readonly peer: number;
  readonly name: string;
  /** Next item of the walk over all; 0: none is going on. */
  walk: number;
  walkEnd: number;
  /** Instead of all items: these, withdrawals included. */
  list: Int32Array | undefined;
  /** The walk is a refresh that is framed (RFC 7313). */
  framing: 'none' | 'begin' | 'end';
  /** End-of-RIB is to be sent after the walk. */
  endOfRib: boolean;
  endOfRibSent: boolean;
  /** It has been told nothing at all: what happened before its walk begins is no news to it. */
  fresh: boolean;
  /** Goes out before anything else. */
  prelude: Uint8Array | undefined;
  /** Announced by the walk so far. */
  walked: number;
  /** It has been read dry: a `wake` is due when there is more. */
  asleep: boolean;
}

const cacheBytes = 1 << 20;

interface WalkChunk {
  readonly chunk: Chunk;
  readonly end: number;
  /** Of the journal when it was made: who uses it must read from there on. */
  readonly position: number;
}

/**
 * Neighbours that are sent the same. The group reads the RIB's journal, keeps what is sent by prefix, and
 * writes a journal of its own, in which each neighbour is a position: a slow one costs nothing more.
 * Bytes are made once for all who stand at the same place.
 */
export class UpdateGroup {
  key: string;
  readonly rib: Rib;
  exporter: Exporter;
  readonly encoding: GroupEncoding;
  readonly out: OutTable;
  readonly journal: Journal;
  readonly members = new Map<number, Member>();
  /** Of the RIB's journal. */
  readonly reader: JournalReader;
  /** Next prefix of a walk over the whole RIB (policy changed, group is new); 0: none. */
  evaluating = 0;
  /** ms before which small changes wait for more. */
  quietUntil = 0;
  readonly #isVisible: (path: number) => boolean;
  readonly #tagOf: (path: number) => string | undefined;
  readonly #builder: ChunkBuilder;
  readonly #chunks = new Map<number, { readonly chunk: Chunk; readonly end: number }>();
  readonly #walks = new Map<number, WalkChunk>();
  #cached = 0;
  #generation = 0;
  #dead: number[] = [];
  #floor = 0;
  readonly #ranked: number[] = [];
  readonly #onGrow: (capacity: number) => void;

  constructor(
    key: string,
    rib: Rib,
    exporter: Exporter,
    encoding: GroupEncoding,
    isVisible: (path: number) => boolean,
    tagOf: (path: number) => string | undefined,
  ) {
    this.key = key;
    this.rib = rib;
    this.exporter = exporter;
    this.encoding = encoding;
    this.#isVisible = isVisible;
    this.#tagOf = tagOf;
    this.out = new OutTable(encoding.addPath > 0, rib.prefixes.capacity);
    this.journal = new Journal(this.out.capacity);
    this.#onGrow = (capacity) => {
      this.out.resize(capacity);
      this.journal.resize(this.out.capacity);
    };
    rib.prefixes.onGrow(this.#onGrow);
    const encoder = new UpdateEncoder(
      {
        family: rib.family,
        addPath: encoding.addPath > 0,
        fourOctetAs: encoding.fourOctetAs,
        maxMessage: encoding.maxMessage,
      },
      80_000,
    );
    this.#builder = new ChunkBuilder(encoder, rib.sets, rib.prefixes, this.out);
    this.reader = rib.journal.open();
    rib.holders.add(this);
    if (encoding.addPath > 0) rib.noisy++;
    this.evaluating = 1;
  }

  close(): void {
    const { rib, out } = this;
    rib.journal.close(this.reader);
    rib.prefixes.offGrow(this.#onGrow);
    rib.holders.delete(this);
    if (this.encoding.addPath > 0) rib.noisy--;
    const end = out.end(rib.prefixes.end);
    for (let item = 1; item < end; item++)
      if (out.set[item] !== 0) rib.sets.release(out.set[item]!);
    this.exporter.close();
  }

  /** Another policy, or other rules: everything is looked at again, and only what differs is told. */
  setExporter(exporter: Exporter): void {
    const old = this.exporter;
    this.exporter = exporter;
    this.evaluating = 1;
    old.close();
  }

  get bytes(): number {
    return this.out.bytes + this.journal.bytes + this.#cached;
  }

  /** Does the RIB have something that the group has not looked at? */
  get isBehind(): boolean {
    return this.evaluating !== 0 || this.reader.position < this.rib.journal.end;
  }

  /** Takes over what changed, at most about `budget` prefixes. Gives what is left of the budget. */
  settle(budget: number): number {
    const { rib, reader } = this;
    if (rib.held) return budget;
    let left = budget;
    if (this.evaluating !== 0) {
      const end = rib.prefixes.end;
      let prefix = this.evaluating;
      for (; prefix < end && left > 0; prefix++, left--) this.#evaluate(prefix);
      this.evaluating = prefix < end ? prefix : 0;
      if (this.evaluating !== 0) return 0;
    }
    const { journal } = rib;
    let at = reader.position;
    const end = journal.end;
    for (; at < end && left > 0; at++) {
      const prefix = journal.at(at);
      if (prefix === 0) continue;
      left--;
      this.#evaluate(prefix);
    }
    journal.advance(reader, at);
    return left;
  }

  #evaluate(prefix: number): void {
    if (this.encoding.addPath > 0) {
      this.#evaluateAll(prefix);
      return;
    }
    const { rib } = this;
    let path = rib.best[prefix]!;
    if (path !== 0 && rib.isScoped(prefix)) path = this.bestVisible(prefix);
    if (path === 0) {
      if (this.out.set[prefix] !== 0) this.#put(prefix, 0, 0);
      return;
    }
    const result = this.exporter.run(path, this.#tag(path));
    this.#put(prefix, Math.max(result, 0), rib.paths.peer[path]!);
  }

  #tag(path: number): string | undefined {
    return this.rib.paths.peer[path] === 0 ? this.#tagOf(path) : undefined;
  }

  /** The best path that is meant for this group's neighbours. */
  bestVisible(prefix: number): number {
    this.rib.ranked(prefix, Number.POSITIVE_INFINITY, this.#ranked);
    for (const path of this.#ranked) if (this.#isVisible(path)) return path;
    return 0;
  }

  isVisible(path: number): boolean {
    return this.#isVisible(path);
  }

  #evaluateAll(prefix: number): void {
    const { rib, out } = this;
    rib.ranked(prefix, Number.POSITIVE_INFINITY, this.#ranked);
    const wanted: number[] = [];
    for (const path of this.#ranked) {
      if (wanted.length === this.encoding.addPath) break;
      if (this.#isVisible(path)) wanted.push(path);
    }
    for (let item = out.first(prefix); item !== 0; item = out.next(item)) {
      if (out.set[item] !== 0 && !wanted.includes(out.pathIdOf(item))) this.#put(item, 0, 0);
    }
    for (const path of wanted) {
      const result = this.exporter.run(path, this.#tag(path));
      let item = out.find(prefix, path);
      if (result <= 0) {
        if (item !== 0 && out.set[item] !== 0) this.#put(item, 0, 0);
        continue;
      }
      if (item === 0) {
        item = out.add(prefix, path);
        this.journal.resize(out.capacity);
      }
      this.#put(item, result, rib.paths.peer[path]!);
    }
  }

  #put(item: number, set: number, source: number): void {
    const { out } = this;
    const old = out.set[item]!;
    if (!out.put(item, set, source)) return;
    const { sets } = this.rib;
    if (set !== 0) sets.refs[set]!++;
    if (old !== 0) sets.release(old);
    this.journal.append(item);
    if (set === 0 && out.isAddPath) this.#dead.push(item);
  }

  /** A new session: it is told everything, then End-of-RIB. */
  join(peer: number, name: string): Member {
    const member = newMember(peer, name);
    this.journal.adopt(member);
    this.members.set(peer, member);
    return member;
  }

  /** A reader in a neighbour's place, which is no neighbour: a monitor of what that one is sent. */
  shadow(peer: number, name: string): Member {
    const member = newMember(peer, name);
    this.journal.adopt(member);
    return member;
  }

  dropShadow(member: Member): void {
    this.journal.close(member);
  }

  /**
   * Takes over a neighbour that another group has served, when nothing is left to evaluate: it is told what
   * differs. If it was not up to date there, nothing is known of what it has, and everything is told.
   */
  joinFrom(other: UpdateGroup, member: Member): Member {
    const { peer } = member;
    const joined = this.join(peer, member.name);
    joined.fresh = false;
    joined.endOfRib = member.endOfRib;
    joined.endOfRibSent = member.endOfRibSent;
    joined.walked = member.walked;
    if (this.out.isAddPath) {
      // What it was to be told first on its last move still comes first.
      const before = member.prelude ?? new Uint8Array(0);
      const strangers = other.#strangers(this, peer);
      joined.prelude = new Uint8Array(before.length + strangers.length);
      joined.prelude.set(before);
      joined.prelude.set(strangers, before.length);
      return joined;
    }
    const isKnown = member.walk === 0 && member.prelude === undefined;
    const end = this.rib.prefixes.end;
    const differing: number[] = [];
    for (let prefix = 1; prefix < end; prefix++) {
      if (
        !isKnown ||
        this.#seenBy(peer, prefix) !== other.#seenBy(peer, prefix) ||
        other.journal.isPending(prefix, member.position)
      ) {
        if (this.rib.prefixes.has(prefix)) differing.push(prefix);
      }
    }
    joined.list = Int32Array.from(differing);
    return joined;
  }

  /** Withdrawals of the paths that a member may have from here, and that are not in `next`. */
  #strangers(next: UpdateGroup, peer: number): Uint8Array {
    const { out } = this;
    const items: number[] = [];
    for (let item = 1; item < out.end(0); item++) {
      const prefix = out.prefixOf(item);
      if (prefix === 0) continue;
      const there = next.out.find(prefix, out.pathIdOf(item));
      if (there === 0 || next.#seenBy(peer, there) === 0) items.push(item);
    }
    return this.#builder.withdrawals(items);
  }

  #seenBy(peer: number, prefix: number): number {
    return this.out.sourceOf(prefix) === peer ? 0 : this.out.set[prefix]!;
  }

  leave(peer: number): void {
    const member = this.members.get(peer);
    if (member === undefined) return;
    this.journal.close(member);
    this.members.delete(peer);
  }

  /** Tells everything once more (route refresh, soft reset). */
  refresh(peer: number, framed: boolean): void {
    const member = this.members.get(peer);
    if (member === undefined) return;
    member.walk = 1;
    member.walkEnd = 0;
    member.list = undefined;
    if (framed) member.framing = 'begin';
  }

  /** Is there something for the member now? */
  isReady(member: Member): boolean {
    if (this.rib.held) return false;
    if (member.prelude !== undefined) return true;
    if (member.walk !== 0) return this.evaluating === 0;
    return member.endOfRib || member.framing !== 'none' || member.position < this.journal.end;
  }

  /** Does the neighbour have the item's present state? */
  hasBeenTold(member: Member, item: number): boolean {
    if (this.journal.isPending(item, member.position)) return false;
    if (member.walk === 0 || member.endOfRibSent) return true;
    return item < member.walk;
  }

  pending(member: Member): number {
    const rest = member.list?.length ?? this.out.live;
    return (
      this.journal.end -
      member.position +
      (member.walk === 0 ? 0 : Math.max(0, rest - member.walk + 1))
    );
  }

  advertised(member: Member): number {
    return member.walk !== 0 && !member.endOfRibSent
      ? member.walked
      : this.out.countFor(member.peer);
  }

  /** Gathers messages until `maxBytes` are there or nothing is left. */
  produce(
    member: Member,
    maxBytes: number,
    into: Gathered,
    frame: (subtype: 'begin' | 'end') => Uint8Array,
  ): void {
    if (this.rib.held || this.evaluating !== 0) return;
    if (this.#generation !== this.journal.generation) {
      this.#generation = this.journal.generation;
      this.#forgetChunks();
    }
    if (member.prelude !== undefined) {
      gather(into, member.prelude, 1);
      member.prelude = undefined;
    }
    if (member.framing === 'begin') {
      member.framing = 'end';
      gather(into, frame('begin'), 0);
    }
    while (into.bytes < maxBytes) {
      if (member.walk !== 0) {
        if (member.list === undefined) this.#walk(member, into);
        else this.#walkList(member, into);
        continue;
      }
      if (member.endOfRib) {
        member.endOfRib = false;
        member.endOfRibSent = true;
        gather(into, encodeEndOfRib(this.rib.family), 1);
      }
      if (member.framing === 'end') {
        member.framing = 'none';
        gather(into, frame('end'), 0);
      }
      if (member.position >= this.journal.end) break;
      const { chunk, end } = this.#chunk(member.position);
      this.journal.advance(member, end);
      cut(chunk, member.peer, into);
    }
  }

  #chunk(from: number): { readonly chunk: Chunk; readonly end: number } {
    const cached = this.#chunks.get(from);
    if (cached !== undefined) return cached;
    const { journal } = this;
    const builder = this.#builder;
    let at = from;
    for (; at < journal.end && !builder.isFull; at++) {
      const item = journal.at(at);
      if (item !== 0) builder.add(item, true);
    }
    const made = { chunk: builder.take(), end: at };
    if (this.members.size > 1) {
      this.#room(made.chunk.bytes.length);
      this.#chunks.set(from, made);
    }
    return made;
  }

  #walk(member: Member, into: Gathered): void {
    const { out } = this;
    if (member.fresh) {
      member.fresh = false;
      this.journal.advance(member, this.journal.end);
    }
    if (member.walkEnd === 0) member.walkEnd = out.end(this.rib.prefixes.end);
    const from = member.walk;
    let cached = this.#walks.get(from);
    // So much has happened since that it is cheaper to read the table than to read it and what happened.
    if (cached !== undefined && this.journal.end - cached.position > cached.end - from)
      cached = undefined;
    if (cached === undefined) {
      const position = this.journal.end;
      this.journal.seal();
      const builder = this.#builder;
      const end = out.end(this.rib.prefixes.end);
      let item = from;
      for (; item < end && !builder.isFull; item++) {
        if (out.set[item] !== 0) builder.add(item, false);
      }
      cached = { chunk: builder.take(), end: item, position };
      // One of no items would be one to walk in for ever, once there are more.
      if (this.members.size > 1 && item > from) {
        this.#room(cached.chunk.bytes.length);
        this.#walks.set(from, cached);
      }
    }
    if (cached.position < member.position) member.position = cached.position;
    member.walk = cached.end >= member.walkEnd ? 0 : cached.end;
    if (member.walk === 0) member.walkEnd = 0;
    const before = into.announced;
    cut(cached.chunk, member.peer, into);
    member.walked += into.announced - before;
  }

  #walkList(member: Member, into: Gathered): void {
    const list = member.list!;
    const builder = this.#builder;
    let at = member.walk - 1;
    for (; at < list.length && !builder.isFull; at++) {
      const item = list[at]!;
      // Cut out, but told before: the neighbour's own.
      if (this.out.set[item] !== 0 && this.out.sourceOf(item) === member.peer)
        this.out.mixed[item] = 1;
      builder.add(item, true);
    }
    member.walk = at >= list.length ? 0 : at + 1;
    if (member.walk === 0) member.list = undefined;
    cut(builder.take(), member.peer, into);
  }

  #room(bytes: number): void {
    this.#cached += bytes;
    for (const map of [this.#chunks, this.#walks]) {
      for (const [key, { chunk }] of map) {
        if (this.#cached <= cacheBytes) return;
        map.delete(key);
        this.#cached -= chunk.bytes.length;
      }
    }
  }

  #forgetChunks(): void {
    if (this.#chunks.size === 0 && this.#walks.size === 0) return;
    this.#chunks.clear();
    this.#walks.clear();
    this.#cached = 0;
  }

  // What the RIB asks before it gives a prefix's number to another prefix.

  prepare(): void {
    for (const member of this.members.values()) {
      if (member.fresh) this.journal.advance(member, this.journal.end);
    }
    this.#floor = this.journal.floor();
    const { out, journal } = this;
    const kept: number[] = [];
    for (const item of this.#dead) {
      if (out.set[item] !== 0 || out.prefixOf(item) === 0) continue;
      if (journal.isPending(item, this.#floor)) kept.push(item);
      else {
        journal.forget(item);
        out.remove(item);
      }
    }
    this.#dead = kept;
  }

  holds(prefix: number): boolean {
    if (this.out.isAddPath) return this.out.first(prefix) !== 0;
    return (
      this.out.set[prefix] !== 0 || this.journal.isPending(prefix, this.#floor) || this.#isListed()
    );
  }

  /** Lists of prefixes to tell stand by number: while there is one, no number changes hands. */
  #isListed(): boolean {
    for (const member of this.members.values()) if (member.list !== undefined) return true;
    return false;
  }

  freed(prefix: number): void {
    // A walk that was made before may hold the prefix under this number.
    this.#forgetChunks();
    if (this.out.isAddPath) return;
    this.journal.forget(prefix);
    this.out.remove(prefix);
  }
}

const newMember = (peer: number, name: string): Member => ({
  position: 0,
  peer,
  name,
  walk: 1,
  walkEnd: 0,
  list: undefined,
  fresh: true,
  prelude: undefined,
  framing: 'none',
  endOfRib: true,
  endOfRibSent: false,
  walked: 0,
  asleep: true,
});
