/** What goes into a peer and what comes out of it. */
import type { Address } from '@causeway/ip';
import type { PeerTarget } from './config.ts';
import type { Asn, FamilyKey, RouterId } from './types.ts';
import type { NotificationMessage } from './wire/notification.ts';
import type { OpenMessage } from './wire/open.ts';
import type { RouteRefreshMessage } from './wire/route-refresh.ts';
import type { ParsedUpdate, UpdateContext } from './wire/update.ts';

/** One TCP connection; numbers are never used twice in a process. */
export type ConnectionId = number;

export interface Endpoints {
  readonly localAddress: Address;
  readonly localPort: number;
  readonly remoteAddress: Address;
  readonly remotePort: number;
  /** Set when the addresses are link-local. */
  readonly device?: string;
}

/** Why a session is to end; the Cease subcode (RFC 4486, 8538, 9384) follows from it. */
export type StopHow =
  | 'admin-shutdown'
  | 'admin-reset'
  | 'de-configured'
  | 'config-change'
  | 'max-prefix'
  | 'out-of-resources'
  /** The neighbour's routes have more distinct attributes than we keep; its routes go at once. */
  | 'too-many-attributes'
  /** The process goes and means to come back: TCP is closed without NOTIFICATION, so that helpers keep our routes. */
  | 'detach';

export type PeerInput =
  | { readonly type: 'start' }
  /**
   * `restartAfter` in ms from now. Absent: `admin-reset` and `config-change` start again by themselves,
   * the others stay down until `start`.
   */
  | {
      readonly type: 'stop';
      readonly how: StopHow;
      readonly text?: string;
      /** With `max-prefix`. */
      readonly family?: FamilyKey;
      readonly limit?: number;
      readonly restartAfter?: number;
    }
  /** Our own `connect` came through. */
  | {
      readonly type: 'connected';
      readonly connection: ConnectionId;
      readonly endpoints: Endpoints;
    }
  | {
      readonly type: 'connect-failed';
      readonly connection: ConnectionId;
      readonly error: string;
    }
  | { readonly type: 'accepted'; readonly connection: ConnectionId; readonly endpoints: Endpoints }
  /** `error` absent: the other side closed in order. */
  | { readonly type: 'closed'; readonly connection: ConnectionId; readonly error?: string }
  /** The bytes may be used again after the call. */
  | { readonly type: 'bytes'; readonly connection: ConnectionId; readonly bytes: Uint8Array }
  /** The socket does not take more for now, or all was taken: for the send hold timer (RFC 9687). */
  | { readonly type: 'blocked' | 'drained'; readonly connection: ConnectionId }
  /** `deadline` has been reached. */
  | { readonly type: 'timer' }
  /** `unknown` (the daemon is away) changes nothing but that strict peers wait. */
  | { readonly type: 'bfd'; readonly state: 'up' | 'down' | 'unknown' }
  /** Where the neighbour is, when the configuration does not say (unnumbered, default gateway). */
  | { readonly type: 'target'; readonly address: Address | undefined; readonly device?: string }
  /** Established only; ignored otherwise, and without the capability. */
  | { readonly type: 'route-refresh'; readonly message: RouteRefreshMessage };

export interface NegotiatedFamily {
  readonly family: FamilyKey;
  /** The neighbour sends path identifiers. */
  readonly addPathReceive: boolean;
  /** We send path identifiers. */
  readonly addPathSend: boolean;
  /** Both can do IPv6 next hops for this family (RFC 8950; always true for IPv6). */
  readonly extendedNextHop: boolean;
  /** The neighbour listed the family in its graceful restart capability: its F bit. */
  readonly gracefulRestart?: { readonly forwarding: boolean };
  /** The neighbour listed the family in its LLGR capability. */
  readonly llgr?: { readonly forwarding: boolean /** Seconds. */; readonly staleTime: number };
}

