/** Codes of everything this package refuses. */
export type IdentityErrorCode =
  | 'bad-label'
  | 'bad-filter-rule'
  | 'bad-selector'
  | 'bad-identity'
  | 'bad-cluster';

/** A refusal: `code` is stable, `value` is what was offered, `field` where it stood (when known). */
export class IdentityError extends Error {
  override readonly name = 'IdentityError';
  readonly code: IdentityErrorCode;
  readonly value: unknown;
  readonly field: string | undefined;

  constructor(code: IdentityErrorCode, message: string, value: unknown, field?: string) {
    super(message);
    this.code = code;
    this.value = value;
    this.field = field;
  }
}
