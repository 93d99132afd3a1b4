import { ApiError, type ErrorDetail } from '@causeway/daemon';

/** What the inventory refuses, with the HTTP status that goes with it. */
export const INVENTORY_STATUS = Object.freeze({
  /** A field of an item that no endpoint can have. */
  'bad-item': 400,
  /** A label rule or filter that means nothing. */
  'bad-rule': 400,
  /** An inventory file that cannot be read as one; what it said before stays. */
  'bad-file': 400,
  /** Every number of the cluster's range is in use or rests. */
  'identities-exhausted': 507,
  /** The object changed while it was being written. */
  conflict: 409,
  'not-leading': 409,
  'not-ready': 503,
  'unknown-source': 404,
  'unknown-address': 404,
  /** Nothing waits for an approval. */
  'nothing-withheld': 409,
  unauthenticated: 401,
  forbidden: 403,
  /** A source that answers with something else than its protocol. */
  'bad-answer': 502,
  'source-unreachable': 503,
} satisfies Record<string, number>);

export type InventoryErrorCode = keyof typeof INVENTORY_STATUS;

export class InventoryError extends ApiError<InventoryErrorCode> {
  constructor(code: InventoryErrorCode, message: string, detail: ErrorDetail = {}) {
    super(code, INVENTORY_STATUS[code], message, detail);
    this.name = 'InventoryError';
  }
}
