/** What can go wrong in this package. Codes are stable; the texts are not. */
export type IpamErrorCode =
  | 'owner-invalid'
  | 'request-invalid'
  | 'address-outside'
  | 'address-reserved'
  | 'address-taken'
  | 'address-quarantined'
  | 'address-claimed'
  | 'owner-has-other'
  | 'cidr-draining'
  | 'no-cidr'
  | 'exhausted'
  | 'cidr-invalid'
  | 'cidr-too-small'
  | 'cidr-overlap'
  | 'snapshot-invalid'
  | 'snapshot-version'
  | 'claim-invalid'
  | 'option-invalid';

/** A refusal. Nothing has changed when one is thrown. */
export class IpamError extends Error {
  readonly code: IpamErrorCode;
  /** The field or thing that was wrong, such as `ipv6` or `quarantine[3].address`. */
  readonly field: string;
  /** The offending value, in a form that can be printed. */
  readonly value: unknown;
  /** What whoever asked can do about it. */
  readonly hint: string;
  /** Milliseconds until the same request may succeed, where waiting is enough (quarantine). */
  readonly retryAfterMs: number | undefined;

  constructor(
    code: IpamErrorCode,
    message: string,
    about: { field: string; value: unknown; hint: string; retryAfterMs?: number; cause?: unknown },
  ) {
    super(message, about.cause === undefined ? undefined : { cause: about.cause });
    this.name = 'IpamError';
    this.code = code;
    this.field = about.field;
    this.value = about.value;
    this.hint = about.hint;
    this.retryAfterMs = about.retryAfterMs;
  }
}
