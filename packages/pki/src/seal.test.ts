import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PkiError } from './errors.ts';
import { oneTimeCode, seal, unseal } from './seal.ts';

test('a code opens what it sealed, for what it was sealed for, unchanged', () => {
  const code = oneTimeCode();
  assert.match(code, /^([0-9A-HJKMNP-TV-Z]{5}-){3}[0-9A-HJKMNP-TV-Z]{5}$/);
  assert.notEqual(code, oneTimeCode());
  const sealed = seal('grüße', code, 'tokens');
  assert.equal(unseal(sealed, code, 'tokens'), 'grüße');
  assert.notEqual(seal('grüße', code, 'tokens'), sealed);
  const fails = (text: string, by: string, label: string, expected: string) =>
    assert.throws(
      () => unseal(text, by, label),
      (error: unknown) => error instanceof PkiError && error.code === expected,
    );
  fails(sealed, code, 'others', 'mismatch');
  fails(sealed, `${code}x`, 'tokens', 'mismatch');
  fails(sealed.slice(0, -4), code, 'tokens', 'mismatch');
  fails(sealed.slice(0, 40), code, 'tokens', 'malformed');
  fails('!', code, 'tokens', 'malformed');
});
