/**
 * RFC 4271 section 8: the state machine of one connection, total over (state, event), as a pure function. What an
 * action is, and when a timer's event comes, is the session's business.
 */
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

const step = (next: PeerState, ...actions: FsmAction[]): FsmStep => ({ next, actions });

const stay = {
  idle: step('idle'),
  connect: step('connect'),
  active: step('active'),
  'open-sent': step('open-sent'),
  'open-confirm': step('open-confirm'),
  established: step('established'),
} as const;

// "stops the ConnectRetryTimer and sets it to zero, releases all BGP resources, drops the TCP connection" and then
// what becomes of the counter. Timers other than these two end with the connection.
const fallQuietly = step('idle', 'stop-connect-retry', 'stop-delay-open', 'drop');
const fallByHand = step('idle', 'stop-connect-retry', 'stop-delay-open', 'drop', 'zero-retries');
const fall = step('idle', 'stop-connect-retry', 'stop-delay-open', 'drop', 'count-retry', 'damp');
const ceaseByHand = step('idle', 'notify', 'stop-connect-retry', 'drop', 'zero-retries');
const notifyAndFall = step('idle', 'notify', 'stop-connect-retry', 'drop', 'count-retry', 'damp');
// Once per message: made once.
const keepAlive = step('established', 'start-hold');
const deliver = step('established', 'deliver', 'start-hold');
const fsmError = step('idle', 'notify-fsm', 'stop-connect-retry', 'drop', 'count-retry', 'damp');

/** Section 8.2.2. */
export function transition(state: PeerState, event: FsmEvent, context: FsmContext): FsmStep {
  switch (state) {
    case 'idle':
      return idle(event);
    case 'connect':
    case 'active':
      return connecting(state, event, context);
    case 'open-sent':
      return openSent(event);
    case 'open-confirm':
      return openConfirm(event);
    case 'established':
      return established(event);
    default:
      return state satisfies never;
  }
}

function idle(event: FsmEvent): FsmStep {
  switch (event) {
    case 'ManualStart':
    case 'AutomaticStart':
    case 'AutomaticStart_with_DampPeerOscillations':
      return step('connect', 'zero-retries', 'start-connect-retry', 'connect');
    case 'ManualStart_with_PassiveTcpEstablishment':
    case 'AutomaticStart_with_PassiveTcpEstablishment':
    case 'AutomaticStart_with_DampPeerOscillations_and_PassiveTcpEstablishment':
      return step('active', 'zero-retries', 'start-connect-retry');
    case 'ManualStop':
    case 'AutomaticStop':
    case 'ConnectRetryTimer_Expires':
    case 'HoldTimer_Expires':
    case 'KeepaliveTimer_Expires':
    case 'DelayOpenTimer_Expires':
    // The session above starts a peer whose idle hold is over, by event 6 or 7.
    case 'IdleHoldTimer_Expires':
    case 'TcpConnection_Valid':
    case 'Tcp_CR_Invalid':
    case 'Tcp_CR_Acked':
    case 'TcpConnectionConfirmed':
    case 'TcpConnectionFails':
    case 'BGPOpen':
    case 'BGPOpen with DelayOpenTimer running':
    case 'BGPHeaderErr':
    case 'BGPOpenMsgErr':
    case 'OpenCollisionDump':
    case 'NotifMsgVerErr':
    case 'NotifMsg':
    case 'KeepAliveMsg':
    case 'UpdateMsg':
    case 'UpdateMsgErr':
      return stay.idle;
    default:
      return event satisfies never;
  }
}

