/** Every way in which the lab can refuse or fail. Stable: tests, the CLI's exit codes and scripts read it. */
export type LabErrorCode =
  | 'lab-file-unreadable'
  | 'lab-file-invalid'
  | 'lab-name-invalid'
  | 'lab-exists'
  | 'lab-not-found'
  | 'lab-busy'
  | 'lab-incomplete'
  | 'state-unreadable'
  | 'place-unknown'
  | 'not-root'
  | 'platform-missing'
  | 'command-failed'
  | 'cni-failed'
  | 'agent-failed'
  | 'router-failed'
  | 'timed-out';

/** One thing that is wrong in a lab file: where, what stands there, and what may stand there. */
export interface LabFileIssue {
  /** Path as a person writes it: `clusters[0].nodes[2].rack`. */
  readonly path: string;
  readonly value: unknown;
  readonly message: string;
}

/** `hint` says what to do next; `value` is what offended. */
export class LabError extends Error {
  readonly code: LabErrorCode;
  readonly value: unknown;
  readonly hint: string | undefined;
  readonly issues: readonly LabFileIssue[];

  constructor(
    code: LabErrorCode,
    message: string,
    about: {
      readonly value?: unknown;
      readonly hint?: string;
      readonly issues?: readonly LabFileIssue[];
      readonly cause?: unknown;
    } = {},
  ) {
    super(message, about.cause === undefined ? undefined : { cause: about.cause });
    this.name = 'LabError';
    this.code = code;
    this.value = about.value;
    this.hint = about.hint;
    this.issues = about.issues ?? [];
  }
}
