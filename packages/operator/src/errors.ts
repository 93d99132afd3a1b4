import { ApiError, type ErrorDetail } from '@causeway/daemon';

/** What the operator refuses, with the HTTP status that goes with it. */
export const OPERATOR_STATUS = Object.freeze({
  'not-leading': 409,
  'unknown-node': 404,
  'unknown-cidr': 404,
  'unknown-address': 404,
  'claim-refused': 409,
  'lost-race': 409,
  'not-ready': 503,
  'unknown-token': 403,
  'not-your-peer': 403,
  'token-used': 409,
  'token-expired': 410,
  'join-busy': 409,
  'unknown-join': 404,
  'unknown-peer': 404,
  'peer-exists': 409,
  unreachable: 504,
} satisfies Record<string, number>);

export type OperatorErrorCode = keyof typeof OPERATOR_STATUS;

export class OperatorError extends ApiError<OperatorErrorCode> {
  constructor(code: OperatorErrorCode, message: string, detail: ErrorDetail = {}) {
    super(code, OPERATOR_STATUS[code], message, detail);
    this.name = 'OperatorError';
  }
}
