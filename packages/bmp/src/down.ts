import { type DownReason, encodeNotification } from '@causeway/bgp';
import type { PeerDownReason } from './wire/peer-down.ts';

/** Numbers of the FSM's events that end a session without NOTIFICATION (RFC 4271 section 8.1). */
const EVENT = Object.freeze({
  none: 0,
  manualStop: 2,
  automaticStop: 8,
  holdTimerExpires: 10,
});

/** RFC 7854 section 4.9 from the reason that the session gave. */
export function peerDownReason(reason: DownReason): PeerDownReason {
  const { by, notification } = reason;
  if (notification !== undefined) {
    const type = by === 'local' ? 'local-notification' : 'remote-notification';
    return { type, notification: encodeNotification(notification) };
  }
  // "This includes any unexpected termination of the transport session, so in some cases both the local and
  // remote systems might consider this to apply."
  if (by === 'remote' || reason.why === 'tcp-error' || reason.why === 'tcp-closed') {
    return { type: 'remote-closed' };
  }
  return { type: 'local-event', event: eventOf(reason) };
}

function eventOf({ why }: DownReason): number {
  switch (why) {
    case 'hold-timer':
    case 'send-hold-timer':
      return EVENT.holdTimerExpires;
    case 'admin-shutdown':
    case 'admin-reset':
    case 'de-configured':
      return EVENT.manualStop;
    case 'bfd-down':
    case 'config-change':
    case 'max-prefix':
    case 'out-of-resources':
    case 'too-many-attributes':
    case 'detach':
    case 'collision':
      return EVENT.automaticStop;
    default:
      return EVENT.none;
  }
}
