export { type OperatorConfig, operatorConfig } from './src/config.ts';
export { type RunOptions, runOperator } from './src/daemon.ts';
export { OperatorError, type OperatorErrorCode } from './src/errors.ts';
export { requestRelease } from './src/requests.ts';
