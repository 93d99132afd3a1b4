/** Why a manifest, or a part of it, is not taken. Codes are stable; match on them, not on the text. */
export type RefusalCode =
  /** A value of the wrong shape or outside its range. */
  | 'invalid'
  /** Meaningful to Cilium or Kubernetes, but not enforced here; taking it would widen or lose it. */
  | 'unsupported'
  /** A field that this version does not know: it might narrow what the rest allows. */
  | 'unknown-field'
  /** Two members that must not stand together. */
  | 'conflict'
  /** A spec without any of ingress, ingressDeny, egress, egressDeny. */
  | 'no-rules'
  /** More than a bound that keeps one manifest from filling the node. */
  | 'too-large';

/** One reason; a refused manifest names all that were found. */
export interface Refusal {
  readonly code: RefusalCode;
  /** Where in the object: `spec.ingress[0].toPorts[1].ports[0].port`. */
  readonly path: string;
  readonly message: string;
  readonly value?: unknown;
}

export type PolicyErrorCode =
  | 'policy-refused'
  | 'unknown-party'
  | 'invalid-query'
  | 'ids-exhausted';

/** Thrown where a caller asks for what cannot be answered; parsing answers with refusals instead. */
export class PolicyError extends Error {
  override readonly name = 'PolicyError';
  readonly code: PolicyErrorCode;
  readonly value: unknown;
  readonly refusals: readonly Refusal[];

  constructor(
    code: PolicyErrorCode,
    value: unknown,
    message: string,
    refusals: readonly Refusal[] = [],
  ) {
    super(message);
    this.code = code;
    this.value = value;
    this.refusals = refusals;
  }
}
