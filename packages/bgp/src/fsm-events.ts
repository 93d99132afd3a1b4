/** RFC 4271 section 8.1: what the state machine is told, and what it has done. */
import type { PeerState } from './events.ts';

/** The events of section 8.1 by their names there; the comment has their numbers. */
export type FsmEvent =
  | 'ManualStart' // 1
  | 'ManualStop' // 2
  | 'AutomaticStart' // 3
  | 'ManualStart_with_PassiveTcpEstablishment' // 4
  | 'AutomaticStart_with_PassiveTcpEstablishment' // 5
  | 'AutomaticStart_with_DampPeerOscillations' // 6
  | 'AutomaticStart_with_DampPeerOscillations_and_PassiveTcpEstablishment' // 7
  | 'AutomaticStop' // 8
  | 'ConnectRetryTimer_Expires' // 9
  | 'HoldTimer_Expires' // 10
  | 'KeepaliveTimer_Expires' // 11
  | 'DelayOpenTimer_Expires' // 12
  | 'IdleHoldTimer_Expires' // 13
  | 'TcpConnection_Valid' // 14
  | 'Tcp_CR_Invalid' // 15
  | 'Tcp_CR_Acked' // 16
  | 'TcpConnectionConfirmed' // 17
  | 'TcpConnectionFails' // 18
  | 'BGPOpen' // 19
  | 'BGPOpen with DelayOpenTimer running' // 20
  | 'BGPHeaderErr' // 21
  | 'BGPOpenMsgErr' // 22
  | 'OpenCollisionDump' // 23
  | 'NotifMsgVerErr' // 24
  | 'NotifMsg' // 25
  | 'KeepAliveMsg' // 26
  | 'UpdateMsg' // 27
  | 'UpdateMsgErr'; // 28

export const fsmEvents: readonly FsmEvent[] = [
  'ManualStart',
  'ManualStop',
  'AutomaticStart',
  'ManualStart_with_PassiveTcpEstablishment',
  'AutomaticStart_with_PassiveTcpEstablishment',
  'AutomaticStart_with_DampPeerOscillations',
  'AutomaticStart_with_DampPeerOscillations_and_PassiveTcpEstablishment',
  'AutomaticStop',
  'ConnectRetryTimer_Expires',
  'HoldTimer_Expires',
  'KeepaliveTimer_Expires',
  'DelayOpenTimer_Expires',
  'IdleHoldTimer_Expires',
  'TcpConnection_Valid',
  'Tcp_CR_Invalid',
  'Tcp_CR_Acked',
  'TcpConnectionConfirmed',
  'TcpConnectionFails',
  'BGPOpen',
  'BGPOpen with DelayOpenTimer running',
  'BGPHeaderErr',
  'BGPOpenMsgErr',
  'OpenCollisionDump',
  'NotifMsgVerErr',
  'NotifMsg',
  'KeepAliveMsg',
  'UpdateMsg',
  'UpdateMsgErr',
];

export const fsmStates: readonly PeerState[] = [
  'idle',
  'connect',
  'active',
  'open-sent',
  'open-confirm',
  'established',
];

/** The attributes of section 8.1.1 that a transition looks at. */
export interface FsmContext {
  /** DelayOpen. */
  readonly delayOpen: boolean;
  readonly delayOpenRunning: boolean;
  /** PassiveTcpEstablishment: no connection is ever tried. */
  readonly passive: boolean;
}

export type FsmAction =
  /** Initiates a TCP connection. */
  | 'connect'
  /** Drops the TCP connection, or the attempt at one. */
  | 'drop'
  | 'send-open'
  | 'send-keepalive'
  /** Sends the NOTIFICATION that came with the event. */
  | 'notify'
  /** Sends NOTIFICATION "Finite State Machine Error" with this state's subcode (RFC 6608). */
  | 'notify-fsm'
  | 'start-connect-retry'
  | 'stop-connect-retry'
  | 'start-delay-open'
  | 'stop-delay-open'
  /** HoldTimer with the large value, 4 minutes. */
  | 'start-hold-large'
  /** HoldTimer with the negotiated value, unless that is zero. */
  | 'start-hold'
  /** KeepaliveTimer, unless the negotiated hold time is zero. */
  | 'start-keepalive'
  /** ConnectRetryCounter to zero, or one up. */
  | 'zero-retries'
  | 'count-retry'
  /** "Performs peer oscillation damping". */
  | 'damp'
  /** The session is up: routes may flow. */
  | 'establish'
  /** The message is processed. */
  | 'deliver';

export interface FsmStep {
  readonly next: PeerState;
  readonly actions: readonly FsmAction[];
}
