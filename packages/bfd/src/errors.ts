/** Every way in which this package refuses something. The codes are stable. */
export type BfdErrorCode =
  /** A session asked for with a value that cannot be. */
  | 'bad-session'
  /** Two sessions asked for that could not be told apart by their first packets. */
  | 'duplicate-session'
  | 'too-many-sessions'
  /** Bytes that are no BFD Control packet, or one that must be discarded. */
  | 'bad-packet'
  /** Another BFD has the UDP port. */
  | 'port-taken'
  /** The thread that runs the sessions ended. */
  | 'stopped';

/** `field` and `value` name what was wrong, `hint` what to do about it. */
export class BfdError extends Error {
  override readonly name = 'BfdError';
  readonly code: BfdErrorCode;
  readonly field: string | undefined;
  readonly value: unknown;
  readonly hint: string | undefined;

  constructor(
    code: BfdErrorCode,
    message: string,
    details: { field?: string; value?: unknown; hint?: string; cause?: unknown } = {},
  ) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.field = details.field;
    this.value = details.value;
    this.hint = details.hint;
  }
}
