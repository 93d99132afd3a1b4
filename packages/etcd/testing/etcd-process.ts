/** A real etcd on loopback with its data in a directory of its own, for tests. */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const etcdBinary = '/usr/bin/etcd';

/**
 * Ports below those that the kernel gives to whoever asks for any: a server that is started later, or again, still
 * finds its port free. Each process begins elsewhere, so that two test files do not take the same one.
 */
const LOWEST_PORT = 10_240;
const PORTS = 22_000;
const PORTS_EACH = 16;
let tried = 0;

/** A TCP port that nobody has at this address, and that nobody gets unasked. */
export async function freePort(address = '127.0.0.1'): Promise<number> {
  for (let left = PORTS; left > 0; left--) {
    const port = LOWEST_PORT + ((process.pid * PORTS_EACH + tried++) % PORTS);
    const server = createServer();
    const free = await new Promise<boolean>((resolve) => {
      server.on('error', () => resolve(false));
      server.listen(port, address, () => resolve(true));
    });
    if (!free) continue;
    await new Promise((resolve) => server.close(resolve));
    return port;
  }
  throw new Error(`no free TCP port from ${LOWEST_PORT} to ${LOWEST_PORT + PORTS} at ${address}`);
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
