/** Stable codes of what this package refuses. */
export type LoadBalancingErrorCode = 'invalid-maglev' | 'ids-exhausted' | 'unknown-frontend';

export class LoadBalancingError extends Error {
  override readonly name = 'LoadBalancingError';
  readonly code: LoadBalancingErrorCode;
  readonly value: unknown;

  constructor(code: LoadBalancingErrorCode, value: unknown, message: string) {
    super(message);
    this.code = code;
    this.value = value;
  }
}

/** What is wrong with an object of the API. The object is not taken; its predecessor stays. */
export interface Problem {
  readonly path: string;
  readonly message: string;
  readonly value?: unknown;
}

export type Parsed<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly problems: readonly Problem[] };
