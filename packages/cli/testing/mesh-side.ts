/** A cluster made by the command line alone: its certificates, a real etcd with them, an operator that takes joins. */

import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { silentLog } from '@causeway/daemon';
import { connectAuth, connectKv, type Kv, type StoreAuth } from '@causeway/etcd';
import { EtcdProcess, freePort } from '@causeway/etcd/testing';
import { clusterConfigKey, proxyArguments, StoreDirectory } from '@causeway/mesh';
import { runOperator } from '@causeway/operator';
import { etcdStore, type ResourceStore } from '@causeway/resources';

const binary = join(import.meta.dirname, '../bin/causeway');

export interface Outcome {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

export class MeshSide implements AsyncDisposable {
  readonly name: string;
  readonly directory: string;
  readonly joinUrl: string;
  etcd!: EtcdProcess;
  #operator: { readonly stop: AbortController; readonly done: Promise<void> } | undefined;
  #kv: Kv | undefined;

  private constructor(name: string, port: number) {
    this.name = name;
    this.directory = mkdtempSync(join(tmpdir(), `causeway-mesh-${process.pid}-${name}-`));
    this.joinUrl = `https://127.0.0.1:${port}`;
  }

  static async start(name: string, id: number): Promise<MeshSide> {
    const side = new MeshSide(name, await freePort());
    const pki = (file: string) => join(side.directory, file);
    const first = ['--cluster', name, '--endpoints', 'https://127.0.0.1:1', '--join', side.joinUrl];
    const { etcd, store } = JSON.parse(await side.done('expose', ...first, '--json'));
    if (store.ready) throw new Error('there was no store yet');
    // As expose says, but for the three that the helper gives by itself.
    const crl = etcd.indexOf('--client-crl-file');
    side.etcd = await EtcdProcess.start(
      { ca: pki('trust.crt'), cert: pki('server.crt'), key: pki('server.key') },
      etcd.slice(crl, crl + 2),
    );
    for (let tries = 0; ; tries++) {
      const { endpoint } = side.etcd;
      const told = await side.done('expose', '--endpoints', endpoint, '--etcd', endpoint, '--json');
      if (JSON.parse(told).store.ready) break;
      if (tries === 10) throw new Error(told);
    }
    const config = { id, capabilities: { maxConnectedClusters: 255 } };
    await side.kv.put(clusterConfigKey(name), JSON.stringify(config));
    return side;
  }

  /** As root. */
  get kv(): Kv {
    this.#kv ??= connectKv({
      endpoints: [this.etcd.endpoint],
      tls: this.tls('root'),
      deadline: 20_000,
    });
    return this.#kv;
  }

  get store(): ResourceStore {
    return etcdStore(this.kv);
  }

  /** A proxy for a peer, as `expose` says how to start it. */
  async proxy(peer: string): Promise<AsyncDisposable & { readonly endpoint: string }> {
    const listen = `127.0.0.1:${await freePort()}`;
    const files = await StoreDirectory.open(this.directory).proxyFiles(peer, new Date());
    const dataDir = join(this.directory, `proxy-${peer}`);
    const args = proxyArguments(files, { listen, endpoints: [this.etcd.endpoint], dataDir });
    const child = spawn('/usr/bin/etcd', args, { stdio: 'ignore' });
    return {
      endpoint: `https://${listen}`,
      async [Symbol.asyncDispose]() {
        const exited = once(child, 'exit');
        child.kill('SIGKILL');
        await exited;
      },
    };
  }

  auth(): StoreAuth {
    return connectAuth({ endpoints: [this.etcd.endpoint], tls: this.tls('root') });
  }

  tls(user: string) {
    return {
      caFile: join(this.directory, 'trust.crt'),
      certFile: join(this.directory, 'users', `${user}.crt`),
      keyFile: join(this.directory, 'users', `${user}.key`),
    };
  }

  /** `causeway mesh ...` on this side. */
  async run(...words: readonly string[]): Promise<Outcome> {
    const argv = ['mesh', ...words, '--pki', this.directory];
    try {
      const { stdout, stderr } = await promisify(execFile)(binary, argv);
      return { code: 0, out: stdout, err: stderr };
    } catch (error) {
      const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string };
      return { code, out: stdout, err: stderr };
    }
  }

  async done(...words: readonly string[]): Promise<string> {
    const { code, out, err } = await this.run(...words);
    if (code !== 0) throw new Error(`${words.join(' ')}: ${code} ${err}${out}`);
    return out;
  }

  /** An operator as our own user, which takes joins. */
  async startOperator(): Promise<void> {
    const { certFile, keyFile } = this.tls('root');
    const stop = new AbortController();
    await new Promise<void>((onListening, reject) => {
      const done = runOperator(
        {
          name: `${this.name}-1`,
          cluster: { name: this.name, id: 1, maxConnectedClusters: 255 },
          runDir: join(this.directory, 'run'),
          etcd: { endpoints: [this.etcd.endpoint], tls: this.tls(`causeway-${this.name}`) },
          mesh: {
            join: {
              address: '127.0.0.1',
              port: Number(new URL(this.joinUrl).port),
              advertise: [this.joinUrl],
              certFile: join(this.directory, 'server.crt'),
              keyFile: join(this.directory, 'server.key'),
              caFile: join(this.directory, 'trust.crt'),
              revokedFile: join(this.directory, 'revoked.pem'),
              root: { certFile, keyFile },
              pki: this.directory,
            },
          },
        } as never,
        { signal: stop.signal, log: silentLog, onListening: () => onListening() },
      );
      this.#operator = { stop, done };
      done.catch(reject);
    });
  }

  async stopOperator(): Promise<void> {
    const operator = this.#operator;
    this.#operator = undefined;
    operator?.stop.abort();
    await operator?.done;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stopOperator();
    await this.#kv?.[Symbol.asyncDispose]();
    await this.etcd[Symbol.asyncDispose]();
    rmSync(this.directory, { recursive: true, force: true });
  }
}