/** Connect and Active differ in what a failure of TCP does, and in whether there is an attempt to drop. */
function connecting(
  state: 'connect' | 'active',
  event: FsmEvent,
  { delayOpen, delayOpenRunning, passive }: FsmContext,
): FsmStep {
  switch (event) {
    case 'ManualStart':
    case 'AutomaticStart':
    case 'ManualStart_with_PassiveTcpEstablishment':
    case 'AutomaticStart_with_PassiveTcpEstablishment':
    case 'AutomaticStart_with_DampPeerOscillations':
    case 'AutomaticStart_with_DampPeerOscillations_and_PassiveTcpEstablishment':
    case 'TcpConnection_Valid':
    case 'Tcp_CR_Invalid':
      return stay[state];
    case 'ManualStop':
      return fallByHand;
    case 'ConnectRetryTimer_Expires':
      // Section 8.1.1 optional attribute 5: a passive speaker waits; the RFC's text for Active forgets it.
      if (passive) return stay[state];
      return step('connect', 'drop', 'stop-delay-open', 'start-connect-retry', 'connect');
    case 'DelayOpenTimer_Expires':
      return step(
        'open-sent',
        'stop-connect-retry',
        'stop-delay-open',
        'send-open',
        'start-hold-large',
      );
    case 'Tcp_CR_Acked':
    case 'TcpConnectionConfirmed':
      return delayOpen
        ? step(state, 'stop-connect-retry', 'start-delay-open')
        : step('open-sent', 'stop-connect-retry', 'send-open', 'start-hold-large');
    case 'TcpConnectionFails':
      if (state === 'active') {
        return step(
          'idle',
          'start-connect-retry',
          'stop-delay-open',
          'drop',
          'count-retry',
          'damp',
        );
      }
      return delayOpenRunning
        ? step('active', 'start-connect-retry', 'stop-delay-open', 'drop')
        : step('idle', 'stop-connect-retry', 'drop');
    case 'BGPOpen with DelayOpenTimer running':
      return step(
        'open-confirm',
        'stop-connect-retry',
        'stop-delay-open',
        'send-open',
        'send-keepalive',
        'start-hold',
        'start-keepalive',
      );
    case 'BGPHeaderErr':
    case 'BGPOpenMsgErr':
      // SendNOTIFICATIONwithoutOPEN is not set: the neighbour has not heard an OPEN of ours.
      return fall;
    case 'NotifMsgVerErr':
      return delayOpenRunning ? fallQuietly : fall;
    case 'AutomaticStop':
    case 'HoldTimer_Expires':
    case 'KeepaliveTimer_Expires':
    case 'IdleHoldTimer_Expires':
    case 'BGPOpen':
    case 'OpenCollisionDump':
    case 'NotifMsg':
    case 'KeepAliveMsg':
    case 'UpdateMsg':
    case 'UpdateMsgErr':
      return fall;
    default:
      return event satisfies never;
  }
}

function openSent(event: FsmEvent): FsmStep {
  switch (event) {
    case 'ManualStart':
    case 'AutomaticStart':
    case 'ManualStart_with_PassiveTcpEstablishment':
    case 'AutomaticStart_with_PassiveTcpEstablishment':
    case 'AutomaticStart_with_DampPeerOscillations':
    case 'AutomaticStart_with_DampPeerOscillations_and_PassiveTcpEstablishment':
    // Second connections are tracked by the peer, which has a machine for each.
    case 'TcpConnection_Valid':
    case 'Tcp_CR_Invalid':
    case 'Tcp_CR_Acked':
    case 'TcpConnectionConfirmed':
      return stay['open-sent'];
    case 'ManualStop':
      return ceaseByHand;
    case 'AutomaticStop':
    case 'HoldTimer_Expires':
    case 'BGPHeaderErr':
    case 'BGPOpenMsgErr':
    case 'OpenCollisionDump':
      return notifyAndFall;
    case 'TcpConnectionFails':
      return step('active', 'drop', 'start-connect-retry');
    case 'BGPOpen':
      return step(
        'open-confirm',
        'stop-delay-open',
        'stop-connect-retry',
        'send-keepalive',
        'start-hold',
        'start-keepalive',
      );
    case 'NotifMsgVerErr':
      return fallQuietly;
    case 'NotifMsg':
      // The RFC's text has an FSM error here; section 6.4 forbids to answer a NOTIFICATION with one.
      return fall;
    case 'ConnectRetryTimer_Expires':
    case 'KeepaliveTimer_Expires':
    case 'DelayOpenTimer_Expires':
    case 'IdleHoldTimer_Expires':
    case 'BGPOpen with DelayOpenTimer running':
    case 'KeepAliveMsg':
    case 'UpdateMsg':
    case 'UpdateMsgErr':
      return fsmError;
    default:
      return event satisfies never;
  }
}

