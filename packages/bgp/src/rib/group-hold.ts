import type { ChunkCache } from './chunk-cache.ts';
import type { PrefixHolder } from './graveyard.ts';
import type { Member } from './group-member.ts';
import type { Journal } from './journal.ts';
import type { OutTable } from './out-table.ts';

interface GroupTables {
  readonly members: ReadonlyMap<number, Member>;
  readonly out: OutTable;
  readonly journal: Journal;
  readonly cache: ChunkCache;
}

/** What the RIB asks a group before it gives a prefix's number to another prefix. */
export class GroupHold implements PrefixHolder {
  readonly #group: GroupTables;
  /** ADD-PATH items that were withdrawn, and whose numbers are not free yet. */
  dead: number[] = [];
  #floor = 0;

  constructor(group: GroupTables) {
    this.#group = group;
  }

  prepare(): void {
    const { members, out, journal } = this.#group;
    for (const member of members.values()) {
      if (member.fresh) journal.advance(member, journal.end);
    }
    this.#floor = journal.floor();
    const kept: number[] = [];
    for (const item of this.dead) {
      if (out.set[item] !== 0 || out.prefixOf(item) === 0) continue;
      if (journal.isPending(item, this.#floor)) kept.push(item);
      else {
        journal.forget(item);
        out.remove(item);
      }
    }
    this.dead = kept;
  }

  holds(prefix: number): boolean {
    const { out, journal } = this.#group;
    if (out.isAddPath) return out.first(prefix) !== 0;
    return out.set[prefix] !== 0 || journal.isPending(prefix, this.#floor) || this.#isListed();
  }

  /** Lists of prefixes to tell stand by number: while there is one, no number changes hands. */
  #isListed(): boolean {
    for (const member of this.#group.members.values()) if (member.list !== undefined) return true;
    return false;
  }

  freed(prefix: number): void {
    const { out, journal, cache } = this.#group;
    // A walk that was made before may hold the prefix under this number.
    cache.clear();
    if (out.isAddPath) return;
    journal.forget(prefix);
    out.remove(prefix);
  }
}
