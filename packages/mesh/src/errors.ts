export type MeshErrorCode =
  /** A key that is not of the form that its prefix asks for. */
  | 'bad-key'
  /** A value that does not decode. */
  | 'bad-value'
  /** A value that names another cluster, name, address or range than its key and cluster do. */
  | 'mismatch'
  /** Labels that cannot stand in a key. */
  | 'bad-labels'
  /** Every identity of the cluster's range is in use. */
  | 'identities-exhausted'
  /** Others changed the same keys again and again while we tried. */
  | 'contention'
  /** More than is kept of one cluster. */
  | 'too-many'
  /** A value greater than is taken of another cluster. */
  | 'too-large'
  /** Addresses that are not the other cluster's to tell of. */
  | 'overlap'
  /** A file of a peer's last state that is broken, another's or of a newer form. */
  | 'bad-kept-state'
  /** Two clusters with one id. */
  | 'id-clash'
  /** The store belongs to another cluster. */
  | 'foreign-store'
  /** The store's certificates have not been made. */
  | 'not-exposed'
  /** What is to be taken away is still needed. */
  | 'in-use'
  /** A token that cannot be opened, is of another version, for another cluster, or past its time. */
  | 'bad-token';

/** A refusal; `field` names the field of the value that is wrong. */
export class MeshError extends Error {
  override readonly name = 'MeshError';
  readonly code: MeshErrorCode;
  readonly value: unknown;
  readonly field: string | undefined;

  constructor(code: MeshErrorCode, message: string, value?: unknown, field?: string) {
    super(message);
    this.code = code;
    this.value = value;
    this.field = field;
  }
}
