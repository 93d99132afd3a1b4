export { type RunOptions, runAgent } from './src/agent.ts';
export type { CniRelay, OwnTransport } from './src/api/relay.ts';
export type {
  AgentStatus,
  Attachment,
  AttachRequest,
  ChainedInterface,
  Endpoint,
  EndpointState,
  FamilyAddresses,
  HealthRow,
  LatencySummary,
} from './src/api/types.ts';
export { type CleanupReport, cleanupNode } from './src/cleanup.ts';
export { checkAgentConfig, loadAgentConfig, parseAgentConfig } from './src/config/load.ts';
export type { AgentConfig, ConfigInput } from './src/config/schema.ts';
export { AgentError, type AgentErrorCode } from './src/errors.ts';
