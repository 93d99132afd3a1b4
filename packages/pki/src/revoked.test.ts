import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Authority } from './authority.ts';
import { inspectCertificate } from './inspect.ts';
import { loadRevocations } from './revoked.ts';

test('a list tells whom it names, however the serial is written', async () => {
  const now = new Date('2026-03-01T12:00:00Z');
  const validity = { now, days: 1 };
  const { authority } = await Authority.create('east', validity);
  const read = await loadRevocations();
  const none = read(await authority.revocationList([], validity));
  assert.equal(none('01'), false);
  const { certificate } = await authority.issueClient('remote-west', validity);
  const { serial } = inspectCertificate(certificate);
  const isRevoked = read(
    await authority.revocationList(
      [serial, '00A1'].map((each) => ({ serial: each, at: now })),
      validity,
    ),
  );
  for (const each of [serial, serial.toLowerCase(), `00${serial}`, 'A1', 'a1'])
    assert.equal(isRevoked(each), true, each);
  assert.equal(isRevoked('A2'), false);
  for (const text of ['', certificate, '-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----'])
    assert.throws(() => read(text), { code: 'malformed' });
});
