import { grown } from '../rib/grown.ts';
import type { JournalReader } from '../rib/journal.ts';
import type { Rib } from '../rib/rib.ts';
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
import type { FeedItem } from './feed-types.ts';
import type { PeerFamily, SpeakerPeer } from './peer.ts';

interface Part {
  readonly peer: SpeakerPeer;
  readonly family: PeerFamily;
  readonly reader: JournalReader;
  /** Next prefix of the walk; 0: done. */
  walk: number;
  readonly monitor: Monitor;
  readonly addPath: boolean;
  /** By prefix: the path that was told (with ADD-PATH), or that one was; 0: none. */
  told: Int32Array | Uint8Array;
}

/**
 * What neighbours would be sent if they had no export policies (RFC 8671 section 3): what is chosen, as it stands in the
 * Loc-RIB, without what the protocol itself keeps from the neighbour, such as its own routes. It is stored nowhere, and
 * read from the Loc-RIB's journal for each neighbour apart: who asks for it pays for it.
 */
export class OutPreFeed implements Feed {
  asleep = true;
  readonly #only: ReadonlySet<string> | undefined;
  readonly #parts = new Map<string, Part>();
  #lost = false;

  constructor(context: FeedContext, only: ReadonlySet<string> | undefined) {
    this.#only = only;
    for (const peer of context.peers.values()) if (peer.negotiated !== undefined) this.peerUp(peer);
  }

  hasMore(): boolean {
    if (this.#lost) return true;
    for (const { family, reader, walk } of this.#parts.values()) {
      const { rib } = family;
      if (!rib.held && (walk !== 0 || reader.position < rib.journal.end)) return true;
    }
    return false;
  }

  read(limit: number, into: FeedItem[]): void {
    if (this.#lost) {
      this.#lost = false;
      into.push({ type: 'overrun' });
    }
    const end = into.length + limit;
    for (const part of this.#parts.values()) {
      if (into.length >= end) return;
      if (part.family.rib.held) continue;
      if (part.walk !== 0) this.#walk(part, end, into);
      if (part.walk === 0) this.#follow(part, end, into);
    }
  }

  #walk(part: Part, end: number, into: FeedItem[]): void {
    const { prefixes, best, family } = part.family.rib;
    for (
      let looks = 0;
      part.walk < prefixes.end && into.length < end && looks < mostLooks;
      looks++
    ) {
      const prefix = part.walk++;
      if (best[prefix] !== 0 && prefixes.has(prefix)) this.#tell(part, prefix, into);
    }
    flush(part, into);
    if (part.walk < prefixes.end) return;
    part.walk = 0;
    into.push({ type: 'synced', peer: part.peer.name, family });
  }

  #follow(part: Part, end: number, into: FeedItem[]): void {
    const { journal } = part.family.rib;
    let at = part.reader.position;
    for (let looks = 0; at < journal.end && into.length < end && looks < mostLooks; looks++) {
      const prefix = journal.at(at++);
      if (prefix !== 0) this.#tell(part, prefix, into);
    }
    flush(part, into);
    journal.advance(part.reader, at);
  }

  #tell(part: Part, prefix: number, into: FeedItem[]): void {
    const { peer, family, monitor, addPath } = part;
    const { rib, group } = family;
    if (group === undefined) return;
    if (prefix >= part.told.length) part.told = grown(part.told, rib.prefixes.capacity);
    const { evaluation } = group;
    const path = rib.isScoped(prefix) ? evaluation.bestVisible(prefix) : rib.best[prefix]!;
    const isFor =
      path !== 0 &&
      rib.paths.peer[path] !== peer.index &&
      evaluation.exporter.barred(path) === undefined &&
      fits(rib, rib.paths.accepted[path]!);
    const before = part.told[prefix]!;
    if (before !== 0 && (!isFor || (addPath && before !== path)))
      monitor.put(prefix, 0, addPath ? before : 0);
    if (isFor) monitor.put(prefix, rib.paths.accepted[path]!, addPath ? path : 0);
    part.told[prefix] = isFor ? (addPath ? path : 1) : 0;
    if (monitor.length >= bytesPerItem) flush(part, into);
  }

  peerUp(peer: SpeakerPeer): void {
    if (this.#only?.has(peer.name) === false) return;
    for (const family of peer.families.values()) {
      const { group, rib } = family;
      if (group === undefined) continue;
      const { encoding } = group;
      const addPath = encoding.addPath > 0;
      const { capacity } = rib.prefixes;
      this.#parts.set(keyOf(peer, family), {
        peer,
        family,
        reader: rib.journal.open(),
        walk: 1,
        monitor: new Monitor(rib, addPath),
        addPath,
        told: addPath ? new Int32Array(capacity) : new Uint8Array(capacity),
      });
    }
  }

  peerDown(peer: SpeakerPeer): void {
    for (const family of peer.families.values()) {
      const key = keyOf(peer, family);
      const part = this.#parts.get(key);
      if (part === undefined) continue;
      family.rib.journal.close(part.reader);
      this.#parts.delete(key);
    }
  }

  overrun(rib: Rib): void {
    const lags = ({ family, reader }: Part) =>
      family.rib === rib && rib.journal.end - reader.position >= mostTombs;
    if (![...this.#parts.values()].some(lags)) return;
    for (const part of this.#parts.values()) {
      const { journal } = part.family.rib;
      journal.advance(part.reader, journal.end);
      part.walk = 1;
      part.told.fill(0);
    }
    this.#lost = true;
  }

  close(): void {
    for (const { family, reader } of this.#parts.values()) family.rib.journal.close(reader);
    this.#parts.clear();
  }
}

const keyOf = (peer: SpeakerPeer, { family }: PeerFamily): string => `${peer.index} ${family}`;

function flush({ peer, monitor }: Part, into: FeedItem[]): void {
  const messages = monitor.take();
  if (messages.length > 0)
    into.push({ type: 'monitor', peer: peer.name, messages, count: countMessages(messages) });
}
