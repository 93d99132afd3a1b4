/**
 * What can be wrong with keys and certificates.
 *
 * | code | meaning |
 * | --- | --- |
 * | malformed | a text is not the PEM that it ought to be |
 * | invalid | what is asked for makes no certificate |
 * | mismatch | certificate, key and authority do not belong together |
 * | expired | outside the time for which it was made |
 */
export type PkiErrorCode = 'malformed' | 'invalid' | 'mismatch' | 'expired';

export class PkiError extends Error {
  override readonly name = 'PkiError';
  readonly code: PkiErrorCode;
  /** The name, field or number that it is about; never a key. */
  readonly value: unknown;

  constructor(code: PkiErrorCode, value: unknown, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
    this.value = value;
  }
}
