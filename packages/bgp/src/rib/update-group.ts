import { encodeEndOfRib, UpdateEncoder } from '../wire/update-encoder.ts';
import { ChunkBuilder, cut, type Gathered, gather } from './chunk.ts';
import { ChunkCache, type JournalChunk } from './chunk-cache.ts';
import { Evaluation } from './evaluation.ts';
import type { Exporter } from './export.ts';
import { GroupHold } from './group-hold.ts';
import { type Member, newMember } from './group-member.ts';
import { Journal } from './journal.ts';
import { OutTable } from './out-table.ts';
import type { Rib } from './rib.ts';

/** What of the bytes on the wire depends on the neighbour; part of a group's key. */
export interface GroupEncoding {
  readonly fourOctetAs: boolean;
  readonly maxMessage: number;
  /** Paths per prefix sent with ADD-PATH; 0: without. */
  readonly addPath: number;
}

/**
 * Neighbours that are sent the same. The group reads the RIB's journal, keeps what is sent by prefix, and
 * writes a journal of its own, in which each neighbour is a position: a slow one costs nothing more.
 * Bytes are made once for all who stand at the same place.
 */
export class UpdateGroup {
  key: string;
  readonly rib: Rib;
  readonly evaluation: Evaluation;
  readonly encoding: GroupEncoding;
  readonly out: OutTable;
  readonly journal: Journal;
  readonly members = new Map<number, Member>();
  /** ms before which small changes wait for more. */
  quietUntil = 0;
  readonly #builder: ChunkBuilder;
  readonly #cache = new ChunkCache();
  readonly #hold: GroupHold;
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
    this.encoding = encoding;
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
    this.evaluation = new Evaluation({
      rib,
      out: this.out,
      journal: this.journal,
      exporter,
      addPath: encoding.addPath,
      isVisible,
      tagOf,
      onDead: (item) => this.#hold.dead.push(item),
    });
    const { members, out, journal } = this;
    this.#hold = new GroupHold({ members, out, journal, cache: this.#cache });
    rib.graveyard.holders.add(this.#hold);
    if (encoding.addPath > 0) rib.noisy++;
  }

  close(): void {
    const { rib } = this;
    rib.prefixes.offGrow(this.#onGrow);
    rib.graveyard.holders.delete(this.#hold);
    if (this.encoding.addPath > 0) rib.noisy--;
    this.evaluation.close();
  }

  get bytes(): number {
    return this.out.bytes + this.journal.bytes + this.#cache.bytes;
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

  /** Withdrawals of items as they stand, apart from what is shared. */
  withdrawals(items: readonly number[]): Uint8Array {
    return this.#builder.withdrawals(items);
  }

  /** The set that the peer is sent for an item; 0: none. */
  seenBy(peer: number, item: number): number {
    return this.out.sourceOf(item) === peer ? 0 : this.out.set[item]!;
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
    if (member.walk !== 0) return this.evaluation.evaluating === 0;
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
    if (this.rib.held || this.evaluation.evaluating !== 0) return;
    this.#cache.follow(this.journal.generation);
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

  #chunk(from: number): JournalChunk {
    const cached = this.#cache.chunk(from);
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
      this.#cache.keep(from, made);
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
    let cached = this.#cache.walk(from);
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
        this.#cache.keepWalk(from, cached);
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
}
