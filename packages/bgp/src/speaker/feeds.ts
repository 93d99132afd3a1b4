import type { Rib } from '../rib/rib.ts';
import { type Feed, type FeedContext, mostTombs } from './feed.ts';
import { InFeed } from './feed-in.ts';
import { bestItem, LocFeed } from './feed-loc.ts';
import { OutFeed } from './feed-out.ts';
import { OutPreFeed } from './feed-out-pre.ts';
import type { FeedId, FeedItem, FeedSpec } from './feed-types.ts';
import type { SpeakerPeer } from './peer.ts';

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
        return spec.policy === 'pre'
          ? new OutPreFeed(this.#context, spec.peers && new Set(spec.peers))
          : new OutFeed(this.#context, spec.peers && new Set(spec.peers));
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
      rib.graveyard.tombs <= mostTombs + rib.paths.size / 4 &&
      rib.graveyard.limbo <= mostTombs + (rib.prefixes.size - rib.graveyard.limbo) / 2
    )
      return;
    for (const feed of this.#feeds.values()) feed.overrun(rib);
  }
}
