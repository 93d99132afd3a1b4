export { PkiError, type PkiErrorCode } from './src/errors.ts';
