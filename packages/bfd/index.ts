export type { ChangeReason, Signal, StateChange } from './src/changes.ts';
export { type DiscardCounts, type DiscardReason, discardReasons } from './src/discards.ts';
export {
  type BfdDatagram,
  type BfdEffect,
  BfdEngine,
  type ConfigureResult,
  type EngineOptions,
} from './src/engine.ts';
export { BfdError, type BfdErrorCode } from './src/errors.ts';
export { type FsmEvent, fsmEvents, type Transition, transitions } from './src/fsm.ts';
export type { ChangeRow, SessionProblem, SessionRow } from './src/row.ts';
export type { Session } from './src/session.ts';
export type { BfdEvent, ConfigureAnswer, LoopFigures, ThreadStatus } from './src/shell/messages.ts';
export { Bfd, type BfdOptions } from './src/shell.ts';
export { checkSpec, type SessionSpec, sessionKey } from './src/spec.ts';
export {
  bfdPort,
  type Diagnostic,
  type Discriminator,
  diagnostics,
  type Hops,
  Micros,
  type SessionState,
  sessionStates,
} from './src/values.ts';
export { type AuthKey, type AuthType, authTypes, type Digest } from './src/wire/auth.ts';
export { type ControlPacket, decodeControl, encodeControl } from './src/wire/control.ts';
