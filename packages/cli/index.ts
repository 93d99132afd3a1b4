export { EXIT } from './src/errors.ts';
export { buildProgram } from './src/program.ts';
