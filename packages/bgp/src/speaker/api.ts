import type { Address } from '@causeway/ip';
import type { ConnectionId, Endpoints, PeerInput } from '../events.ts';
import type { PolicyLibrary, PolicyReason } from '../policy/types.ts';
import type { FamilyKey } from '../types.ts';
import type { RouteRefreshMessage } from '../wire/route-refresh.ts';
import type {
  OriginatedPath,
  PeerChange,
  ResetHow,
  SpeakerConfig,
  SpeakerPeerConfig,
} from './config.ts';
import type { FeedId, FeedItem, FeedSpec } from './feed-types.ts';
import type {
  NextHopState,
  Page,
  PeerRow,
  RouteQuery,
  RouteRow,
  SpeakerCounters,
  SpeakerEffect,
  Why,
} from './types.ts';

export interface SpeakerOptions {
  readonly config: SpeakerConfig;
  /** 0 to 1, for the jitter of timers. */
  readonly random: () => number;
  readonly nextConnection: () => ConnectionId;
  /** Takes effects in order, during the call that caused them. Bytes are the shell's from then on. */
  readonly emit: (effect: SpeakerEffect) => void;
  /**
   * This process follows one whose sessions were up (RFC 4724 section 4.1): R bit in OPENs, choosing and
   * sending wait for `expected` peers' End-of-RIB, at most `deferral` seconds.
   */
  readonly restarting?: { readonly expected: readonly string[] };
  /** Was forwarding kept over the restart (F bit)? Default: true for every family. */
  readonly forwardingKept?: (family: FamilyKey) => boolean;
}

export interface TestRoute {
  readonly prefix: string;
  readonly attributes: OriginatedPath & { readonly asPath?: readonly number[] };
  readonly peer?: string;
}

/**
 * The core of a BGP speaker: peers, RIBs and policy. No I/O, no clock: `now` is in ms and monotonic. Each call
 * does its effects through `emit` before it returns. Work that would take long goes in slices: while
 * `deadline` is in the past, call `work`.
 */
export interface SpeakerApi {
  /** ms at which `work(now)` wants to be called; undefined: nothing is waiting. */
  readonly deadline: number | undefined;
  /** Timers that are due, then at most one slice (some ms) of waiting work. */
  work(now: number): void;

  /** Throws BgpError `invalid-config`; nothing has changed then. Sessions are not touched by policies alone. */
  configure(config: SpeakerConfig, now: number): void;
  /** Throws BgpError `invalid-config` naming policy and statement. Only what changed is evaluated again. */
  setPolicies(policies: PolicyLibrary, now: number): void;
  /** Adds and starts. Throws BgpError `invalid-config`: known name, unknown policy, ... */
  addPeer(config: SpeakerPeerConfig, now: number): void;
  /** Touches the session only if what was agreed in it is concerned. */
  updatePeer(config: SpeakerPeerConfig, now: number): PeerChange;
  removePeer(name: string, now: number, text?: string): void;
  hasPeer(name: string): boolean;
  peerConfig(name: string): SpeakerPeerConfig | undefined;
  reset(name: string, how: ResetHow, now: number, text?: string): void;
  /** `detach` on the way to a restart (TCP closed without NOTIFICATION), `admin-shutdown` for good. */
  stopAll(how: 'detach' | 'admin-shutdown', now: number, text?: string): void;
  /** Everything of W's PeerInput: connected, accepted, bytes, closed, bfd, target, start, stop ... */
  input(peer: string, input: PeerInput, now: number): void;
  refresh(peer: string, message: RouteRefreshMessage, now: number): void;
  /** The peer a connection from these endpoints belongs to, if it is configured (dynamic ones are the shell's to add). */
  peerFor(endpoints: Endpoints): string | undefined;

  /** Whole set of an owner; only differences change anything. Throws BgpError `invalid-config` naming the path. */
  setPaths(
    owner: string,
    paths: readonly OriginatedPath[],
    now: number,
  ): { added: number; changed: number; removed: number };
  paths(owner: string): readonly OriginatedPath[];
  owners(): readonly string[];

  /** Next hops in use that the shell has not answered for since they came into use. */
  nextHops(): readonly Address[];
  /** Not told about: reachable, metric 0. */
  setNextHop(address: Address, state: NextHopState, now: number): void;

  /**
   * UPDATEs (whole messages) for an established session, about `maxBytes` at most; empty: nothing to send, a `wake`
   * comes when there is. Call when the socket's buffer is low. The bytes are shared: do not write into them.
   */
  produce(
    peer: string,
    connection: ConnectionId,
    maxBytes: number,
    now: number,
  ): readonly Uint8Array[];

  openFeed(spec: FeedSpec): FeedId;
  closeFeed(feed: FeedId): void;
  /** Up to `limit` items. Fewer: read dry; a `feed` effect comes when there is more. */
  readFeed(feed: FeedId, limit: number): readonly FeedItem[];

  peers(): readonly PeerRow[];
  peer(name: string): PeerRow | undefined;
  routes(query: RouteQuery): Page<RouteRow>;
  /** Exactly `prefix`. `peer`: only what concerns that neighbour. */
  why(prefix: string, peer?: string): Why | undefined;
  counters(): SpeakerCounters;
  /** What a policy makes of a route. Throws BgpError `invalid-config` for an unknown policy. */
  testPolicy(
    policy: string,
    route: TestRoute,
  ): { readonly reason: PolicyReason; readonly result?: RouteRow };
}
