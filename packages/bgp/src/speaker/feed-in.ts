import { Journal, type JournalReader } from '../rib/journal.ts';
import { PathFlag } from '../rib/path-table.ts';
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
import type { SpeakerPeer } from './peer.ts';

interface InPart {
  readonly rib: Rib;
  readonly reader: JournalReader;
  /** Peers whose paths are to be walked over: next slot each. */
  readonly walks: Map<number, number>;
}

/** Adj-RIB-Ins, before or after policy. */
export class InFeed implements Feed {
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
    for (const { rib, walks } of this.#parts) {
      walks.delete(peer.index);
      for (const addPath of [false, true]) {
        this.#monitors.delete(`${rib.family} ${addPath} ${peer.index}`);
      }
    }
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
      rib.graveyard.collect();
      rib.inJournal = undefined;
    }
  }
}
