import type { PeerTimers } from './config.ts';
import type { Cause } from './down-reason.ts';
import type { Negotiated } from './events.ts';
import type { FsmAction, FsmEvent } from './fsm-events.ts';
import type { TimerName, Timers } from './timers.ts';
import { ErrorCode, notification } from './wire/notification.ts';

/** Seconds, until a hold time is agreed. RFC 4271 section 8.2.2: "a HoldTimer value of 4 minutes is suggested". */
const largeHold = 240;
const defaultConnectRetry = 5;

type TimerAction = Extract<FsmAction, `start-${string}` | `stop-${string}`>;

interface TimerContext {
  readonly config: PeerTimers;
  readonly negotiated: Negotiated | undefined;
  /** 0 to 1. */
  readonly random: () => number;
}

/** What the state machine wants of its timers, in ms. */
export function setTimer(
  action: TimerAction,
  timers: Timers,
  now: number,
  { config, negotiated, random }: TimerContext,
): void {
  // RFC 4271 section 10: 0.75 to 1.0 of the value, anew each time.
  const jittered = (seconds: number) => now + 1000 * seconds * (0.75 + 0.25 * random());
  const unlessZero = (seconds: number, at: number) =>
    seconds === 0 ? Number.POSITIVE_INFINITY : at;
  switch (action) {
    case 'start-connect-retry':
      timers.connectRetry = jittered(config.connectRetry ?? defaultConnectRetry);
      break;
    case 'stop-connect-retry':
      timers.stop('connectRetry');
      break;
    case 'start-delay-open':
      timers.delayOpen = now + 1000 * (config.delayOpen ?? 0);
      break;
    case 'stop-delay-open':
      timers.stop('delayOpen');
      break;
    case 'start-hold-large':
      timers.hold = now + 1000 * (config.open ?? largeHold);
      break;
    case 'start-hold': {
      const { holdTime } = negotiated as Negotiated;
      timers.hold = unlessZero(holdTime, now + 1000 * holdTime);
      break;
    }
    case 'start-keepalive': {
      const { keepaliveTime } = negotiated as Negotiated;
      timers.keepalive = unlessZero(keepaliveTime, jittered(keepaliveTime));
      break;
    }
    default:
      action satisfies never;
  }
}

/** What becomes of a timer that ran out. */
export const expiries: Readonly<
  Record<TimerName, { readonly event: FsmEvent; readonly cause?: Cause }>
> = {
  connectRetry: {
    event: 'ConnectRetryTimer_Expires',
    cause: { by: 'local', why: 'tcp-error', text: 'ETIMEDOUT' },
  },
  hold: {
    event: 'HoldTimer_Expires',
    cause: { by: 'local', why: 'hold-timer', notification: notification(ErrorCode.holdTimer, 0) },
  },
  keepalive: { event: 'KeepaliveTimer_Expires' },
  delayOpen: { event: 'DelayOpenTimer_Expires' },
  idleHold: { event: 'IdleHoldTimer_Expires' },
  // RFC 9687's event 29 does what the HoldTimer's does, with another code.
  sendHold: {
    event: 'HoldTimer_Expires',
    cause: {
      by: 'local',
      why: 'send-hold-timer',
      notification: notification(ErrorCode.sendHoldTimer, 0),
    },
  },
};
