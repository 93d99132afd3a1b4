/**
 * RFC 4271 section 8: the state machine of one connection, total over (state, event), as a pure function. What an
 * action is, and when a timer's event comes, is the session's business.
 */
import type { PeerState } from './events.ts';
import type { FsmContext, FsmEvent, FsmStep } from './fsm-events.ts';
import {
  ceaseByHand,
  deliver,
  fall,
  fallByHand,
  fallQuietly,
  fsmError,
  keepAlive,
  notifyAndFall,
  stay,
  step,
} from './fsm-steps.ts';

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
