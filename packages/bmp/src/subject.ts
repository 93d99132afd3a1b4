import type { MonitoredSession, RouteFeed } from './feed.ts';
import type { RouteStamp } from './route-stamp.ts';
import type { PeerDownReason } from './wire/peer-down.ts';
import type { RibView } from './wire/peer-header.ts';

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
  /** The headers of its updates. */
  readonly stamps = new Map<RibView, RouteStamp>();
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
}

/** One view's feed. */
export interface Stream {
  readonly view: RibView;
  readonly feed: RouteFeed;
  /** Stands in the queue of those that may have something. */
  queued: boolean;
}
