import { PkiError } from './errors.ts';
import { loadX509 } from './x509.ts';

/** Tells whether a certificate of this serial, hexadecimal, stands in a revocation list. */
export type IsRevoked = (serial: string) => boolean;

/**
 * Loads what reads revocation lists, PEM. Whose list it is and until when it is good is not asked: it is one's own
 * file. What is returned throws `malformed`.
 */
export async function loadRevocations(): Promise<(pem: string) => IsRevoked> {
  const { X509Crl } = await loadX509();
  return (pem) => {
    const body = /-----BEGIN X509 CRL-----([^-]*)-----END X509 CRL-----/.exec(pem)?.[1];
    if (body === undefined)
      throw new PkiError('malformed', 'X509 CRL', 'this is no revocation list in PEM');
    let serials: Set<bigint>;
    try {
      const { entries } = new X509Crl(Buffer.from(body, 'base64'));
      serials = new Set(entries.map(({ serialNumber }) => BigInt(`0x${serialNumber}`)));
    } catch (cause) {
      throw new PkiError('malformed', 'X509 CRL', 'the revocation list cannot be read', cause);
    }
    return (serial) => serials.has(BigInt(`0x${serial}`));
  };
}
