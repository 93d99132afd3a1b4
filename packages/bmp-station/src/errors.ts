/**
 * Why the station ended a router's connection, or would not take it:
 *
 * | code | meaning |
 * | --- | --- |
 * | not-allowed | the address is on no allow list |
 * | too-many-routers | as many routers as `limits.routers` are connected |
 * | no-initiation | nothing that is BMP's first message came in time |
 * | malformed | bytes that are no BMP (the cause says which and where) |
 * | too-many-peers | a router tells of more peers than `limits.peersPerRouter` |
 * | too-many-routes | all routers together tell of more routes than `limits.routes` |
 * | superseded | the same router connected again |
 * | terminated | the router said goodbye |
 * | closed | the router closed without goodbye, or the connection broke |
 * | stopping | the station stops |
 */
export type CloseCode =
  | 'not-allowed'
  | 'too-many-routers'
  | 'no-initiation'
  | 'malformed'
  | 'too-many-peers'
  | 'too-many-routes'
  | 'superseded'
  | 'terminated'
  | 'closed'
  | 'stopping';

export interface CloseReason {
  readonly code: CloseCode;
  /** For a person: which bytes, which limit, which error. */
  readonly text?: string;
  /** Code of the error behind it, such as BmpError's. */
  readonly detail?: string;
}

/** What can be wrong with the history on disk. */
export type HistoryErrorCode =
  | 'history-newer'
  | 'history-foreign'
  | 'history-corrupt'
  | 'history-failed';

export class HistoryError extends Error {
  override readonly name = 'HistoryError';
  readonly code: HistoryErrorCode;
  /** The file, or the version in it. */
  readonly value: unknown;

  constructor(code: HistoryErrorCode, value: unknown, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
    this.value = value;
  }
}
