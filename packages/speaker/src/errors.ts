import { ApiError, DAEMON_STATUS, type ErrorDetail } from '@causeway/daemon';

/** HTTP status for each code: the one place where it is decided. */
const STATUS = Object.freeze({
  ...DAEMON_STATUS,
  /** Two owners want different things under one name. */
  conflict: 409,
  /** The core refuses a configuration that has the right shape, such as a policy that cannot be compiled. */
  'invalid-config': 400,
  'listen-failed': 409,
  'not-configured': 409,
} satisfies Record<string, number>);

/** Every way in which the speaker refuses something. */
export type SpeakerErrorCode = keyof typeof STATUS;

export class SpeakerError extends ApiError<SpeakerErrorCode> {
  constructor(code: SpeakerErrorCode, message: string, detail: ErrorDetail = {}) {
    super(code, STATUS[code], message, detail);
    this.name = 'SpeakerError';
  }
}
