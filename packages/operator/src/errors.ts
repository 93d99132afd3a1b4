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
} satisfies Record<string, number>);

export type OperatorErrorCode = keyof typeof OPERATOR_STATUS;

export class OperatorError extends ApiError<OperatorErrorCode> {
  constructor(code: OperatorErrorCode, message: string, detail: ErrorDetail = {}) {
    super(code, OPERATOR_STATUS[code], message, detail);
    this.name = 'OperatorError';
  }
}
