import type { JournalReader } from '../rib/journal.ts';
import { PathFlag } from '../rib/path-table.ts';
import { PeerKind } from '../rib/peer-columns.ts';
import type { Rib } from '../rib/rib.ts';
import { type FamilyKey, familyTable } from '../types.ts';
import {
  bytesPerItem,
  countMessages,
  type Feed,
  type FeedContext,
  fits,
  Monitor,
  mostLooks,
  mostTombs,
} from './feed.ts';
import type { BestNextHop, FeedItem } from './feed-types.ts';

interface LocPart {
  readonly rib: Rib;
  readonly reader: JournalReader;
  /** Next prefix of the walk; 0: done. */
  walk: number;
  readonly monitor: Monitor;
}

/** Best paths: for the kernel as items, for monitors as messages. */
export class LocFeed implements Feed {
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

export function bestItem(rib: Rib, prefix: number, context: FeedContext): FeedItem {
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
