/**
 * What can go wrong with the store. `retryable` is decided here once, from the code:
 *
 * | code | meaning | retry |
 * | --- | --- | --- |
 * | unavailable | no endpoint answers, or the cluster has no leader | yes |
 * | deadline | the call's time ran out; a write may or may not have happened | yes |
 * | throttled | the server asks to slow down | yes |
 * | no-space | the server's quota is used up (its alarm is raised) | yes |
 * | compacted | the revision asked for is gone | no: list again |
 * | lease-not-found | the lease has expired or was revoked | no: take a new one |
 * | permission-denied, unauthenticated | the user or certificate may not do this | yes: roles change under a running program |
 * | too-large | request or response exceeds a limit | no |
 * | invalid | the request makes no sense to the server, or to us | no |
 * | closed | this client or watch was closed, or the caller's signal aborted | no |
 * | internal | anything else; the message is the server's | yes |
 */
export type KvErrorCode =
  | 'unavailable'
  | 'deadline'
  | 'throttled'
  | 'no-space'
  | 'compacted'
  | 'lease-not-found'
  | 'permission-denied'
  | 'unauthenticated'
  | 'too-large'
  | 'invalid'
  | 'closed'
  | 'internal';

const final: ReadonlySet<KvErrorCode> = new Set<KvErrorCode>([
  'compacted',
  'lease-not-found',
  'too-large',
  'invalid',
  'closed',
]);

export class KvError extends Error {
  override readonly name = 'KvError';
  readonly code: KvErrorCode;
  /** Key, prefix, lease or endpoint that the call was about. */
  readonly value: unknown;
  /** Whether the same call may succeed later without being changed. */
  readonly retryable: boolean;

  constructor(code: KvErrorCode, value: unknown, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
    this.value = value;
    this.retryable = !final.has(code);
  }
}
