import { X509Certificate } from 'node:crypto';
import { PkiError } from './errors.ts';
import { parsePrivateKey } from './keys.ts';

/** What stands in a certificate. */
export interface CertificateInfo {
  /** The common name; empty if there is none. */
  readonly subject: string;
  readonly issuer: string;
  /** Hexadecimal, upper case. */
  readonly serial: string;
  readonly notBefore: Date;
  readonly notAfter: Date;
  /** DNS names and addresses. */
  readonly names: readonly string[];
  readonly isAuthority: boolean;
  readonly selfSigned: boolean;
  /** SHA-256 of the certificate, `AB:CD:...`. */
  readonly fingerprint: string;
  /** Whether this private key, PEM, is the certificate's. Throws `malformed`. */
  belongsTo(key: string): boolean;
}

const PEM_BLOCK = /-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----\n?/g;

/** The certificates of a PEM text, one text each. */
export function splitCertificates(pem: string): string[] {
  return (pem.match(PEM_BLOCK) ?? []).map((block) => `${block.trim()}\n`);
}

/** The first certificate of a PEM text. Throws `malformed`. */
export function inspectCertificate(pem: string): CertificateInfo {
  const certificate = parse(splitCertificates(pem)[0] ?? pem);
  const names = [
    ...(certificate.subjectAltName ?? '').matchAll(/(?:DNS|IP Address):([^,\s]+)/g),
  ].map(([, name]) => name ?? '');
  return {
    subject: commonName(certificate.subject),
    issuer: commonName(certificate.issuer),
    serial: certificate.serialNumber,
    notBefore: new Date(certificate.validFrom),
    notAfter: new Date(certificate.validTo),
    names,
    isAuthority: certificate.ca,
    selfSigned: certificate.checkIssued(certificate),
    fingerprint: certificate.fingerprint256,
    belongsTo: (key) => certificate.checkPrivateKey(parsePrivateKey(key)),
  };
}

export interface CredentialsToCheck {
  readonly certificate: string;
  readonly key: string;
  /** Who must have signed, one or several, PEM. */
  readonly authority: string;
  readonly now: Date;
}

/**
 * Certificate, key and authority as they will be used together: the key fits, a chain leads to the authority, and
 * none of it is out of its time. Throws `malformed`, `mismatch`, `expired`.
 */
export function checkCredentials({
  certificate,
  key,
  authority,
  now,
}: CredentialsToCheck): CertificateInfo {
  const info = inspectCertificate(certificate);
  const who = info.subject || info.names[0] || info.serial;
  if (!info.belongsTo(key))
    throw new PkiError('mismatch', who, `the key is not the one of the certificate of ${who}`);
  const roots = splitCertificates(authority).map(parse);
  if (roots.length === 0)
    throw new PkiError('malformed', 'authority', "the authority's text holds no PEM certificate");
  const chain = splitCertificates(certificate).map(parse);
  let trusted: X509Certificate | undefined;
  for (const [index, one] of chain.entries()) {
    checkTime(one, now);
    trusted = roots.find((root) => issued(root, one) || root.fingerprint256 === one.fingerprint256);
    if (trusted !== undefined) break;
    const next = chain[index + 1];
    if (next === undefined || !issued(next, one)) break;
  }
  if (trusted === undefined)
    throw new PkiError(
      'mismatch',
      who,
      `the certificate of ${who}, signed by ${info.issuer}, does not lead to ${roots.map((root) => commonName(root.subject)).join(', ')}`,
    );
  checkTime(trusted, now);
  return info;
}

const issued = (issuer: X509Certificate, subject: X509Certificate): boolean =>
  issuer.ca && subject.checkIssued(issuer) && subject.verify(issuer.publicKey);

function checkTime(certificate: X509Certificate, now: Date): void {
  const who = commonName(certificate.subject) || certificate.serialNumber;
  const from = new Date(certificate.validFrom);
  const to = new Date(certificate.validTo);
  if (now >= from && now <= to) return;
  const text = now < from ? `only from ${from.toISOString()}` : `only until ${to.toISOString()}`;
  throw new PkiError('expired', who, `the certificate of ${who} is good ${text}`);
}

function parse(pem: string): X509Certificate {
  try {
    return new X509Certificate(pem);
  } catch (cause) {
    throw new PkiError('malformed', 'certificate', 'the certificate is not PEM of X.509', cause);
  }
}

const commonName = (name: string | undefined): string => /^CN=(.*)$/m.exec(name ?? '')?.[1] ?? '';
