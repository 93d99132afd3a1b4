import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { Authority, checkCredentials, inspectCertificate } from '@causeway/pki';
import { proxyArguments, proxyUnit, shellText } from './command-lines.ts';
import { StoreDirectory } from './directory.ts';

const root = mkdtempSync(path.join(tmpdir(), `causeway-expose-${process.pid}-`));
after(() => rmSync(root, { recursive: true }));

const start = new Date('2026-03-01T12:00:00Z');
const later = (days: number): Date => new Date(start.getTime() + days * 86_400_000);
const names = ['192.0.2.1', 'etcd.east.example'];

const settle = (name: string, now = start, more: object = {}) =>
  StoreDirectory.settle(path.join(root, name), { cluster: 'east', names, now, ...more });

const failsWith = (code: string) => (error: unknown) => (error as { code?: unknown }).code === code;

test('settled again nothing changes; what nears its end or has other names is made anew', async () => {
  const first = await settle('a');
  assert.equal(first.report.written.length, 7);
  await first.directory.proxyFiles('west', start);
  assert.deepEqual((await settle('a')).report.written, []);
  assert.deepEqual((await settle('a', later(250))).report.written, []);
  const aged = await settle('a', later(270));
  assert.deepEqual([...aged.report.written].sort(), [
    'peers/west/proxy.crt',
    'server.crt',
    'users/causeway-east.crt',
    'users/local-east.crt',
    'users/root.crt',
  ]);
  const renamed = await settle('a', later(271), { names: [...names, '2001:db8::1'] });
  assert.ok(renamed.report.written.includes('server.crt'));
  const { server } = renamed.directory.serverFiles();
  assert.ok(inspectCertificate(readFileSync(server.certificate, 'utf8')).names.length === 3);
  for (const file of ['ca.key', 'server.key', 'users/root.key', 'ledger.json'])
    assert.equal(statSync(path.join(root, 'a', file)).mode & 0o077, 0, file);
});

test('a directory is one cluster’s, and one that is not there or spoilt is told', async () => {
  await settle('b');
  await assert.rejects(settle('b', start, { cluster: 'west' }), failsWith('foreign-store'));
  await assert.rejects(settle('c', start, { cluster: 'Not-A-Name' }), failsWith('bad-key'));
  await assert.rejects(settle('c', start, { cluster: 'default' }), failsWith('bad-key'));
  assert.throws(() => StoreDirectory.open(path.join(root, 'c')), failsWith('not-exposed'));
  const { directory } = await settle('b');
  await assert.rejects(directory.issuePeer('../../x', start), failsWith('bad-key'));
  writeFileSync(path.join(root, 'b', 'ledger.json'), '{"version":9}');
  assert.throws(() => StoreDirectory.open(path.join(root, 'b')), failsWith('bad-value'));
});

