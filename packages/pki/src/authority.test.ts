import assert from 'node:assert/strict';
import { generateKeyPairSync, type webcrypto, X509Certificate } from 'node:crypto';
import { test } from 'node:test';
import { Authority, type Credentials } from './authority.ts';
import { PkiError, type PkiErrorCode } from './errors.ts';
import { checkCredentials, inspectCertificate, splitCertificates } from './inspect.ts';
import { loadX509 } from './x509.ts';

const x509 = await loadX509();

const now = new Date('2026-03-01T12:00:00Z');
const day = 86_400_000;
const validity = { now, days: 30 };
const later = (days: number): Date => new Date(now.getTime() + days * day);

const refused =
  (code: PkiErrorCode, text: RegExp = /./) =>
  (error: unknown) => {
    assert.ok(error instanceof PkiError && error.code === code, String(error));
    assert.match(error.message, text);
    return true;
  };

test('servers and clients are signed, directly and by an authority below', async () => {
  const { authority } = await Authority.create('east', { now, days: 365 });
  assert.ok(authority.info.isAuthority && authority.info.selfSigned);
  const server = await authority.issueServer(
    ['192.0.2.1', '2001:db8::1', 'a.example', '*.b.example'],
    validity,
  );
  const info = checkCredentials({ ...server, authority: authority.certificate, now });
  assert.equal(info.subject, '');
  assert.deepEqual(info.names, ['192.0.2.1', '2001:DB8:0:0:0:0:0:1', 'a.example', '*.b.example']);
  const parsed = new X509Certificate(server.certificate);
  for (const address of ['192.0.2.1', '2001:db8::1']) assert.ok(parsed.checkIP(address));
  assert.ok(parsed.checkHost('x.b.example'));
  assert.equal(parsed.checkHost('c.example'), undefined);

  const below = await authority.issueAuthority('east for west', validity);
  const client = await below.authority.issueClient('remote-west', validity);
  assert.ok(authority.maySignAuthorities && !below.authority.maySignAuthorities);
  const chain = splitCertificates(client.certificate);
  assert.equal(chain.length, 2);
  for (const trusted of [authority, below.authority])
    checkCredentials({ ...client, authority: trusted.certificate, now });
  assert.equal(inspectCertificate(client.certificate).subject, 'remote-west');
  assert.deepEqual(new X509Certificate(client.certificate).keyUsage, ['1.3.6.1.5.5.7.3.2']);
  // Who trusts the one below only takes nobody else.
  const other = await authority.issueClient('remote-north', validity);
  assert.throws(
    () => checkCredentials({ ...other, authority: below.authority.certificate, now }),
    refused('mismatch', /does not lead to east for west/),
  );
  const serials = [server, client, other].map(
    (each) => inspectCertificate(each.certificate).serial,
  );
  assert.equal(new Set(serials).size, 3);
});

test('nothing outlives who signed it, and what is out of its time is told', async () => {
  const { authority, credentials } = await Authority.create('east', { now, days: 10 });
  const client = await authority.issueClient('x', { now, days: 400 });
  assert.deepEqual(inspectCertificate(client.certificate).notAfter, later(10));
  const check = (at: Date) =>
    checkCredentials({ ...client, authority: credentials.certificate, now: at });
  check(new Date(now.getTime() - 4 * 60_000));
  check(later(9.9));
  assert.throws(() => check(later(10.1)), refused('expired', /good only until 2026-03-11/));
  assert.throws(() => check(later(-1)), refused('expired', /good only from/));
  await assert.rejects(authority.issueClient('x', { now: later(11), days: 1 }), refused('expired'));
});

test('a change of authority: the new one shown to those who know the old', async () => {
  const old = await Authority.create('old', { now, days: 365 });
  const next = await Authority.create('new', { now, days: 365 });
  const server = await next.authority.issueServer(['a.example'], validity);
  const check = (certificate: string, authority: string) =>
    checkCredentials({ certificate, key: server.key, authority, now });
  const cross = await old.authority.crossSign(next.authority, validity);
  check(server.certificate, next.credentials.certificate);
  assert.throws(() => check(server.certificate, old.credentials.certificate), refused('mismatch'));
  check(server.certificate + cross, old.credentials.certificate);
  check(server.certificate + cross, next.credentials.certificate);
  check(server.certificate, old.credentials.certificate + next.credentials.certificate);
});