function openConfirm(event: FsmEvent): FsmStep {
  switch (event) {
    case 'ManualStart':
    case 'AutomaticStart':
    case 'ManualStart_with_PassiveTcpEstablishment':
    case 'AutomaticStart_with_PassiveTcpEstablishment':
    case 'AutomaticStart_with_DampPeerOscillations':
    case 'AutomaticStart_with_DampPeerOscillations_and_PassiveTcpEstablishment':
    case 'TcpConnection_Valid':
    case 'Tcp_CR_Invalid':
    case 'Tcp_CR_Acked':
    case 'TcpConnectionConfirmed':
      return stay['open-confirm'];
    case 'ManualStop':
      return ceaseByHand;
    case 'AutomaticStop':
    case 'HoldTimer_Expires':
    case 'BGPHeaderErr':
    case 'BGPOpenMsgErr':
    case 'OpenCollisionDump':
      return notifyAndFall;
    case 'KeepaliveTimer_Expires':
      return step('open-confirm', 'send-keepalive', 'start-keepalive');
    case 'TcpConnectionFails':
    case 'NotifMsg':
      return fall;
    case 'NotifMsgVerErr':
      return fallQuietly;
    case 'KeepAliveMsg':
      return step('established', 'start-hold', 'establish');
    // A second OPEN on the same connection is no collision: those are the peer's to see.
    case 'BGPOpen':
    case 'ConnectRetryTimer_Expires':
    case 'DelayOpenTimer_Expires':
    case 'IdleHoldTimer_Expires':
    case 'BGPOpen with DelayOpenTimer running':
    case 'UpdateMsg':
    case 'UpdateMsgErr':
      return fsmError;
    default:
      return event satisfies never;
  }
}

function established(event: FsmEvent): FsmStep {
  switch (event) {
    case 'ManualStart':
    case 'AutomaticStart':
    case 'ManualStart_with_PassiveTcpEstablishment':
    case 'AutomaticStart_with_PassiveTcpEstablishment':
    case 'AutomaticStart_with_DampPeerOscillations':
    case 'AutomaticStart_with_DampPeerOscillations_and_PassiveTcpEstablishment':
    case 'TcpConnection_Valid':
    case 'Tcp_CR_Invalid':
    case 'Tcp_CR_Acked':
    case 'TcpConnectionConfirmed':
      return stay.established;
    case 'ManualStop':
      return ceaseByHand;
    case 'AutomaticStop':
    case 'HoldTimer_Expires':
    case 'OpenCollisionDump':
    // The RFC's text lists 21 among the FSM errors; section 6.1 says which NOTIFICATION it is.
    case 'BGPHeaderErr':
    case 'UpdateMsgErr':
      return notifyAndFall;
    case 'KeepaliveTimer_Expires':
      return step('established', 'send-keepalive', 'start-keepalive');
    case 'TcpConnectionFails':
    case 'NotifMsgVerErr':
    case 'NotifMsg':
      return fall;
    case 'KeepAliveMsg':
      return keepAlive;
    case 'UpdateMsg':
      return deliver;
    case 'BGPOpen':
    case 'BGPOpenMsgErr':
    case 'ConnectRetryTimer_Expires':
    case 'DelayOpenTimer_Expires':
    case 'IdleHoldTimer_Expires':
    case 'BGPOpen with DelayOpenTimer running':
      return fsmError;
    default:
      return event satisfies never;
  }
}
