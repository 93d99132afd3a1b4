import type { Preference } from '@causeway/linux';
import type { DiscardCounts } from '../discards.ts';
import type { ChangeRow, SessionRow } from '../row.ts';
import type { SessionSpec } from '../spec.ts';

/** What the thread is started with. */
export interface ThreadOptions {
  /** Readable when there is a message for the thread. */
  readonly wake: number;
  /** How many events the other side has taken: see `Events`. */
  readonly taken: Int32Array<SharedArrayBuffer>;
  readonly netns: string | undefined;
  readonly limit: number | undefined;
  readonly preferred: boolean;
}

export type Command =
  | { readonly type: 'configure'; readonly id: number; readonly sessions: readonly SessionSpec[] }
  | { readonly type: 'sessions'; readonly id: number }
  | { readonly type: 'status'; readonly id: number }
  | { readonly type: 'stop'; readonly id: number };

export interface ConfigureAnswer {
  readonly results: readonly {
    readonly key: string;
    readonly result: 'added' | 'updated' | 'unchanged' | 'removed';
  }[];
}

/** How the thread is doing. */
export interface ThreadStatus {
  readonly sessions: number;
  readonly up: number;
  readonly preference: Preference;
  /** Datagrams discarded since the start, by reason; what the kernel dropped for us is apart. */
  readonly discarded: DiscardCounts;
  readonly droppedByKernel: number;
  readonly loop: LoopFigures;
}

export interface LoopFigures {
  readonly wakes: number;
  /** How late the thread was woken for what was due, milliseconds. */
  readonly latestWake: number;
  readonly lateOver5ms: number;
  readonly lateOver50ms: number;
  /** The longest that one turn took, milliseconds. */
  readonly longestTurn: number;
  /** Turns that ended in an error, and the last one's words. */
  readonly faults: number;
  readonly lastFault?: string;
}

export type BfdEvent =
  | { readonly type: 'changed'; readonly session: SessionRow; readonly change: ChangeRow }
  /** How a session stands: it is new or was updated, or its changes came faster than they were taken. */
  | { readonly type: 'current'; readonly session: SessionRow }
  | { readonly type: 'removed'; readonly key: string };

/** An error on its way between threads, which keeps only plain data. */
export interface PlainError {
  readonly code: string;
  readonly message: string;
  readonly field?: string;
  readonly value?: unknown;
  readonly hint?: string;
}

export type Message =
  | { readonly type: 'ready' }
  | { readonly type: 'failed'; readonly error: PlainError }
  /** Some of the rows that were asked for; the answer follows the last of them. */
  | { readonly type: 'part'; readonly id: number; readonly rows: readonly SessionRow[] }
  | { readonly type: 'answer'; readonly id: number; readonly value: unknown }
  | { readonly type: 'refusal'; readonly id: number; readonly error: PlainError }
  | { readonly type: 'event'; readonly event: BfdEvent };