test('each peer has an authority of its own, which its proxy trusts alone', async () => {
  const { directory } = await settle('d');
  const west = await directory.issuePeer('west', start);
  const north = await directory.issuePeer('north', start);
  const files = await directory.proxyFiles('west', start);
  const clients = readFileSync(files.clients, 'utf8');
  checkCredentials({ ...west, authority: clients, now: start });
  assert.throws(
    () => checkCredentials({ ...north, authority: clients, now: start }),
    failsWith('mismatch'),
  );
  for (const each of [west, north])
    checkCredentials({ ...each, authority: directory.trust, now: start });
  const own = readFileSync(files.own.certificate, 'utf8');
  assert.match(own, /^-----BEGIN X509 CERTIFICATE-----/);
  assert.equal(inspectCertificate(own).subject, 'remote-west');
  const again = inspectCertificate((await directory.issuePeer('west', start)).certificate);
  assert.deepEqual(await directory.revokeClients('west', start, again.serial), [
    inspectCertificate(west.certificate).serial,
  ]);
  assert.deepEqual(await directory.revokeClients('west', start), [again.serial]);
  assert.deepEqual(await directory.revokeClients('west', start), []);
  const revoked = () =>
    StoreDirectory.open(directory.path).issued.filter((each) => each.revoked).length;
  assert.equal(revoked(), 2, 'the proxy goes on serving');
  await directory.removePeer('north', start);
  assert.equal(revoked(), 3);
  await directory.removePeer('west', start);
  assert.equal(revoked(), 4, 'and its proxy');
  assert.deepEqual(directory.clientsOf('west', start), []);
  const args = proxyArguments(files, {
    listen: '192.0.2.1:23790',
    endpoints: ['https://192.0.2.1:2379'],
    dataDir: "/var/lib/it's",
  });
  assert.match(
    shellText('etcd', args),
    /^etcd grpc-proxy start \\\n {2}--endpoints https:\/\/192\.0\.2\.1:2379 \\\n/,
  );
  assert.match(shellText('etcd', args), /'\/var\/lib\/it'\\''s'/);
  assert.match(
    proxyUnit('west', args),
    /\nExecStart=\/usr\/bin\/etcd grpc-proxy start --endpoints /,
  );
});

test('in a ledger that does not say which are the proxies’ they are none of the clients’, and one taken back is made anew', async () => {
  const { directory } = await settle('i');
  const serialOf = (certificate: string) => inspectCertificate(certificate).serial;
  const client = serialOf((await directory.issuePeer('west', start)).certificate);
  const { own } = await directory.proxyFiles('west', start);
  const proxy = () => serialOf(readFileSync(own.certificate, 'utf8'));
  const first = proxy();
  /** As older versions wrote it. */
  const rewrite = (revoked?: string) => {
    const file = directory.file('ledger.json');
    const ledger = JSON.parse(readFileSync(file, 'utf8')) as { issued: Record<string, string>[] };
    for (const each of ledger.issued) {
      delete each.of;
      if (each.serial === revoked) each.revoked = start.toISOString();
    }
    writeFileSync(file, JSON.stringify(ledger));
    return StoreDirectory.open(directory.path);
  };
  const old = rewrite();
  assert.deepEqual(
    old.clientsOf('west', start).map(({ serial }) => serial),
    [client],
  );
  assert.deepEqual(await old.revokeClients('west', start), [client]);
  await old.proxyFiles('west', start);
  assert.equal(proxy(), first);

  await rewrite(first).proxyFiles('west', start);
  const second = proxy();
  assert.notEqual(second, first);
  rewrite(second);
  assert.deepEqual((await settle('i')).report.written, ['peers/west/proxy.crt']);
  const third = proxy();
  assert.notEqual(third, second);
  await StoreDirectory.open(directory.path).removePeer('west', start);
  const { issued } = StoreDirectory.open(directory.path);
  assert.ok(issued.every(({ user, revoked }) => user !== 'remote-west' || revoked));

  await directory.proxyFiles('north', start);
  writeFileSync(directory.file('peers', 'north', 'proxy.crt'), 'spoilt');
  assert.equal(StoreDirectory.open(directory.path).issued.length, issued.length + 1);
});

test('who opened the directory before others changed it takes nothing of theirs away', async () => {
  const { directory } = await settle('h');
  const other = StoreDirectory.open(directory.path);
  await other.issuePeer('north', start);
  await other.revokeClients('north', start);
  await directory.issuePeer('west', start);
  await Promise.all([other.issuePeer('south', start), directory.issuePeer('west', start)]);
  const { issued } = StoreDirectory.open(directory.path);
  const of = (peer: string) => issued.filter(({ user }) => user === `remote-${peer}`);
  assert.deepEqual(
    ['north', 'south', 'west'].map((peer) => of(peer).length),
    [1, 1, 2],
  );
  assert.deepEqual(
    of('north').map(({ revoked }) => revoked !== undefined),
    [true],
  );
  assert.equal((await directory.revokeClients('south', start)).length, 1);
});

test('a change of authority ends when all have certificates of the new one', async () => {
  const { directory } = await settle('e');
  const before = await directory.issuePeer('west', start);
  const trust = directory.trust;
  await directory.rotate(later(1));
  checkCredentials({ ...before, authority: directory.trust, now: later(1) });
  const { server } = directory.serverFiles();
  const shown = {
    certificate: readFileSync(server.certificate, 'utf8'),
    key: readFileSync(server.key, 'utf8'),
  };
  for (const authority of [trust, directory.trust])
    checkCredentials({ ...shown, authority, now: later(1) });
  await assert.rejects(directory.retire(later(2), { force: false }), failsWith('in-use'));
  const renewed = await directory.issuePeer('west', later(2));
  await directory.retire(later(2), { force: false });
  checkCredentials({ ...renewed, authority: directory.trust, now: later(2) });
  assert.throws(
    () => checkCredentials({ ...before, authority: directory.trust, now: later(2) }),
    failsWith('mismatch'),
  );
});

test("with the site's authority everything leads to it, and it is not ours to change", async () => {
  const site = await Authority.create('The Site', { now: start, days: 365 });
  const { directory } = await settle('f', start, { authority: site.credentials });
  const again = await settle('f', start, { authority: site.credentials });
  assert.deepEqual(again.report.written, []);
  const { certFile, keyFile } = directory.userFiles('causeway-east');
  const user = {
    certificate: readFileSync(certFile, 'utf8'),
    key: readFileSync(keyFile, 'utf8'),
  };
  checkCredentials({ ...user, authority: site.credentials.certificate, now: start });
  await assert.rejects(directory.rotate(start), failsWith('bad-value'));

  const below = await site.authority.issueAuthority('The Site, networks', { now: start, days: 9 });
  const { certificate, key } = below.credentials;
  await assert.rejects(
    settle('g', start, { authority: { certificate, key } }),
    /must go up to the root/,
  );
  const whole = certificate + site.credentials.certificate;
  await assert.rejects(
    settle('g', start, { authority: { certificate: whole, key } }),
    /path length is 0/,
  );
});
