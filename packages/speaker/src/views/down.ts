import { type DownReason, notificationName, shutdownText } from '@causeway/bgp';

/** Why a session fell, as data and in words. */
export interface DownView {
  readonly by: 'local' | 'remote';
  readonly why: string;
  readonly notification?: {
    readonly code: number;
    readonly subcode: number;
    readonly name: string;
    /** RFC 9003. */
    readonly text?: string;
  };
  /** In words: who closed it and why. */
  readonly text: string;
}

export function downView(reason: DownReason): DownView {
  const { by, why, notification, text } = reason;
  const said = notification && shutdownText(notification);
  return {
    by,
    why,
    ...(notification === undefined
      ? {}
      : {
          notification: {
            code: notification.code,
            subcode: notification.subcode,
            name: notificationName(notification.code, notification.subcode),
            ...(said === undefined ? {} : { text: said }),
          },
        }),
    text: words(
      by,
      why,
      notification && notificationName(notification.code, notification.subcode),
      said ?? text,
    ),
  };
}

const WORDS: Readonly<Record<string, string>> = {
  'hold-timer': 'the hold timer expired: nothing came from the neighbour',
  'send-hold-timer': 'the neighbour took nothing from us any more',
  'tcp-closed': 'the TCP connection was closed',
  'tcp-error': 'the TCP connection failed',
  'bfd-down': 'BFD says that the path failed',
  detach: 'we stopped for a restart',
};

function words(
  by: 'local' | 'remote',
  why: string,
  name: string | undefined,
  text: string | undefined,
): string {
  const who = by === 'local' ? 'we' : 'the neighbour';
  const known = WORDS[why];
  const what =
    why === 'notification' || (known === undefined && name !== undefined)
      ? `${who} sent ${name ?? 'a NOTIFICATION'}`
      : (known ?? `${who} ended it: ${why}`);
  return text === undefined || text === '' ? what : `${what} (${text})`;
}
