import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { authSuite } from '../testing/auth-suite.ts';
import { EtcdProcess, type TlsFiles } from '../testing/etcd-process.ts';
import { connectAuth } from './auth.ts';
import { connectKv } from './connect.ts';

/** Certificates by OpenSSL: a server's, and one for each user, who is its common name. */
function makeCertificates(directory: string): (name: string) => TlsFiles {
  const openssl = (...words: string[]) =>
    execFileSync('/usr/bin/openssl', words, { cwd: directory, stdio: 'ignore' });
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  writeFileSync(join(directory, 'san'), 'subjectAltName=IP:127.0.0.1\n');
  const self = ['-subj', '/CN=authority', '-days', '2', '-keyout', 'ca.key', '-out', 'ca.crt'];
  openssl('req', '-x509', ...newKey, ...self);
  for (const name of ['server', 'root', 'reader', 'writer', 'nobody']) {
    const files = ['-keyout', `${name}.key`, '-out', `${name}.csr`];
    openssl('req', ...newKey, '-subj', `/CN=${name}`, ...files);
    const signed = ['-CA', 'ca.crt', '-CAkey', 'ca.key', '-CAcreateserial', '-days', '2'];
    openssl(
      'x509',
      '-req',
      '-in',
      `${name}.csr`,
      ...signed,
      '-extfile',
      'san',
      '-out',
      `${name}.crt`,
    );
  }
  return (name) => ({
    ca: join(directory, 'ca.crt'),
    cert: join(directory, `${name}.crt`),
    key: join(directory, `${name}.key`),
  });
}

authSuite('etcd', async () => {
  const scratch = await EtcdProcess.scratch();
  const files = makeCertificates(scratch.directory);
  const etcd = await EtcdProcess.start(files('server'));
  const options = (user: string) => {
    const { ca, cert, key } = files(user);
    return {
      endpoints: [etcd.endpoint],
      tls: { caFile: ca, certFile: cert, keyFile: key },
      deadline: 30_000,
    };
  };
  const auth = connectAuth(options('root'));
  return {
    auth,
    connect: (user) => connectKv(options(user)),
    async [Symbol.asyncDispose]() {
      await auth[Symbol.asyncDispose]();
      await etcd[Symbol.asyncDispose]();
      await scratch[Symbol.asyncDispose]();
    },
  };
});
