export interface ErrorDetail {
  /** Path of the offending field in the input, such as `tunnel.port`. */
  readonly field?: string;
  readonly value?: unknown;
  /** What the reader should do about it. */
  readonly hint?: string;
  readonly cause?: unknown;
}

/**
 * An error that a program's API gives to whoever asked: a stable code, the HTTP status that goes with
 * it, the offending value and what to do. Each program has a class of its own below this one, with
 * the union of its codes and the one table of their statuses.
 */
export class ApiError<Code extends string = string> extends Error {
  readonly code: Code;
  readonly status: number;
  readonly field: string | undefined;
  readonly value: unknown;
  readonly hint: string | undefined;

  constructor(code: Code, status: number, message: string, detail: ErrorDetail = {}) {
    super(message, detail.cause === undefined ? undefined : { cause: detail.cause });
    this.name = 'ApiError';
    this.code = code;
    this.status = status;
    this.field = detail.field;
    this.value = detail.value;
    this.hint = detail.hint;
  }
}

/** What every long-running program can refuse. The code is the contract; the message is for people. */
export const DAEMON_STATUS = Object.freeze({
  'bad-config': 400,
  'bad-request': 400,
  'body-too-large': 413,
  timeout: 504,
  'not-found': 404,
  'unknown-route': 404,
  'already-running': 409,
  'lock-failed': 500,
  'state-truncated': 500,
  'state-corrupt': 500,
  'state-version': 500,
  'state-write-failed': 500,
  'stream-full': 503,
  unreachable: 503,
} satisfies Record<string, number>);

export type DaemonErrorCode = keyof typeof DAEMON_STATUS;

export class DaemonError extends ApiError<DaemonErrorCode> {
  constructor(code: DaemonErrorCode, message: string, detail: ErrorDetail = {}) {
    super(code, DAEMON_STATUS[code], message, detail);
    this.name = 'DaemonError';
  }
}

/** The body of every failed answer. */
export interface ErrorBody {
  readonly error: {
    readonly code: string;
    readonly message: string;
    readonly field?: string;
    readonly value?: unknown;
    readonly hint?: string;
  };
}

export function errorBody(error: unknown): { status: number; body: ErrorBody } {
  if (error instanceof ApiError) {
    return {
      status: error.status,
      body: {
        error: {
          code: error.code,
          message: messageWithCauses(error),
          ...(error.field === undefined ? {} : { field: error.field }),
          ...(error.value === undefined ? {} : { value: shorten(error.value) }),
          ...(error.hint === undefined ? {} : { hint: error.hint }),
        },
      },
    };
  }
  return {
    status: 500,
    body: { error: { code: codeOf(error), message: messageWithCauses(error) } },
  };
}

/** Our packages' errors carry a stable `code` of their own; it goes through unchanged. */
export function codeOf(error: unknown): string {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === 'string' ? code : 'internal';
}

/** The message and those of its causes, without repeating what a message already contains. */
export function messageWithCauses(error: unknown): string {
  const parts: string[] = [];
  let current: unknown = error;
  for (let depth = 0; depth < 6 && current !== undefined && current !== null; depth++) {
    const text = current instanceof Error ? current.message : String(current);
    if (text !== '' && !parts.some((part) => part.includes(text))) parts.push(text);
    current = current instanceof Error ? current.cause : undefined;
  }
  return parts.join(': ') || 'unknown error';
}

/** A hostile value must not make the answer as large as the request. */
function shorten(value: unknown): unknown {
  if (typeof value === 'number' || typeof value === 'boolean' || value === null) return value;
  const text = typeof value === 'string' ? value : (JSON.stringify(value) ?? String(value));
  return text.length > 200 ? `${text.slice(0, 200)}...` : text;
}
