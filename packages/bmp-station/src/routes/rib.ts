import {
  AttributeTable,
  Family,
  familyTable,
  fieldsOf,
  NextHopTable,
  type NlriBlock,
  NlriCursor,
  type ParsedUpdate,
} from '@causeway/bgp';
import { RouteTable } from './route-table.ts';

/** What became of a prefix in a feed. */
export const Change = Object.freeze({ announced: 0, changed: 1, withdrawn: 2, lost: 3 } as const);
export type Change = (typeof Change)[keyof typeof Change];

/** Is told of every change as it is made; the prefix's number is good during the call, or while pinned. */
export type ChangeSink = (change: Change, family: number, prefix: number) => void;

/** Prefixes of one family by number, pinned. */
export interface PrefixList {
  readonly family: number;
  readonly prefixes: Int32Array;
}

/**
 * All routes that all routers told, by feed: a feed is one view of one peer of one router and has a small
 * number. Families are indexes of `familyTable`.
 */
export class Rib {
  readonly nextHops = new NextHopTable();
  readonly attributes = new AttributeTable(this.nextHops);
  readonly tables: readonly RouteTable[] = familyTable.map(
    ({ bits }) => new RouteTable(bits, this.attributes),
  );
  readonly #limit: number;
  readonly #cursor = new NlriCursor();
  readonly #freeFeeds: number[] = [];
  #feeds = 0;

  /** `limit`: routes of both families together. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  get size(): number {
    return this.tables.reduce((sum, table) => sum + table.size, 0);
  }

  get bytes(): number {
    return this.attributes.tableBytes + this.tables.reduce((sum, { bytes }) => sum + bytes, 0);
  }

  openFeed(): number {
    const free = this.#freeFeeds.pop();
    if (free !== undefined) return free;
    this.#feeds += 1;
    return this.#feeds;
  }

  /** The feed's routes must be gone. */
  closeFeed(feed: number): void {
    this.#freeFeeds.push(feed);
  }

  countOf(feed: number): number {
    return this.tables.reduce((sum, table) => sum + table.countOf(feed), 0);
  }

  /** `now` in seconds since 1970. False: the limit is reached, and the rest of the update was not taken. */
  apply(feed: number, update: ParsedUpdate, now: number, sink: ChangeSink): boolean {
    for (const block of update.withdrawn) this.#withdraw(feed, block, sink);
    for (const block of update.announced) {
      if (!this.#announce(feed, update, block, now, sink)) return false;
    }
    return true;
  }

  #withdraw(feed: number, block: NlriBlock, sink: ChangeSink): void {
    const { index } = Family.row(block.family);
    const table = this.tables[index]!;
    const cursor = this.#cursor;
    cursor.reset(block);
    while (cursor.next()) {
      const { length, w0, w1, w2, w3 } = cursor;
      const prefix = table.prefixes.find(length, w0, w1, w2, w3);
      if (prefix === 0 || !table.withdraw(feed, prefix, cursor.pathId)) continue;
      sink(Change.withdrawn, index, prefix);
      table.settle(prefix);
    }
  }

  #announce(
    feed: number,
    update: ParsedUpdate,
    block: NlriBlock,
    now: number,
    sink: ChangeSink,
  ): boolean {
    const { index } = Family.row(block.family);
    const table = this.tables[index]!;
    const nextHop = this.nextHops.intern(block.bytes, block.nextHopStart, block.nextHopLength);
    const set = this.attributes.intern(
      update.attributeBytes,
      update.attributesStart,
      update.attributesEnd,
      update.attributesHash,
      nextHop,
    );
    this.nextHops.release(nextHop);
    let room = this.#limit - this.size;
    const cursor = this.#cursor;
    cursor.reset(block);
    while (room > 0 && cursor.next()) {
      const { length, w0, w1, w2, w3, pathId } = cursor;
      const prefix = table.prefixes.insert(length, w0, w1, w2, w3);
      this.attributes.retain(set);
      const done = table.announce(feed, prefix, pathId, set, now);
      if (done === 'same') continue;
      if (done === 'new') room -= 1;
      sink(done === 'new' ? Change.announced : Change.changed, index, prefix);
    }
    this.attributes.release(set);
    return room > 0;
  }

  /** Removes all routes of a feed. With `list`, the prefixes that went are given, each once and pinned. */
  clear(feed: number, list: boolean): PrefixList[] {
    const lists: PrefixList[] = [];
    this.tables.forEach((table, family) => {
      const gone = new Int32Array(list ? table.countOf(feed) : 0);
      let count = 0;
      let last = 0;
      table.clear(feed, (prefix) => {
        // Paths of one prefix mostly follow one another; those that do not are told twice, which does no harm.
        if (!list || prefix === last) return;
        last = prefix;
        table.pin(prefix);
        gone[count] = prefix;
        count += 1;
      });
      if (count > 0) lists.push({ family, prefixes: gone.subarray(0, count) });
    });
    return lists;
  }

  unpin(lists: readonly PrefixList[]): void {
    for (const { family, prefixes } of lists) {
      for (const prefix of prefixes) this.tables[family]!.unpin(prefix);
    }
  }

  text(family: number, prefix: number): string {
    return this.tables[family]!.prefixes.text(prefix);
  }

  /** Family and number of a prefix's text; number 0 if no feed has it. Throws IpError. */
  find(text: string): { readonly family: number; readonly prefix: number } {
    const { bits, length, w0, w1, w2, w3 } = fieldsOf(text);
    const family = bits === 32 ? 0 : 1;
    return { family, prefix: this.tables[family]!.prefixes.find(length, w0, w1, w2, w3) };
  }
}
