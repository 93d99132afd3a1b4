export {
  type Attachment,
  DEFAULT_AGENT_SOCKET,
  MAX_CONFIG_BYTES,
  type NetworkConfig,
  parseConfig,
} from './src/config.ts';
export {
  type Deletion,
  deletionsDirectory,
  forgetDeletion,
  MAX_DELETIONS,
  readDeletions,
  recordDeletion,
} from './src/deletions.ts';
export {
  type AttachmentParameters,
  CniRuntime,
  type CniRuntimeOptions,
  type PluginExec,
} from './src/driver.ts';
export { COMMANDS, type Command } from './src/environment.ts';
export { CniCode, CniError } from './src/errors.ts';
export { type CniCall, type CniOutcome, execute, type Surroundings } from './src/execute.ts';
export {
  type NetworkList,
  parseNetworkList,
  RuntimeError,
  type RuntimeErrorCode,
} from './src/network-list.ts';
export { answerRelayedCall, RELAY_PATH, type RelayAnswer } from './src/relay.ts';
export type { CniResult, ResultInterface, ResultIp, ResultRoute } from './src/result.ts';
export {
  type AgentAnswer,
  type AgentTransport,
  Unreachable,
} from './src/transport.ts';
export { type CniVersion, SUPPORTED_VERSIONS } from './src/versions.ts';
