export type { StreamLine } from './src/api.ts';
export { type BfdDaemonConfig, loadBfdConfig } from './src/config.ts';
export { type RunOptions, runBfdDaemon } from './src/daemon.ts';
export { BfdDaemonError, type BfdDaemonErrorCode } from './src/errors.ts';
export type { WantedSession } from './src/wanted.ts';
