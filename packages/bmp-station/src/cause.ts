import { decodeNotification, notificationName, shutdownText } from '@causeway/bgp';
import type { PeerDownReason } from '@causeway/bmp';

/** Why a session ended, in the words by which faults are told apart. */
export type CauseWhy =
  | 'hold-timer'
  | 'send-hold-timer'
  | 'admin-shutdown'
  | 'admin-reset'
  | 'peer-deconfigured'
  | 'connection-rejected'
  | 'config-change'
  | 'max-prefix'
  | 'collision'
  | 'out-of-resources'
  | 'hard-reset'
  | 'bfd-down'
  | 'cease'
  | 'header-error'
  | 'open-error'
  | 'update-error'
  | 'fsm-error'
  | 'route-refresh-error'
  | 'tcp-closed'
  | 'local-event'
  | 'monitoring-ended'
  | 'unknown';

export interface Cause {
  /** Which end closed: the router that tells, its peer, or nobody who is known. */
  readonly closedBy: 'router' | 'peer' | 'unknown';
  readonly why: CauseWhy;
  /** Of the NOTIFICATION, and its name. */
  readonly code?: number;
  readonly subcode?: number;
  readonly name?: string;
  /** Shutdown communication (RFC 9003). */
  readonly text?: string;
  /** FSM event (RFC 4271 section 8.1) for `local-event`. */
  readonly event?: number;
}

const CEASE: readonly CauseWhy[] = [
  'cease',
  'max-prefix',
  'admin-shutdown',
  'peer-deconfigured',
  'admin-reset',
  'connection-rejected',
  'config-change',
  'collision',
  'out-of-resources',
  'hard-reset',
  'bfd-down',
];

const CODES: readonly CauseWhy[] = [
  'unknown',
  'header-error',
  'open-error',
  'update-error',
  'hold-timer',
  'fsm-error',
  'cease',
  'route-refresh-error',
  'send-hold-timer',
];

/** FSM events that say why by themselves (RFC 4271 section 8.1). */
const EVENTS: ReadonlyMap<number, CauseWhy> = new Map([
  [2, 'admin-shutdown'],
  [10, 'hold-timer'],
  [18, 'tcp-closed'],
]);

const BGP_HEADER = 19;

export function causeOf(reason: PeerDownReason): Cause {
  switch (reason.type) {
    case 'local-notification':
      return fromNotification('router', reason.notification);
    case 'remote-notification':
      return fromNotification('peer', reason.notification);
    case 'local-event':
      return {
        closedBy: 'router',
        why: EVENTS.get(reason.event) ?? 'local-event',
        event: reason.event,
      };
    case 'remote-closed':
      return { closedBy: 'peer', why: 'tcp-closed' };
    case 'deconfigured':
      return { closedBy: 'unknown', why: 'monitoring-ended' };
    case 'local-tlvs':
      return { closedBy: 'router', why: 'local-event' };
    case 'unknown':
      return { closedBy: 'unknown', why: 'unknown' };
    default:
      return reason satisfies never;
  }
}

function fromNotification(closedBy: Cause['closedBy'], bytes: Uint8Array): Cause {
  let message: ReturnType<typeof decodeNotification>;
  try {
    message = decodeNotification(bytes.subarray(BGP_HEADER));
  } catch {
    return { closedBy, why: 'unknown' };
  }
  const { code, subcode, data } = message;
  const text = shutdownText(message);
  return {
    closedBy,
    why: whyOf(code, subcode, data),
    code,
    subcode,
    name: notificationName(code, subcode),
    ...(text === undefined || text === '' ? {} : { text }),
  };
}

function whyOf(code: number, subcode: number, data: Uint8Array): CauseWhy {
  if (code !== 6) return CODES[code] ?? 'unknown';
  const why = CEASE[subcode] ?? 'cease';
  // RFC 8538 section 3.1: a Hard Reset carries the NOTIFICATION that it is about.
  if (why !== 'hard-reset' || data.length < 2 || data[0] === 6) {
    return why === 'hard-reset' && data[0] === 6 && data[1] !== 9 ? (CEASE[data[1]!] ?? why) : why;
  }
  return CODES[data[0]!] ?? why;
}
