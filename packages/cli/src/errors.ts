/** What the shell sees. Documented in `causeway --help`; scripts depend on it. */
export const EXIT = Object.freeze({
  ok: 0,
  failure: 1,
  /** Usage or bad input. */
  usage: 2,
  notFound: 3,
  /** Something exists, changed meanwhile, or is busy. */
  conflict: 4,
  /** A store or an agent does not answer. */
  unreachable: 5,
});

export type CliErrorCode =
  | 'bad-usage'
  | 'bad-input'
  | 'not-found'
  | 'already-exists'
  | 'unreachable'
  | 'agent-refused'
  | 'unhealthy'
  | 'join-refused';

export interface CliErrorDetails {
  readonly field?: string;
  readonly value?: unknown;
  readonly hint?: string;
  readonly cause?: unknown;
}

export class CliError extends Error {
  override readonly name = 'CliError';
  readonly code: CliErrorCode;
  readonly field: string | undefined;
  readonly value: unknown;
  readonly hint: string | undefined;

  constructor(code: CliErrorCode, message: string, details: CliErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.field = details.field;
    this.value = details.value;
    this.hint = details.hint;
  }
}

/**
 * Codes of every package's errors that mean more than "failed". Packages keep their codes unique, so
 * one table serves all of them.
 */
const EXIT_BY_CODE: Readonly<Record<string, number>> = {
  'bad-usage': EXIT.usage,
  'bad-input': EXIT.usage,
  'lab-file-unreadable': EXIT.usage,
  'lab-file-invalid': EXIT.usage,
  'lab-name-invalid': EXIT.usage,
  'bad-config': EXIT.usage,
  'invalid-config': EXIT.usage,
  'bad-request': EXIT.usage,
  invalid: EXIT.usage,
  unsupported: EXIT.usage,
  'unknown-kind': EXIT.usage,
  'bad-yaml': EXIT.usage,
  'too-large': EXIT.usage,
  immutable: EXIT.usage,
  'not-found': EXIT.notFound,
  'lab-not-found': EXIT.notFound,
  'place-unknown': EXIT.notFound,
  'lab-exists': EXIT.conflict,
  'lab-busy': EXIT.conflict,
  'lab-incomplete': EXIT.conflict,
  'already-exists': EXIT.conflict,
  conflict: EXIT.conflict,
  'already-running': EXIT.conflict,
  'listen-failed': EXIT.conflict,
  'not-configured': EXIT.conflict,
  'address-taken': EXIT.conflict,
  exhausted: EXIT.conflict,
  'address-overlap': EXIT.conflict,
  'in-use': EXIT.conflict,
  'unknown-address': EXIT.notFound,
  'unknown-node': EXIT.notFound,
  'unknown-source': EXIT.notFound,
  'bad-rule': EXIT.usage,
  'nothing-withheld': EXIT.conflict,
  'not-leading': EXIT.conflict,
  'claim-refused': EXIT.conflict,
  'lost-race': EXIT.conflict,
  'join-refused': EXIT.conflict,
  'join-busy': EXIT.conflict,
  'token-used': EXIT.conflict,
  'token-expired': EXIT.conflict,
  'unknown-token': EXIT.conflict,
  'foreign-store': EXIT.conflict,
  'bad-token': EXIT.usage,
  'bad-key': EXIT.usage,
  'not-exposed': EXIT.notFound,
  'unknown-peer': EXIT.notFound,
  'not-ready': EXIT.unreachable,
  unreachable: EXIT.unreachable,
  unavailable: EXIT.unreachable,
  'agent-failed': EXIT.unreachable,
  'deadline-exceeded': EXIT.unreachable,
  timeout: EXIT.unreachable,
};

/** An error as data: what `--json` prints and the text is made of. */
export interface ErrorReport {
  readonly code: string;
  readonly message: string;
  readonly field?: string;
  readonly value?: unknown;
  readonly hint?: string;
  readonly issues?: readonly unknown[];
}

export function reportOf(error: unknown): ErrorReport {
  if (!(error instanceof Error)) return { code: 'internal', message: String(error) };
  const known = error as Error &
    Partial<Record<'code' | 'field' | 'value' | 'hint' | 'issues', unknown>>;
  return {
    code: typeof known.code === 'string' ? known.code : 'internal',
    message: error.message,
    ...(typeof known.field === 'string' ? { field: known.field } : {}),
    ...(known.value === undefined ? {} : { value: known.value }),
    ...hintOf(known.hint, known.code, error.message),
    ...(Array.isArray(known.issues) && known.issues.length > 0 ? { issues: known.issues } : {}),
  };
}

/** What is to be done, unless the message has said it. */
function hintOf(hint: unknown, code: unknown, message: string): { hint?: string } {
  const known = typeof hint === 'string' ? hint : HINTS[String(code)];
  return known === undefined || message.includes(known) ? {} : { hint: known };
}

/** For errors of the ground, which cannot know what a person at a command line can do. */
const HINTS: Readonly<Record<string, string>> = {
  unavailable: 'is the store running, and reachable from here? the context says where it is',
  EACCES: 'this is root’s: run it as root',
  EPERM: 'this takes root: run it as root',
};

export function exitCodeOf(report: ErrorReport): number {
  return EXIT_BY_CODE[report.code] ?? EXIT.failure;
}

/** For a person: what went wrong, where, and what to do. An unknown error keeps its stack. */
export function printError(error: unknown, json: boolean): number {
  const report = reportOf(error);
  if (json) process.stderr.write(`${JSON.stringify({ error: report }, replaceBigInt)}\n`);
  else {
    const expected = report.code !== 'internal' || !(error instanceof Error);
    process.stderr.write(`causeway: ${expected ? report.message : (error as Error).stack}\n`);
    if (report.hint !== undefined) process.stderr.write(`  ${report.hint}\n`);
  }
  return exitCodeOf(report);
}

export function replaceBigInt(_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? String(value) : value;
}
