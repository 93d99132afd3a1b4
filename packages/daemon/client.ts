/** The client alone: a command of a fraction of a second has no time to load what servers need. */
export { ApiClient } from './src/client.ts';
export { ApiError, DaemonError } from './src/errors.ts';
