import type { Diagnostic, SessionState } from './values.ts';

/** Why a session's state changed. */
export type ChangeReason =
  | { readonly type: 'handshake' }
  /** Nothing came for `silentFor` microseconds, longer than the detection time. */
  | {
      readonly type: 'detection-expired';
      readonly silentFor: number;
      readonly detectionTime: number;
    }
  /** The peer says Down: it has lost us, or was restarted. */
  | { readonly type: 'neighbor-down'; readonly remoteDiagnostic: Diagnostic }
  /** The peer's operator took the session down: no fault of the path (RFC 5882 section 3.2). */
  | { readonly type: 'neighbor-admin-down'; readonly remoteDiagnostic: Diagnostic }
  | { readonly type: 'disabled' }
  | { readonly type: 'enabled' }
  /** Nobody wants the session any more. */
  | { readonly type: 'removed' };

export interface StateChange {
  readonly from: SessionState;
  readonly to: SessionState;
  readonly reason: ChangeReason;
  readonly diagnostic: Diagnostic;
  /** On the clock that the core was given. */
  readonly at: number;
}

/**
 * What a client may conclude, RFC 5882 sections 3 and 4: only `failed` is a fault of the path.
 * `unknown`: not up since this session was made, so its absence says nothing.
 */
export type Signal = 'unknown' | 'up' | 'failed' | 'administrative';
