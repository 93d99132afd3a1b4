import { createPrivateKey, type KeyObject, webcrypto } from 'node:crypto';
import { PkiError } from './errors.ts';

interface SigningAlgorithm {
  readonly name: string;
  readonly hash: string;
}

/** A key that can sign certificates, and how it does. */
export interface SigningKey {
  readonly key: webcrypto.CryptoKey;
  readonly algorithm: SigningAlgorithm;
}

export interface KeyPair {
  readonly keys: webcrypto.CryptoKeyPair;
  /** The private key, PKCS #8 in PEM. */
  readonly pem: string;
}

const P256 = { name: 'ECDSA', namedCurve: 'P-256' } as const;

/** A new ECDSA key on P-256: what every TLS library takes, and cheap to make and to use. */
export async function generateKey(): Promise<KeyPair> {
  const keys = await webcrypto.subtle.generateKey(P256, true, ['sign', 'verify']);
  const pkcs8 = await webcrypto.subtle.exportKey('pkcs8', keys.privateKey);
  return { keys, pem: pemText('PRIVATE KEY', pkcs8) };
}

/** RFC 7468. */
export function pemText(label: string, bytes: ArrayBuffer): string {
  const lines = Buffer.from(bytes)
    .toString('base64')
    .replaceAll(/.{64}(?=.)/g, '$&\n');
  return `-----BEGIN ${label}-----\n${lines}\n-----END ${label}-----\n`;
}

/**
 * A private key for signing, from PEM of any form that OpenSSL writes without a password: ECDSA on P-256, P-384 and
 * P-521, RSA from 2048 bits, Ed25519. Throws `malformed`, `invalid`.
 */
export async function readSigningKey(pem: string): Promise<SigningKey> {
  const key = parsePrivateKey(pem);
  const pkcs8 = key.export({ type: 'pkcs8', format: 'der' });
  const { imported, algorithm } = algorithmsOf(key);
  const signing = await webcrypto.subtle.importKey('pkcs8', pkcs8, imported, false, ['sign']);
  return { key: signing, algorithm };
}

export function parsePrivateKey(pem: string): KeyObject {
  try {
    return createPrivateKey(pem);
  } catch (cause) {
    throw new PkiError('malformed', 'key', 'the private key is not PEM without a password', cause);
  }
}

const CURVES: Readonly<Record<string, readonly [curve: string, hash: string]>> = {
  prime256v1: ['P-256', 'SHA-256'],
  secp384r1: ['P-384', 'SHA-384'],
  secp521r1: ['P-521', 'SHA-512'],
};

function algorithmsOf(key: KeyObject): {
  imported: Parameters<typeof webcrypto.subtle.importKey>[2];
  algorithm: SigningAlgorithm;
} {
  const type = key.asymmetricKeyType;
  const { namedCurve = '', modulusLength = 0 } = key.asymmetricKeyDetails ?? {};
  if (type === 'ec') {
    const [curve, hash] = CURVES[namedCurve] ?? [];
    if (curve !== undefined && hash !== undefined) {
      return {
        imported: { name: 'ECDSA', namedCurve: curve },
        algorithm: { name: 'ECDSA', hash },
      };
    }
  }
  if (type === 'rsa' && modulusLength >= 2048) {
    const algorithm = { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' };
    return { imported: algorithm, algorithm };
  }
  if (type === 'ed25519')
    return { imported: 'Ed25519', algorithm: { name: 'Ed25519', hash: 'SHA-512' } };
  const what = [type, namedCurve, modulusLength || ''].filter(Boolean).join(' ');
  throw new PkiError(
    'invalid',
    what,
    `a key of type ${what} signs nothing here: take ECDSA (P-256, P-384, P-521), RSA from 2048 bits or Ed25519`,
  );
}
