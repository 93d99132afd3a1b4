/** Every way in which this package refuses its input. The codes are stable; match on them, not on the text. */
export type IpErrorCode =
  | 'invalid-address'
  | 'invalid-prefix'
  | 'invalid-prefix-length'
  | 'host-bits-set'
  | 'invalid-mac'
  | 'family-mismatch'
  | 'out-of-range';

/** Thrown for text, bytes or numbers that are not what they claim to be; `value` is what was given. */
export class IpError extends Error {
  override readonly name = 'IpError';
  readonly code: IpErrorCode;
  readonly value: unknown;

  constructor(code: IpErrorCode, value: unknown, message: string) {
    super(message);
    this.code = code;
    this.value = value;
  }
}

/** A value as it should stand in a message: quoted, and cut where a hostile one would flood the log. */
export function shown(value: unknown): string {
  const text = typeof value === 'string' ? JSON.stringify(value) : String(value);
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
}
