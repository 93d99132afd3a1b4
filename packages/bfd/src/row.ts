import type { ChangeReason, Signal, StateChange } from './changes.ts';
import type { DiscardReason } from './discards.ts';
import type { Session } from './session.ts';
import type { Diagnostic, SessionState } from './values.ts';
import type { AuthType } from './wire/auth.ts';

/** A time as text (ISO 8601, UTC), for people and programs. */
export type Instant = string;

/** A change of state as others see it. Lengths of time in milliseconds. */
export interface ChangeRow {
  readonly from: SessionState;
  readonly to: SessionState;
  readonly reason: ChangeReason['type'];
  /** The reason in words. */
  readonly text: string;
  readonly diagnostic: Diagnostic;
  readonly remoteDiagnostic?: Diagnostic;
  readonly at: Instant;
}

/** Why a session cannot send; it is tried again every second. */
export interface SessionProblem {
  readonly code:
    | 'interface-missing'
    | 'address-missing'
    | 'no-source-port'
    | 'send-failed'
    | 'system';
  readonly message: string;
}

/** A session as the API, the CLI and the tests see it. Lengths of time in milliseconds. */
export interface SessionRow {
  /** What the session is known by: remote, interface, local address. */
  readonly key: string;
  readonly remote: string;
  readonly local?: string;
  readonly interface?: string;
  readonly multihop: boolean;
  readonly minTtl: number;
  readonly state: SessionState;
  readonly remoteState: SessionState;
  /** What a client may conclude (RFC 5882): only `failed` is a fault of the path. */
  readonly signal: Signal;
  readonly diagnostic: Diagnostic;
  readonly remoteDiagnostic: Diagnostic;
  readonly discriminator: number;
  readonly remoteDiscriminator: number;
  readonly multiplier: number;
  readonly remoteMultiplier: number;
  /** Ours as wanted, those advertised now, the peer's, and how often we transmit (0: not at all). */
  readonly intervals: {
    readonly wantedTx: number;
    readonly wantedRx: number;
    readonly advertisedTx: number;
    readonly remoteTx: number;
    readonly remoteRx: number;
    readonly transmit: number;
  };
  readonly detectionTime: number;
  /** A change of timers that the peer has not confirmed yet. */
  readonly polling: boolean;
  readonly auth: AuthType | 'none';
  readonly remoteDemand: boolean;
  readonly remoteControlPlaneIndependent: boolean;
  readonly packets: {
    readonly received: number;
    readonly sent: number;
    readonly sendErrors: number;
    readonly discarded: Readonly<Partial<Record<DiscardReason, number>>>;
  };
  readonly flaps: number;
  readonly upSince?: Instant;
  readonly lastHeard?: Instant;
  readonly lastChange?: ChangeRow;
  /** The last fall from Up, and for how long it had been up. */
  readonly lastDown?: ChangeRow & { readonly wasUpFor: number };
  /** Nobody wants it any more; the peer is being told. */
  readonly removing: boolean;
  readonly problem?: SessionProblem;
}

const millis = (micros: number): number => Math.round(micros) / 1000;

/** `toInstant` turns a time of the core's clock into one of the wall's. */
export function changeRow(change: StateChange, toInstant: (at: number) => Instant): ChangeRow {
  const { from, to, reason, diagnostic, at } = change;
  return {
    from,
    to,
    reason: reason.type,
    text: reasonText(reason),
    diagnostic,
    ...('remoteDiagnostic' in reason ? { remoteDiagnostic: reason.remoteDiagnostic } : {}),
    at: toInstant(at),
  };
}

function reasonText(reason: ChangeReason): string {
  switch (reason.type) {
    case 'handshake':
      return 'the peer answers';
    case 'detection-expired':
      return `nothing from the peer for ${millis(reason.silentFor)} ms; the detection time is ${millis(reason.detectionTime)} ms`;
    case 'neighbor-down':
      return `the peer says that the session is down (its diagnostic: ${reason.remoteDiagnostic})`;
    case 'neighbor-admin-down':
      return 'the peer has taken the session down on purpose';
    case 'disabled':
      return 'we were told to hold the session down';
    case 'enabled':
      return 'we were told to run the session again';
    case 'removed':
      return 'nobody wants the session any more';
    default:
      return reason satisfies never;
  }
}

export function sessionRow(
  session: Session,
  toInstant: (at: number) => Instant,
  problem?: SessionProblem,
): SessionRow {
  const { spec, intervals, lastChange, lastDown, lastHeard } = session;
  const discarded = Object.entries(session.discards).filter(([, count]) => count > 0);
  return {
    key: session.key,
    remote: spec.remote,
    ...(spec.local === undefined ? {} : { local: spec.local }),
    ...(spec.interface === undefined ? {} : { interface: spec.interface }),
    multihop: spec.hops === 'multi',
    minTtl: spec.hops === 'single' ? 255 : (spec.minTtl ?? 1),
    state: session.state,
    remoteState: session.remoteState,
    signal: session.signal,
    diagnostic: session.diagnostic,
    remoteDiagnostic: session.remoteDiagnostic,
    discriminator: session.discriminator,
    remoteDiscriminator: session.remoteDiscriminator,
    multiplier: spec.multiplier,
    remoteMultiplier: intervals.remoteMultiplier,
    intervals: {
      wantedTx: millis(spec.desiredMinTx),
      wantedRx: millis(spec.requiredMinRx),
      advertisedTx: millis(intervals.desiredMinTx),
      remoteTx: millis(intervals.remoteDesiredMinTx),
      remoteRx: millis(intervals.remoteMinRx),
      transmit: millis(intervals.transmitInterval ?? 0),
    },
    detectionTime: millis(session.detectionTime),
    polling: intervals.polling,
    auth: spec.auth?.type ?? 'none',
    remoteDemand: session.remoteDemand,
    remoteControlPlaneIndependent: session.remoteControlPlaneIndependent,
    packets: {
      received: session.received,
      sent: session.sent - session.sendErrors,
      sendErrors: session.sendErrors,
      discarded: Object.fromEntries(discarded),
    },
    flaps: session.flaps,
    ...(session.upSince === undefined ? {} : { upSince: toInstant(session.upSince) }),
    ...(lastHeard === undefined ? {} : { lastHeard: toInstant(lastHeard) }),
    ...(lastChange === undefined ? {} : { lastChange: changeRow(lastChange, toInstant) }),
    ...(lastDown === undefined
      ? {}
      : {
          lastDown: { ...changeRow(lastDown, toInstant), wasUpFor: millis(lastDown.wasUpFor) },
        }),
    removing: session.lingersUntil !== Number.POSITIVE_INFINITY,
    ...(problem === undefined ? {} : { problem }),
  };
}
