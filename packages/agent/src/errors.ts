import { ApiError, DAEMON_STATUS, type ErrorDetail } from '@causeway/daemon';

/** HTTP status for each code: the one place where it is decided. */
const STATUS = Object.freeze({
  ...DAEMON_STATUS,
  'not-ready': 503,
  'netns-missing': 422,
  'netns-is-node': 422,
  'interface-exists': 409,
  'interface-missing': 422,
  'pool-empty': 503,
  'pool-unknown': 422,
  'address-held': 409,
  'address-in-use': 409,
  'address-outside': 422,
  'address-unknown': 422,
  'attach-failed': 500,
  'check-failed': 409,
  busy: 503,
  'missing-feature': 500,
  'kernel-failed': 500,
  'store-unavailable': 503,
  internal: 500,
} satisfies Record<string, number>);

/** Every way in which the agent refuses something. The code is the contract; the message is for people. */
export type AgentErrorCode = keyof typeof STATUS;

export class AgentError extends ApiError<AgentErrorCode> {
  constructor(code: AgentErrorCode, message: string, detail: ErrorDetail = {}) {
    super(code, STATUS[code], message, detail);
    this.name = 'AgentError';
  }
}