test('lists of revoked certificates are signed and name them', async () => {
  const { authority } = await Authority.create('east', validity);
  const { certificate } = await authority.issueClient('x', validity);
  const { serial } = inspectCertificate(certificate);
  const issuer = new x509.X509Certificate(authority.certificate);
  for (const revoked of [[], [{ serial, at: now }]]) {
    const text = await authority.revocationList(revoked, validity);
    assert.match(text, /^-----BEGIN X509 CRL-----\n/);
    const list = new x509.X509Crl(Buffer.from(text.replaceAll(/-----.*-----|\s/g, ''), 'base64'));
    assert.ok(await list.verify({ publicKey: issuer.publicKey }));
    assert.deepEqual(
      list.entries.map((entry) => entry.serialNumber.toUpperCase()),
      revoked.map((each) => each.serial),
    );
  }
});

/** As OpenSSL would have made it: a root of the site with a key of this kind. */
async function siteAuthority(
  algorithm: Parameters<typeof crypto.subtle.generateKey>[0],
): Promise<Credentials> {
  const keys = (await crypto.subtle.generateKey(algorithm, true, [
    'sign',
    'verify',
  ])) as webcrypto.CryptoKeyPair;
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    name: 'CN=The Site',
    notBefore: now,
    notAfter: later(100),
    signingAlgorithm: { name: (algorithm as { name: string }).name, hash: 'SHA-256' } as never,
    keys,
    extensions: [new x509.BasicConstraintsExtension(true, undefined, true)],
  });
  const pkcs8 = Buffer.from(await crypto.subtle.exportKey('pkcs8', keys.privateKey));
  const key = `-----BEGIN PRIVATE KEY-----\n${pkcs8.toString('base64')}\n-----END PRIVATE KEY-----\n`;
  return { certificate: `${certificate.toString('pem')}\n`, key };
}

test("the site's authority signs, whatever its key", async () => {
  const rsa = {
    name: 'RSASSA-PKCS1-v1_5',
    hash: 'SHA-256',
    modulusLength: 2048,
    publicExponent: new Uint8Array([1, 0, 1]),
  };
  for (const algorithm of [rsa, { name: 'ECDSA', namedCurve: 'P-384' }, { name: 'Ed25519' }]) {
    const site = await siteAuthority(algorithm);
    const authority = await Authority.open(site);
    const client = await authority.issueClient('remote-west', validity);
    checkCredentials({ ...client, authority: site.certificate, now: later(1) });
  }
});

test('what makes no certificate is refused, and keys never stand in a message', async () => {
  const { authority, credentials } = await Authority.create('east', validity);
  const client = await authority.issueClient('x', validity);
  const bad: [() => Promise<unknown>, PkiErrorCode][] = [
    [() => authority.issueServer([], validity), 'invalid'],
    [() => authority.issueServer(['a b'], validity), 'invalid'],
    [() => authority.issueClient('', validity), 'invalid'],
    [() => authority.issueClient('x'.repeat(65), validity), 'invalid'],
    [() => authority.issueClient('a\nb', validity), 'invalid'],
    [() => authority.issueClient('x', { now, days: 0 }), 'invalid'],
    [() => Authority.open(client), 'invalid'],
    [() => Authority.open({ ...credentials, key: client.key }), 'mismatch'],
    [() => Authority.open({ ...credentials, key: 'rubbish' }), 'malformed'],
    [() => Authority.open({ ...credentials, certificate: 'rubbish' }), 'malformed'],
  ];
  for (const [call, code] of bad) await assert.rejects(call(), refused(code));
  const weak = generateKeyPairSync('rsa', { modulusLength: 1024 }).privateKey;
  const { readSigningKey } = await import('./keys.ts');
  const pem = String(weak.export({ type: 'pkcs8', format: 'pem' }));
  await assert.rejects(readSigningKey(pem), refused('invalid', /rsa 1024/));
  assert.throws(
    () => checkCredentials({ ...client, authority: 'none', now }),
    refused('malformed', /no PEM certificate/),
  );
  assert.throws(
    () =>
      checkCredentials({ ...client, key: credentials.key, authority: authority.certificate, now }),
    refused('mismatch', /not the one of the certificate of x/),
  );
});
