import { BgpError } from '../errors.ts';
import { frame, MessageType } from './message.ts';

/** RFC 4271 section 4.5: NOTIFICATION. `data` as on the wire. */
export interface NotificationMessage {
  readonly code: number;
  readonly subcode: number;
  readonly data: Uint8Array;
}

/** IANA "BGP Error (Notification) Codes". */
export const ErrorCode = Object.freeze({
  header: 1,
  open: 2,
  update: 3,
  holdTimer: 4,
  fsm: 5,
  cease: 6,
  routeRefresh: 7,
  sendHoldTimer: 8,
} as const);

/** RFC 4486, 8538, 9384. */
export const CeaseSubcode = Object.freeze({
  maxPrefixes: 1,
  adminShutdown: 2,
  deconfigured: 3,
  adminReset: 4,
  rejected: 5,
  configChange: 6,
  collision: 7,
  outOfResources: 8,
  hardReset: 9,
  bfdDown: 10,
} as const);

/** Code, its name, and the names of its subcodes by number. */
const codes: readonly (readonly [number, string, readonly (string | undefined)[]])[] = [
  [
    1,
    'message header error',
    [undefined, 'connection not synchronized', 'bad message length', 'bad message type'],
  ],
  [
    2,
    'OPEN message error',
    [
      undefined,
      'unsupported version number',
      'bad peer AS',
      'bad BGP identifier',
      'unsupported optional parameter',
      undefined,
      'unacceptable hold time',
      'unsupported capability',
      undefined,
      undefined,
      undefined,
      'role mismatch',
    ],
  ],
  [
    3,
    'UPDATE message error',
    [
      undefined,
      'malformed attribute list',
      'unrecognized well-known attribute',
      'missing well-known attribute',
      'attribute flags error',
      'attribute length error',
      'invalid ORIGIN attribute',
      undefined,
      'invalid NEXT_HOP attribute',
      'optional attribute error',
      'invalid network field',
      'malformed AS_PATH',
    ],
  ],
  [4, 'hold timer expired', []],
  [
    5,
    'finite state machine error',
    [
      undefined,
      'unexpected message in OpenSent',
      'unexpected message in OpenConfirm',
      'unexpected message in Established',
    ],
  ],
  [
    6,
    'cease',
    [
      undefined,
      'maximum number of prefixes reached',
      'administrative shutdown',
      'peer de-configured',
      'administrative reset',
      'connection rejected',
      'other configuration change',
      'connection collision resolution',
      'out of resources',
      'hard reset',
      'BFD down',
    ],
  ],
  [7, 'ROUTE-REFRESH message error', [undefined, 'invalid message length']],
  [8, 'send hold timer expired', []],
];

/** `cease: administrative shutdown`; numbers where there are no names. */
export function notificationName(code: number, subcode: number): string {
  const row = codes.find(([number]) => number === code);
  if (!row) return `code ${code} subcode ${subcode}`;
  const [, name, subcodes] = row;
  if (subcode === 0) return name;
  return `${name}: ${subcodes[subcode] ?? `subcode ${subcode}`}`;
}

const none = new Uint8Array(0);

export function notification(
  code: number,
  subcode: number,
  data: Uint8Array = none,
): NotificationMessage {
  return { code, subcode, data };
}

/** The whole message. */
export function encodeNotification(message: NotificationMessage): Uint8Array {
  // What does not fit is the end of the data that the neighbour sent us itself.
  const data = message.data.subarray(0, 4096 - 21);
  const body = new Uint8Array(2 + data.length);
  body[0] = message.code;
  body[1] = message.subcode;
  body.set(data, 2);
  return frame(MessageType.notification, body);
}

/** Throws BgpError `truncated`; a NOTIFICATION is never answered with one. */
export function decodeNotification(body: Uint8Array): NotificationMessage {
  if (body.length < 2) {
    throw new BgpError('truncated', `a NOTIFICATION of ${body.length} bytes has no error code`, {
      value: body.length,
      offset: 0,
    });
  }
  return { code: body[0]!, subcode: body[1]!, data: body.slice(2) };
}

/**
 * RFC 9003 section 2: a length octet and UTF-8 text behind Cease / Administrative Shutdown or Reset. Cut to
 * 255 bytes at a character's border.
 */
export function encodeShutdownText(text: string): Uint8Array {
  const out = new Uint8Array(256);
  const { written } = new TextEncoder().encodeInto(text, out.subarray(1));
  out[0] = written;
  return written === 0 ? none : out.subarray(0, 1 + written);
}

/** The text of a shutdown or reset, or undefined. Control characters are replaced: it goes into logs. */
export function shutdownText({ code, subcode, data }: NotificationMessage): string | undefined {
  if (code !== ErrorCode.cease) return undefined;
  if (subcode === CeaseSubcode.hardReset) {
    // RFC 8538 section 3: the reason that is wrapped in a hard reset.
    return data.length > 2
      ? shutdownText({ code: data[0]!, subcode: data[1]!, data: data.subarray(2) })
      : undefined;
  }
  if (subcode !== CeaseSubcode.adminShutdown && subcode !== CeaseSubcode.adminReset) {
    return undefined;
  }
  const length = data[0] ?? 0;
  if (length === 0 || length > data.length - 1) return undefined;
  const text = new TextDecoder().decode(data.subarray(1, 1 + length));
  // RFC 9003 section 4: syslog and terminals must not be fooled by what a neighbour wrote.
  return text.replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, '\ufffd');
}

/** RFC 8538 section 3: wraps a reason so that no routes are kept for it. */
export function hardReset(inner: NotificationMessage): NotificationMessage {
  const data = new Uint8Array(2 + inner.data.length);
  data[0] = inner.code;
  data[1] = inner.subcode;
  data.set(inner.data, 2);
  return notification(ErrorCode.cease, CeaseSubcode.hardReset, data);
}
