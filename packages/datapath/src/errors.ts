export type DatapathErrorCode =
  /** The compiled objects are not there: run `sh packages/datapath/bpf/build.sh`. */
  | 'objects-missing'
  /** What C and TypeScript declare differs: object and code are of different versions. */
  | 'layout-mismatch'
  /** Pinned maps of another version or capacity, and the caller did not say to replace them. */
  | 'map-incompatible'
  | 'map-full'
  | 'bad-config'
  | 'program-refused'
  | 'unsupported'
  | 'device-gone'
  | 'closed';

/** What went wrong, the offending value, and what to do about it. */
export class DatapathError extends Error {
  readonly code: DatapathErrorCode;
  readonly value: unknown;
  readonly hint: string | undefined;

  constructor(
    code: DatapathErrorCode,
    message: string,
    details: { readonly value?: unknown; readonly hint?: string; readonly cause?: unknown } = {},
  ) {
    super(
      details.hint === undefined ? message : `${message}; ${details.hint}`,
      details.cause === undefined ? undefined : { cause: details.cause },
    );
    this.name = 'DatapathError';
    this.code = code;
    this.value = details.value;
    this.hint = details.hint;
  }
}
