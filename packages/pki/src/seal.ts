import { createCipheriv, createDecipheriv, randomBytes, randomInt, scryptSync } from 'node:crypto';
import { PkiError } from './errors.ts';

const SALT = 16;
const NONCE = 12;
const TAG = 16;
/** RFC 7914 section 2: some 40 ms and 16 MiB a guess; a code of ours would stand without it, a passphrase may not. */
const COST = { N: 16_384, r: 8, p: 1, maxmem: 64 * 1024 * 1024 };
/** Crockford's alphabet: nothing in it is taken for another. */
const ALPHABET = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';

/** A code of 100 random bits, as people copy it: `4F7KQ-...`, four groups of five. */
export function oneTimeCode(): string {
  const group = () => Array.from({ length: 5 }, () => ALPHABET[randomInt(32)]).join('');
  return [group(), group(), group(), group()].join('-');
}

/**
 * Text that only who knows the code can read or change: scrypt, then AES-256-GCM. `label` is what it is for, and a
 * part of what is authenticated. Base64url.
 */
export function seal(text: string, code: string, label: string): string {
  const salt = randomBytes(SALT);
  const nonce = randomBytes(NONCE);
  const cipher = createCipheriv('aes-256-gcm', keyOf(code, salt), nonce);
  cipher.setAAD(Buffer.from(label));
  const body = Buffer.concat([cipher.update(text, 'utf8'), cipher.final()]);
  return Buffer.concat([salt, nonce, body, cipher.getAuthTag()]).toString('base64url');
}

/** Throws `malformed` for what is not of this form, `mismatch` for another code or a changed text. */
export function unseal(sealed: string, code: string, label: string): string {
  const bytes = Buffer.from(sealed, 'base64url');
  if (bytes.length < SALT + NONCE + TAG || bytes.toString('base64url') !== sealed) {
    throw new PkiError('malformed', label, 'the sealed text is cut short or not base64url');
  }
  const nonce = bytes.subarray(SALT, SALT + NONCE);
  const key = keyOf(code, bytes.subarray(0, SALT));
  const decipher = createDecipheriv('aes-256-gcm', key, nonce, { authTagLength: TAG });
  decipher.setAAD(Buffer.from(label));
  decipher.setAuthTag(bytes.subarray(-TAG));
  try {
    const body = bytes.subarray(SALT + NONCE, -TAG);
    return Buffer.concat([decipher.update(body), decipher.final()]).toString('utf8');
  } catch (cause) {
    throw new PkiError(
      'mismatch',
      label,
      'the code is not the right one, or the text was changed',
      cause,
    );
  }
}

/** People type codes in small letters, with spaces, and O for 0: passphrases of other letters stay as they are. */
const keyOf = (code: string, salt: Uint8Array): Buffer =>
  scryptSync(plainCode(code), salt, 32, COST);

function plainCode(code: string): string {
  const plain = code
    .trim()
    .toUpperCase()
    .replaceAll(/[-\s]/g, '')
    .replaceAll('O', '0')
    .replaceAll(/[IL]/g, '1');
  return /^[0-9A-HJKMNP-TV-Z]{20}$/.test(plain) ? plain : code.trim().normalize('NFC');
}
