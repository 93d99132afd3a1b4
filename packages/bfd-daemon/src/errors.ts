import { ApiError, DAEMON_STATUS, type ErrorDetail } from '@causeway/daemon';

/** HTTP status for each code: the one place where it is decided. */
const STATUS = Object.freeze({
  ...DAEMON_STATUS,
  /** Two owners want the same session with different keys. */
  conflict: 409,
  'bad-session': 400,
  'duplicate-session': 400,
  'too-many-sessions': 400,
  'too-many-owners': 400,
  /** Another BFD has the ports in this network namespace. */
  'port-taken': 409,
  /** The thread that runs the sessions ended: the daemon ends as well. */
  stopped: 500,
} satisfies Record<string, number>);

/** Every way in which the BFD daemon refuses something. */
export type BfdDaemonErrorCode = keyof typeof STATUS;

export class BfdDaemonError extends ApiError<BfdDaemonErrorCode> {
  constructor(code: BfdDaemonErrorCode, message: string, detail: ErrorDetail = {}) {
    super(code, STATUS[code], message, detail);
    this.name = 'BfdDaemonError';
  }
}

export const isKnownCode = (code: string): code is BfdDaemonErrorCode =>
  Object.hasOwn(STATUS, code);
