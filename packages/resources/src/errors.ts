/** Codes of everything this package refuses. Whether to retry follows from the code alone. */
export type ResourceErrorCode =
  /** A field holds something that no version of the kind allows. */
  | 'invalid'
  /** The kind allows it, Causeway does not enforce it yet: refused rather than widened. */
  | 'unsupported'
  | 'unknown-kind'
  | 'bad-yaml'
  | 'too-large'
  | 'not-found'
  | 'already-exists'
  /** The object changed since it was read: read it again, then write. */
  | 'conflict'
  /** A field that is fixed at creation was to change. */
  | 'immutable'
  /** An address is asked for that another object holds. */
  | 'address-taken'
  /** A port of the nodes is asked for that another object holds. */
  | 'port-taken'
  /** A range has no free address or port left. */
  | 'exhausted'
  /** A range is asked for that another object has. */
  | 'address-overlap'
  /** Ranges were to go of which somebody holds a part. */
  | 'in-use';

/** One thing wrong with an object. */
export interface ResourceIssue {
  readonly type: 'invalid' | 'unsupported' | 'immutable';
  /** Where, as JSON path from the object's root: `spec.ingress[0].toPorts[0].rules.http`. */
  readonly path: string;
  readonly message: string;
  /** What stands there, shortened when long. */
  readonly value?: unknown;
}

export interface ResourceErrorDetails {
  /** `Kind namespace/name`, or `document 3`, of what is refused. */
  readonly object?: string;
  readonly issues?: readonly ResourceIssue[];
  readonly value?: unknown;
  readonly hint?: string;
  readonly cause?: unknown;
}

/** A refusal with its reasons as data. The message names object, path, value and what is allowed. */
export class ResourceError extends Error {
  override readonly name = 'ResourceError';
  readonly code: ResourceErrorCode;
  readonly object: string | undefined;
  readonly issues: readonly ResourceIssue[];
  readonly value: unknown;
  readonly hint: string | undefined;

  constructor(code: ResourceErrorCode, message: string, details: ResourceErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.object = details.object;
    this.issues = details.issues ?? [];
    this.value = details.value;
    this.hint = details.hint;
  }
}

/** A value for an error's text: at most 80 characters of JSON. */
export function shown(value: unknown): string {
  let text: string;
  try {
    text = JSON.stringify(value) ?? String(value);
  } catch {
    text = String(value);
  }
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
}
