export { Authority, type Credentials, type Validity } from './src/authority.ts';
export { PkiError, type PkiErrorCode } from './src/errors.ts';
export {
  type CertificateInfo,
  type CredentialsToCheck,
  checkCredentials,
  inspectCertificate,
  splitCertificates,
} from './src/inspect.ts';
export { type IsRevoked, loadRevocations } from './src/revoked.ts';
export { oneTimeCode, seal, unseal } from './src/seal.ts';
