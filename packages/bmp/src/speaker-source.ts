import {
  encodeEndOfRib,
  Family,
  type FeedItem,
  type FeedSpec,
  type SpeakerApi,
  type SpeakerEvent,
} from '@causeway/bgp';
import type { ExporterInput, ExportSource, MonitoredUpdates, RouteFeed } from './feed.ts';
import type { RibView } from './wire/peer-header.ts';
import type { Statistic } from './wire/statistics.ts';

/** What is needed of the speaker's core. */
export type MonitoredSpeaker = Pick<
  SpeakerApi,
  'openFeed' | 'closeFeed' | 'readFeed' | 'peer' | 'counters'
>;

/** Items read from a feed at a time: each holds messages of some kilobytes. */
const ITEMS = 8;

const SPECS: Readonly<Record<RibView, FeedSpec>> = Object.freeze({
  'in-pre': { type: 'adj-rib-in', policy: 'pre' },
  'in-post': { type: 'adj-rib-in', policy: 'post' },
  'out-pre': { type: 'adj-rib-out', policy: 'pre' },
  'out-post': { type: 'adj-rib-out', policy: 'post' },
  loc: { type: 'loc-rib' },
});

/** The speaker's core as the exporter sees it. */
export class SpeakerSource implements ExportSource {
  readonly #speaker: MonitoredSpeaker;
  readonly #wakes = new Map<number, (now: number) => void>();

  constructor(speaker: MonitoredSpeaker) {
    this.#speaker = speaker;
  }

  /** For every `feed` effect of the speaker's; false if the feed is not one of these. */
  woken(feed: number, now: number): boolean {
    const wake = this.#wakes.get(feed);
    wake?.(now);
    return wake !== undefined;
  }

  openFeed(view: RibView, wake: (now: number) => void): RouteFeed {
    const id = this.#speaker.openFeed(SPECS[view]);
    this.#wakes.set(id, wake);
    return new SpeakerFeed(this.#speaker, id, () => this.#wakes.delete(id));
  }

  statistics(session: string | undefined): readonly Statistic[] {
    return session === undefined ? this.#locRib() : this.#session(session);
  }

  #locRib(): Statistic[] {
    const { prefixes } = this.#speaker.counters();
    const families = Object.entries(prefixes).map(([key, count]) => ({
      ...Family.row(key as keyof typeof prefixes),
      count,
    }));
    const total = families.reduce((sum, { count }) => sum + count, 0);
    return [
      { type: 'gauge', name: 'loc-rib-routes', value: BigInt(total) },
      ...families.map(({ afi, safi, count }) => {
        const [type, name] = ['family', 'loc-rib-routes-of-family'] as const;
        return { type, name, afi, safi, value: BigInt(count) };
      }),
    ];
  }

  #session(name: string): Statistic[] {
    const row = this.#speaker.peer(name);
    if (row === undefined) return [];
    const { families } = row;
    const total = (count: (family: (typeof families)[number]) => number): bigint =>
      BigInt(families.reduce((sum, family) => sum + count(family), 0));
    return [
      // RFC 7854 has this for the Adj-RIB-In as received; RFC 9972 tells before and after policy apart.
      { type: 'gauge', name: 'adj-rib-in-routes', value: total(({ received }) => received) },
      { type: 'gauge', name: 'in-pre-routes', value: total(({ received }) => received) },
      { type: 'gauge', name: 'in-post-routes', value: total(({ accepted }) => accepted) },
      { type: 'gauge', name: 'out-post-routes', value: total(({ advertised }) => advertised) },
      ...families.flatMap((family): Statistic[] => {
        const { afi, safi } = Family.row(family.family);
        const of = { type: 'family', afi, safi } as const;
        const received = BigInt(family.received);
        return [
          { ...of, name: 'adj-rib-in-routes-of-family', value: received },
          { ...of, name: 'in-pre-routes-of-family', value: received },
          { ...of, name: 'in-post-routes-of-family', value: BigInt(family.accepted) },
          { ...of, name: 'out-post-routes-of-family', value: BigInt(family.advertised) },
          { ...of, name: 'stale-routes-of-family', value: BigInt(family.stale) },
        ];
      }),
    ];
  }
}

/** What an event of the speaker's is to an exporter, if anything. */
export function sessionInput(event: SpeakerEvent): ExporterInput | undefined {
  if (event.type === 'peer-down' && event.established) {
    return { type: 'session-down', name: event.peer, reason: event.reason };
  }
  if (event.type !== 'peer-up') return undefined;
  const { negotiated, localOpenBytes, peerOpenBytes } = event;
  const { endpoints, peerAsn, peerId, fourOctetAs } = negotiated;
  return {
    type: 'session-up',
    session: {
      name: event.peer,
      address: endpoints.remoteAddress,
      asn: peerAsn,
      bgpId: peerId,
      fourOctetAs,
      localAddress: endpoints.localAddress,
      localPort: endpoints.localPort,
      remotePort: endpoints.remotePort,
      sentOpen: localOpenBytes,
      receivedOpen: peerOpenBytes,
    },
  };
}

class SpeakerFeed implements RouteFeed {
  readonly #speaker: MonitoredSpeaker;
  readonly #id: number;
  readonly #onClose: () => void;
  dumping = true;

  constructor(speaker: MonitoredSpeaker, id: number, onClose: () => void) {
    this.#speaker = speaker;
    this.#id = id;
    this.#onClose = onClose;
  }

  pull(budget: number): readonly MonitoredUpdates[] | 'overrun' {
    const pulled: MonitoredUpdates[] = [];
    let left = budget;
    while (left > 0) {
      const items = this.#speaker.readFeed(this.#id, ITEMS);
      for (const item of items) {
        if (item.type === 'overrun') return 'overrun';
        if (item.type === 'best') continue;
        const updates = updatesOf(item);
        const { peer } = item;
        pulled.push(peer === undefined ? { updates } : { session: peer, updates });
        left -= updates.reduce((sum, { length }) => sum + length, 0);
      }
      if (items.length < ITEMS) {
        this.dumping = false;
        break;
      }
    }
    return pulled;
  }

  close(): void {
    this.#onClose();
    this.#speaker.closeFeed(this.#id);
  }
}

const UPDATE = 2;

function updatesOf(item: Extract<FeedItem, { type: 'monitor' | 'synced' }>): Uint8Array[] {
  if (item.type === 'synced') return [encodeEndOfRib(item.family)];
  const { messages } = item;
  const updates: Uint8Array[] = [];
  for (let at = 0; at < messages.length; ) {
    const length = (messages[at + 16]! << 8) | messages[at + 17]!;
    // What is sent to a neighbour also has refresh markers (RFC 7313), which Route Monitoring has no place for.
    if (messages[at + 18] === UPDATE) updates.push(messages.subarray(at, at + length));
    at += length;
  }
  return updates;
}
