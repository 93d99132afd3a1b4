/** Every way in which bytes are refused here. Protocol packages map these to their own answers. */
export type WireErrorCode = 'truncated' | 'out-of-range' | 'trailing-bytes';

/** `offset` counts from the start of the buffer that the outermost reader was given. */
export class WireError extends Error {
  override readonly name = 'WireError';
  readonly code: WireErrorCode;
  readonly offset: number;
  /** What was asked for: bytes wanted, or the value that does not fit. */
  readonly wanted: number | bigint;
  /** Bytes left, or the greatest value that fits. */
  readonly left: number | bigint;

  constructor(
    code: WireErrorCode,
    at: { offset: number; wanted: number | bigint; left: number | bigint },
    message: string,
  ) {
    super(message);
    this.code = code;
    this.offset = at.offset;
    this.wanted = at.wanted;
    this.left = at.left;
  }
}
