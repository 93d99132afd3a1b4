import type { NotificationMessage } from './wire/notification.ts';

/** Every way in which this package refuses something. */
export type BgpErrorCode =
  | 'invalid-asn'
  | 'invalid-router-id'
  | 'invalid-community'
  | 'invalid-family'
  | 'invalid-config'
  | 'header-error'
  | 'open-error'
  | 'update-error'
  | 'route-refresh-error'
  | 'truncated'
  | 'too-long';

export interface BgpErrorDetails {
  readonly value?: unknown;
  /** Offset in the message body (behind the 19 bytes of header) at which the fault was seen. */
  readonly offset?: number;
  /** What RFC 4271 section 6 makes us send for it. */
  readonly notification?: NotificationMessage;
  readonly cause?: unknown;
}

/** `code` is stable; `value` is what was refused; `notification` is the answer that the protocol dictates. */
export class BgpError extends Error {
  override readonly name = 'BgpError';
  readonly code: BgpErrorCode;
  readonly value: unknown;
  readonly offset: number | undefined;
  readonly notification: NotificationMessage | undefined;

  constructor(code: BgpErrorCode, message: string, details: BgpErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.value = details.value;
    this.offset = details.offset;
    this.notification = details.notification;
  }
}
