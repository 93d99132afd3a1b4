import type { PeerConfig } from './config.ts';
import type { DownReason, DownWhy, Negotiated, PeerState } from './events.ts';
import type { FsmEvent } from './fsm-events.ts';
import { ErrorCode, type NotificationMessage, notification } from './wire/notification.ts';

/** Why an event happened, for the reason of a fall. */
export interface Cause {
  readonly by: 'local' | 'remote';
  readonly why: DownWhy;
  readonly notification?: NotificationMessage;
  readonly text?: string;
}

/** RFC 6608 section 3. */
export function fsmCause(state: PeerState, event: FsmEvent): Cause {
  const subcode = state === 'open-sent' ? 1 : state === 'open-confirm' ? 2 : 3;
  return {
    by: 'local',
    why: 'fsm-error',
    notification: notification(ErrorCode.fsm, subcode),
    text: `${event} in ${state}`,
  };
}

/** Of the session that fell. */
interface Fallen {
  readonly was: PeerState;
  readonly negotiated: Negotiated | undefined;
  readonly config: PeerConfig;
}

const unexplained: Cause = { by: 'local', why: 'fsm-error' };

/** Whether routes may be kept follows from what was agreed and how it ended. */
export function downReason(
  cause: Cause = unexplained,
  { was, negotiated, config }: Fallen,
): DownReason {
  const { by, why, notification: sent, text } = cause;
  const retain = was === 'established' && retains(why, sent, negotiated, config);
  return {
    by,
    why,
    ...(sent === undefined ? {} : { notification: sent }),
    ...(text === undefined ? {} : { text }),
    retain,
    retainSeconds: retain ? (negotiated?.gracefulRestart?.restartTime ?? 0) : 0,
  };
}

function retains(
  why: DownWhy,
  message: NotificationMessage | undefined,
  negotiated: Negotiated | undefined,
  { gracefulRestart: own }: PeerConfig,
): boolean {
  const restart = negotiated?.gracefulRestart;
  if (restart === undefined || own === undefined || own.helper === false) return false;
  // RFC 4724 section 4.2: TCP went away. RFC 5882 section 4.3: when BFD says so, forwarding went, too.
  if (why === 'tcp-closed' || why === 'tcp-error') return true;
  if (why === 'bfd-down') return false;
  if (!restart.notification || message === undefined) return false;
  // RFC 8538 section 4: any NOTIFICATION but a hard reset.
  return !(message.code === ErrorCode.cease && message.subcode === 9);
}
