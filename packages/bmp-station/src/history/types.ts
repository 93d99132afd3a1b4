/** What is kept, and how it is asked for. */

export interface HistoryLimits {
  /** Events kept at most. */
  readonly rows: number;
  /** Bytes of the database that may be in use. */
  readonly bytes: number;
  /** Days. */
  readonly days: number;
}

/** An event to be kept. */
export interface NewEvent {
  readonly id: number;
  readonly at: number;
  readonly type: string;
  readonly router?: number;
  readonly peer?: number;
  readonly data: object;
  readonly prefixes?: Uint8Array;
}

export interface StoredEvent {
  readonly id: number;
  readonly at: number;
  readonly type: string;
  readonly router: number | undefined;
  readonly peer: number | undefined;
  readonly data: Readonly<Record<string, unknown>>;
  readonly prefixes: Uint8Array | undefined;
}

export interface StoredFault {
  readonly id: number;
  readonly opened: number;
  readonly state: string;
  readonly data: object;
  readonly prefixes?: Uint8Array | undefined;
}

export interface EventQuery {
  readonly since?: number | undefined;
  readonly until?: number | undefined;
  readonly routers?: readonly number[] | undefined;
  readonly peers?: readonly number[] | undefined;
  readonly types?: readonly string[] | undefined;
  /** Only events with a smaller id: the next page. */
  readonly before?: number | undefined;
  readonly limit: number;
}
