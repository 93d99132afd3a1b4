import type { Json } from './values.ts';

/** How far a reconciler is with one row. `revision` is the row's revision that the status speaks of. */
export type RowStatus =
  | { readonly type: 'pending'; readonly revision: number }
  | { readonly type: 'done'; readonly revision: number; readonly at: number }
  | {
      readonly type: 'error';
      readonly revision: number;
      /** The error's own `code`, or `unknown`. */
      readonly code: string;
      readonly message: string;
      /** Failures in a row. */
      readonly attempts: number;
      /** Milliseconds since the epoch. */
      readonly nextRetry: number;
    };

export interface ReconcilerMetrics {
  /** Rows that wait for their first or next attempt, failed ones included. */
  readonly pending: number;
  /** Rows (and deletions) whose last attempt failed. */
  readonly errors: number;
  /** Rows handed to `update`, and those of them that failed. */
  readonly updates: number;
  readonly updateFailures: number;
  readonly deletes: number;
  readonly deleteFailures: number;
  readonly prunes: number;
  readonly pruneFailures: number;
  readonly refreshes: number;
  /** Milliseconds spent in operations. */
  readonly busy: number;
  /** False until the first prune (or, without one, the first full pass) after the table was initialized. */
  readonly synced: boolean;
  readonly lastError:
    | {
        readonly at: number;
        readonly code: string;
        readonly message: string;
        readonly key: string | undefined;
      }
    | undefined;
}

export function describeError(error: unknown): { readonly code: string; readonly message: string } {
  if (error instanceof Error) {
    const { code } = error as { code?: unknown };
    return {
      code: typeof code === 'string' && code !== '' ? code : 'unknown',
      message: error.message,
    };
  }
  return { code: 'unknown', message: String(error) };
}

/** One word, or the error with what comes next: a cell of a printed table. */
export function printStatus(status: RowStatus | undefined): Json {
  if (!status) return 'pending';
  switch (status.type) {
    case 'pending':
    case 'done':
      return status.type;
    case 'error':
      return `error: ${status.code}: ${status.message} (${status.attempts} attempts)`;
    default:
      status satisfies never;
      return null;
  }
}
