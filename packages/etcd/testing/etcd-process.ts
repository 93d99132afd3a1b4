/** A real etcd on loopback with its data in a directory of its own, for tests. */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const etcdBinary = '/usr/bin/etcd';

export async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error('no TCP port');
  return address.port;
}

export interface TlsFiles {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

export class EtcdProcess implements AsyncDisposable {
  readonly endpoint: string;
  readonly directory: string;
  readonly #client: string;
  readonly #peer: string;
  readonly #tls: TlsFiles | undefined;
  readonly #options: readonly string[];
  #child: ChildProcess | undefined;

  private constructor(
    client: string,
    peer: string,
    tls: TlsFiles | undefined,
    options: readonly string[],
  ) {
    this.#options = options;
    this.endpoint = client;
    this.#client = client;
    this.#peer = peer;
    this.#tls = tls;
    this.directory = mkdtempSync(join(tmpdir(), `causeway-etcd-${process.pid}-`));
  }

  /** Only a directory that is cleaned up; nothing runs. */
  static async scratch(): Promise<EtcdProcess> {
    return new EtcdProcess('', '', undefined, []);
  }

  static async start(tls?: TlsFiles, options: readonly string[] = []): Promise<EtcdProcess> {
    const scheme = tls ? 'https' : 'http';
    const client = `${scheme}://127.0.0.1:${await freePort()}`;
    const peer = `http://127.0.0.1:${await freePort()}`;
    const etcd = new EtcdProcess(client, peer, tls, options);
    etcd.start();
    return etcd;
  }

  start(): void {
    const secure = this.#tls
      ? [
          '--cert-file',
          this.#tls.cert,
          '--key-file',
          this.#tls.key,
          '--trusted-ca-file',
          this.#tls.ca,
          '--client-cert-auth',
        ]
      : [];
    this.#child = spawn(
      etcdBinary,
      [
        ...['--name', 'default', '--data-dir', join(this.directory, 'data')],
        ...['--listen-client-urls', this.#client, '--advertise-client-urls', this.#client],
        ...['--listen-peer-urls', this.#peer, '--initial-advertise-peer-urls', this.#peer],
        ...['--initial-cluster', `default=${this.#peer}`, '--unsafe-no-fsync'],
        // Short elections start it quickly and allow leases of one second.
        ...['--heartbeat-interval', '20', '--election-timeout', '200'],
        ...secure,
        ...this.#options,
      ],
      { stdio: process.env.ETCD_LOG ? 'inherit' : 'ignore' },
    );
  }

  async stop(): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    child.kill('SIGCONT');
    child.kill('SIGKILL');
    await exited;
  }

  signal(name: 'SIGSTOP' | 'SIGCONT'): void {
    this.#child?.kill(name);
  }

  async wipe(): Promise<void> {
    await this.stop();
    rmSync(join(this.directory, 'data'), { recursive: true, force: true });
    this.start();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    rmSync(this.directory, { recursive: true, force: true });
  }
}
