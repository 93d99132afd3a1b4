import type { PeerConfig } from './config.ts';
import type { ConnectionId, DownReason, PeerOutput, PeerState } from './events.ts';
import type { OpenState } from './negotiate.ts';
import type { Session } from './session.ts';
import type { OpenMessage } from './wire/open.ts';

/** What a connection's session asks of the neighbour that it belongs to. */
export interface SessionOwner {
  readonly config: PeerConfig;
  readonly openState: OpenState;
  /** No connection is to be tried: by configuration, or for want of an address. */
  readonly passive: boolean;
  /** 0 to 1. */
  readonly random: () => number;
  emit(output: PeerOutput): void;
  /** Emits `connect` and returns the connection's number; undefined: the neighbour's address is not known. */
  connect(session: Session): ConnectionId | undefined;
  /** An acceptable OPEN came: may this connection go on (RFC 4271 section 6.8)? */
  mayOpen(session: Session, open: OpenMessage, now: number): boolean;
  established(session: Session, now: number): void;
  /** The connection, or the attempt at one, is over. `damped`: the machine asks for a pause. */
  fell(session: Session, reason: DownReason, was: PeerState, damped: boolean, now: number): void;
  moved(session: Session): void;
  /** Called between the messages of one chunk: inputs that came meanwhile take effect here. */
  betweenMessages(now: number): void;
}
