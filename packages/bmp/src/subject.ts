import type { MonitoredSession, RouteFeed } from './feed.ts';
import { RouteStamp } from './route-stamp.ts';
import type { PeerDownReason } from './wire/peer-down.ts';
import type { PeerHeader } from './wire/peer-header.ts';

/** A feed, and the headers that its updates get. */
export class Stream {
  readonly feed: RouteFeed;
  readonly stamp: RouteStamp;
  /** Stands in the queue of those that may have something. */
  queued = false;
  closed = false;

  constructor(feed: RouteFeed, peer: PeerHeader) {
    this.feed = feed;
    this.stamp = new RouteStamp(peer);
  }

  close(): void {
    this.closed = true;
    this.feed.close();
  }
}

/** What is still to be told of a session. `at` in microseconds of the wall clock. */
export type Notice =
  | { readonly type: 'up'; readonly at: number; readonly session: MonitoredSession | undefined }
  | { readonly type: 'down'; readonly at: number; readonly reason: PeerDownReason };

/** Ups and downs remembered per session for a slow station. */
const MOST_NOTICES = 16;

/** One session, or the Loc-RIB, as one connected station knows it. */
export class Subject {
  /** The session that the station believes in; undefined for the Loc-RIB. */
  session: MonitoredSession | undefined;
  /** The station has been told that it is up. */
  told = false;
  readonly streams: Stream[] = [];
  readonly #notices: Notice[] = [];

  /** Returns how many ups and downs had to be forgotten to make room: pairs, so that the order stays sound. */
  push(notice: Notice): number {
    this.#notices.push(notice);
    if (this.#notices.length <= MOST_NOTICES) return 0;
    this.#notices.splice(1, 2);
    return 2;
  }

  shift(): Notice | undefined {
    return this.#notices.shift();
  }

  get waiting(): boolean {
    return this.#notices.length > 0;
  }

  closeStreams(): void {
    for (const stream of this.streams.splice(0)) stream.close();
  }
}
