/**
 * What can be wrong with bytes or values here. `answer` is what a station does about received bytes:
 *
 * | code | meaning | answer |
 * | --- | --- | --- |
 * | bad-version | the first byte of a message is not 3: this is not BMP, or the stream is out of step | close |
 * | bad-length | a length that cannot be: below the header, or not what the element needs | close |
 * | too-large | a message longer than the receiver's limit | close |
 * | truncated | an element ends beyond the message that it stands in | close |
 * | trailing-bytes | bytes after the last element of a message | close |
 * | bad-bgp-message | the BGP message inside has no marker, a wrong type or an impossible length | close |
 * | bad-order | a message that may not come now, such as one before Initiation (RFC 7854 section 3.3) | close |
 * | out-of-range | a value to be encoded that its field cannot hold | close |
 * | bad-option | an exporter's setting that makes no sense | close |
 *
 * RFC 7854 leaves the answer open. A broken message means that one side counts bytes wrongly; what follows
 * could then be taken for routes that nobody announced, so nothing after it is believed.
 */
export type BmpErrorCode =
  | 'bad-version'
  | 'bad-length'
  | 'too-large'
  | 'truncated'
  | 'trailing-bytes'
  | 'bad-bgp-message'
  | 'bad-order'
  | 'out-of-range'
  | 'bad-option';

export class BmpError extends Error {
  override readonly name = 'BmpError';
  readonly code: BmpErrorCode;
  /** The offending value. */
  readonly value: unknown;
  /** Where in the message the value stands, counted from the message's first byte. */
  readonly offset: number | undefined;

  constructor(
    code: BmpErrorCode,
    value: unknown,
    message: string,
    options: { readonly offset?: number; readonly cause?: unknown } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.value = value;
    this.offset = options.offset;
  }
}
