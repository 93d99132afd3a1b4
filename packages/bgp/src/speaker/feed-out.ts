import type { Gathered } from '../rib/chunk.ts';
import type { Member } from '../rib/group-member.ts';
import type { Rib } from '../rib/rib.ts';
import type { UpdateGroup } from '../rib/update-group.ts';
import type { FamilyKey } from '../types.ts';
import { encodeRouteRefresh } from '../wire/route-refresh.ts';
import { bytesPerItem, countMessages, type Feed, type FeedContext, mostTombs } from './feed.ts';
import type { FeedItem } from './feed-types.ts';
import type { SpeakerPeer } from './peer.ts';

interface OutPart {
  readonly peer: SpeakerPeer;
  readonly family: FamilyKey;
  group: UpdateGroup;
  member: Member;
}

/** What neighbours are sent: a second reader of the same chunks, in the neighbour's place. */
export class OutFeed implements Feed {
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
