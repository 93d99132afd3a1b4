export { type OperatorConfig, operatorConfig } from './src/config.ts';
