/** Every way in which the agent refuses something. The code is the contract; the message is for people. */
export type AgentErrorCode =
  | 'bad-config'
  | 'bad-request'
  | 'body-too-large'
  | 'timeout'
  | 'not-found'
  | 'unknown-route'
  | 'already-running'
  | 'lock-failed'
  | 'state-truncated'
  | 'state-corrupt'
  | 'state-version'
  | 'state-write-failed'
  | 'not-ready'
  | 'netns-missing'
  | 'netns-is-node'
  | 'interface-exists'
  | 'interface-missing'
  | 'pool-empty'
  | 'attach-failed'
  | 'check-failed'
  | 'busy'
  | 'missing-feature'
  | 'kernel-failed'
  | 'store-unavailable'
  | 'monitor-full'
  | 'internal';

/** HTTP status for each code: the one place where it is decided. */
const STATUS: Record<AgentErrorCode, number> = {
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
  'not-ready': 503,
  'netns-missing': 422,
  'netns-is-node': 422,
  'interface-exists': 409,
  'interface-missing': 422,
  'pool-empty': 503,
  'attach-failed': 500,
  'check-failed': 409,
  busy: 503,
  'missing-feature': 500,
  'kernel-failed': 500,
  'store-unavailable': 503,
  'monitor-full': 503,
  internal: 500,
};

export interface AgentErrorDetail {
  /** Path of the offending field in the input, such as `tunnel.port`. */
  readonly field?: string;
  readonly value?: unknown;
  /** What the reader should do about it. */
  readonly hint?: string;
  readonly cause?: unknown;
}

export class AgentError extends Error {
  readonly code: AgentErrorCode;
  readonly field: string | undefined;
  readonly value: unknown;
  readonly hint: string | undefined;

  constructor(code: AgentErrorCode, message: string, detail: AgentErrorDetail = {}) {
    super(message, detail.cause === undefined ? undefined : { cause: detail.cause });
    this.name = 'AgentError';
    this.code = code;
    this.field = detail.field;
    this.value = detail.value;
    this.hint = detail.hint;
  }

  get status(): number {
    return STATUS[this.code];
  }
}

/** The body of every failed answer of the agent's API. */
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
  if (error instanceof AgentError) {
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
