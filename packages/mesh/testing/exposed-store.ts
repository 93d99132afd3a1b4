/** A real etcd with TLS, client certificates and auth, and a real proxy before it, for tests. */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { connectAuth, connectKv, type Kv, type StoreAuth, type TlsOptions } from '@causeway/etcd';
import { EtcdProcess, freePort } from '@causeway/etcd/testing';
import type { Credentials } from '@causeway/pki';
import { admitPeer, setUpAuth } from '../src/expose/auth.ts';
import { proxyArguments } from '../src/expose/command-lines.ts';
import { StoreDirectory } from '../src/expose/directory.ts';

export class ExposedStore implements AsyncDisposable {
  readonly cluster: string;
  readonly etcd: EtcdProcess;
  readonly directory: StoreDirectory;
  readonly #children: ChildProcess[] = [];

  private constructor(cluster: string, etcd: EtcdProcess, directory: StoreDirectory) {
    this.cluster = cluster;
    this.etcd = etcd;
    this.directory = directory;
  }

  /** Started, with auth enabled. */
  static async start(cluster: string): Promise<ExposedStore> {
    const scratch = await EtcdProcess.scratch();
    const { directory } = await StoreDirectory.settle(path.join(scratch.directory, 'mesh'), {
      cluster,
      names: ['127.0.0.1', '::1', 'localhost', `${cluster}.mesh.example`],
      now: new Date(),
    });
    const { server, trust, revoked } = directory.serverFiles();
    const etcd = await EtcdProcess.start({ ca: trust, cert: server.certificate, key: server.key }, [
      '--client-crl-file',
      revoked,
    ]);
    const store = new ExposedStore(cluster, etcd, directory);
    store.#scratch = scratch;
    await using auth = store.auth();
    await setUpAuth(auth, cluster, { deadline: 20_000 });
    return store;
  }

  #scratch: EtcdProcess | undefined;

  get endpoint(): string {
    return this.etcd.endpoint;
  }

  tls(user: string): TlsOptions {
    return this.directory.userFiles(user);
  }

  auth(): StoreAuth {
    return connectAuth({
      endpoints: [this.endpoint],
      tls: this.tls('root'),
      deadline: 20_000,
    });
  }

  /** As one of the cluster's own users. */
  connect(user: string): Kv {
    return connectKv({ endpoints: [this.endpoint], tls: this.tls(user), deadline: 20_000 });
  }

  /** As whoever these name. */
  connectAs(credentials: Credentials, endpoint = this.endpoint, ca = this.directory.trust): Kv {
    const tls = {
      ca,
      cert: credentials.certificate,
      key: credentials.key,
    };
    return connectKv({ endpoints: [endpoint], tls, deadline: 20_000 });
  }

  async admit(peer: string): Promise<Credentials> {
    await using auth = this.auth();
    await admitPeer(auth, this.cluster, peer);
    return this.directory.issuePeer(peer, new Date());
  }

  /** A proxy for the peer; its endpoint and what it says. */
  async proxy(peer: string): Promise<{ readonly endpoint: string; readonly child: ChildProcess }> {
    const listen = `127.0.0.1:${await freePort()}`;
    const files = await this.directory.proxyFiles(peer, new Date());
    const dataDir = path.join(this.etcd.directory, `proxy-${peer}`);
    const args = proxyArguments(files, { listen, endpoints: [this.endpoint], dataDir });
    const child = spawn('/usr/bin/etcd', args, { stdio: ['ignore', 'ignore', 'pipe'] });
    child.stderr?.on('data', (text) =>
      writeFileSync(path.join(this.etcd.directory, `proxy-${peer}.log`), text, { flag: 'a' }),
    );
    this.#children.push(child);
    return { endpoint: `https://${listen}`, child };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.#children) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      const exited = once(child, 'exit');
      child.kill('SIGKILL');
      await exited;
    }
    await this.etcd[Symbol.asyncDispose]();
    await this.#scratch?.[Symbol.asyncDispose]();
  }
}