/** What a session agreed on. */
export interface Negotiated {
  readonly kind: 'internal' | 'external';
  readonly localAsn: Asn;
  readonly peerAsn: Asn;
  readonly localId: RouterId;
  readonly peerId: RouterId;
  readonly endpoints: Endpoints;
  /** Seconds; 0: no keep-alives. */
  readonly holdTime: number;
  readonly keepaliveTime: number;
  readonly fourOctetAs: boolean;
  readonly routeRefresh: boolean;
  readonly enhancedRouteRefresh: boolean;
  /** Largest message that we may send: 4096 or 65535. */
  readonly maxMessage: number;
  readonly families: readonly NegotiatedFamily[];
  /** The neighbour's capability, if it sent one. */
  readonly gracefulRestart?: {
    readonly restarting: boolean;
    /** Both sides set the N bit (RFC 8538). */
    readonly notification: boolean;
    /** Seconds. */
    readonly restartTime: number;
  };
  /** How the neighbour's UPDATEs are read: for monitors, too. */
  readonly receive: UpdateContext;
}

export type DownWhy =
  | 'notification'
  | 'hold-timer'
  | 'send-hold-timer'
  | 'tcp-closed'
  | 'tcp-error'
  | 'bfd-down'
  | 'header-error'
  | 'open-error'
  | 'update-error'
  | 'route-refresh-error'
  | 'fsm-error'
  | 'collision'
  | StopHow;

/** Why a session fell, as data: the API, BMP, metrics and tests read the same value. */
export interface DownReason {
  /** Who ended it. */
  readonly by: 'local' | 'remote';
  readonly why: DownWhy;
  /** Sent (`by` local) or received (`by` remote). */
  readonly notification?: NotificationMessage;
  /** Shutdown communication (RFC 9003), errno name, or what was wrong, for people. */
  readonly text?: string;
  /** For a session that was Established: routes may be kept as stale (RFC 4724, 8538), for `retainSeconds` at most. */
  readonly retain: boolean;
  readonly retainSeconds: number;
}

export type PeerState =
  | 'idle'
  | 'connect'
  | 'active'
  | 'open-sent'
  | 'open-confirm'
  | 'established';

export type PeerOutput =
  | {
      readonly type: 'connect';
      readonly connection: ConnectionId;
      readonly target: PeerTarget & { readonly address: Address };
      readonly options: ConnectOptions;
    }
  /** What an accepted socket needs before anything is sent on it. */
  | {
      readonly type: 'options';
      readonly connection: ConnectionId;
      readonly options: ConnectOptions;
    }
  /** Send what was handed over, then close. No input for this connection is expected any more. */
  | { readonly type: 'close'; readonly connection: ConnectionId }
  | { readonly type: 'send'; readonly connection: ConnectionId; readonly bytes: Uint8Array }
  | { readonly type: 'state'; readonly from: PeerState; readonly to: PeerState }
  | {
      readonly type: 'established';
      readonly connection: ConnectionId;
      readonly negotiated: Negotiated;
      readonly localOpen: OpenMessage;
      readonly peerOpen: OpenMessage;
      /** Whole messages with header: BMP's Peer Up carries them (RFC 7854 section 4.10). */
      readonly localOpenBytes: Uint8Array;
      readonly peerOpenBytes: Uint8Array;
    }
  /** `established`: the session had been up; otherwise an attempt failed. */
  | { readonly type: 'down'; readonly reason: DownReason; readonly established: boolean }
  /** Valid during the call only. */
  | {
      readonly type: 'update';
      readonly update: ParsedUpdate;
      /** The whole message with its header, for who mirrors messages. */
      readonly bytes: Uint8Array;
      readonly start: number;
      readonly end: number;
    }
  | { readonly type: 'route-refresh'; readonly message: RouteRefreshMessage }
  /** Not acted upon, but worth a line in a log: an UPDATE's problem comes with the update instead. */
  | { readonly type: 'notice'; readonly code: string; readonly text: string };

/** What the socket of a neighbour needs before it connects, or its listener before it accepts. */
export interface ConnectOptions {
  readonly password?: string;
  /** TTL or hop limit of what we send. */
  readonly ttl?: number;
  /** Packets with less are dropped by the kernel (RFC 5082). */
  readonly minTtl?: number;
}
