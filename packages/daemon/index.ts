export { Answer } from './src/answer.ts';
export {
  type Api,
  type ApiOptions,
  createApi,
  found,
  jsonAnswer,
  parseBody,
  readBody,
  readJson,
  streamAnswer,
  withDeadline,
} from './src/api.ts';
export { ApiClient } from './src/client.ts';
export { checkConfig, fieldName, loadConfig, parseConfig, refuseConfig } from './src/config.ts';
export {
  type Daemon,
  type DaemonOptions,
  runDaemon,
  settingsOf,
  VERSION,
} from './src/daemon.ts';
export {
  ApiError,
  codeOf,
  DAEMON_STATUS,
  DaemonError,
  type DaemonErrorCode,
  type ErrorBody,
  type ErrorDetail,
  errorBody,
  messageWithCauses,
} from './src/errors.ts';
export { type EventStreamOptions, EventStreams, type StreamRequest } from './src/events.ts';
export {
  type Caller,
  type GuardedListener,
  type GuardedOptions,
  listenGuarded,
  listenOnSocket,
  listenOnTcp,
} from './src/listen.ts';
export { lockNetwork, lockRunDirectory } from './src/lock.ts';
export { LOG_LEVELS, type Log, silentLog, stderrLog } from './src/log.ts';
export { aborted, type ProgramOptions, runProgram } from './src/program.ts';
export type { RecordKind } from './src/record.ts';
export type { Context, Handler } from './src/router.ts';
export { sparingLog } from './src/sparing.ts';
export { type RecordStore, type RefusedFile, StateDirectory } from './src/state-directory.ts';
