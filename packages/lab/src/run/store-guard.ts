import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { storePaths } from '../host/names.ts';
import { must } from '../host/process.ts';
import type { ClusterPlan } from '../plan/types.ts';
import type { LabContext } from './context.ts';

/** The files by which somebody proves who it is and knows the store. */
export interface ClientFiles {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

/** Certificates, users and rights of a store that peers read: what `causeway mesh expose` makes. */
export class StoreGuard {
  readonly #cluster: ClusterPlan;
  readonly #pki: string;

  constructor(context: LabContext, cluster: ClusterPlan) {
    this.#cluster = cluster;
    this.#pki = storePaths(context.state.name, cluster.name).pki;
  }

  /** The user that the cluster's own programs are. */
  get own(): string {
    return `causeway-${this.#cluster.name}`;
  }

  files(user: string): ClientFiles {
    return {
      ca: this.#file('ca.crt'),
      cert: this.#file(`${user}.crt`),
      key: this.#file(`${user}.key`),
    };
  }

  /** Makes what is missing of authority and certificates. */
  async prepare(): Promise<void> {
    if (existsSync(this.#file('ca.crt'))) return;
    mkdirSync(this.#pki, { recursive: true, mode: 0o700 });
    const ec = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
    await must([
      ...['openssl', 'req', '-x509', ...ec, '-days', '30', '-subj', `/CN=${this.#cluster.name}`],
      ...['-keyout', this.#file('ca.key'), '-out', this.#file('ca.crt')],
    ]);
    const addresses = ['127.0.0.1', '::1', ...this.#cluster.etcd.addresses];
    const names = addresses.map((address) => `IP:${address}`).join(',');
    const users = ['server', 'root', this.own, ...this.#peers.map((peer) => `remote-${peer}`)];
    for (const user of users) {
      const extensions = this.#file(`${user}.ext`);
      writeFileSync(extensions, user === 'server' ? `subjectAltName=${names}\n` : '');
      const request = await must([
        ...[
          'openssl',
          'req',
          '-new',
          ...ec,
          '-subj',
          user === 'server' ? '/O=store' : `/CN=${user}`,
        ],
        ...['-keyout', this.#file(`${user}.key`)],
      ]);
      const sign = ['-CA', this.#file('ca.crt'), '-CAkey', this.#file('ca.key'), '-CAcreateserial'];
      await must(
        [
          ...['openssl', 'x509', '-req', '-days', '30', ...sign, '-extfile', extensions],
          ...['-out', this.#file(`${user}.crt`)],
        ],
        { input: request },
      );
    }
  }

  serverArguments(): string[] {
    const { ca, cert, key } = this.files('server');
    return ['--cert-file', cert, '--key-file', key, '--client-cert-auth', '--trusted-ca-file', ca];
  }

  rootArguments(): string[] {
    const [ca, cert, key] = this.rootFiles();
    return ['--cacert', ca, '--cert', cert, '--key', key];
  }

  rootFiles(): [ca: string, cert: string, key: string] {
    const { ca, cert, key } = this.files('root');
    return [ca, cert, key];
  }

  /** Users and their rights; from then on nobody else gets in. */
  async setUp(ctl: (argv: readonly string[]) => Promise<unknown>): Promise<void> {
    const { name } = this.#cluster;
    const role = async (user: string, rights: readonly (readonly string[])[]): Promise<void> => {
      await ctl(['user', 'add', user, '--no-password']);
      await ctl(['role', 'add', user]);
      for (const right of rights) await ctl(['role', 'grant-permission', user, ...right]);
      await ctl(['user', 'grant-role', user, user]);
    };
    await ctl(['user', 'add', 'root', '--no-password']);
    await ctl(['user', 'grant-role', 'root', 'root']);
    await role(this.own, [
      ['--prefix=true', 'readwrite', 'cilium/'],
      ['--prefix=true', 'readwrite', 'causeway/'],
    ]);
    for (const peer of this.#peers)
      await role(`remote-${peer}`, [
        ['--prefix=true', 'read', 'cilium/.heartbeat'],
        ['--prefix=true', 'read', 'cilium/state/'],
        ['read', `cilium/cluster-config/${name}`],
        ['--prefix=true', 'read', `cilium/synced/${name}/`],
        ['--prefix=true', 'read', 'causeway/state/service-backends/'],
      ]);
    await ctl(['auth', 'enable']);
  }

  get #peers(): readonly string[] {
    return this.#cluster.mesh?.readBy ?? [];
  }

  #file(name: string): string {
    return join(this.#pki, name);
  }
}
